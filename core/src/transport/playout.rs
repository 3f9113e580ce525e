use std::time::*; use std::sync::Arc; use crate::config::ReceivedAudio; use super::AudioFrame;
#[derive(Debug)] pub(crate) struct AudioPlayout;
#[derive(Debug, Default)] pub(crate) struct PlayoutFigures { pub concealed: u64, pub discarded: u64, pub undecodable: u64, pub delay: Duration }
impl AudioPlayout {
  pub(crate) fn new(_: Duration, _: ReceivedAudio) -> Self { Self }
  pub(crate) fn insert(&mut self, _: Instant, _: Instant, _: u64, _: u32, _: Arc<[u8]>) {}
  pub(crate) fn poll(&mut self, _: Instant) -> Option<AudioFrame> { None }
  pub(crate) fn poll_timeout(&self) -> Option<Instant> { None }
  pub(crate) fn set_target(&mut self, _: Duration) {}
  pub(crate) fn figures(&self) -> PlayoutFigures { Default::default() }
}
