//! A runtime for rtcmesh made of threads: one per task, and one that waits for sockets (by `mio`) and timers.
//!
//! `on_threads.rs` runs the examples on it, and `docs/embedding.md` tells what a runtime has to do.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::{mem, thread, time::Instant};

use blocking::unblock;
pub(crate) use futures_lite::future::block_on;
use mio::{Events, Interest, Registry, Token, event::Source, net};
use rtcmesh_runtime::{Runtime, TcpListener, TcpStream, Timer, UdpSocket};

const INTERRUPT: Token = Token(0);
const SOCKET: Token = Token(1);

/// The runtime: a handle to the thread that waits.
pub(crate) type Threads = &'static Reactor;

pub(crate) struct Reactor {
    registry: Registry,
    interrupt: mio::Waker,
    waiting: Mutex<Waiting>,
}

/// Who waits for anything, and the earliest time that is waited for. Whatever happens wakes everybody: simple, and
/// good enough for a few tasks. One for many would remember who waits for what.
#[derive(Default)]
struct Waiting {
    wakers: Vec<Waker>,
    next: Option<Instant>,
}

impl Reactor {
    fn start() -> Result<Threads> {
        let poll = mio::Poll::new()?;
        let interrupt = mio::Waker::new(poll.registry(), INTERRUPT)?;
        let (registry, waiting) = (poll.registry().try_clone()?, Mutex::default());
        // It runs for as long as the program does.
        let reactor: Threads = Box::leak(Box::new(Self { registry, interrupt, waiting }));
        thread::spawn(move || reactor.run(poll));
        Ok(reactor)
    }

    fn run(&self, mut poll: mio::Poll) {
        let mut events = Events::with_capacity(256);
        loop {
            let next = self.waiting().next;
            // What it fails with is an interruption; there are no events then.
            let _ = poll.poll(&mut events, next.map(|next| next - Instant::now()));
            let due = next.is_some_and(|next| next <= Instant::now());
            if due || events.iter().any(|event| event.token() == SOCKET) {
                let woken = mem::take(&mut *self.waiting()).wakers;
                woken.into_iter().for_each(Waker::wake);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the task woken when anything happens, at `at` at the latest.
    fn wait(&self, cx: &Context<'_>, at: Option<Instant>) {
        let mut waiting = self.waiting();
        if !waiting.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.wakers.push(cx.waker().clone());
        }
        if at.is_some_and(|at| waiting.next.is_none_or(|next| at < next)) {
            waiting.next = at;
            let _ = self.interrupt.wake(); // It fails where it is interrupted already.
        }
    }

    /// Calls what does not block, and has the task woken where it would have.
    fn poll<T>(&self, cx: &Context<'_>, mut call: impl FnMut() -> Result<T>) -> Poll<Result<T>> {
        self.wait(cx, None); // Before the call: what happens right after it must not be missed.
        match call() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    fn socket<S: Source>(&'static self, mut io: S) -> Result<Socket<S>> {
        self.registry.register(&mut io, SOCKET, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Socket { io, threads: self })
    }
}

impl Runtime for Threads {
    type Udp = Socket<net::UdpSocket>;
    type Tcp = Tcp;
    type Listener = Socket<net::TcpListener>;
    type Timer = Alarm;

    fn current() -> Result<Self> {
        static RUNNING: OnceLock<Threads> = OnceLock::new();
        let running = RUNNING.get().copied().map_or_else(Reactor::start, Ok)?;
        Ok(*RUNNING.get_or_init(|| running))
    }

    fn timer(&self, at: Instant) -> Alarm {
        Alarm(at, self)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        thread::spawn(move || block_on(task));
    }

    fn bind_udp(&self, addr: SocketAddr) -> Result<Self::Udp> {
        self.socket(net::UdpSocket::bind(addr)?)
    }

    fn connect_tcp(&self, addr: SocketAddr) -> impl Future<Output = Result<Tcp>> + Send + 'static {
        let threads = *self;
        unblock(move || {
            let stream = std::net::TcpStream::connect(addr)?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            threads.socket(net::TcpStream::from_std(stream))
        })
    }

    fn listen_tcp(&self, addr: SocketAddr) -> Result<Self::Listener> {
        self.socket(net::TcpListener::bind(addr)?)
    }

    fn resolve(&self, host: String, port: u16) -> impl Future<Output = Found> + Send + 'static {
        unblock(move || Ok((host.as_str(), port).to_socket_addrs()?.collect()))
    }
}

pub(crate) struct Alarm(Instant, Threads);

impl Timer for Alarm {
    fn reset(&mut self, at: Instant) {
        self.0 = at;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 <= Instant::now() {
            return Poll::Ready(());
        }
        self.1.wait(cx, Some(self.0));
        Poll::Pending
    }
}

pub(crate) struct Socket<S> {
    io: S,
    threads: Threads,
}

type Tcp = Socket<net::TcpStream>;
type Found = Result<Vec<SocketAddr>>;
type Received = Poll<Result<(usize, SocketAddr)>>;

impl UdpSocket for Socket<net::UdpSocket> {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Received {
        self.threads.poll(cx, || self.io.recv_from(buffer))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, to: SocketAddr, data: &[u8]) -> Poll<Result<()>> {
        self.threads.poll(cx, || self.io.send_to(data, to).map(drop))
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.io.local_addr()
    }
}

impl TcpStream for Tcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        self.threads.poll(cx, || self.io.read(buffer))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.threads.poll(cx, || self.io.write(bytes))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(self.io.shutdown(Shutdown::Write))
    }
}

impl TcpListener for Socket<net::TcpListener> {
    type Stream = Tcp;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Tcp, SocketAddr)>> {
        let (stream, remote) = ready!(self.threads.poll(cx, || self.io.accept()))?;
        Poll::Ready(Ok((self.threads.socket(stream)?, remote)))
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.io.local_addr()
    }
}
