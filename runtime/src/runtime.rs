//! What the driver asks of an async runtime: sockets, a timer, a place to run tasks.
//!
//! Packets pass through `poll_*` methods, so that one task can own many sockets without an allocation
//! per wait. Each socket is polled for one task at a time, from any thread: an implementation needs to remember one
//! waker for reading and one for writing, the latest of each.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Instant;

/// An async runtime: a cheap handle to its reactor and its executor.
///
/// Everything that does not touch the reactor (WebSocket, TLS, the event loop, channels) is written
/// once on top of it. An implementation is a thin layer over the runtime's own types.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Its UDP socket.
    type Udp: UdpSocket;
    /// Its TCP connection.
    type Tcp: TcpStream;
    /// Its TCP listener.
    type Listener: TcpListener<Stream = Self::Tcp>;
    /// Its timer.
    type Timer: Timer;

    /// The runtime that the calling thread is in.
    ///
    /// # Errors
    /// Where the calling thread is in none.
    fn current() -> io::Result<Self>;

    /// The monotonic clock that [`Timer`] follows: the system's, if not defined otherwise.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// A timer that fires at `at`.
    fn timer(&self, at: Instant) -> Self::Timer;

    /// Waits until `at`; an instant in the past is over at once.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send + 'static {
        let mut timer = self.timer(at);
        async move { poll_fn(|cx| timer.poll(cx)).await }
    }

    /// Runs `task` to its end, independently of the caller.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Binds a UDP socket. Port 0 takes any free one.
    ///
    /// # Errors
    /// The system's.
    fn bind_udp(&self, addr: SocketAddr) -> io::Result<Self::Udp>;

    /// Opens a TCP connection, without delay of small segments (`TCP_NODELAY`).
    ///
    /// # Errors
    /// The system's. No time limit of its own.
    fn connect_tcp(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Tcp>> + Send + 'static;

    /// Listens for TCP connections. Port 0 takes any free one.
    ///
    /// # Errors
    /// The system's.
    fn listen_tcp(&self, addr: SocketAddr) -> io::Result<Self::Listener>;

    /// The addresses of `host`, a name or an address in text, each with `port`.
    ///
    /// # Errors
    /// The resolver's.
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static;
}

/// Received datagrams of one sender, one after the other in one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Their sender.
    pub remote: SocketAddr,
    /// The bytes of all of them.
    pub length: usize,
    /// The bytes of each but the last, which may be shorter. `length` or more: it is a single one.
    pub segment: usize,
}

/// A bound UDP socket.
///
/// Three methods are needed. The others, for many datagrams in one call of the system, have defaults that do
/// without; [`SegmentOffload`](crate::SegmentOffload) does them for sockets of the operating system.
pub trait UdpSocket: Send + 'static {
    /// Receives one datagram into `buffer`, and gives its length and its sender.
    ///
    /// # Errors
    /// The system's. `ConnectionReset` and the like tell of a datagram sent earlier: the socket lives on.
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// Sends one datagram, whole.
    ///
    /// # Errors
    /// The system's, for this datagram alone.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Poll<io::Result<()>>;

    /// The address that it is bound to.
    ///
    /// # Errors
    /// The system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// How many datagrams [`poll_send_segments`](Self::poll_send_segments) takes now. It may fall to 1, where
    /// the system turns out to refuse them.
    fn max_segments(&mut self) -> usize {
        1
    }

    /// Sends datagrams of `segment` bytes to one remote, joined in `payload`; the last may be shorter. All or
    /// none of them, in one call of the system. Only called with more than one, and at most
    /// [`max_segments`](Self::max_segments) and 65,507 bytes.
    ///
    /// # Errors
    /// The system's: none was sent. They are sent one by one then, and so are all after them where that succeeds.
    fn poll_send_segments(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        segment: usize,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        let _ = (cx, remote, segment, payload);
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Lets the system coalesce received datagrams: from `true` on,
    /// [`poll_recv_coalesced`](Self::poll_recv_coalesced) is called in place of [`poll_recv`](Self::poll_recv).
    /// Called once enough come in trains for it to pay; not again after `false`, which changes nothing.
    fn coalesce(&mut self) -> bool {
        false
    }

    /// Receives a datagram, or a train of them from one sender, into `buffer` of 65,535 bytes or more.
    ///
    /// # Errors
    /// As of [`poll_recv`](Self::poll_recv).
    fn poll_recv_coalesced(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        self.poll_recv(cx, buffer).map_ok(|(length, remote)| Received {
            remote,
            length,
            segment: length,
        })
    }
}

/// A byte stream: a TCP connection, or a test's pipe.
pub trait TcpStream: Send + 'static {
    /// Reads some bytes; 0 is the end of the stream.
    ///
    /// # Errors
    /// The system's: the stream is broken.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `bytes`, and gives how many. What is written goes out without a flush.
    ///
    /// # Errors
    /// The system's: the stream is broken.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Closes the writing half: the other side reads the end of the stream. Reading goes on.
    ///
    /// # Errors
    /// The system's: the stream is broken.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// A TCP listener.
pub trait TcpListener: Send + 'static {
    /// What it accepts.
    type Stream: TcpStream;

    /// Takes the next connection, with the address of its other end.
    ///
    /// # Errors
    /// The system's. The listener lives on: too many open files is the usual one, and passes.
    fn poll_accept(&mut self, cx: &mut Context<'_>)
    -> Poll<io::Result<(Self::Stream, SocketAddr)>>;

    /// The address that it listens on.
    ///
    /// # Errors
    /// The system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A timer that can be set anew.
pub trait Timer: Send + 'static {
    /// Sets it to fire at `at`, in place of what it was set to. An instant in the past is due at once.
    fn reset(&mut self, at: Instant);

    /// Ready once the instant has come, and until the next reset.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
