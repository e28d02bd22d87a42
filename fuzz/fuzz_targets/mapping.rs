//! The file that says how to read a table.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foretap_fuzz::mapping::check(bytes));
