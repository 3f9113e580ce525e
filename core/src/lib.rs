//! Sans-IO core of rtcmesh: the leaves, the configuration, the codecs and one peer.

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
pub mod time;
