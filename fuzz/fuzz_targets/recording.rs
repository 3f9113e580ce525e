//! Recordings: read, shown and replayed, whatever they are.
#![no_main]

use std::sync::OnceLock;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;

static START: OnceLock<Instant> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    rtcmesh_core::transport::hostile(*START.get_or_init(Instant::now), bytes);
});
