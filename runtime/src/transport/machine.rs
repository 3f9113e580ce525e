//! What the driver asks of the machine that it drives: the verbs of [`Transport`], so that tests can
//! put a scripted one in its place, and benches one that costs nothing.

use std::time::Instant;

use rtcmesh_core::error::{ConnectError, StartError};
use rtcmesh_core::net::{Datagram, IoCommand, IoEvent, Transmit};
use rtcmesh_core::time::Deadline;
use rtcmesh_core::transport::{Event, Media, Outcome, Transport};

#[cfg(feature = "machine")]
use crate::{runtime::Runtime, transport::handle::Handle, transport::interfaces};

/// A machine without I/O: what [`Transport`] does, under the same names. `now` never runs backwards.
// Public for benches alone.
#[cfg_attr(not(feature = "machine"), allow(unreachable_pub))]
pub trait Machine: Send + 'static {
    /// Begins; what comes of it is an [`Outcome::Started`].
    ///
    /// # Errors
    /// Where it cannot begin, now or ever.
    fn start(&mut self, now: Instant) -> Result<(), StartError>;
    /// Ends; once the goodbyes are said there is an [`Outcome::ShutDown`].
    fn shutdown(&mut self, now: Instant);
    /// Connects to a peer. `true`: it is connected already; otherwise an [`Outcome::Connected`] follows.
    ///
    /// # Errors
    /// Where that cannot be tried.
    fn connect_peer(&mut self, now: Instant, peer: &str) -> Result<bool, ConnectError>;

    /// Takes a received datagram.
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>);
    /// Takes what happened to a socket, a link or the interfaces.
    fn handle_io(&mut self, now: Instant, event: IoEvent<'_>);
    /// Does what is due; nothing, if it is called too early.
    fn handle_timeout(&mut self, now: Instant);

    /// The next datagram to send.
    fn poll_transmit(&mut self) -> Option<Transmit>;
    /// The next thing to be done with a socket, a link or the interfaces.
    fn poll_command(&mut self) -> Option<IoCommand>;
    /// The next outcome of what was commanded.
    fn poll_outcome(&mut self) -> Option<Outcome>;
    /// The next event.
    fn poll_event(&mut self) -> Option<Event>;
    /// The next frame that is due for playout.
    fn poll_media(&mut self) -> Option<Media>;
    /// Whether there is an event or a frame.
    fn has_events(&self) -> bool;
    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    fn poll_timeout(&self) -> Option<Deadline>;
}

impl Machine for Transport {
    fn start(&mut self, now: Instant) -> Result<(), StartError> {
        self.start(now)
    }

    fn shutdown(&mut self, now: Instant) {
        self.shutdown(now);
    }

    fn connect_peer(&mut self, now: Instant, peer: &str) -> Result<bool, ConnectError> {
        self.connect_peer(now, peer)
    }

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.handle_datagram(now, datagram);
    }

    fn handle_io(&mut self, now: Instant, event: IoEvent<'_>) {
        self.handle_io(now, event);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.poll_transmit()
    }

    fn poll_command(&mut self) -> Option<IoCommand> {
        self.poll_command()
    }

    fn poll_outcome(&mut self) -> Option<Outcome> {
        self.poll_outcome()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }

    fn poll_media(&mut self) -> Option<Media> {
        self.poll_media()
    }

    fn has_events(&self) -> bool {
        self.has_events()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.poll_timeout()
    }
}

/// Starts a machine with a driver of its own, for benches. What it gives keeps both alive: dropped, the machine
/// is shut down.
///
/// # Errors
/// The machine's.
#[cfg(feature = "machine")]
pub async fn start<R: Runtime, M: Machine>(
    runtime: R,
    machine: M,
) -> Result<impl Send + use<R, M>, StartError> {
    let handle = Handle::new(runtime, machine, interfaces::system);
    handle.start().await?;
    Ok(handle)
}
