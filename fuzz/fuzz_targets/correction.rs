//! The resampler that corrects drift, in pieces and at once.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    rtcmesh_core::sync::hostile_correction(bytes);
});
