//! Datagrams to the STUN server of simulated worlds.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    rtcmesh_sim::net::hostile_stun(bytes);
});
