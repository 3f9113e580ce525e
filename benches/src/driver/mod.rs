//! What the adapters cost beside a bare loop over a socket of the same runtime: an echo machine in the mesh's
//! place, and a load that it gives back.

mod machine;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rtcmesh_runtime::{Runtime, SegmentOffload};
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
}

/// One that gives back each datagram, on a thread and a single-threaded runtime of its own. It lives as long as
/// the process.
#[derive(Debug)]
pub struct Echo {
    addr: SocketAddr,
    thread: String,
    sent: Arc<AtomicU64>,
}

impl Echo {
    /// Starts it on loopback.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(side: Side) -> Self {
        let (tell, told) = mpsc::channel();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        thread::spawn(move || {
            let name = fs::read_link("/proc/thread-self").unwrap_or_default();
            let started = move |addr| {
                let _ = tell.send((addr, name.to_string_lossy().into_owned()));
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                match side {
                    Side::Tokio => {
                        let runtime = TokioRuntime::current().expect("inside of tokio");
                        let machine = Machine::new(runtime.now(), started, counter);
                        let _mesh = rtcmesh_runtime::machine::start(runtime, machine)
                            .await
                            .expect("an echo machine starts");
                        std::future::pending::<()>().await;
                    }
                    Side::BareTokio => bare(started).await,
                }
            });
        });
        let (addr, thread) = told.recv_timeout(LIMIT).expect("the echo starts");
        Self { addr, thread, sent }
    }

    /// The CPU time of its thread (Linux; zero elsewhere). Exact while it waits.
    pub fn cpu(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.thread));
        let nanos = text.ok().and_then(|text| text.split(' ').next()?.parse().ok());
        Duration::from_nanos(nanos.unwrap_or_default())
    }

    /// How many datagrams its machine has sent; the bare loop does not count.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn bare(started: impl FnOnce(SocketAddr)) {
    let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    started(socket.local_addr().expect("bound"));
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
        Self {
            places: (0..places).map(place).collect(),
            burst,
            payload: vec![7; burst * size],
            segment: size,
            offload: at_once.then(|| SegmentOffload::new(Ipv4Addr::LOCALHOST.into())),
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
            let offload = self.offload.as_mut().filter(|offload| offload.max_segments() > 1);
            if let Some(offload) = offload {
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
