//! The index by which datagrams find their connections.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    rtcmesh_core::transport::hostile_demux(bytes);
});
