//! Synchronisation: from the order and the clocks of the network to those of the listener. Plain
//! numbers in and out; nothing here knows the engine.
//!
//! [`SyncManager`] is all of it for one peer. Its parts can be used alone: [`JitterBuffer`] with [`DelayTarget`] and
//! [`Control`] decides when audio is played, [`AudioRenderer`] plays it (with [`Stretcher`], [`ComfortNoise`] and
//! [`DriftCorrection`]), [`VideoBuffer`] is for frames of video, [`LipSync`] brings both together. [`NtpMap`] and
//! [`DriftEstimator`] are about the sender's clocks.

mod align;
mod changepoint;
mod clock;
mod control;
mod correction;
mod drift;
#[cfg(test)]
mod edge_cases_clock_tests;
#[cfg(test)]
mod edge_cases_outage_tests;
#[cfg(test)]
mod edge_cases_tests;
mod error;
mod frame;
mod frame_size;
mod histogram;
#[cfg(any(test, feature = "sim"))]
mod hostile;
#[cfg(any(test, feature = "sim"))]
mod hostile_parts;
mod jitter;
mod join;
mod level;
mod lipsync;
mod manager;
mod noise;
mod ntp_map;
mod outlook;
mod packet;
mod pitch;
mod playout;
#[cfg(test)]
mod recovery_tests;
mod reel;
mod render;
mod ring;
mod robust;
mod route;
mod sequence;
mod settings;
#[cfg(any(test, feature = "sim"))]
mod soak;
mod stream;
mod stretch;
mod target;
mod tuning;
mod video;

pub use align::TimestampOffset;
pub use clock::{
    AudioTimestamp, ClockDriftEstimate, ClockError, MediaTimestamp, Medium, RecommendedAction,
    RtcpSenderReport, VideoTimestamp,
};
pub use control::{Control, Situation, Step};
pub use correction::DriftCorrection;
pub use drift::DriftEstimator;
pub use error::SyncError;
pub use frame::{
    AudioFrame, SyncedAudioFrame, SyncedVideoFrame, VideoFormat, VideoFrame, VideoPicture,
    VideoPlane,
};
#[cfg(any(test, feature = "sim"))]
pub use hostile::hostile;
#[cfg(any(test, feature = "sim"))]
pub use hostile_parts::{
    hostile_correction, hostile_fit, hostile_map, hostile_renderer, hostile_ring,
};
pub use jitter::JitterBuffer;
pub use lipsync::{AvOffset, Capture, LipSync};
pub use manager::{MediumStatistics, SyncManager, SyncState, SyncStatistics};
pub use noise::ComfortNoise;
pub use ntp_map::{NtpMap, ReportUse};
pub use packet::{BufferStatistics, ConcealReason, Inserted, Packet, Pop};
pub use playout::{Playout, PlayoutConfig};
pub use render::{AudioRenderer, Decode, RenderStatistics, Rendered};
pub use sequence::Unwrapper;
pub use settings::SyncConfig;
#[cfg(any(test, feature = "sim"))]
pub use soak::{SoakFigures, soak};
pub use stretch::{Command, StretchStatistics, Stretcher};
pub use target::DelayTarget;
pub use tuning::PlayoutTuning;
pub use video::{VideoBuffer, VideoPacket, VideoPop};
