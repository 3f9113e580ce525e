//! Somebody on the path between two transports.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    rtcmesh_sim::hostile_datagrams(bytes);
});
