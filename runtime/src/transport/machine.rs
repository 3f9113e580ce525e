//! What the driver asks of the machine that it drives: the verbs of [`Transport`], so that tests can
//! put a scripted one in its place, and benches one that costs nothing.

use std::time::Instant;

use rtcmesh_core::error::{ConnectError, StartError};
use rtcmesh_core::net::{Datagram, IoCommand, IoEvent, Transmit};
use rtcmesh_core::time::Deadline;
use rtcmesh_core::transport::{Event, Media, Outcome, Transport};

#[cfg(feature = "machine")]
use crate::{runtime::Runtime, transport::handle::Handle, transport::interfaces};

/// A machine without I/O. The methods are those of [`Transport`], which documents them.
// Public for benches alone.
#[allow(missing_docs, unreachable_pub, clippy::missing_errors_doc)]
pub trait Machine: Send + 'static {
    fn start(&mut self, now: Instant) -> Result<(), StartError>;
    fn shutdown(&mut self, now: Instant);
    fn connect_peer(&mut self, now: Instant, peer: &str) -> Result<bool, ConnectError>;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>);
    fn handle_io(&mut self, now: Instant, event: IoEvent<'_>);
    fn handle_timeout(&mut self, now: Instant);

    fn poll_transmit(&mut self) -> Option<Transmit>;
    fn poll_command(&mut self) -> Option<IoCommand>;
    fn poll_outcome(&mut self) -> Option<Outcome>;
    fn poll_event(&mut self) -> Option<Event>;
    fn poll_media(&mut self) -> Option<Media>;
    fn has_events(&self) -> bool;
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
