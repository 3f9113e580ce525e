//! The async transport: a cheap handle to a mesh, which a task of the runtime drives.

mod driver;
mod events;
mod handle;
mod interfaces;
mod link;
#[cfg(feature = "machine")]
pub mod machine;
#[cfg(not(feature = "machine"))]
mod machine;
mod placed;
mod recording;
mod report;
mod shared;
#[cfg(test)]
mod tests;
mod udp;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::SystemTime;

use rtcmesh_core::config::{Config, ConfigPatch};
use rtcmesh_core::error::{
    BroadcastError, ConfigError, ConfigureError, ConnectError, DisconnectError, NotStarted,
    SendError, StartError,
};
use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::{DataMessage, Reliability, RuntimeData};
use rtcmesh_core::rng::Seed;
use rtcmesh_core::trace::{RecordOptions, Recorder};
use rtcmesh_core::transport::{BroadcastStats, Metrics, PeerInfo, Transport};

pub use events::{Events, TransportEvent};
pub use placed::TransportDriver;
pub use recording::RecordingFile;

use crate::runtime::Runtime;
use crate::tls::TlsOptions;
use handle::Handle;

/// A multi-peer WebRTC transport: a mesh of connections to the peers of a room.
///
/// It is a handle: clones lead to the same mesh, from any thread. A task of the runtime, spawned by
/// [`start`](Self::start) or [placed by you](Self::into_driver), does what takes time; commands never wait for the
/// network, but for those that say so. When the last clone is dropped the mesh says goodbye and ends within a second, as far
/// as the runtime lives that long; [`shutdown`](Self::shutdown) tells when it has.
///
/// Futures of these methods can be dropped at any time: what was commanded goes on, and nothing leaks.
pub struct WebRtcTransport<R: Runtime> {
    handle: Handle<R, Transport>,
}

impl<R: Runtime> Clone for WebRtcTransport<R> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

impl<R: Runtime> fmt::Debug for WebRtcTransport<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebRtcTransport").field("peer_id", &self.peer_id()).finish_non_exhaustive()
    }
}

