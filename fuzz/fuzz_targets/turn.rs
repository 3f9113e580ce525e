//! Datagrams of clients and peers to the TURN server of simulated worlds, beside a model of it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    rtcmesh_sim::net::hostile_turn(bytes);
});
