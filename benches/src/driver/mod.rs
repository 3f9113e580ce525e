//! What the adapters cost beside a bare loop over a socket of the same runtime: an echo machine in the mesh's
//! place, and a load that it gives back.

mod machine;

use std::fs;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rtcmesh_runtime::{Runtime, SegmentOffload};
use rtcmesh_smol::SmolRuntime;
use rtcmesh_tokio::TokioRuntime;

use machine::Machine;

/// Nothing on loopback takes a fraction of it.
const LIMIT: Duration = Duration::from_secs(20);

/// Who gives back what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The adapter for tokio, with the driver.
    Tokio,
    /// A loop of `recv_from` and `send_to` over tokio's socket.
    BareTokio,
    /// The adapter for smol, with the driver.
    Smol,
    /// A loop of `recv_from` and `send_to` over smol's socket.
    BareSmol,
}

impl Side {
    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::BareTokio => "bare-tokio",
            Self::Smol => "smol",
            Self::BareSmol => "bare-smol",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Tokio, Self::BareTokio, Self::Smol, Self::BareSmol];
        all.into_iter().find(|side| side.name() == name)
    }
}

/// One that gives back each datagram, on a thread and a single-threaded runtime of its own. It lives as long as
/// the process.
#[derive(Debug)]
pub struct Echo {
    addr: SocketAddr,
    sent: Arc<AtomicU64>,
    polls: Arc<AtomicU64>,
}

impl Echo {
    /// Starts it on loopback. With a `tick` the machine wants to be called so often, as a mesh that plays audio does.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(side: Side, tick: Option<Duration>) -> Self {
        let (tell, told) = mpsc::channel();
        let sent = Arc::new(AtomicU64::new(0));
        let polls = Arc::new(AtomicU64::new(0));
        let (counter, polled) = (sent.clone(), polls.clone());
        thread::spawn(move || {
            let started = move |addr| {
                let _ = tell.send(addr);
            };
            match side {
                Side::Tokio | Side::BareTokio => {
                    let mut builder = tokio::runtime::Builder::new_current_thread();
                    let runtime = builder.enable_all().build().expect("a runtime");
                    runtime.block_on(async move {
                        if side == Side::BareTokio {
                            // A task, as the driver is.
                            return tokio::spawn(bare_tokio(started)).await.expect("it goes on");
                        }
                        let runtime = TokioRuntime::current().expect("inside");
                        adapter(runtime, tick, started, counter).await;
                    });
                }
                Side::Smol | Side::BareSmol => {
                    let executor: &smol::Executor<'_> = Box::leak(Box::default());
                    smol::block_on(executor.run(async move {
                        if side == Side::BareSmol {
                            return executor.spawn(bare_smol(started)).await;
                        }
                        let runtime = SmolRuntime::spawning(move |mut task| {
                            let polled = polled.clone();
                            let counted = poll_fn(move |cx| {
                                polled.fetch_add(1, Ordering::Relaxed);
                                task.as_mut().poll(cx)
                            });
                            executor.spawn(counted).detach();
                        });
                        adapter(runtime, tick, started, counter).await;
                    }));
                }
            }
        });
        let addr = told.recv_timeout(LIMIT).expect("the echo starts");
        Self { addr, sent, polls }
    }

    /// How many datagrams its machine has sent; the bare loop does not count.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How often its driver was polled, on smol alone.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }
}

/// The CPU time of all threads but the calling one (Linux; zero elsewhere). Exact while they wait. That of single
/// threads would say less: those of smol serve one reactor in turns.
pub fn cpu_of_others() -> Duration {
    let this = fs::read_link("/proc/thread-self").unwrap_or_default();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let others = tasks.flatten().filter(|task| Some(&*task.file_name()) != this.file_name());
    let nanos = others.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

async fn adapter<R: Runtime>(
    runtime: R,
    tick: Option<Duration>,
    started: impl FnOnce(SocketAddr) + Send + 'static,
    counter: Arc<AtomicU64>,
) {
    let machine = Machine::new(runtime.now(), tick, started, counter);
    let mesh = rtcmesh_runtime::machine::start(runtime, machine).await;
    let _mesh = mesh.expect("an echo machine starts");
    std::future::pending().await
}

async fn bare_tokio(started: impl FnOnce(SocketAddr)) {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    started(socket.local_addr().expect("bound"));
    let mut buffer = vec![0; 2048];
    loop {
        let (length, remote) = socket.recv_from(&mut buffer).await.expect("received");
        socket.send_to(&buffer[..length], remote).await.expect("sent");
    }
}

async fn bare_smol(started: impl FnOnce(SocketAddr)) {
    let socket = smol::Async::<UdpSocket>::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    started(socket.get_ref().local_addr().expect("bound"));
    let mut buffer = vec![0; 2048];
    loop {
        let (length, remote) = socket.recv_from(&mut buffer).await.expect("received");
        socket.send_to(&buffer[..length], remote).await.expect("sent");
    }
}

/// Datagrams that are sent to an echo in bursts, and awaited.
#[derive(Debug)]
pub struct Load {
    places: Vec<UdpSocket>,
    burst: usize,
    payload: Vec<u8>,
    segment: usize,
    /// Sends a burst at once.
    offload: Option<SegmentOffload>,
}

impl Load {
    /// From so many sockets a burst of so many datagrams each; `at_once`: by segmentation offload.
    ///
    /// # Panics
    /// Where no socket can be had.
    pub fn new(places: usize, burst: usize, size: usize, at_once: bool) -> Self {
        let place = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            socket.set_read_timeout(Some(LIMIT)).expect("a limit");
            socket
        };
        let mut offload = at_once.then(|| SegmentOffload::new(Ipv4Addr::LOCALHOST.into()));
        // Where the system has none of it, singly.
        if offload.as_mut().is_some_and(|offload| offload.max_segments() < burst) {
            offload = None;
        }
        Self {
            places: (0..places).map(place).collect(),
            burst,
            payload: vec![7; burst * size],
            segment: size,
            offload,
        }
    }

    /// The datagrams of a burst.
    pub fn datagrams(&self) -> usize {
        self.places.len() * self.burst
    }

    /// Sends a burst to an echo, and waits until all of it is back.
    ///
    /// # Panics
    /// Where something is lost.
    pub fn burst(&mut self, echo: &Echo) {
        for place in &self.places {
            if let Some(offload) = &mut self.offload {
                let sent = offload.send(place, echo.addr, self.segment, &self.payload);
                sent.expect("loopback takes trains");
            } else {
                for payload in self.payload.chunks(self.segment) {
                    place.send_to(payload, echo.addr).expect("loopback takes datagrams");
                }
            }
        }
        let mut buffer = [0; 2048];
        for place in &self.places {
            for _ in 0..self.burst {
                let length = place.recv(&mut buffer).expect("nothing is lost on loopback");
                assert_eq!(length, self.segment, "as it was sent");
            }
        }
    }
}
