//! A world and at most 20 acts from the bytes, checked by the model.
#![no_main]

use libfuzzer_sys::fuzz_target;

// What has failed once fails again.
rtcmesh_sim::interpose!();

fuzz_target!(|data: &[u8]| rtcmesh_sim::scenario::hostile_mesh(data));
