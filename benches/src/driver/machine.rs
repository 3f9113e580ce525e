//! A machine that gives back what comes: what the driver does for it is all that it costs.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtcmesh_core::error::{ConnectError, StartError};
use rtcmesh_core::id::SocketId;
use rtcmesh_core::net::{Datagram, IoCommand, IoEvent, Transmit};
use rtcmesh_core::time::Deadline;
use rtcmesh_core::transport::{Event, Media, Outcome};

pub(crate) struct Machine<F> {
    /// To be told the address of the socket.
    started: Option<F>,
    sent: Arc<AtomicU64>,
    transmits: VecDeque<Transmit>,
    command: Option<IoCommand>,
    outcome: Option<Outcome>,
    /// How often it wants to be called, and when it is next.
    tick: Option<Duration>,
    next: Instant,
}

impl<F> Machine<F> {
    pub(crate) fn new(
        now: Instant,
        tick: Option<Duration>,
        started: F,
        sent: Arc<AtomicU64>,
    ) -> Self {
        Self {
            started: Some(started),
            sent,
            transmits: VecDeque::with_capacity(1024),
            command: None,
            outcome: None,
            tick,
            next: now,
        }
    }
}

impl<F> rtcmesh_runtime::machine::Machine for Machine<F>
where
    F: FnOnce(SocketAddr) + Send + 'static,
{
    fn start(&mut self, _: Instant) -> Result<(), StartError> {
        let addr = (Ipv4Addr::LOCALHOST, 0).into();
        self.command = Some(IoCommand::BindUdp { socket: SocketId(1), addr });
        self.outcome = Some(Outcome::Started(Ok(())));
        Ok(())
    }

    fn shutdown(&mut self, _: Instant) {
        self.outcome = Some(Outcome::ShutDown);
    }

    fn connect_peer(&mut self, _: Instant, _: &str) -> Result<bool, ConnectError> {
        Err(ConnectError::NotStarted)
    }

    fn handle_datagram(&mut self, _: Instant, datagram: Datagram<'_>) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.transmits.push_back(Transmit {
            socket: datagram.socket,
            remote: datagram.remote,
            payload: datagram.payload.to_vec(),
        });
    }

    fn handle_io(&mut self, _: Instant, event: IoEvent<'_>) {
        if let (IoEvent::UdpBound { local, .. }, Some(started)) = (event, self.started.take()) {
            started(local);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.next = now + self.tick.unwrap_or_default();
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_command(&mut self) -> Option<IoCommand> {
        self.command.take()
    }

    fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }

    fn poll_event(&mut self) -> Option<Event> {
        None
    }

    fn poll_media(&mut self) -> Option<Media> {
        None
    }

    fn has_events(&self) -> bool {
        false
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.tick.map(|_| Deadline::new(self.next, "the echo's tick"))
    }
}
