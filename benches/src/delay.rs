//! The delay of audio frames on tokio and on smol: what a mesh and bare sockets are measured with.
//!
//! Both sides talk by the same loop over the same runtime's timer, on the same two threads.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use rtcmesh_runtime::{Runtime, Timer};
use rtcmesh_smol::SmolRuntime;
use rtcmesh_tokio::TokioRuntime;
use str0m::media::MediaData;
use tokio::sync::{mpsc, oneshot};

use crate::engine::{End, Packet, Pair, Sink};
use crate::frames::Kind;
use crate::talk::{SILENCE, STAMP, first_tick, stamp_of, stamped};

/// The bytes of a frame's datagram between bare sockets: the packet with what RTP and SRTP put around it (RFC 3550,
/// section 5.1, with one extension of 8 bytes; RFC 7714, section 14.2).
const DATAGRAM: usize = 80 + 12 + 8 + 16;

/// Runs on two threads of tokio.
///
/// # Panics
/// Where there are none to be had.
pub fn on_tokio<F: Future>(act: impl FnOnce(TokioRuntime) -> F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
    let handle = TokioRuntime::new(runtime.handle().clone());
    runtime.block_on(act(handle))
}

/// Runs on two threads of an executor of smol's, beside its reactor's own.
pub fn on_smol<F: Future>(act: impl FnOnce(SmolRuntime) -> F) -> F::Output {
    let executor: &'static smol::Executor<'static> = Box::leak(Box::default());
    for _ in 0..2 {
        thread::spawn(|| smol::block_on(executor.run(pending::<()>())));
    }
    smol::block_on(act(SmolRuntime::spawning(|task| executor.spawn(task).detach())))
}

/// A socket of the runtime itself, without ours around it.
pub trait Socket: Send + Sync + Sized + 'static {
    /// Binds one on loopback.
    ///
    /// # Errors
    /// The system's.
    fn bind() -> io::Result<Self>;

    /// Where it is bound.
    ///
    /// # Errors
    /// The system's.
    fn place(&self) -> io::Result<SocketAddr>;

    /// Sends a datagram.
    fn send(
        &self,
        payload: &[u8],
        to: SocketAddr,
    ) -> impl Future<Output = io::Result<usize>> + Send;

    /// Receives a datagram.
    fn receive(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
}

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

impl Socket for tokio::net::UdpSocket {
    fn bind() -> io::Result<Self> {
        let socket = UdpSocket::bind(LOOPBACK)?;
        socket.set_nonblocking(true)?;
        Self::from_std(socket)
    }

    fn place(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    async fn send(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send_to(payload, to).await
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }
}

impl Socket for smol::Async<UdpSocket> {
    fn bind() -> io::Result<Self> {
        Self::bind(LOOPBACK)
    }

    fn place(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }

    async fn send(&self, payload: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send_to(payload, to).await
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }
}

/// Two bare sockets on loopback, a task each while they talk.
#[derive(Debug)]
pub struct Bare<S>(Vec<(Arc<S>, SocketAddr)>);

impl<S: Socket> Bare<S> {
    /// Binds both.
    ///
    /// # Panics
    /// Where there is no free port.
    pub fn new() -> Self {
        let ends: Vec<S> = (0..2).map(|_| S::bind().expect("a free port")).collect();
        let places: Vec<_> = ends.iter().map(|end| end.place().expect("bound")).collect();
        let ends = ends.into_iter().map(Arc::new);
        Self(ends.zip(places.into_iter().rev()).collect())
    }

    /// Lets both send so many packets, 50 a second: gives their delays in microseconds. With `handed` each has a second task
    /// that receives and hands what comes to the first by a channel, as a mesh's driver does to the application.
    ///
    /// # Panics
    /// Where a socket fails.
    pub async fn talk<R: Runtime>(&self, runtime: &R, frames: usize, handed: bool) -> Vec<f64> {
        let base = Instant::now();
        let mut answers = Vec::new();
        for (n, (socket, other)) in self.0.iter().enumerate() {
            let (answer, answered) = oneshot::channel();
            answers.push(answered);
            let (own, socket, other) = (runtime.clone(), socket.clone(), *other);
            let tell = |tell: mpsc::UnboundedSender<f64>, socket: Arc<S>| async move {
                let mut buffer = [0; 2048];
                for _ in 0..frames {
                    let length = socket.receive(&mut buffer).await.expect("received");
                    let stamp = stamp_of(&buffer[..length]).expect("stamped");
                    if tell.send(stamp).is_err() {
                        return;
                    }
                }
            };
            let mut heard = handed.then(|| {
                let (teller, heard) = mpsc::unbounded_channel();
                runtime.spawn(tell(teller, socket.clone()));
                heard
            });
            runtime.spawn(async move {
                let mut payload = [0x55; DATAGRAM];
                let mut timer = own.timer(first_tick(base, n, 2));
                let mut due = first_tick(base, n, 2);
                let (mut delays, mut buffer) = (Vec::with_capacity(frames), [0; 2048]);
                let mut sent = 0;
                while sent < frames || delays.len() < frames {
                    let received = async {
                        match &mut heard {
                            // The other task ends once it has all of them.
                            Some(heard) => match heard.recv().await {
                                Some(stamp) => stamp,
                                None => pending().await,
                            },
                            None => {
                                let length = socket.receive(&mut buffer).await.expect("received");
                                stamp_of(&buffer[..length]).expect("stamped")
                            }
                        }
                    };
                    let stamp = tick_or(&mut timer, received).await;
                    match stamp {
                        Some(stamp) => {
                            delays.push((base.elapsed().as_nanos() as f64 - stamp) / 1e3)
                        }
                        None if sent < frames => {
                            let nanos = base.elapsed().as_nanos() as u64;
                            payload[STAMP].copy_from_slice(&nanos.to_le_bytes());
                            socket.send(&payload, other).await.expect("sent");
                            sent += 1;
                            due += if sent < frames { Kind::Audio.interval() } else { SILENCE };
                            timer.reset(due);
                        }
                        None => break,
                    }
                }
                let _ = answer.send(delays);
            });
        }
        let mut delays = Vec::new();
        for answered in answers {
            delays.extend(answered.await.expect("no end fails"));
        }
        delays
    }
}

/// The engine alone between bare sockets: what is left of a mesh without anything of ours.
#[derive(Debug)]
pub struct Engines<S> {
    ends: Vec<(End, Arc<S>, SocketAddr)>,
    /// When they were connected by their clock, which ran ahead, and by the system's.
    connected: (Instant, Instant),
}

/// What an end of the engine has to say.
#[derive(Default)]
struct Said {
    packets: Vec<Packet>,
    stamps: Vec<f64>,
}

impl Sink for Said {
    fn packet(&mut self, packet: Packet) {
        self.packets.push(packet);
    }

