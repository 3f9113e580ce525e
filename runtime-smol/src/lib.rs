//! rtcmesh on smol: the sockets, the timer and the executor that [`rtcmesh_runtime`] asks for, and all
//! that an application needs of the crates underneath.
//!
//! ```no_run
//! use rtcmesh_smol::config::Config;
//! use rtcmesh_smol::media::DataMessage;
//! use rtcmesh_smol::{Event, TransportEvent, WebRtcTransport};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! smol::block_on(async {
//!     let transport = WebRtcTransport::new(Config::new("ws://127.0.0.1:8080/").peer_id("alice"))?;
//!     let mut events = transport.events();
//!     transport.start().await?;
//!     while let Some(event) = events.next().await {
//!         match event {
//!             TransportEvent::Event(Event::DataChannelOpen { peer, label: "data" }) => {
//!                 transport.send_data_channel_message(peer.as_str(), &DataMessage::text("hello"))?;
//!             }
//!             TransportEvent::Event(Event::Data { peer, message, .. }) => println!("{peer}: {message:?}"),
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # async-std, and executors of your own
//!
//! smol's reactor, [async-io](smol::Async), is a thread of its own and serves tasks of any executor. So the same
//! code runs under async-std, whose reactor it is, without a word more; tasks run on [`smol::spawn`]'s thread then.
//! [`SmolRuntime::spawning`] has them run elsewhere:
//!
//! ```no_run
//! use rtcmesh_smol::{SmolRuntime, WebRtcTransport, config::Config};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = SmolRuntime::spawning(|task| drop(async_std::task::spawn(task)));
//! let transport = WebRtcTransport::with_runtime(runtime, Config::new("ws://127.0.0.1:8080/"))?;
//! # Ok(())
//! # }
//! ```

// The trait promises `Send + 'static`, and so do these signatures, in its words.
#![allow(clippy::manual_async_fn)]

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, Shutdown, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

pub use rtcmesh_runtime::api::*;

use rtcmesh_runtime::{
    Received, Runtime, SegmentOffload, TcpListener, TcpStream, Timer, UdpSocket, sockets,
};
use smol::Async;

/// The transport on smol.
pub type WebRtcTransport = rtcmesh_runtime::WebRtcTransport<SmolRuntime>;
/// Its events.
pub type Events = rtcmesh_runtime::Events<SmolRuntime>;
/// Its driver, for those who place it themselves.
pub type TransportDriver = rtcmesh_runtime::TransportDriver<SmolRuntime>;
/// The signaling server on smol.
pub type SignalingServer = rtcmesh_runtime::SignalingServer<SmolRuntime>;

/// A task on its way to an executor.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// smol's reactor, and an executor: that of [`smol::spawn`] by default.
#[derive(Clone, Default)]
pub struct SmolRuntime {
    /// Where tasks go; `None` is smol's own executor.
    spawn: Option<Arc<dyn Fn(Task) + Send + Sync>>,
}

impl SmolRuntime {
    /// The reactor with smol's own executor.
    pub fn new() -> Self {
        Self::default()
    }

    /// The reactor with an executor of yours: `spawn` gives it a task to run to its end. It may be called from any
    /// thread that uses what runs here.
    pub fn spawning(spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        Self { spawn: Some(Arc::new(spawn)) }
    }
}

impl fmt::Debug for SmolRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmolRuntime").field("own_executor", &self.spawn.is_none()).finish()
    }
}

impl Runtime for SmolRuntime {
    type Udp = SmolUdp;
    type Tcp = SmolTcp;
    type Listener = SmolListener;
    type Timer = SmolTimer;

    /// It never fails: reactor and executor start by themselves.
    fn current() -> io::Result<Self> {
        Ok(Self::new())
    }

    fn timer(&self, at: Instant) -> SmolTimer {
        SmolTimer(smol::Timer::at(at))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.spawn {
            None => smol::spawn(task).detach(),
            Some(spawn) => spawn(Box::pin(task)),
        }
    }

    fn bind_udp(&self, addr: SocketAddr) -> io::Result<SmolUdp> {
        let io = Async::new_nonblocking(sockets::udp(addr)?)?;
        let offload = SegmentOffload::new(addr.ip());
        Ok(SmolUdp { io, offload, reading: Blocked::default(), writing: Blocked::default() })
    }

