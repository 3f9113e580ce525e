//! Benches of rtcmesh and comparisons with the engine alone and with other implementations.
//!
//! Absolute times move from machine to machine: what counts is the ratio of two figures that were measured
//! side by side in one run. See README.md beside this crate.

pub mod arguments;
pub mod delay;
pub mod driver;
pub mod engine;
pub mod frames;
pub mod measure;
pub mod memory;
pub mod mesh;
pub mod ours;
pub mod packet;
pub mod quality;
pub mod recording;
pub mod stretch;
pub mod sync;
pub mod talk;