    fn media(&mut self, data: MediaData) {
        self.stamps.extend(stamp_of(&data.data));
    }
}

impl<S: Socket> Engines<S> {
    /// Two ends that were connected in memory.
    ///
    /// # Panics
    /// Where there is no free port.
    pub fn new() -> Self {
        let pair = Pair::connected(Instant::now(), 0, false);
        let connected = (pair.now(), Instant::now());
        let sockets = Bare::new().0.into_iter();
        let ends = pair.ends.into_iter().zip(sockets);
        let ends = ends.map(|(end, (socket, other))| (end, socket, other)).collect();
        Self { ends, connected }
    }

    /// Lets both send so many packets, 50 a second: gives their delays in microseconds.
    ///
    /// # Panics
    /// Where a socket or the engine fails.
    pub async fn talk<R: Runtime>(&mut self, runtime: &R, frames: usize) -> Vec<f64> {
        let base = Instant::now();
        let places: Vec<SocketAddr> = self.ends.iter().map(|(end, ..)| end.address()).collect();
        let (theirs, ours) = self.connected;
        let clock = move || theirs + ours.elapsed();
        let mut answers = Vec::new();
        for (n, (mut end, socket, other)) in std::mem::take(&mut self.ends).into_iter().enumerate()
        {
            let (answer, answered) = oneshot::channel();
            answers.push(answered);
            let (own, from) = (runtime.clone(), places[1 - n]);
            runtime.spawn(async move {
                let mut due = first_tick(base, n, 2);
                let mut timer = own.timer(due);
                let (mut delays, mut buffer) = (Vec::with_capacity(frames), [0; 2048]);
                let (mut said, mut sent) = (Said::default(), 0);
                while sent < frames || delays.len() < frames {
                    match tick_or(&mut timer, socket.receive(&mut buffer)).await {
                        Some(length) => {
                            end.take(
                                clock(),
                                from,
                                &buffer[..length.expect("received")],
                                &mut said,
                            );
                            for stamp in said.stamps.drain(..) {
                                delays.push((base.elapsed().as_nanos() as f64 - stamp) / 1e3);
                            }
                        }
                        None if due > Instant::now() => end.run_due(clock(), &mut said),
                        None if sent < frames => {
                            let frame = stamped(base);
                            end.send(clock(), &frame, Kind::Audio, &mut said);
                            sent += 1;
                            due += if sent < frames { Kind::Audio.interval() } else { SILENCE };
                        }
                        None => break,
                    }
                    for packet in said.packets.drain(..) {
                        socket.send(&packet.payload, other).await.expect("sent");
                    }
                    // The engine's own timers, by the system's clock.
                    let wanted = ours + end.due().saturating_duration_since(theirs);
                    timer.reset(due.min(wanted));
                }
                let _ = answer.send(((end, socket, other), delays));
            });
        }
        let mut delays = Vec::new();
        for answered in answers {
            let (end, seen) = answered.await.expect("no end fails");
            self.ends.push(end);
            delays.extend(seen);
        }
        delays
    }
}

impl<S: Socket> Default for Engines<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Socket> Default for Bare<S> {
    fn default() -> Self {
        Self::new()
    }
}

/// What `other` gives, or `None` where the timer comes first.
pub(crate) async fn tick_or<T>(
    timer: &mut impl Timer,
    other: impl Future<Output = T>,
) -> Option<T> {
    let mut other = pin!(other);
    poll_fn(|cx| {
        if timer.poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        other.as_mut().poll(cx).map(Some)
    })
    .await
}
