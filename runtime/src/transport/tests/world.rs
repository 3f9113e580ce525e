//! A runtime without a system: its clock moves when told to, its network is memory, and its tasks run
//! when the test says so. Nothing in it waits, so that what does not happen is seen at once. Left to itself
//! ([`World::block_on`]) it is a runtime like others, in virtual time.

mod udp;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::runtime::{Runtime, TcpListener, TcpStream, Timer};
use udp::{Bound, Udp};

/// Polls of tasks in one [`World::run`] after which they count as spinning.
const MAX_POLLS: usize = 20_000;
/// The virtual time after which a [`World::block_on`] counts as one without an end.
const MAX_TIME: Duration = Duration::from_secs(3_600);
/// The first port that is given out where any will do.
const FIRST_PORT: u16 = 50_000;

#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<Inner>>);

struct Inner {
    now: Instant,
    timers: BTreeMap<u64, (Instant, Option<Waker>)>,
    next_timer: u64,
    pub(crate) resets: usize,
    tasks: Vec<Task>,
    udp: BTreeMap<SocketAddr, Udp>,
    sent_by_closed: Vec<Vec<u8>>,
    tcp: VecDeque<Pipe>,
    listeners: BTreeMap<SocketAddr, Listener>,
    next_port: u16,
}

/// One TCP listener.
#[derive(Default)]
struct Listener {
    backlog: VecDeque<(Pipe, SocketAddr)>,
    waker: Option<Waker>,
}

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    job: Option<Job>,
    woken: Arc<Woken>,
}

pub(crate) struct Woken(pub(crate) AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            now: Instant::now(),
            timers: BTreeMap::new(),
            next_timer: 0,
            resets: 0,
            tasks: Vec::new(),
            udp: BTreeMap::new(),
            sent_by_closed: Vec::new(),
            tcp: VecDeque::new(),
            listeners: BTreeMap::new(),
            next_port: FIRST_PORT,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Runs all tasks until none is woken, and gives how often one was polled.
    pub(crate) fn run(&self) -> usize {
        let mut polls = 0;
        loop {
            let mut inner = self.inner();
            let woken = |task: &Task| task.job.is_some() && task.woken.0.load(Ordering::Relaxed);
            let Some(at) = inner.tasks.iter().position(woken) else { return polls };
            let woken = inner.tasks[at].woken.clone();
            let mut job = inner.tasks[at].job.take().unwrap();
            drop(inner);
            woken.0.store(false, Ordering::Relaxed);
            polls += 1;
            assert!(polls < MAX_POLLS, "a task spins");
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                job.as_mut().poll(&mut Context::from_waker(&woken.clone().into()))
            }));
            // One that has ended or panicked is dropped, as executors do.
            if let Ok(Poll::Pending) = polled {
                self.inner().tasks[at].job = Some(job);
            }
        }
    }

    /// Moves the clock on, timer by timer, and runs what they wake.
    pub(crate) fn pass(&self, time: Duration) -> usize {
        let end = self.now() + time;
        let mut polls = self.run();
        loop {
            let mut inner = self.inner();
            let waiting = inner.timers.values().filter(|(_, waker)| waker.is_some());
            let due = waiting.map(|(at, _)| *at).filter(|at| *at <= end).min();
            inner.now = due.unwrap_or(end).max(inner.now);
            let now = inner.now;
            let wakers: Vec<_> = inner
                .timers
                .values_mut()
                .filter(|(at, _)| *at <= now)
                .filter_map(|(_, waker)| waker.take())
                .collect();
            drop(inner);
            wakers.into_iter().for_each(Waker::wake);
            polls += self.run();
            if due.is_none() {
                return polls;
            }
        }
    }

    /// Runs until `future` has ended. Whenever nothing is left to do, the clock moves to the next timer.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = woken.clone().into();
        let mut future = pin!(future);
        let limit = self.now() + MAX_TIME;
        loop {
            while woken.0.swap(false, Ordering::Relaxed) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    return output;
                }
                self.run();
            }
            let now = self.now();
            let next = {
                let inner = self.inner();
                inner.timers.values().filter(|(_, waker)| waker.is_some()).map(|(at, _)| *at).min()
            };
            let next = next.expect("nothing is left that could wake anybody");
            assert!(next < limit, "no end within {MAX_TIME:?}");
            self.pass(next.saturating_duration_since(now));
        }
    }

    /// How many tasks have not ended.
    pub(crate) fn tasks(&self) -> usize {
        self.inner().tasks.iter().filter(|task| task.job.is_some()).count()
    }

    /// Drops all tasks, as a runtime that ends does.
    pub(crate) fn end(&self) {
        let tasks = std::mem::take(&mut self.inner().tasks);
        drop(tasks);
    }

    /// How often a timer was set anew.
    pub(crate) fn resets(&self) -> usize {
        self.inner().resets
    }

    /// The addresses of the sockets that are open.
    pub(crate) fn bound(&self) -> Vec<SocketAddr> {
        self.inner().udp.keys().copied().collect()
    }

    /// What sockets that are closed had sent.
    pub(crate) fn sent_by_closed(&self) -> Vec<Vec<u8>> {
        self.inner().sent_by_closed.clone()
    }

    /// Changes a socket, and wakes its owner.
    pub(crate) fn udp<T>(&self, addr: SocketAddr, change: impl FnOnce(&mut Udp) -> T) -> T {
        let mut inner = self.inner();
        let udp = inner.udp.get_mut(&addr).unwrap();
        let result = change(udp);
        let wakers = [udp.reader.take(), udp.writer.take()];
        drop(inner);
        wakers.into_iter().flatten().for_each(Waker::wake);
        result
    }

    /// The next TCP connection leads to the other end of this pipe; without one it is refused.
    pub(crate) fn listen(&self) -> Pipe {
        let (near, far) = Pipe::pair();
        self.inner().tcp.push_back(near);
        far
    }
}

