//! Sans-IO core of rtcmesh: signaling, connections, media and data of a WebRTC mesh as pure state machines.

// Tests need one instant to count from: only there may the clock be read.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod codec;
pub mod config;
pub mod error;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod hostile;
pub mod id;
pub mod media;
pub mod net;
mod peer;
pub mod rng;
pub mod signaling;
pub mod sync;
pub mod time;
pub mod trace;
pub mod transport;
