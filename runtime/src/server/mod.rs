//! The signaling server: one port for the WebSocket, the page, health and metrics.
//!
//! One task accepts on each address, one keeps the machine's time, and one serves each connection: it
//! reads what comes in, hands it to the machine (one for all, behind a lock), and writes what the
//! machine wants said there. Nobody writes to a connection but its own task, so that a stuck reader
//! holds up nobody else.

mod accept;
mod connection;
pub(crate) mod http;
mod link;
mod options;
mod shared;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rtcmesh_core::error::ConfigError;
use rtcmesh_core::rng::Seed;
use rtcmesh_core::signaling::{Server, ServerMetrics};

pub use http::{Assets, Origins};
pub use options::SignalingServerOptions;
pub use shared::Admission;

use crate::runtime::{Runtime, TcpListener, Timer};
use shared::Shared;

/// The bound of a shutdown: connections have [`link::FAREWELL`], and their tasks some time to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a signaling server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A limit is out of its bounds.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on: it is in use, or not one of this machine.
    #[error("cannot listen on {addr}: {error}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's reason.
        error: io::Error,
    },
    /// The calling thread is in no runtime, or the system gives no random bytes.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// A running signaling server (the contract: JSON-RPC 2.0 over WebSocket), which also answers plain
/// HTTP: the files of its [`Assets`], `/healthz`, and `/metrics` in the text format of Prometheus.
///
/// It runs in tasks of its own until [`SignalingServer::shutdown`], or until it is dropped.
pub struct SignalingServer<R: Runtime> {
    shared: Arc<Shared<R>>,
    local_addrs: Vec<SocketAddr>,
}

impl<R: Runtime> SignalingServer<R> {
    /// Starts a server that listens on all of `addrs`, in the runtime that the calling thread is in.
    /// Port 0 takes any free one.
    ///
    /// # Errors
    /// [`ServerError`]; then nothing is left running.
    pub fn bind(
        addrs: impl IntoIterator<Item = SocketAddr>,
        options: SignalingServerOptions,
    ) -> Result<Self, ServerError> {
        Self::bind_in(R::current()?, addrs, options)
    }

    /// [`SignalingServer::bind`] in a runtime of the caller's choice.
    ///
    /// # Errors
    /// [`ServerError`]; then nothing is left running.
    pub fn bind_in(
        runtime: R,
        addrs: impl IntoIterator<Item = SocketAddr>,
        options: SignalingServerOptions,
    ) -> Result<Self, ServerError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let unix_now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = Seed::from_bytes(seed);
        let mut config = options.config.clone();
        config.authorize = options.authorize.is_some();
        let machine = Server::new(config, seed, runtime.now(), unix_now)?;

        let (mut listeners, mut local_addrs) = (Vec::new(), Vec::new());
        for addr in addrs {
            let listen = || {
                let listener = runtime.listen_tcp(addr)?;
                let local = listener.local_addr()?;
                Ok((listener, local))
            };
            let (listener, local) =
                listen().map_err(|error| ServerError::Listen { addr, error })?;
            listeners.push(listener);
            local_addrs.push(local);
        }

        let shared = Arc::new(Shared::new(runtime, machine, options));
        shared::spawn(&shared, shared::keep_time(shared.clone()));
        for listener in listeners {
            shared::spawn(&shared, accept::accept(shared.clone(), listener));
        }
        Ok(Self { shared, local_addrs })
    }

    /// The addresses that it listens on, in the order given, with their ports.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The first of [`SignalingServer::local_addrs`]; `None` where it was given none.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs.first().copied()
    }

    /// Counters and gauges of the signaling machine.
    pub fn metrics(&self) -> ServerMetrics {
        self.shared.metrics()
    }

    /// Stops listening, closes every WebSocket with 1001 (going away), and returns once all is closed,
    /// within 2 s at most.
    pub async fn shutdown(self) {
        self.shared.stop();
        let runtime = self.shared.runtime();
        let mut limit = runtime.timer(runtime.now() + SHUTDOWN_TIMEOUT);
        poll_fn(|cx| match self.shared.poll_stopped(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => limit.poll(cx),
        })
        .await;
    }
}

impl<R: Runtime> Drop for SignalingServer<R> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl<R: Runtime> fmt::Debug for SignalingServer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalingServer").field("local_addrs", &self.local_addrs).finish()
    }
}
