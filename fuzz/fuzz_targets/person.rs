//! A person's bytes as they come: history, habits and counters, which a damaged or foreign file may hold.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foretap_fuzz::person::check(bytes));
