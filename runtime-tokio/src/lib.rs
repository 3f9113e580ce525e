//! rtcmesh on tokio: the sockets, the timer and the executor that [`rtcmesh_runtime`] asks for, and all
//! that an application needs of the crates underneath.
//!
//! ```no_run
//! use rtcmesh_tokio::config::Config;
//! use rtcmesh_tokio::media::DataMessage;
//! use rtcmesh_tokio::{Event, TransportEvent, WebRtcTransport};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = WebRtcTransport::new(Config::new("ws://127.0.0.1:8080/").peer_id("alice"))?;
//! let mut events = transport.events();
//! transport.start().await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         TransportEvent::Event(Event::DataChannelOpen { peer, label: "data" }) => {
//!             transport.send_data_channel_message(peer.as_str(), &DataMessage::text("hello"))?;
//!         }
//!         TransportEvent::Event(Event::Data { peer, message, .. }) => println!("{peer}: {message:?}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

pub use rtcmesh_runtime::api::*;

use rtcmesh_runtime::{
    Received, Runtime, SegmentOffload, TcpListener, TcpStream, Timer, UdpSocket, sockets,
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::runtime::Handle;

/// The transport on tokio.
pub type WebRtcTransport = rtcmesh_runtime::WebRtcTransport<TokioRuntime>;
/// Its events.
pub type Events = rtcmesh_runtime::Events<TokioRuntime>;
/// Its driver, for those who place it themselves.
pub type TransportDriver = rtcmesh_runtime::TransportDriver<TokioRuntime>;
/// The signaling server on tokio.
pub type SignalingServer = rtcmesh_runtime::SignalingServer<TokioRuntime>;

/// A running tokio runtime, with its I/O and its timers enabled.
#[derive(Debug, Clone)]
pub struct TokioRuntime(Handle);

impl TokioRuntime {
    /// The runtime behind `handle`.
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    fn inside<F: Future>(&self, future: F) -> Inside<F> {
        Inside { runtime: self.0.clone(), future: Box::pin(future) }
    }
}

impl Runtime for TokioRuntime {
    type Udp = TokioUdp;
    type Tcp = TokioTcp;
    type Listener = TokioListener;
    type Timer = TokioTimer;

    fn current() -> io::Result<Self> {
        Handle::try_current().map(Self).map_err(io::Error::other)
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn timer(&self, at: Instant) -> TokioTimer {
        let _context = self.0.enter();
        TokioTimer { sleep: Box::pin(tokio::time::sleep_until(at.into())), fired: false }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(task));
    }

    fn bind_udp(&self, addr: SocketAddr) -> io::Result<TokioUdp> {
        let socket = sockets::udp(addr)?;
        let _context = self.0.enter();
        let io = tokio::net::UdpSocket::from_std(socket)?;
        Ok(TokioUdp { io, offload: SegmentOffload::new(addr.ip()) })
    }

    fn connect_tcp(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<TokioTcp>> + Send + 'static {
        self.inside(async move { Ok(TokioTcp::new(tokio::net::TcpStream::connect(addr).await?)) })
    }

    fn listen_tcp(&self, addr: SocketAddr) -> io::Result<TokioListener> {
        let listener = sockets::listener(addr)?;
        let _context = self.0.enter();
        Ok(TokioListener(tokio::net::TcpListener::from_std(listener)?))
    }

    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {
        self.inside(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// Polls a future inside of the runtime: tokio's own look for it around them, and the driver may be polled anywhere.
struct Inside<F> {
    runtime: Handle,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Inside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { runtime, future } = &mut *self;
        let _context = runtime.enter();
        future.as_mut().poll(cx)
    }
}

/// tokio's UDP socket.
#[derive(Debug)]
pub struct TokioUdp {
    io: tokio::net::UdpSocket,
    offload: SegmentOffload,
}

impl UdpSocket for TokioUdp {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        let remote = ready!(self.io.poll_recv_from(cx, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), remote)))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        let Self { io, .. } = self;
        send(io, cx, || io.try_send_to(payload, remote)).map_ok(drop)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
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
        let Self { io, offload } = self;
        let mut train = || offload.send(io, remote, segment, payload);
        send(io, cx, || io.try_io(Interest::WRITABLE, &mut train))
    }

    fn coalesce(&mut self) -> bool {
        self.offload.coalesce(&self.io)
    }

    fn poll_recv_coalesced(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        let Self { io, offload } = self;
        loop {
            ready!(io.poll_recv_ready(cx))?;
            let receive = || offload.receive(io, buffer);
            if let Some(received) = unless_blocked(io.try_io(Interest::READABLE, receive)) {
                return Poll::Ready(received);
            }
        }
    }
}

/// Sends by `operation`, one of tokio's `try_` methods. tokio is asked for leave only where it would block: otherwise it
/// counted each datagram against the turn of the calling task, made a command's wait that are above the 128 of one, and
/// woke the driver for them only once that turn was over.
fn send<T>(
    io: &tokio::net::UdpSocket,
    cx: &mut Context<'_>,
    mut operation: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        if let Some(sent) = unless_blocked(operation()) {
            return Poll::Ready(sent);
        }
        ready!(io.poll_send_ready(cx))?;
    }
}

/// `None` where it would block: tokio knows it then, and has to be asked when it is over.
fn unless_blocked<T>(result: io::Result<T>) -> Option<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

/// tokio's TCP connection.
#[derive(Debug)]
pub struct TokioTcp(tokio::net::TcpStream);

impl TokioTcp {
    fn new(stream: tokio::net::TcpStream) -> Self {
        // It fails only on a connection that is broken already: the next read tells that better.
        let _ = stream.set_nodelay(true);
        Self(stream)
    }
}

impl TcpStream for TokioTcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// tokio's TCP listener.
#[derive(Debug)]
pub struct TokioListener(tokio::net::TcpListener);

impl TcpListener for TokioListener {
    type Stream = TokioTcp;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TokioTcp, SocketAddr)>> {
        let (stream, remote) = ready!(self.0.poll_accept(cx))?;
        Poll::Ready(Ok((TokioTcp::new(stream), remote)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// tokio's timer.
#[derive(Debug)]
pub struct TokioTimer {
    sleep: Pin<Box<tokio::time::Sleep>>,
    fired: bool,
}

impl Timer for TokioTimer {
    fn reset(&mut self, at: Instant) {
        self.fired = false;
        self.sleep.as_mut().reset(at.into());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.fired {
            ready!(self.sleep.as_mut().poll(cx));
            self.fired = true;
        }
        Poll::Ready(())
    }
}

// The example of the README is compiled with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
