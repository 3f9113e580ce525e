//! What the application asks for, but sending.

use std::time::{Duration, Instant};

use super::{Phase, Transport};
use crate::config::ConfigPatch;
use crate::error::{ConfigureError, ConnectError, DisconnectError, NotStarted, StartError};
use crate::id::PeerId;
use crate::peer::Engine;
use crate::transport::demux::Slot;
use crate::transport::event::{ClosedBy, Outcome};
use crate::transport::info::{Metrics, PeerInfo, PeerState};
use crate::transport::mesh::End;
use crate::transport::record::Call;

impl Transport {
    /// How long `start` may take until the announce is answered.
    pub const START_TIMEOUT: Duration = Duration::from_secs(10);

    /// Connects signaling and announces this peer; an [`Outcome::Started`] follows, within
    /// [`Transport::START_TIMEOUT`]. After a failure it may be called again.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`], [`StartError::ShutDown`], and [`StartError::Signaling`] where the
    /// system gives no randomness for a certificate, or the build is without the feature `aws-lc-rs`.
    pub fn start(&mut self, now: Instant) -> Result<(), StartError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(trace, now, |_| Call::Start, |t| t.start(now));
        }
        let now = self.clock.advance(now);
        match self.phase {
            Phase::New => {}
            Phase::Starting | Phase::Running => return Err(StartError::AlreadyStarted),
            Phase::Ended => return Err(StartError::ShutDown),
        }
        if self.engine.is_none() && !self.is_replay() {
            self.engine = Some(Engine::new().map_err(StartError::Signaling)?);
        }
        self.phase = Phase::Starting;
        self.start_deadline = Some(now + Self::START_TIMEOUT);
        let watch = self.sockets.start(now);
        self.queues.commands.push_back(watch);
        Ok(())
    }

    /// Ends every connection with a goodbye, leaves signaling and closes all sockets; an
    /// [`Outcome::ShutDown`] follows at once, and again at each further call.
    pub fn shutdown(&mut self, now: Instant) {
        if let Some(trace) = self.trace.take() {
            return self.traced(trace, now, |_| Call::Shutdown, |t| t.shutdown(now));
        }
        let now = self.clock.advance(now);
        if !matches!(self.phase, Phase::Ended) {
            let started = self.phase == Phase::Starting;
            let slots: Vec<Slot> = self.remotes.slots().collect();
            for slot in slots {
                if let Some(remote) = self.remotes.get_mut(slot) {
                    remote.parked = true;
                    remote.call_at = None;
                }
                self.end(now, slot, End::Closed(ClosedBy::Us), true);
            }
            self.phase = Phase::Ended;
            self.signaling.stop(now);
            self.drain_signaling_commands();
            let closing = self.sockets.close();
            self.queues.commands.extend(closing);
            if started {
                self.queues.outcomes.push_back(Outcome::Started(Err(StartError::ShutDown)));
            }
        }
        self.queues.outcomes.push_back(Outcome::ShutDown);
    }

    /// Connects to a peer that is announced. `Ok(true)`: it is connected already. `Ok(false)`: an
    /// [`Outcome::Connected`] of this peer follows, within the configured `ice_timeout`; calls made
    /// meanwhile share the attempt and its one outcome.
    ///
    /// # Errors
    /// [`ConnectError`], where the attempt cannot even begin.
    pub fn connect_peer(&mut self, now: Instant, peer: &str) -> Result<bool, ConnectError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |_| Call::Connect(peer.into()),
                |t| t.connect_peer(now, peer),
            );
        }
        let now = self.clock.advance(now);
        if self.phase != Phase::Running {
            return Err(ConnectError::NotStarted);
        }
        let id = PeerId::new(peer)?;
        if !self.config.admits(&id) {
            let reason = format!("the configuration's lists do not admit {id}");
            return Err(ConnectError::ConnectionFailed(reason));
        }
        let slot = self.remotes.find(peer);
        let Some((slot, remote)) = slot.and_then(|s| Some((s, self.remotes.get_mut(s)?))) else {
            return Err(ConnectError::PeerNotFound(id));
        };
        if remote.state == PeerState::Connected {
            return Ok(true);
        }
        let until = now + self.config.ice_timeout;
        if remote.connection.is_some() {
            remote.wanted.get_or_insert(until);
            self.remotes.update(slot);
            return Ok(false);
        }
        if !remote.announced {
            return Err(ConnectError::PeerNotFound(id));
        }
        let connections = self.remotes.connections();
        if connections >= self.config.max_peers {
            return Err(ConnectError::MaxPeersExceeded(connections));
        }
        if let Some(remote) = self.remotes.get_mut(slot) {
            remote.wanted = Some(until);
            remote.parked = false;
        }
        self.call(now, slot);
        self.pump_signaling(now);
        Ok(false)
    }

    /// Ends the connection to a peer and tells it. It can be connected again later; automatic mode does
    /// not do so by itself. A peer that is not connected (any more) is no error.
    ///
    /// # Errors
    /// [`DisconnectError::PeerNotFound`] for a name that was never known here.
    pub fn disconnect_peer(&mut self, now: Instant, peer: &str) -> Result<(), DisconnectError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |_| Call::Disconnect(peer.into()),
                |t| t.disconnect_peer(now, peer),
            );
        }
        let now = self.clock.advance(now);
        if self.phase != Phase::Running {
            return Err(DisconnectError::NotStarted);
        }
        let Some(slot) = self.remotes.find(peer) else {
            if self.remotes.was_known(peer) {
                return Ok(());
            }
            return Err(DisconnectError::PeerNotFound(peer.into()));
        };
        if let Some(remote) = self.remotes.get_mut(slot) {
            remote.parked = true;
            remote.call_at = None;
        }
        self.end(now, slot, End::Closed(ClosedBy::Us), true);
        self.pump_signaling(now);
        Ok(())
    }

    /// Changes settings while running. Those of audio, the jitter buffer's size and the RTCP interval act on live
    /// connections at once, the codec on later ones.
    ///
    /// # Errors
    /// [`ConfigureError`] naming the option: nothing was changed then.
    pub fn configure(&mut self, now: Instant, patch: &ConfigPatch) -> Result<(), ConfigureError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |_| Call::Configure(patch.clone()),
                |t| t.configure(now, patch),
            );
        }
        let now = self.clock.advance(now);
        let changed = patch.apply(&self.config)?;
        self.config = changed;
        let interval = self.report_interval();
        let audio = self.config.audio;
        if let Some(source) = &mut self.broadcast {
            source.configure(&audio);
        }
        let slots: Vec<Slot> = self.remotes.slots().collect();
        for slot in slots {
            let connection = self.remotes.get_mut(slot).and_then(|r| r.connection.as_deref_mut());
            let Some(connection) = connection else { continue };
            connection.look_at_reception(now);
            if let Some(size) = patch.jitter_buffer_size_ms
                && let Err(error) = connection.reception.set_size(size)
            {
                tracing::error!(%error, "a jitter buffer refused a size that was validated");
            }
            if let Some(concealment) = patch.audio_concealment {
                connection.reception.set_concealment(concealment);
            }
            if let Some(source) = &mut connection.source {
                source.configure(&audio);
            }
            if connection.report_at.is_some() {
                connection.report_at = Some(now + interval);
            }
            self.settle(now, slot);
        }
        Ok(())
    }

    /// How often a peer's figures are reported.
    pub(super) fn report_interval(&self) -> Duration {
        Duration::from_millis(self.config.rtcp_interval_ms.into())
    }

    /// A snapshot of the peers that are connected, in the order of their ids.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub fn list_peers(&self) -> Result<Vec<PeerInfo>, NotStarted> {
        self.snapshot(|state| state == PeerState::Connected)
    }

    /// A snapshot of all peers that are announced or have a connection, in the order of their ids.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub fn known_peers(&self) -> Result<Vec<PeerInfo>, NotStarted> {
        self.snapshot(|_| true)
    }

    fn snapshot(&self, which: impl Fn(PeerState) -> bool) -> Result<Vec<PeerInfo>, NotStarted> {
        if self.phase != Phase::Running {
            return Err(NotStarted);
        }
        let chosen = self.remotes.iter().filter(|remote| which(remote.state));
        Ok(chosen.map(|remote| remote.info(|at| self.clock.unix(at))).collect())
    }

    /// The whole transport's figures.
    pub fn metrics(&self) -> Metrics {
        let signaling = self.signaling.counters();
        let count = |state| self.remotes.iter().filter(|remote| remote.state == state).count();
        let (media_waiting, events_waiting, data_waiting) = self.queues.lengths();
        Metrics {
            announced: self.remotes.iter().filter(|remote| remote.announced).count(),
            connecting: count(PeerState::Connecting),
            connected: count(PeerState::Connected) + count(PeerState::Reconnecting),
            connections: self.counts.connections,
            failures: self.counts.failures,
            refused: self.counts.refused,
            datagrams_in: self.counts.datagrams_in,
            datagrams_out: self.counts.datagrams_out,
            datagrams_unknown: self.counts.datagrams_unknown,
            datagrams_dropped: self.queues.dropped.0,
            audio_encodes: self.counts.audio_encodes,
            media_dropped: self.queues.dropped.1,
            data_dropped: self.queues.dropped.2,
            media_waiting,
            events_waiting,
            data_waiting,
            signaling_malformed: signaling.malformed,
            signaling_reconnects: signaling.reconnects,
        }
    }
}
