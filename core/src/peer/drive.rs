//! Driving the engine: one change, then all of its outputs, with errors and panics contained.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use str0m::error::RtcError;
use str0m::net::{Protocol, Receive};
use str0m::{Event, Input, Output};

use super::{Outbound, Peer, PeerEvent, State, path_is_up};
use crate::error::PeerFault;

/// More outputs than any change can cause: an engine that gives more is in an endless loop.
const MAX_OUTPUTS: usize = 100_000;

impl Peer {
    /// Hands a datagram to the engine.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) {
        // Parsed in its place: what the engine makes of a datagram takes a kilobyte, which is not to be moved.
        self.guarded(now, |peer, now| match Receive::new(Protocol::Udp, remote, local, payload) {
            Ok(receive) => peer.rtc.handle_input(Input::Receive(now, receive)),
            Err(_) => {
                peer.figures.malformed += 1;
                Ok(())
            }
        });
    }

    /// Makes one change, lets the engine act on it at `now`, and drains it.
    pub(super) fn drive<T>(
        &mut self,
        now: Instant,
        change: impl FnOnce(&mut Self) -> Result<T, RtcError>,
    ) -> Option<T> {
        self.guarded(now, |peer, now| {
            let value = change(peer)?;
            peer.drain()?;
            // What was written is packed only when time passes, if only by nothing.
            peer.rtc.handle_input(Input::Timeout(now))?;
            Ok(value)
        })
    }

    fn guarded<T>(
        &mut self,
        now: Instant,
        change: impl FnOnce(&mut Self, Instant) -> Result<T, RtcError>,
    ) -> Option<T> {
        if self.state == State::Closed {
            return None;
        }
        self.now = self.now.max(now);
        let now = self.now;
        let others = self.draws.enter();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let value = change(self, now)?;
            self.drain()?;
            Ok(value)
        }));
        self.draws.leave(others);
        match result {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                self.fail(fault(&error));
                None
            }
            Err(_) => {
                tracing::error!("the engine panicked: its peer is closed");
                self.fail(PeerFault::Internal("the engine panicked".into()));
                None
            }
        }
    }

    fn drain(&mut self) -> Result<(), RtcError> {
        for _ in 0..MAX_OUTPUTS {
            // An output is large: it is taken apart where it lies, without a move by `?`.
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.next = Some(at);
                    return Ok(());
                }
                Ok(Output::Transmit(transmit)) => self.out.transmits.push_back(Outbound {
                    local: transmit.source,
                    remote: transmit.destination,
                    payload: transmit.contents.into(),
                }),
                Ok(Output::Event(Event::MediaData(data))) => self.on_media(data),
                Ok(Output::Event(event)) => self.on_event(event),
                Err(error) => return Err(error),
            }
        }
        self.fail(PeerFault::Internal("the engine does not come to rest".into()));
        Ok(())
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected if self.state == State::Connecting => {
                self.state = State::Connected;
                self.channels.connected(self.now);
                self.out.events.push_back(PeerEvent::Connected);
            }
            Event::IceConnectionStateChange(ice) => match (self.state, path_is_up(ice)) {
                (State::Connected, false) if ice.is_disconnected() => {
                    self.state = State::Lost;
                    self.out.events.push_back(PeerEvent::Lost);
                }
                (State::Lost, true) => {
                    self.state = State::Connected;
                    self.out.events.push_back(PeerEvent::Restored);
                }
                _ => {}
            },
            Event::MediaAdded(added) => self.media.on_added(added.mid, added.kind),
            Event::ChannelOpen(id, label) => self.on_channel_open(id, &label),
            Event::ChannelData(data) => self.on_channel_data(data),
            Event::ChannelClose(id) => self.channels.on_close(id),
            Event::SenderFeedback(feedback) => self.on_report(&feedback),
            Event::KeyframeRequest(_) => self.out.events.push_back(PeerEvent::KeyframeRequested),
            Event::PeerStats(stats) => self.figures.on_peer_stats(&stats),
            Event::MediaEgressStats(stats) => self.figures.on_egress_stats(&stats),
            Event::Closed => {
                self.state = State::Closed;
                self.out.events.push_back(PeerEvent::Closed);
            }
            _ => {}
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

/// Whose fault an error of the engine is.
pub(super) fn fault(error: &RtcError) -> PeerFault {
    let text = error.to_string();
    match error {
        RtcError::RemoteSdp(_) | RtcError::Sdp(_) => {
            PeerFault::Misbehaved(format!("its description: {text}"))
        }
        RtcError::Dtls(_) => {
            // The engine speaks ECDSA only: a certificate with an RSA key ends here.
            let lower = text.to_lowercase();
            let certificate = ["certificate", "signature", "cipher", "rsa"];
            if certificate.iter().any(|word| lower.contains(word)) {
                PeerFault::Incompatible(format!(
                    "its certificate or cipher, where ECDSA is needed (no RSA): {text}"
                ))
            } else {
                PeerFault::Misbehaved(format!("DTLS: {text}"))
            }
        }
        RtcError::Net(_) | RtcError::Rtp(_) | RtcError::Packet(..) | RtcError::Ice(_) => {
            PeerFault::Misbehaved(text)
        }
        _ => PeerFault::Internal(text),
    }
}