impl Runtime for World {
    type Udp = Bound;
    type Tcp = Pipe;
    type Listener = Listening;
    type Timer = Alarm;

    fn current() -> io::Result<Self> {
        Err(ErrorKind::Unsupported.into())
    }

    fn now(&self) -> Instant {
        self.inner().now
    }

    fn timer(&self, at: Instant) -> Alarm {
        let mut inner = self.inner();
        inner.next_timer += 1;
        let name = inner.next_timer;
        inner.timers.insert(name, (at, None));
        Alarm { world: self.clone(), name }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.inner().tasks.push(Task { job: Some(Box::pin(task)), woken });
    }

    /// The address 10.0.0.1 is nobody's here, and all others are ours.
    fn bind_udp(&self, addr: SocketAddr) -> io::Result<Bound> {
        if addr.ip() == IpAddr::from([10, 0, 0, 1]) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let mut inner = self.inner();
        let addr = inner.with_port(addr);
        if inner.udp.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse.into());
        }
        inner.udp.insert(addr, Udp::default());
        Ok(Bound { world: self.clone(), addr })
    }

    fn connect_tcp(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Pipe>> + Send + 'static {
        let mut inner = self.inner();
        let from = inner.with_port(SocketAddr::new(addr.ip(), 0));
        let scripted = inner.tcp.pop_front();
        let pipe = match (scripted, inner.listeners.get_mut(&addr)) {
            (Some(pipe), _) => Ok(pipe),
            (None, Some(listener)) => {
                let (near, far) = Pipe::pair();
                listener.backlog.push_back((far, from));
                if let Some(waker) = listener.waker.take() {
                    waker.wake();
                }
                Ok(near)
            }
            (None, None) => Err(ErrorKind::ConnectionRefused.into()),
        };
        async move { pipe }
    }

    fn listen_tcp(&self, addr: SocketAddr) -> io::Result<Listening> {
        let mut inner = self.inner();
        let addr = inner.with_port(addr);
        if inner.listeners.contains_key(&addr) {
            return Err(ErrorKind::AddrInUse.into());
        }
        inner.listeners.insert(addr, Listener::default());
        Ok(Listening { world: self.clone(), addr })
    }

    /// Every name is this host's, but those of `.invalid` (RFC 6761, section 6.4).
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static {
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => Ok(ip),
            Err(_) if host.ends_with(".invalid") => Err(ErrorKind::NotFound.into()),
            Err(_) => Ok(Ipv4Addr::LOCALHOST.into()),
        };
        std::future::ready(found.map(|ip| vec![SocketAddr::new(ip, port)]))
    }
}

impl Inner {
    /// The address itself, or with a port that nobody has where it names none.
    fn with_port(&mut self, addr: SocketAddr) -> SocketAddr {
        if addr.port() != 0 {
            return addr;
        }
        let port = self.next_port;
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
        SocketAddr::new(addr.ip(), port)
    }
}

pub(crate) struct Alarm {
    world: World,
    name: u64,
}

impl Timer for Alarm {
    fn reset(&mut self, at: Instant) {
        let mut inner = self.world.inner();
        inner.resets += 1;
        inner.timers.insert(self.name, (at, None));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.world.inner();
        let now = inner.now;
        let (at, waker) = inner.timers.get_mut(&self.name).unwrap();
        if *at <= now {
            return Poll::Ready(());
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.world.inner().timers.remove(&self.name);
    }
}

/// What a [`Pipe`] takes before it is read.
const PIPE: usize = 64 * 1024;

/// One end of a byte stream.
pub(crate) struct Pipe {
    incoming: Arc<Mutex<Lane>>,
    outgoing: Arc<Mutex<Lane>>,
}

#[derive(Default)]
struct Lane {
    bytes: VecDeque<u8>,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Pipe {
    fn pair() -> (Self, Self) {
        let (a, b) = (Arc::<Mutex<Lane>>::default(), Arc::<Mutex<Lane>>::default());
        (Self { incoming: a.clone(), outgoing: b.clone() }, Self { incoming: b, outgoing: a })
    }

    fn close(&self) {
        let mut lane = self.outgoing.lock().unwrap();
        lane.closed = true;
        lane.wake();
    }
}

impl TcpStream for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.incoming.lock().unwrap();
        if lane.bytes.is_empty() && !lane.closed {
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = lane.bytes.len().min(buffer.len());
        for (slot, byte) in buffer.iter_mut().zip(lane.bytes.drain(..count)) {
            *slot = byte;
        }
        lane.wake();
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut lane = self.outgoing.lock().unwrap();
        let count = bytes.len().min(PIPE - lane.bytes.len());
        if count == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        lane.bytes.extend(&bytes[..count]);
        lane.wake();
        Poll::Ready(Ok(count))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) struct Listening {
    world: World,
    addr: SocketAddr,
}

impl TcpListener for Listening {
    type Stream = Pipe;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Pipe, SocketAddr)>> {
        let mut inner = self.world.inner();
        let listener = inner.listeners.get_mut(&self.addr).unwrap();
        match listener.backlog.pop_front() {
            Some(accepted) => Poll::Ready(Ok(accepted)),
            None => {
                listener.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let listener = self.world.inner().listeners.remove(&self.addr);
        drop(listener);
    }
}
