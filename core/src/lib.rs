//! Sans-IO core of rtcmesh.

pub mod codec;
pub mod error;
pub mod id;
pub mod net;
pub mod rng;
pub mod time;
