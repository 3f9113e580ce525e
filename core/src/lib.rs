//! Sans-IO core of rtcmesh: the leaves, the configuration, the codecs and one peer.

// Tests need one instant to count from: only there may the clock be read.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod codec;
#[allow(dead_code)]
pub mod config;
pub mod error;
pub mod id;
pub mod media;
pub mod net;
// The mesh that will drive it is not built yet: until then only its tests do.
#[allow(dead_code)]
mod peer;
pub mod rng;
pub mod signaling;
pub mod sync;
pub mod time;
pub mod transport;
