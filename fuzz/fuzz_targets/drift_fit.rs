//! The fit of a line with steps behind the drift estimator.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    rtcmesh_core::sync::hostile_fit(bytes);
});
