//! AWARE's tables, and tables whose columns are named.

#![no_main]

use foretap::data::LogFormat;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foretap_fuzz::log::check(LogFormat::Table, bytes));
