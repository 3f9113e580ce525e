//! Benches of rtcmesh and comparisons with other implementations.
