//! Synchronisation: from the order and the clocks of the network to those of the listener. Plain
//! numbers in and out; nothing here knows the engine.

mod control;
mod histogram;
mod jitter;
mod packet;
mod ring;
mod sequence;
mod target;
mod transit;
mod tuning;

pub use control::{Control, Situation, Step};
pub use jitter::JitterBuffer;
pub use packet::{BufferStatistics, ConcealReason, Inserted, Packet, Pop};
pub use sequence::Unwrapper;
pub use target::DelayTarget;
pub use tuning::PlayoutTuning;
