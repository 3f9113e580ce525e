//! A machine that does what a test tells it to, and remembers what it was told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use rtcmesh_core::error::{ConnectError, StartError};
use rtcmesh_core::id::SocketId;
use rtcmesh_core::net::{Datagram, IoCommand, IoEvent, Transmit};
use rtcmesh_core::time::Deadline;
use rtcmesh_core::transport::{Event, Media, Outcome};

use crate::transport::machine::Machine;

#[derive(Default)]
pub(crate) struct Script {
    /// What the driver told, in words.
    pub(crate) log: Vec<String>,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) commands: VecDeque<IoCommand>,
    pub(crate) outcomes: VecDeque<Outcome>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) media: VecDeque<Media>,
    /// The timers that are set, each of which goes off once.
    pub(crate) timers: Vec<Instant>,
    /// Timers never go off: the fault of a machine that is due without end.
    pub(crate) stuck: bool,
    /// Datagrams go back where they came from.
    pub(crate) echoes: bool,
    /// It never says that its goodbyes are said.
    pub(crate) mute: bool,
    /// It panics at the next datagram.
    pub(crate) faulty: bool,
    pub(crate) timeouts: usize,
}

impl Script {
    pub(crate) fn transmit(&mut self, socket: u64, remote: SocketAddr, text: &str) {
        let payload = text.as_bytes().to_vec();
        self.transmits.push_back(Transmit { socket: SocketId(socket), remote, payload });
    }
}

impl Machine for Script {
    fn start(&mut self, _: Instant) -> Result<(), StartError> {
        self.log.push("start".into());
        Ok(())
    }

    fn shutdown(&mut self, _: Instant) {
        self.log.push("shutdown".into());
        if !self.mute {
            self.outcomes.push_back(Outcome::ShutDown);
        }
    }

    /// `peer` is connected already, the others can be called.
    fn connect_peer(&mut self, _: Instant, peer: &str) -> Result<bool, ConnectError> {
        self.log.push(format!("connect {peer}"));
        Ok(peer == "friend")
    }

    fn handle_datagram(&mut self, _: Instant, datagram: Datagram<'_>) {
        assert!(!self.faulty, "the fault that the test asked for");
        let text = String::from_utf8_lossy(datagram.payload);
        self.log.push(format!("{} received {text}", datagram.socket));
        if self.echoes {
            self.transmits.push_back(Transmit {
                socket: datagram.socket,
                remote: datagram.remote,
                payload: datagram.payload.to_vec(),
            });
        }
    }

    fn handle_io(&mut self, _: Instant, event: IoEvent<'_>) {
        self.log.push(match event {
            IoEvent::Interfaces(addresses) => format!("interfaces {addresses:?}"),
            IoEvent::UdpBound { socket, local } => format!("{socket} bound to {local}"),
            IoEvent::UdpFailed { socket, error } => format!("{socket} failed: {error}"),
            IoEvent::LinkUp { link } => format!("link {link} up"),
            IoEvent::LinkText { link, text } => format!("link {link}: {text}"),
            IoEvent::LinkDown { link, code, reason } => {
                format!("link {link} down, code {code:?}: {reason}")
            }
            other => format!("{other:?}"),
        });
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.timeouts += 1;
        if !self.stuck {
            self.timers.retain(|at| *at > now);
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn poll_command(&mut self) -> Option<IoCommand> {
        self.commands.pop_front()
    }

    fn poll_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_media(&mut self) -> Option<Media> {
        self.media.pop_front()
    }

    fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.media.is_empty()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.timers.iter().min().map(|at| Deadline::new(*at, "a timer of the test"))
    }
}
