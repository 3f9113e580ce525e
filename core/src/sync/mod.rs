//! Synchronisation: from the order and the clocks of the network to those of the listener. Plain
//! numbers in and out; nothing here knows the engine.

mod changepoint;
mod clock;
mod control;
mod correction;
mod drift;
mod histogram;
mod jitter;
mod join;
mod level;
mod noise;
mod ntp_map;
mod outlook;
mod packet;
mod pitch;
mod playout;
mod reel;
mod render;
mod ring;
mod robust;
mod sequence;
mod stream;
mod stretch;
mod target;
mod tuning;

pub use clock::{
    AudioTimestamp, ClockDriftEstimate, ClockError, MediaTimestamp, Medium, RecommendedAction,
    RtcpSenderReport, VideoTimestamp,
};
pub use control::{Control, Situation, Step};
pub use correction::DriftCorrection;
pub use drift::DriftEstimator;
pub use jitter::JitterBuffer;
pub use noise::ComfortNoise;
pub use ntp_map::{NtpMap, ReportUse};
pub use packet::{BufferStatistics, ConcealReason, Inserted, Packet, Pop};
pub use playout::{Playout, PlayoutConfig};
pub use render::{AudioRenderer, Decode, RenderStatistics, Rendered};
pub use sequence::Unwrapper;
pub use stretch::{Command, StretchStatistics, Stretcher};
pub use target::DelayTarget;
pub use tuning::PlayoutTuning;
