//! Sans-IO core of rtcmesh.

pub mod config;
pub mod error;
pub mod id;
pub mod media;
pub mod net;
mod peer;
pub mod rng;
pub mod time;
