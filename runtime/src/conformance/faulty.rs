//! A runtime whose system fails now and then: it wraps any other one.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use crate::runtime::{Received, Runtime, TcpListener, TcpStream, UdpSocket};

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A UDP socket cannot be bound.
    Bind,
    /// A datagram cannot be sent.
    Send,
    /// A socket says that it would block, and at the next time that it would not.
    SendLater,
    /// In place of a datagram comes an error about an earlier one.
    Receive,
    /// A socket is broken.
    Broken,
    /// A TCP connection is refused.
    Connect,
    /// A listener fails to accept.
    Accept,
    /// A TCP connection is reset.
    Reset,
    /// Reading or writing a TCP connection would block, and at the next time would not.
    StreamLater,
    /// Of the bytes of a TCP connection one is read or written, however many there are.
    Short,
    /// A name is not found.
    Resolve,
}

/// How often each [`Fault`] occurs: a switchboard, the same for all clones of one [`Faulty`].
#[derive(Debug, Default)]
pub struct Faults([Rate; 11]);

#[derive(Debug, Default)]
struct Rate {
    every: AtomicU32,
    count: AtomicU32,
}

impl Faults {
    /// From now on `fault` occurs at every n-th occasion; 0 is never. What is to go on later has to do so once
    /// before it is an occasion again.
    pub fn set(&self, fault: Fault, every: u32) {
        if let Some(rate) = self.0.get(fault as usize) {
            rate.every.store(every, Ordering::Relaxed);
        }
    }

    fn occurs(&self, fault: Fault) -> bool {
        self.0.get(fault as usize).is_some_and(|rate| {
            let every = rate.every.load(Ordering::Relaxed);
            every != 0 && (rate.count.fetch_add(1, Ordering::Relaxed) + 1) % every == 0
        })
    }

    fn check(&self, fault: Fault, kind: ErrorKind) -> io::Result<()> {
        if self.occurs(fault) { Err(io::Error::new(kind, "a fault of the test")) } else { Ok(()) }
    }
}

/// One direction of a socket or stream, which is held up now and then.
#[derive(Debug, Default)]
struct Lane {
    /// It was held up, and has moved nothing since: held up again, whatever moves might never do so.
    held: bool,
}

impl Lane {
    /// Whether to wait, in which case the task is woken at once.
    fn waits(&mut self, faults: &Faults, fault: Fault, cx: &Context<'_>) -> bool {
        let waits = !self.held && faults.occurs(fault);
        if waits {
            self.held = true;
            cx.waker().wake_by_ref();
        }
        waits
    }

    fn moved<T>(&mut self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.held &= !matches!(poll, Poll::Ready(Ok(_)));
        poll
    }
}

/// A runtime with faults.
#[derive(Debug, Clone)]
pub struct Faulty<R> {
    inner: R,
    faults: Arc<Faults>,
}

impl<R> Faulty<R> {
    /// `inner`, without faults until [`Faulty::faults`] are set.
    pub fn new(inner: R) -> Self {
        Self { inner, faults: Arc::default() }
    }

    /// The switchboard.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    fn wrap<T>(&self, inner: T) -> Wrapped<T> {
        Wrapped::new(inner, self.faults.clone())
    }
}

/// A socket or stream of a [`Faulty`] runtime.
#[derive(Debug)]
pub struct Wrapped<T> {
    inner: T,
    faults: Arc<Faults>,
    reading: Lane,
    writing: Lane,
}

impl<T> Wrapped<T> {
    fn new(inner: T, faults: Arc<Faults>) -> Self {
        Self { inner, faults, reading: Lane::default(), writing: Lane::default() }
    }
}

impl<R: Runtime> Runtime for Faulty<R> {
    type Udp = Wrapped<R::Udp>;
    type Tcp = Wrapped<R::Tcp>;
    type Listener = Wrapped<R::Listener>;
    type Timer = R::Timer;

