//! Who is connected with whom: announcements, calls, glare, refusals, ends and new attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::{Phase, Transport};
use crate::error::{ConnectError, PeerFault, StartError};
use crate::id::{PeerId, RequestId};
use crate::peer::{Border, Peer, PeerConfig};
use crate::signaling::{Capabilities, ClientEvent, DisconnectReason, PeerConnectionState, ToPeer};
use crate::time::iso8601;
use crate::transport::demux::Slot;
use crate::transport::event::{ClosedBy, Event, Outcome};
use crate::transport::info::PeerState;
use crate::transport::outgoing::SendTimeline;
use crate::transport::reception::Reception;
use crate::transport::remote::{Connection, Remote};
use crate::transport::settle::RESTART_INTERVAL;

/// In automatic mode the peer whose id is the smaller one gives the other this long to offer.
const YIELD: Duration = Duration::from_secs(1);

/// A lost peer is called again after 1, 2, 4 … seconds, and at most this many (signaling contract).
const MAX_RETRY: Duration = Duration::from_secs(30);

/// A call that found no room for one more connection is tried again after this.
const ROOM_RETRY: Duration = Duration::from_secs(1);

/// After signaling is back, peers that are not announced within this time have left meanwhile.
const LISTING: Duration = Duration::from_secs(2);

/// How a connection ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    Closed(ClosedBy),
    Failed(PeerFault),
}

impl Transport {
    /// Takes over what the signaling machine has for the adapter.
    pub(super) fn drain_signaling_commands(&mut self) {
        while let Some(command) = self.signaling.poll_command() {
            self.queues.commands.push_back(command);
        }
    }

    /// Takes over all that signaling has: events until there are none, and its commands.
    pub(super) fn pump_signaling(&mut self, now: Instant) {
        while let Some(event) = self.signaling.poll_event() {
            self.on_signaling(now, event);
        }
        self.drain_signaling_commands();
    }