impl<R: Runtime> WebRtcTransport<R> {
    /// A transport of the runtime that the caller is in. It touches no network yet.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is wrong. The field `runtime` means that the caller is in
    /// no runtime: [`with_runtime`](Self::with_runtime) works from anywhere.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let runtime =
            R::current().map_err(|error| ConfigError::new("runtime", error.to_string()))?;
        Self::with_runtime(runtime, config)
    }

    /// A transport of this runtime. It touches no network yet.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is wrong. The field `seed` means that the operating system
    /// gives no random bytes.
    pub fn with_runtime(runtime: R, config: Config) -> Result<Self, ConfigError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| ConfigError::new("seed", error.to_string()))?;
        // A clock before 1970 is as good as one of 1970: only time stamps that people read follow it.
        let unix_now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = runtime.now();
        let machine = Transport::new(config, Seed::from_bytes(seed), now, unix_now)?;
        warm_up(&runtime);
        Ok(Self { handle: Handle::new(runtime, machine, interfaces::system) })
    }

    /// Sets whom to trust in `wss:` connections to come.
    #[must_use]
    pub fn tls(self, options: TlsOptions) -> Self {
        self.handle.shared().lock().tls = options;
        self
    }

    /// Records from now on what the transport is told and what it decides into a file that only its owner can read, without
    /// secrets and without contents; `rtcmesh replay` reads it. Before [`start`](Self::start). The latest entries, of a
    /// ring, are written when the recording is finished or dropped, or the transport is gone: [`recorder`](Self::recorder)
    /// gives them at any time.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] after the start, and where it is recorded already. A file that is there stays as it
    /// is then. What the system says of the file, which may then be another one.
    pub fn record_to(
        &self,
        path: impl AsRef<Path>,
        options: &RecordOptions,
    ) -> io::Result<RecordingFile> {
        recording::to_file(path.as_ref(), options, || self.recorder(options))
    }

    /// Records from now on, as [`record_to`](Self::record_to) does, into memory: to be taken from there at any time, of
    /// a ring the latest entries.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] after the start, and where it is recorded already.
    pub fn recorder(&self, options: &RecordOptions) -> io::Result<Recorder> {
        let late = || {
            let why = "a transport is recorded once, from before its start on";
            io::Error::new(io::ErrorKind::InvalidInput, why)
        };
        self.handle.shared().lock().machine.record(options).ok_or_else(late)
    }

    /// This peer's id: the configured one, or the one that was made.
    pub fn peer_id(&self) -> PeerId {
        self.handle.shared().lock().machine.peer_id().clone()
    }

    /// Gives the driver out: the future that moves the mesh, for the caller to run where it likes (a `LocalSet`, a
    /// single-threaded executor, a thread with `block_on`, beside other futures). [`start`](Self::start) then spawns
    /// none, and what waits for the network waits until the driver is polled.
    ///
    /// ```no_run
    /// # async fn run<R: rtcmesh_runtime::Runtime>(config: rtcmesh_core::config::Config)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let (transport, driver) = rtcmesh_runtime::WebRtcTransport::<R>::new(config)?.into_driver()?;
    /// let application = async move {
    ///     transport.start().await?;
    ///     // …
    ///     transport.shutdown().await;
    ///     Ok::<_, rtcmesh_core::error::StartError>(())
    /// };
    /// // Two futures of one task, here. Any executor's `spawn(driver)` is as good.
    /// let (mut driver, mut application) = (std::pin::pin!(driver), std::pin::pin!(application));
    /// std::future::poll_fn(|cx| {
    ///     let _ = driver.as_mut().poll(cx);
    ///     application.as_mut().poll(cx)
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`], where it has been started or its driver was given out before, and
    /// [`StartError::ShutDown`] after the end. This handle is dropped then: a mesh lives on with its clones.
    pub fn into_driver(self) -> Result<(Self, TransportDriver<R>), StartError> {
        let driver = self.handle.take_driver()?;
        Ok((self, TransportDriver(driver)))
    }

    /// Connects to the signaling server and announces this peer; the connection is then kept, and made
    /// again when it breaks. Ready once announced, or after 10 s at the latest. After a failure it may
    /// be called again.
    ///
    /// # Errors
    /// [`StartError::AlreadyStarted`]; [`StartError::Signaling`], where the server refuses;
    /// [`StartError::Timeout`], where it cannot be reached, which is tried until then: the events tell
    /// why ([`Event::SignalingDown`](rtcmesh_core::transport::Event::SignalingDown));
    /// [`StartError::ShutDown`] after the end, or where it comes meanwhile.
    pub async fn start(&self) -> Result<(), StartError> {
        self.handle.start().await
    }

    /// Ends all connections with a goodbye, leaves the room and closes all sockets: within 5 s in any
    /// case, without waiting for others mostly at once. A second call waits for the same end.
    pub async fn shutdown(&self) {
        self.handle.shutdown().await;
    }

    /// Connects to a peer that is announced. Ready once connected, at the latest after the configured
    /// `ice_timeout`. Calls for the same peer share one attempt; to be connected already is success.
    /// Dropping the future does not end the attempt: [`disconnect_peer`](Self::disconnect_peer) does.
    ///
    /// # Errors
    /// [`ConnectError`], with the reason.
    pub async fn connect_peer(&self, id: &str) -> Result<(), ConnectError> {
        self.handle.connect_peer(id).await
    }

    /// Ends the connection to a peer, or the attempt, and tells the other side. It can be connected
    /// again. One that is not connected is success.
    ///
    /// # Errors
    /// [`DisconnectError::PeerNotFound`] where the peer was never known, [`DisconnectError::NotStarted`].
    pub async fn disconnect_peer(&self, id: &str) -> Result<(), DisconnectError> {
        self.handle.shared().command(|state, now| state.machine.disconnect_peer(now, id))
    }

    /// The peers that are connected.
    ///
    /// # Errors
    /// [`NotStarted`], before the start and after the end.
    pub fn list_peers(&self) -> Result<Vec<PeerInfo>, NotStarted> {
        self.handle.shared().lock().machine.list_peers()
    }

    /// All peers that are known, connected or not.
    ///
    /// # Errors
    /// [`NotStarted`], before the start and after the end.
    pub fn known_peers(&self) -> Result<Vec<PeerInfo>, NotStarted> {
        self.handle.shared().lock().machine.known_peers()
    }

    /// Sends media or data to a peer, encoding raw audio on the calling thread. It never waits.
    ///
    /// # Errors
    /// [`SendError`], with the reason.
    pub fn send_to_peer(&self, id: &str, data: &RuntimeData) -> Result<(), SendError> {
        self.handle.shared().command(|state, now| state.machine.send_to_peer(now, id, data))
    }

    /// Sends media or data to all connected peers; raw audio is encoded once. It never waits, and a
    /// peer that cannot be sent to keeps no other from receiving: the statistics name it.
    ///
    /// # Errors
    /// [`BroadcastError`], where nothing could be sent to anybody.
    pub fn broadcast(&self, data: &RuntimeData) -> Result<BroadcastStats, BroadcastError> {
        let shared = self.handle.shared();
        let begin = shared.runtime.now();
        let mut stats = shared.command(|state, now| state.machine.broadcast(now, data))?;
        stats.duration = shared.runtime.now().saturating_duration_since(begin);
        Ok(stats)
    }

    /// Sends a data message to a peer with the configured reliability. It never waits.
    ///
    /// # Errors
    /// [`SendError`], with the reason.
    pub fn send_data_channel_message(
        &self,
        id: &str,
        message: &DataMessage,
    ) -> Result<(), SendError> {
        self.send_data(id, message, None)
    }

    /// Sends a data message to a peer with a reliability of its own. It never waits.
    ///
    /// # Errors
    /// [`SendError`], with the reason.
    pub fn send_data_channel_message_with(
        &self,
        id: &str,
        message: &DataMessage,
        reliability: Reliability,
    ) -> Result<(), SendError> {
        self.send_data(id, message, Some(reliability))
    }

    fn send_data(
        &self,
        id: &str,
        message: &DataMessage,
        reliability: Option<Reliability>,
    ) -> Result<(), SendError> {
        self.handle.shared().command(|state, now| {
            state.machine.send_data_channel_message(now, id, message, reliability)
        })
    }

    /// The bytes of data messages that wait to be sent to a peer.
    ///
    /// # Errors
    /// [`SendError::PeerNotFound`], [`SendError::PeerNotConnected`], [`SendError::NotStarted`].
    pub fn buffered_amount(&self, id: &str) -> Result<usize, SendError> {
        self.handle.shared().lock().machine.buffered_amount(id)
    }

    /// Offers a video section to a peer, beside what is negotiated already.
    ///
    /// # Errors
    /// [`SendError`], where there is no connection to it.
    pub fn offer_video(&self, id: &str) -> Result<(), SendError> {
        self.handle.shared().command(|state, now| state.machine.offer_video(now, id))
    }

    /// Asks a peer for a keyframe of the video that it sends.
    ///
    /// # Errors
    /// [`SendError`], with the reason.
    pub fn request_keyframe(&self, id: &str) -> Result<(), SendError> {
        self.handle.shared().command(|state, now| state.machine.request_keyframe(now, id))
    }

    /// Changes settings: all of the patch or, where one of them is wrong, nothing.
    ///
    /// # Errors
    /// [`ConfigureError`] naming the option.
    pub fn configure(&self, patch: &ConfigPatch) -> Result<(), ConfigureError> {
        self.handle.shared().command(|state, now| state.machine.configure(now, patch))
    }

    /// The settings in force.
    pub fn config(&self) -> Config {
        self.handle.shared().lock().machine.config().clone()
    }

    /// What has passed since the start.
    pub fn metrics(&self) -> Metrics {
        self.handle.shared().lock().machine.metrics()
    }

    /// What the sockets could not do since the start.
    pub fn io_metrics(&self) -> IoMetrics {
        let counters = &self.handle.shared().counters;
        IoMetrics {
            send_errors: counters.send_errors.load(Ordering::Relaxed),
            receive_errors: counters.receive_errors.load(Ordering::Relaxed),
            dropped: counters.dropped.load(Ordering::Relaxed),
            oversized: counters.oversized.load(Ordering::Relaxed),
        }
    }

    /// How many calls wait for something, for tests.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn waiting(&self) -> usize {
        self.handle.shared().lock().waiting()
    }

    /// The events and the media that arrive, those that wait already included.
    pub fn events(&self) -> Events<R> {
        Events::new(self.handle.shared().clone())
    }
}

/// What the UDP sockets of a transport could not do: counts of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IoMetrics {
    /// Refused by the system when they were to be sent.
    pub send_errors: u64,
    /// Errors in place of received ones, most of them about datagrams that were sent in vain.
    pub receive_errors: u64,
    /// Given up while they waited for a socket that could take no more.
    pub dropped: u64,
    /// Received, but longer than any of WebRTC.
    pub oversized: u64,
}

/// Warms the cryptographic library up, once per process and beside everything else.
fn warm_up<R: Runtime>(runtime: &R) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let now = runtime.now();
        let warming = thread::Builder::new().name("rtcmesh-warm-up".into());
        // Without it the first connection takes longer.
        if let Err(error) = warming.spawn(move || Transport::warm_up(now)) {
            tracing::debug!(%error, "no thread to warm the cryptographic library up");
        }
    });
}
