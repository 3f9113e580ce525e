//! Audio of the program: what is sent, and what is measured of what arrives.

mod detector;
mod ear;
mod file;
mod level;
mod pacer;
mod recording;
mod source;
mod tone;

pub(crate) use ear::Ear;
pub(crate) use level::SILENCE_DBFS;
pub(crate) use pacer::Pacer;
pub(crate) use recording::RecordingError;
pub(crate) use source::{AudioChoice, Source};