    fn on_signaling(&mut self, now: Instant, event: ClientEvent) {
        match event {
            ClientEvent::Up { resumed } => self.on_up(now, resumed),
            ClientEvent::Down { reason, retry_in } => self.on_down(now, reason, retry_in),
            ClientEvent::Announced { peer, capabilities, user_data } => {
                self.on_announced(now, &peer, capabilities, user_data);
            }
            ClientEvent::Offer { from, request, sdp } => self.on_offer(now, &from, &request, &sdp),
            ClientEvent::Answer { from, request, sdp } => {
                self.on_peer(now, &from, |peer| peer.handle_answer(now, &request, &sdp));
            }
            ClientEvent::Candidate { from, request, candidate, .. } => {
                self.on_peer(now, &from, |peer| peer.handle_candidate(now, &request, &candidate));
            }
            ClientEvent::Disconnected { from, reason, request } => {
                self.on_disconnected(now, &from, &reason, request.as_ref());
            }
            ClientEvent::Refused { to, request, message, reason, .. } => {
                self.on_refused(now, &to, &request, &message, reason.as_deref());
            }
            // Signaling may learn to tell more than the mesh has to know.
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }

    fn on_up(&mut self, now: Instant, resumed: bool) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
            self.start_deadline = None;
            self.start_trouble = None;
            self.queues.outcomes.push_back(Outcome::Started(Ok(())));
        }
        self.listing += 1;
        if self.listing > 1 {
            self.listed_at = Some(now + LISTING);
        }
        self.queues.event(Event::SignalingUp { resumed });
    }

    fn on_down(&mut self, now: Instant, reason: String, retry_in: Option<Duration>) {
        if self.phase == Phase::Starting && retry_in.is_none() {
            self.give_up_start(now, StartError::Signaling(reason));
            return;
        }
        if self.phase == Phase::Starting {
            self.start_trouble = Some(reason.clone());
        }
        // Nobody can be called until it is up again; what stands goes on.
        self.listed_at = None;
        self.queues.event(Event::SignalingDown { reason, retry_in });
    }

    fn on_announced(
        &mut self,
        now: Instant,
        peer: &PeerId,
        capabilities: Capabilities,
        mut user_data: Map<String, Value>,
    ) {
        if *peer == self.id {
            return;
        }
        let Some(slot) = self.remotes.ensure(peer) else {
            self.counts.refused += 1;
            return;
        };
        let listing = self.listing;
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        let own = user_data.remove("rtcmesh");
        let version = own.as_ref().and_then(|own| own.get("v")).and_then(Value::as_u64);
        // An emptied map would keep the room of what it held.
        let user_data = Arc::new(if user_data.is_empty() { Map::new() } else { user_data });
        let changed = !remote.announced
            || remote.capabilities != capabilities
            || remote.user_data != user_data;
        remote.rtcmesh = version.is_some_and(|version| version >= 1);
        remote.capabilities = capabilities;
        remote.user_data = user_data.clone();
        remote.listed = listing;
        if !remote.announced {
            remote.announced = true;
            remote.parked = false;
            remote.attempts = 0;
        }
        if changed {
            self.queues.event(Event::PeerDiscovered {
                peer: peer.clone(),
                capabilities,
                user_data,
            });
        }
        self.invite(now, slot);
    }

    /// In automatic mode: sees to it that a peer will be called, by us or by itself.
    fn invite(&mut self, now: Instant, slot: Slot) {
        let Some(remote) = self.remotes.get(slot) else { return };
        if !self.automatic()
            || !remote.announced
            || remote.parked
            || remote.connection.is_some()
            || remote.call_at.is_some()
            || !self.config.admits(&remote.id)
        {
            return;
        }
        let delay = if self.id > remote.id { Duration::ZERO } else { YIELD };
        self.call_later(now, slot, delay);
    }

    fn call_later(&mut self, now: Instant, slot: Slot, delay: Duration) {
        if delay.is_zero() {
            self.call_now(now, slot);
        } else if let Some(remote) = self.remotes.get_mut(slot) {
            remote.call_at = Some(now + delay);
            self.remotes.update(slot);
        }
    }

    /// Calls by the transport's own wish, when there is room.
    fn call_now(&mut self, now: Instant, slot: Slot) {
        if self.remotes.connections() >= self.config.max_peers {
            return self.call_later(now, slot, ROOM_RETRY);
        }
        self.call(now, slot);
    }

    /// Timers of one peer.
    pub(super) fn handle_slot_timeout(&mut self, now: Instant, slot: Slot) {
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        if remote.call_at.is_some_and(|at| at <= now) {
            remote.call_at = None;
            if remote.connection.is_none() && remote.announced {
                return self.call_now(now, slot);
            }
        }
        let interval = self.report_interval();
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        let Some(connection) = remote.connection.as_deref_mut() else {
            return self.remotes.update(slot);
        };
        if connection.peer.poll_timeout().is_some_and(|due| due.at <= now) {
            connection.peer.handle_timeout(now);
        }
        if connection.restart_at.is_some_and(|at| at <= now) {
            connection.restart_at = Some(now + RESTART_INTERVAL);
            connection.peer.restart_ice(now);
        }
        if connection.keyframes.due(now) {
            connection.peer.request_keyframe(now);
        }
        connection.measure(now, self.clock.unix(now));
        if connection.report_at.is_some_and(|at| at <= now) {
            connection.report_at = Some(now + interval);
            let (peer, quality) = (remote.id.clone(), connection.quality());
            self.queues.event(Event::QualityChanged { peer, quality });
        }
        self.settle(now, slot);
        self.give_up_late(now, slot);
    }

    /// Answers a call in time, though its attempt was replaced by another one meanwhile, which goes on.
    pub(super) fn answer_late(&mut self, now: Instant, slot: Slot) {
        let late = self.remotes.get(slot).and_then(|remote| remote.wanted);
        if late.is_some_and(|at| at <= now) {
            self.answer(slot, Err(ConnectError::Timeout(self.config.ice_timeout)));
            self.remotes.update(slot);
        }
    }

    /// Ends an attempt, or the search for a lost path, whose time is up.
    fn give_up_late(&mut self, now: Instant, slot: Slot) {
        let Some(remote) = self.remotes.get(slot) else { return };
        let Some(connection) = remote.connection.as_deref() else { return };
        if connection.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let fault = if connection.connected_at.is_some() {
            PeerFault::Unreachable(format!("the path was lost: {}", connection.peer.tried()))
        } else if connection.peer.has_description() {
            PeerFault::Unreachable(connection.peer.tried())
        } else {
            PeerFault::Timeout(connection.peer.tried())
        };
        self.end(now, slot, End::Failed(fault), true);
    }

    /// Makes a connection and an offer.
    pub(super) fn call(&mut self, now: Instant, slot: Slot) {
        if !self.connect(now, slot) {
            return;
        }
        let connection = self.remotes.get_mut(slot).and_then(|r| r.connection.as_deref_mut());
        if let Some(connection) = connection {
            connection.peer.negotiate(now);
        }
        self.settle(now, slot);
    }

    /// Makes a connection that has not been negotiated; false where the engine could not.
    fn connect(&mut self, now: Instant, slot: Slot) -> bool {
        let border = Border::new(self.engine.as_ref(), self.tape.as_ref());
        let (Some(border), Some(remote)) = (border, self.remotes.get_mut(slot)) else {
            return false;
        };
        let mut rng =
            self.rng.fork(&format!("connection {} {}", remote.id, self.counts.connections));
        self.counts.connections += 1;
        let config = PeerConfig {
            audio: self.config.audio.enabled && remote.capabilities.audio,
            video: self.config.video.enabled && remote.capabilities.video,
            data: self.config.enable_data_channel && remote.capabilities.data,
            video_codec: self.config.video.codec,
            retransmission_packets: self.config.video.retransmission_packets,
            remote_is_rtcmesh: remote.rtcmesh,
            impolite: self.id > remote.id,
        };
        remote.call_at = None;
        remote.state = PeerState::Connecting;
        self.queues.event(Event::Connecting { peer: remote.id.clone() });
        let start = rng.next_u64() as u32;
        let mut peer = match Peer::new(&border, config, rng, now) {
            Ok(peer) => peer,
            Err(fault) => {
                self.end(now, slot, End::Failed(fault), false);
                return false;
            }
        };
        for local in self.sockets.addresses() {
            peer.add_local(now, local);
        }
        let mut reception = match Reception::new(&remote.id, &self.config, start.into()) {
            Ok(reception) => reception,
            Err(error) => {
                let fault = PeerFault::Internal(error.to_string());
                self.end(now, slot, End::Failed(fault), false);
                return false;
            }
        };
        if let Some(tape) = &self.tape {
            reception.record(tape);
        }
        reception.measure(now, self.clock.unix(now), None);
        let mut connection = Connection::new(peer, reception, SendTimeline::new(start), now);
        connection.deadline = Some(now + self.config.ice_timeout);
        remote.connection = Some(Box::new(connection));
        true
    }

    fn on_offer(&mut self, now: Instant, from: &PeerId, request: &RequestId, sdp: &str) {
        if *from == self.id || !self.config.admits(from) {
            return self.refuse(now, from, request, "not admitted");
        }
        let Some(slot) = self.remotes.ensure(from) else {
            return self.refuse(now, from, request, "too many peers are known");
        };
        let existing = self.remotes.get(slot).and_then(|r| r.connection.as_deref());
        let mut wanted = None;
        if let Some(connection) = existing
            && !connection.peer.continues(sdp)
        {
            // The other side has begun anew: what it had with us is gone. Whoever waits, waits for the new.
            wanted = self.remotes.get_mut(slot).and_then(|remote| remote.wanted.take());
            self.end(now, slot, End::Closed(ClosedBy::Replaced), false);
        }
        // The end of the old connection may have ended what is known of the peer.
        let Some(slot) = self.remotes.ensure(from) else { return };
        if let Some(remote) = self.remotes.get_mut(slot) {
            remote.wanted = remote.wanted.or(wanted);
        }
        if self.remotes.get(slot).is_some_and(|remote| remote.connection.is_none()) {
            if self.remotes.connections() >= self.config.max_peers {
                let connections = self.remotes.connections();
                self.answer(slot, Err(ConnectError::MaxPeersExceeded(connections)));
                self.refuse(now, from, request, "max_peers is reached");
                return self.forget_stranger(slot);
            }
            if !self.connect(now, slot) {
                return;
            }
        }
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        remote.parked = false;
        if let Some(connection) = remote.connection.as_deref_mut() {
            connection.negotiates(request);
            connection.peer.handle_offer(now, request, sdp);
        }
        self.settle(now, slot);
    }

    /// Forgets a peer that was only known by its offer.
    fn forget_stranger(&mut self, slot: Slot) {
        let known = |remote: &Remote| remote.announced || remote.connection.is_some();
        if !self.remotes.get(slot).is_some_and(known) {
            self.remotes.forget(slot);
        }
    }

    fn refuse(&mut self, now: Instant, to: &PeerId, request: &RequestId, why: &'static str) {
        if !self.follows() {
            tracing::debug!(%to, why, "an offer is refused");
        }
        self.counts.refused += 1;
        self.signaling.send(
            now,
            ToPeer::Disconnect {
                to: to.clone(),
                reason: DisconnectReason::Error,
                request: Some(request.clone()),
            },
        );
    }

    fn on_peer(&mut self, now: Instant, from: &PeerId, act: impl FnOnce(&mut Peer)) {
        let Some(slot) = self.remotes.find(from.as_str()) else { return };
        let connection = self.remotes.get_mut(slot).and_then(|r| r.connection.as_deref_mut());
        if let Some(connection) = connection {
            act(&mut connection.peer);
            self.settle(now, slot);
        }
    }

    fn on_disconnected(
        &mut self,
        now: Instant,
        from: &PeerId,
        reason: &str,
        request: Option<&RequestId>,
    ) {
        let Some(slot) = self.remotes.find(from.as_str()) else { return };
        let connection = self.remotes.get_mut(slot).and_then(|r| r.connection.as_deref_mut());
        if let Some(request) = request {
            let Some(connection) = connection.filter(|c| c.knows(request)) else { return };
            if reason == "user_requested" {
                return self.end_by_peer(now, slot);
            }
            let live = connection.connected_at.is_some();
            if live && (connection.peer.withdraw(now, request) || reason == "timeout") {
                // What was offered beside the live connection came to nothing: it goes on.
                return;
            }
            let fault = match reason {
                "timeout" => PeerFault::Timeout("no answer to the offer".into()),
                reason => PeerFault::Refused(reason.into()),
            };
            return self.end(now, slot, End::Failed(fault), false);
        }
        // Without the name of a negotiation: it has left signaling.
        if reason == "user_requested" && connection.is_some() {
            self.end_by_peer(now, slot);
        }
        self.gone(now, slot, reason);
    }

    fn end_by_peer(&mut self, now: Instant, slot: Slot) {
        if let Some(remote) = self.remotes.get_mut(slot) {
            remote.parked = true;
        }
        self.end(now, slot, End::Closed(ClosedBy::Peer), false);
    }

    /// A peer has left signaling.
    fn gone(&mut self, _now: Instant, slot: Slot, reason: &str) {
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        if !std::mem::replace(&mut remote.announced, false) {
            return;
        }
        remote.call_at = None;
        let (peer, idle) = (remote.id.clone(), remote.connection.is_none());
        self.queues.event(Event::PeerGone { peer, reason: reason.into() });
        if idle {
            self.remotes.forget(slot);
        } else {
            self.remotes.update(slot);
        }
    }

    /// After a reconnect: whoever was not announced again has left meanwhile.
    pub(super) fn forget_unlisted(&mut self, now: Instant) {
        let listing = self.listing;
        let unlisted = |slot: &Slot| {
            self.remotes.get(*slot).is_some_and(|r| r.announced && r.listed != listing)
        };
        let slots: Vec<Slot> = self.remotes.slots().filter(unlisted).collect();
        for slot in slots {
            self.gone(now, slot, "network_error");
        }
    }

    /// The server could not forward an offer or an answer of ours.
    fn on_refused(
        &mut self,
        now: Instant,
        to: &PeerId,
        request: &RequestId,
        message: &str,
        reason: Option<&str>,
    ) {
        let Some(slot) = self.remotes.find(to.as_str()) else { return };
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        let Some(connection) = remote.connection.as_deref_mut().filter(|c| c.knows(request)) else {
            return;
        };
        if connection.connected_at.is_some() {
            connection.peer.withdraw(now, request);
            return;
        }
        if connection.request() != Some(request) {
            // An answer to an offer that the other side has replaced by another one meanwhile.
            return;
        }
        if reason == Some("peer_not_found") {
            // It left just now: the word of it is on its way.
            self.answer(slot, Err(ConnectError::PeerNotFound(to.clone())));
        }
        self.end(now, slot, End::Failed(PeerFault::Refused(message.into())), false);
    }

    /// Tells whoever waits for a connection what became of it.
    fn answer(&mut self, slot: Slot, result: Result<(), ConnectError>) {
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        if remote.wanted.take().is_some() {
            let peer = remote.id.clone();
            self.queues.outcomes.push_back(Outcome::Connected { peer, result });
        }
    }

    /// Ends a peer's connection: tells the application, whoever waits for it and, with `tell`, the other
    /// side; drops all of its resources; and calls again later where that is wished.
    pub(super) fn end(&mut self, now: Instant, slot: Slot, end: End, tell: bool) {
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        let had_connection = remote.connection.is_some() || remote.state == PeerState::Connecting;
        if !had_connection {
            return;
        }
        let mut request = None;
        if let Some(mut connection) = remote.connection.take() {
            request = connection.request().cloned();
            if tell {
                connection.peer.close(now);
            }
            let id = remote.id.clone();
            self.send_out(slot, &mut connection);
            if tell && request.is_some() {
                let reason = match &end {
                    End::Closed(_) => DisconnectReason::UserRequested,
                    End::Failed(PeerFault::Timeout(_)) => DisconnectReason::Timeout,
                    End::Failed(PeerFault::Unreachable(_)) => DisconnectReason::NetworkError,
                    End::Failed(_) => DisconnectReason::Error,
                };
                let request = request.clone();
                self.signaling.send(now, ToPeer::Disconnect { to: id, reason, request });
            }
            self.demux.remove(slot);
        }
        let timeout = self.config.ice_timeout;
        self.answer(slot, Err(connect_error(&end, timeout)));
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        let peer = remote.id.clone();
        let failed = matches!(end, End::Failed(_));
        remote.state = if failed { PeerState::Failed } else { PeerState::Closed };
        self.queues.event(match end {
            End::Closed(by) => Event::Closed { peer, by },
            End::Failed(fault) => Event::Failed { peer, fault },
        });
        if failed {
            self.counts.failures += 1;
        }
        let state = if failed { PeerConnectionState::Failed } else { PeerConnectionState::Closed };
        self.report_state(now, slot, state, request);
        self.after_end(now, slot, failed);
        self.drain_signaling_commands();
    }

    /// Tells the server where a connection stands, for its monitoring.
    pub(super) fn report_state(
        &mut self,
        now: Instant,
        slot: Slot,
        state: PeerConnectionState,
        request: Option<RequestId>,
    ) {
        let Some(remote) = self.remotes.get(slot) else { return };
        let Some(request) = request.filter(|_| self.signaling.is_up()) else { return };
        let (to, timestamp) = (remote.id.clone(), iso8601(self.clock.unix(now)));
        self.signaling.send(now, ToPeer::StateChanged { to, state, request, timestamp });
    }

    fn after_end(&mut self, now: Instant, slot: Slot, failed: bool) {
        let automatic = self.automatic() && self.phase == Phase::Running;
        let Some(remote) = self.remotes.get_mut(slot) else { return };
        if !remote.announced {
            return self.remotes.forget(slot);
        }
        if failed && automatic && !remote.parked {
            let delay = retry_delay(remote, self.rng.unit());
            let yields = self.id < remote.id;
            remote.attempts = remote.attempts.saturating_add(1);
            remote.call_at = Some(now + delay + if yields { YIELD } else { Duration::ZERO });
        }
        self.remotes.update(slot);
    }
}

/// 1, 2, 4 … 30 s, a quarter more or less.
fn retry_delay(remote: &Remote, unit: f64) -> Duration {
    let exponential = Duration::from_secs(1 << remote.attempts.min(5)).min(MAX_RETRY);
    exponential.mul_f64(0.75 + 0.5 * unit)
}

/// What an end means to whoever waits for the connection.
fn connect_error(end: &End, timeout: Duration) -> ConnectError {
    match end {
        End::Closed(by) => ConnectError::ConnectionFailed(by.to_string()),
        End::Failed(PeerFault::Unreachable(tried)) => {
            ConnectError::NatTraversalFailed(tried.clone())
        }
        End::Failed(PeerFault::Timeout(_)) => ConnectError::Timeout(timeout),
        End::Failed(fault) => ConnectError::ConnectionFailed(fault.to_string()),
    }
}
