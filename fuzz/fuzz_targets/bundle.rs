//! A `.foretap` bundle as it comes, the same with checksums that fit, and a patch.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foretap_fuzz::bundle::check(bytes));