    fn current() -> io::Result<Self> {
        R::current().map(Self::new)
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn timer(&self, at: Instant) -> R::Timer {
        self.inner.timer(at)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.spawn(task);
    }

    fn bind_udp(&self, addr: SocketAddr) -> io::Result<Self::Udp> {
        self.faults.check(Fault::Bind, ErrorKind::AddrNotAvailable)?;
        self.inner.bind_udp(addr).map(|socket| self.wrap(socket))
    }

    fn connect_tcp(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::Tcp>> + Send + 'static {
        let (this, connecting) = (self.clone(), self.inner.connect_tcp(addr));
        async move {
            this.faults.check(Fault::Connect, ErrorKind::ConnectionRefused)?;
            connecting.await.map(|stream| this.wrap(stream))
        }
    }

    fn listen_tcp(&self, addr: SocketAddr) -> io::Result<Self::Listener> {
        self.inner.listen_tcp(addr).map(|listener| self.wrap(listener))
    }

    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {
        let (this, resolving) = (self.clone(), self.inner.resolve(host, port));
        async move {
            this.faults.check(Fault::Resolve, ErrorKind::NotFound)?;
            resolving.await
        }
    }
}

impl<U: UdpSocket> Wrapped<U> {
    fn receive<T>(
        &mut self,
        receive: impl FnOnce(&mut U) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.faults.check(Fault::Broken, ErrorKind::Other)?;
        match receive(&mut self.inner) {
            // What came is lost with it, as on any network.
            Poll::Ready(Ok(_)) if self.faults.occurs(Fault::Receive) => {
                Poll::Ready(Err(ErrorKind::ConnectionReset.into()))
            }
            other => other,
        }
    }

    fn send(
        &mut self,
        cx: &mut Context<'_>,
        send: impl FnOnce(&mut U, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if self.writing.waits(&self.faults, Fault::SendLater, cx) {
            return Poll::Pending;
        }
        self.faults.check(Fault::Send, ErrorKind::NetworkUnreachable)?;
        self.writing.moved(send(&mut self.inner, cx))
    }
}

impl<U: UdpSocket> UdpSocket for Wrapped<U> {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.receive(|inner| inner.poll_recv(cx, buffer))
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        self.send(cx, |inner, cx| inner.poll_send(cx, remote, payload))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_segments(&mut self) -> usize {
        self.inner.max_segments()
    }

    fn poll_send_segments(
        &mut self,
        cx: &mut Context<'_>,
        remote: SocketAddr,
        segment: usize,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        self.send(cx, |inner, cx| inner.poll_send_segments(cx, remote, segment, payload))
    }

    fn coalesce(&mut self) -> bool {
        self.inner.coalesce()
    }

    fn poll_recv_coalesced(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        self.receive(|inner| inner.poll_recv_coalesced(cx, buffer))
    }
}

/// How many of `length` bytes may pass; `None`: later.
fn passing(
    lane: &mut Lane,
    faults: &Faults,
    cx: &Context<'_>,
    length: usize,
) -> io::Result<Option<usize>> {
    faults.check(Fault::Reset, ErrorKind::ConnectionReset)?;
    if lane.waits(faults, Fault::StreamLater, cx) {
        return Ok(None);
    }
    Ok(Some(if faults.occurs(Fault::Short) { length.min(1) } else { length }))
}

impl<T: TcpStream> TcpStream for Wrapped<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match passing(&mut self.reading, &self.faults, cx, buffer.len())? {
            Some(length) => {
                let buffer = buffer.get_mut(..length).unwrap_or_default();
                self.reading.moved(self.inner.poll_read(cx, buffer))
            }
            None => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match passing(&mut self.writing, &self.faults, cx, bytes.len())? {
            Some(length) => {
                let bytes = bytes.get(..length).unwrap_or_default();
                self.writing.moved(self.inner.poll_write(cx, bytes))
            }
            None => Poll::Pending,
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close(cx)
    }
}

impl<L: TcpListener> TcpListener for Wrapped<L> {
    type Stream = Wrapped<L::Stream>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Stream, SocketAddr)>> {
        // Too many open files, say: what waits to be accepted goes on waiting.
        self.faults.check(Fault::Accept, ErrorKind::Other)?;
        let faults = self.faults.clone();
        self.inner.poll_accept(cx).map_ok(|(inner, remote)| (Wrapped::new(inner, faults), remote))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}
