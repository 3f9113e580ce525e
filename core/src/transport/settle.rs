//! After a change to a connection: takes over everything that it has to say, until it is at rest.

use std::time::{Duration, Instant};

use super::Transport;
use crate::net::Transmit;
use crate::peer::{Outbound, PeerEvent, PeerMedia, Signal, State};
use crate::signaling::{PeerConnectionState, ToPeer};
use crate::transport::demux::Slot;
use crate::transport::event::{ClosedBy, Event, Media, Outcome};
use crate::transport::info::PeerState;
use crate::transport::mesh::End;
use crate::transport::reception;
use crate::transport::remote::Connection;

/// When a path is lost, the polite side leaves the other this long to seek it anew.
const RESTART_YIELD: Duration = Duration::from_secs(2);

/// The checks of a restart are over after about 4 s: then the next one begins.
pub(super) const RESTART_INTERVAL: Duration = Duration::from_secs(4);

impl Transport {
    /// Takes over what a connection gives out, acts on its end, and notes its next deadline.
    pub(super) fn settle(&mut self, now: Instant, slot: Slot) {
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        // Out of its place for the time being: the rest of the transport is then free to be changed.
        let Some(mut connection) = remote.connection.take() else {
            return self.remotes.update(slot);
        };
        if connection.peer.has_transmits() {
            self.send_out(slot, &mut connection);
        }
        if connection.peer.has_signals() {
            self.signal(now, slot, &mut connection);
        }
        while let Some(media) = connection.peer.poll_media() {
            self.take_media(now, slot, &mut connection, media);
        }
        let mut end = None;
        while let Some(event) = connection.peer.poll_event() {
            end = end.or(self.on_peer_event(now, slot, &mut connection, event));
        }
        if connection.reception_is_due(now) {
            self.play_out(now, slot, &mut connection);
            connection.reception_looked_at();
        }
        if let Some(remote) = self.remotes.get_mut(slot) {
            remote.connection = Some(connection);
        }
        match end {
            Some(end) => {
                if end == End::Closed(ClosedBy::Peer)
                    && let Some(remote) = self.remotes.get_mut(slot)
                {
                    remote.parked = true;
                }
                // A fault is told, so that the other side need not wait for its own timers.
                let tell = matches!(end, End::Failed(_));
                self.end(now, slot, end, tell);
            }
            None => self.remotes.update(slot),
        }
    }

    /// Takes over the datagrams of a connection.
    pub(super) fn send_out(&mut self, slot: Slot, connection: &mut Connection) {
        while let Some(Outbound { local, remote, payload }) = connection.peer.poll_transmit() {
            let is_stun = payload.first().is_some_and(|first| *first <= 3);
            let known = match connection.selected {
                Some((from, to, socket)) if from == local && to == remote => Some(socket),
                _ => None,
            };
            // The socket was closed meanwhile: the path is about to be found lost.
            let Some(socket) = known.or_else(|| self.sockets.socket(local)) else { continue };
            if is_stun || known.is_none() {
                self.demux.sent(socket, remote, &payload, slot);
                if !is_stun {
                    connection.selected = Some((local, remote, socket));
                }
            }
            self.queues.transmit(Transmit { socket, remote, payload });
        }
    }

    #[cold]
    fn signal(&mut self, now: Instant, slot: Slot, connection: &mut Connection) {
        let mut any = false;
        while let Some(signal) = connection.peer.poll_signal() {
            let Some(to) = self.remotes.get(slot).map(|remote| remote.id.clone()) else { return };
            any = true;
            let message = match signal {
                Signal::Offer { request, sdp } => {
                    connection.negotiates(&request);
                    ToPeer::Offer { to, request, sdp }
                }
                Signal::Answer { request, sdp } => ToPeer::Answer { to, request, sdp },
                Signal::Candidate { request, candidate, mid } => {
                    ToPeer::Candidate { to, request, candidate, mid, index: 0 }
                }
            };
            self.signaling.send(now, message);
        }
        if let Some(fragment) = connection.peer.poll_fragment() {
            self.demux.set_fragment(slot, &fragment);
        }
        if any {
            self.drain_signaling_commands();
        }
    }

