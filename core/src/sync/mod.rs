//! Synchronisation: from the order and the clocks of the network to those of the listener. Plain
//! numbers in and out; nothing here knows the engine.

mod jitter;
mod packet;
mod ring;
mod sequence;
mod transit;

pub use jitter::JitterBuffer;
pub use packet::{BufferStatistics, ConcealReason, Inserted, Packet, Pop};
pub use sequence::Unwrapper;