    fn connect_tcp(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<SmolTcp>> + Send + 'static {
        async move { Ok(SmolTcp::new(Async::<net::TcpStream>::connect(addr).await?)) }
    }

    fn listen_tcp(&self, addr: SocketAddr) -> io::Result<SmolListener> {
        let io = Async::new_nonblocking(sockets::listener(addr)?)?;
        Ok(SmolListener(io, Blocked::default()))
    }

    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {
        smol::unblock(move || Ok((host, port).to_socket_addrs()?.collect()))
    }
}

/// Whether the last attempt would have blocked, and the reactor has not said since that it is over. It spares a call
/// of the system each time that a task looks after something else.
#[derive(Debug, Default)]
struct Blocked(bool);

impl Blocked {
    /// Calls `operation` until it does not say that it would block. Trying comes before waiting: mostly there is
    /// something to read, and room to write.
    fn poll<T>(
        &mut self,
        mut operation: impl FnMut() -> io::Result<T>,
        mut wait: impl FnMut() -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<T>> {
        loop {
            if self.0 {
                ready!(wait())?;
                self.0 = false;
            }
            match operation() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.0 = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

/// smol's UDP socket.
#[derive(Debug)]
pub struct SmolUdp {
    io: Async<net::UdpSocket>,
    offload: SegmentOffload,
    reading: Blocked,
    writing: Blocked,
}

impl UdpSocket for SmolUdp {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let Self { io, reading, .. } = self;
        reading.poll(|| io.get_ref().recv_from(buffer), || io.poll_readable(cx))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        let Self { io, writing, .. } = self;
        writing.poll(|| io.get_ref().send_to(payload, remote), || io.poll_writable(cx)).map_ok(drop)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn max_segments(&mut self) -> usize {
        self.offload.max_segments()
    }

    fn poll_send_segments(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        segment: usize,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        let Self { io, offload, writing, .. } = self;
        let send = || offload.send(io.get_ref(), remote, segment, payload);
        writing.poll(send, || io.poll_writable(cx))
    }

    fn coalesce(&mut self) -> bool {
        self.offload.coalesce(self.io.get_ref())
    }

    fn poll_recv_coalesced(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        let Self { io, offload, reading, .. } = self;
        reading.poll(|| offload.receive(io.get_ref(), buffer), || io.poll_readable(cx))
    }
}

/// smol's TCP connection.
#[derive(Debug)]
pub struct SmolTcp {
    io: Async<net::TcpStream>,
    reading: Blocked,
    writing: Blocked,
}

impl SmolTcp {
    fn new(io: Async<net::TcpStream>) -> Self {
        // It fails only on a connection that is broken already: the next read tells that better.
        let _ = io.get_ref().set_nodelay(true);
        Self { io, reading: Blocked::default(), writing: Blocked::default() }
    }
}

impl TcpStream for SmolTcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { io, reading, .. } = self;
        reading.poll(|| io.get_ref().read(buffer), || io.poll_readable(cx))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, writing, .. } = self;
        writing.poll(|| io.get_ref().write(bytes), || io.poll_writable(cx))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.io.get_ref().shutdown(Shutdown::Write))
    }
}

/// smol's TCP listener.
#[derive(Debug)]
pub struct SmolListener(Async<net::TcpListener>, Blocked);

impl TcpListener for SmolListener {
    type Stream = SmolTcp;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(SmolTcp, SocketAddr)>> {
        let Self(io, accepting) = self;
        let accepted = accepting.poll(|| io.get_ref().accept(), || io.poll_readable(cx));
        let (stream, remote) = ready!(accepted)?;
        Poll::Ready(Ok((SmolTcp::new(Async::new(stream)?), remote)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }
}

/// smol's timer.
#[derive(Debug)]
pub struct SmolTimer(smol::Timer);

impl Timer for SmolTimer {
    fn reset(&mut self, at: Instant) {
        self.0.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // One that has fired is set no more, and stays ready until the next reset.
        if self.0.will_fire() {
            ready!(Pin::new(&mut self.0).poll(cx));
        }
        Poll::Ready(())
    }
}