    #[inline(never)]
    fn take_media(
        &mut self,
        now: Instant,
        slot: Slot,
        connection: &mut Connection,
        media: PeerMedia,
    ) {
        match media {
            PeerMedia::Audio { arrived, sequence, rtp, opus, level } => {
                connection.level = level.or(connection.level);
                #[cfg(feature = "sim")]
                if self.bypass_playout {
                    return self.pass_audio(slot, arrived, rtp, opus);
                }
                connection.look_at_reception(now);
                let frame = connection.reception.audio(now, arrived, sequence, rtp, opus);
                if let Some((frame, remote)) = frame.zip(self.remotes.get(slot)) {
                    self.queues.media(Media::Audio { peer: remote.id.clone(), frame });
                }
            }
            PeerMedia::Video { sequence, rtp, frame, contiguous } => {
                connection.keyframes.received(now, frame.keyframe, contiguous);
                #[cfg(feature = "sim")]
                if self.bypass_playout {
                    return self.pass_video(now, slot, rtp, frame, contiguous);
                }
                connection.look_at_reception(now);
                connection.reception.video(now, sequence, rtp, contiguous, frame);
            }
            PeerMedia::Report { .. } => {
                if let Some(report) = reception::report(&media) {
                    connection.look_at_reception(now);
                    connection.reception.report(&report);
                }
            }
        }
    }

    #[inline(never)]
    fn play_out(&mut self, now: Instant, slot: Slot, connection: &mut Connection) {
        while let Some(frame) = connection.reception.poll_audio(now) {
            if let Some(remote) = self.remotes.get(slot) {
                self.queues.media(Media::Audio { peer: remote.id.clone(), frame });
            }
        }
        while let Some((frame, contiguous, timing)) = connection.reception.poll_video(now) {
            if let Some(remote) = self.remotes.get(slot) {
                let peer = remote.id.clone();
                self.queues.media(Media::Video { peer, frame, contiguous, timing });
            }
        }
        if connection.connected_at.is_some()
            && let Some(state) = connection.new_sync_state()
            && let Some(remote) = self.remotes.get(slot)
        {
            self.queues.event(Event::SyncStateChanged { peer: remote.id.clone(), state });
        }
    }

    #[inline(never)]
    fn on_peer_event(
        &mut self,
        now: Instant,
        slot: Slot,
        connection: &mut Connection,
        event: PeerEvent,
    ) -> Option<End> {
        let report_interval = self.report_interval();
        let timeout = self.config.ice_timeout;
        let remote = self.remotes.get_mut(slot)?;
        let peer = remote.id.clone();
        match event {
            PeerEvent::Connected => {
                connection.connected_at = Some(now);
                connection.deadline = None;
                connection.report_at = Some(now + report_interval);
                remote.state = PeerState::Connected;
                remote.attempts = 0;
                if remote.wanted.take().is_some() {
                    let (peer, result) = (peer.clone(), Ok(()));
                    self.queues.outcomes.push_back(Outcome::Connected { peer, result });
                }
                let after = now.saturating_duration_since(connection.started);
                self.queues.event(Event::Connected { peer, after });
                let request = connection.request().cloned();
                self.report_state(now, slot, PeerConnectionState::Connected, request);
                self.drain_signaling_commands();
            }
            PeerEvent::Lost => {
                remote.state = PeerState::Reconnecting;
                connection.deadline = Some(now + timeout);
                let yields = !connection.peer.config().impolite;
                let delay = if yields { RESTART_YIELD } else { Duration::ZERO };
                connection.restart_at = Some(now + delay);
                self.queues.event(Event::Reconnecting { peer });
            }
            PeerEvent::Restored => {
                remote.state = PeerState::Connected;
                connection.deadline = None;
                connection.restart_at = None;
                if remote.wanted.take().is_some() {
                    let (peer, result) = (peer.clone(), Ok(()));
                    self.queues.outcomes.push_back(Outcome::Connected { peer, result });
                }
                self.queues.event(Event::Reconnected { peer });
            }
            PeerEvent::Closed => return Some(End::Closed(ClosedBy::Peer)),
            PeerEvent::Failed(fault) => return Some(End::Failed(fault)),
            PeerEvent::ChannelOpen(label) => {
                self.queues.event(Event::DataChannelOpen { peer, label });
            }
            PeerEvent::Data(message, reliability) => {
                self.queues.event(Event::Data { peer, message, reliability });
            }
            PeerEvent::BufferedAmountLow => self.queues.event(Event::BufferedAmountLow { peer }),
            PeerEvent::KeyframeRequested => {
                if connection.keyframes.tell(now) {
                    self.queues.event(Event::KeyframeRequested { peer });
                }
            }
        }
        None
    }

    /// Whether media and data can be sent on a connection.
    pub(super) fn can_send(connection: &Connection) -> bool {
        matches!(connection.peer.state(), State::Connected | State::Lost)
    }
}
