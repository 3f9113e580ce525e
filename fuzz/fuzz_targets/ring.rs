//! The ring of packets beside a sorted map.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    rtcmesh_core::sync::hostile_ring(bytes);
});
