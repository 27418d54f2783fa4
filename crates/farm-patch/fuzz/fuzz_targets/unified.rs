#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farm_patch::fuzz::unified(bytes));
