//! Calls of a signaling client.
#![no_main]

use std::sync::OnceLock;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;

static START: OnceLock<Instant> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let start = START.get_or_init(Instant::now);
    rtcmesh_core::signaling::hostile_client(*start, bytes);
});
