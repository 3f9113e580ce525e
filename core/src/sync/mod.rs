//! Synchronisation: from the order and the clocks of the network to those of the listener. Plain
//! numbers in and out; nothing here knows the engine.

mod jitter;
mod join;
mod level;
mod noise;
mod packet;
mod pitch;
mod reel;
mod ring;
mod sequence;
mod stretch;
mod transit;

pub use jitter::JitterBuffer;
pub use noise::ComfortNoise;
pub use packet::{BufferStatistics, ConcealReason, Inserted, Packet, Pop};
pub use sequence::Unwrapper;
pub use stretch::{Command, StretchStatistics, Stretcher};
