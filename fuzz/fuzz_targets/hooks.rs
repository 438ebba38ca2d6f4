//! See `fuzz::hooks`.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::hooks::check(input));

#[cfg(not(fuzzing))]
fn main() {}
