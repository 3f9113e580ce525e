//! Driving the engine: one change, then all of its outputs, with errors and panics contained.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::events::Turn;
use super::{Peer, PeerEvent, PeerMedia, State};
use crate::error::PeerFault;

/// More outputs than any change can cause: an engine that gives more is in an endless loop.
const MAX_OUTPUTS: usize = 100_000;

/// And more datagrams: a frame of video of 9 MB. What an endless loop has given is not sent, since all peers share one
/// queue, of twice that.
const MAX_TRANSMITS: usize = 8_192;

impl Peer {
    /// Hands a datagram to the engine.
    #[inline]
    pub(super) fn receive(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) {
        self.guarded(now, |peer, now| {
            if !peer.rtc.receive(now, local, remote, payload)? {
                peer.figures.malformed += 1;
            }
            Ok(())
        });
    }

    /// Makes one change, lets the engine act on it at `now`, and drains it.
    pub(super) fn drive<T>(
        &mut self,
        now: Instant,
        change: impl FnOnce(&mut Self) -> Result<T, PeerFault>,
    ) -> Option<T> {
        self.guarded(now, |peer, now| {
            let value = change(peer)?;
            peer.drain()?;
            // What was written is packed only when time passes, if only by nothing.
            peer.rtc.timeout(now)?;
            Ok(value)
        })
    }

    fn guarded<T>(
        &mut self,
        now: Instant,
        change: impl FnOnce(&mut Self, Instant) -> Result<T, PeerFault>,
    ) -> Option<T> {
        if self.state == State::Closed {
            return None;
        }
        self.now = self.now.max(now);
        let now = self.now;
        let others = self.rtc.enter();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let value = change(self, now)?;
            self.drain()?;
            Ok(value)
        }));
        self.rtc.leave(others);
        match result {
            Ok(Ok(value)) => Some(value),
            Ok(Err(fault)) => {
                self.fail(fault);
                None
            }
            Err(_) => {
                if !self.border.follows() {
                    tracing::error!("the engine panicked: its peer is closed");
                }
                self.fail(PeerFault::Internal("the engine panicked".into()));
                None
            }
        }
    }

    fn drain(&mut self) -> Result<(), PeerFault> {
        let before = self.out.transmits.len();
        for _ in 0..MAX_OUTPUTS {
            if self.out.transmits.len() > before + MAX_TRANSMITS {
                self.out.transmits.truncate(before);
                break;
            }
            // Taken apart where it lies: `?` would move each of them.
            match self.rtc.poll() {
                Ok(Turn::Rest(at)) => {
                    self.next = Some(at);
                    return Ok(());
                }
                Ok(Turn::Transmit(outbound)) => self.out.transmits.push_back(outbound),
                Ok(Turn::Audio { arrived, sequence, rtp, level, opus }) => {
                    self.figures.on_audio(arrived, sequence, rtp);
                    self.queue_media(PeerMedia::Audio { arrived, sequence, rtp, level, opus });
                }
                Ok(turn) => self.on_turn(turn),
                Err(fault) => return Err(fault),
            }
        }
        self.fail(PeerFault::Internal("the engine does not come to rest".into()));
        Ok(())
    }

    /// What does not come with each packet of audio: beside the loop, which stays small.
    #[inline(never)]
    fn on_turn(&mut self, turn: Turn) {
        match turn {
            Turn::Video { codec, sequence, ticks, keyframe, contiguous, data } => {
                self.on_video(codec, sequence, ticks, (keyframe, contiguous), data);
            }
            Turn::Connected if self.state == State::Connecting => {
                self.state = State::Connected;
                self.channels.connected(self.now);
                self.out.events.push_back(PeerEvent::Connected);
            }
            Turn::Path { up, lost } => match (self.state, up) {
                (State::Connected, false) if lost => {
                    self.state = State::Lost;
                    self.out.events.push_back(PeerEvent::Lost);
                }
                (State::Lost, true) => {
                    self.state = State::Connected;
                    self.out.events.push_back(PeerEvent::Restored);
                }
                _ => {}
            },
            Turn::MediaAdded { mid, audio } => self.media.on_added(mid, audio),
            Turn::ChannelOpen(id, label) => self.on_channel_open(id, &label),
            Turn::ChannelData(data) => self.on_channel_data(data),
            Turn::ChannelClose(id) => self.channels.on_close(id),
            Turn::Report { mid, ntp, rtp, packets, octets, arrived } => {
                if let Some(video) = self.media.is_video(mid) {
                    let report = PeerMedia::Report { video, ntp, rtp, packets, octets, arrived };
                    self.queue_media(report);
                }
            }
            Turn::KeyframeRequest => self.out.events.push_back(PeerEvent::KeyframeRequested),
            Turn::Pair { rtt, path } => self.figures.on_pair(rtt, path),
            Turn::RemoteLoss(loss) => self.figures.remote_loss = loss.or(self.figures.remote_loss),
            Turn::Closed => {
                self.state = State::Closed;
                self.out.events.push_back(PeerEvent::Closed);
            }
            Turn::Connected | Turn::Nothing => {}
            Turn::Rest(_) | Turn::Transmit(_) | Turn::Audio { .. } => {}
        }
    }

    /// Ends the connection with a reason, once.
    pub(super) fn fail(&mut self, fault: PeerFault) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.next = None;
            self.out.events.push_back(PeerEvent::Failed(fault));
        }
    }
}
