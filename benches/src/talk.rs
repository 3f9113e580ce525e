//! A mesh in which everybody talks: CPU, and the delay from one application to the other.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rtcmesh_core::media::{EncodedAudio, RuntimeData};
use rtcmesh_tokio::{AudioData, Media, TransportEvent};
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::frames::Kind;
use crate::measure::quantile;
use crate::mesh::Mesh;

/// What a talking mesh took.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    /// CPU time of the process, in cores.
    pub cores: f64,
    /// The delay of packets without what they wait in the jitter buffer: median and 95th percentile, in
    /// microseconds.
    pub delay_us: (f64, f64),
    /// Packets that were received, and those that should have been.
    pub packets: (usize, usize),
}

/// Lets everybody broadcast 50 packets a second for so long.
///
/// # Panics
/// Where a peer fails.
pub async fn talk(mesh: &mut Mesh, duration: Duration) -> Talk {
    let base = Instant::now();
    let count = mesh.peers.len();
    let frames = (duration.as_millis() / Kind::Audio.interval().as_millis()) as usize;
    let before = cpu();
    let mut tasks = Vec::new();
    for (n, (transport, mut events)) in std::mem::take(&mut mesh.peers).into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            // Peers are not in step with each other.
            sleep(Kind::Audio.interval() * n as u32 / count as u32).await;
            let mut ticks = interval(Kind::Audio.interval());
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut delays = Vec::with_capacity(frames * count);
            let mut sent = 0;
            while sent < frames {
                tokio::select! {
                    _ = ticks.tick() => {
                        transport.broadcast(&stamped(base)).expect("connected peers");
                        sent += 1;
                    }
                    event = events.next() => delays.extend(delay(base, event)),
                }
            }
            // What is still on its way, and in the jitter buffers.
            while let Ok(event) = timeout(Duration::from_millis(300), events.next()).await {
                delays.extend(delay(base, event));
            }
            (transport, events, delays)
        }));
    }
    let mut delays = Vec::new();
    for task in tasks {
        let (transport, events, seen) = task.await.expect("no peer fails");
        delays.extend(seen);
        mesh.peers.push((transport, events));
    }
    let cores = (cpu() - before).as_secs_f64() / duration.as_secs_f64();
    let at = |share| quantile(delays.iter().copied(), share);
    let packets = (delays.len(), frames * count * (count - 1));
    Talk { cores, delay_us: (at(0.5), at(0.95)), packets }
}

/// A packet that carries the time of its sending where its audio would be.
fn stamped(base: Instant) -> RuntimeData {
    let opus = stamp(base);
    RuntimeData::EncodedAudio(EncodedAudio { opus: opus.into(), duration: Kind::Audio.interval() })
}

/// The bytes of such a packet.
fn stamp(base: Instant) -> Vec<u8> {
    let mut opus = Kind::Audio.bytes().to_vec();
    let nanos = base.elapsed().as_nanos() as u64;
    opus[8..16].copy_from_slice(&nanos.to_le_bytes());
    opus
}

/// The same between two bare sockets of the same runtime, a task each: the delays, median and 95th percentile in
/// microseconds.
///
/// # Panics
/// Where a socket fails.
pub async fn bare_talk(duration: Duration) -> (f64, f64) {
    let base = Instant::now();
    let frames = (duration.as_millis() / Kind::Audio.interval().as_millis()) as usize;
    let mut ends = Vec::new();
    for _ in 0..2 {
        ends.push(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port"));
    }
    let places: Vec<_> = ends.iter().map(|end| end.local_addr().expect("bound")).collect();
    let mut tasks = Vec::new();
    for (n, end) in ends.into_iter().enumerate() {
        let other = places[1 - n];
        tasks.push(tokio::spawn(async move {
            sleep(Kind::Audio.interval() * n as u32 / 2).await;
            let mut ticks = interval(Kind::Audio.interval());
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut delays, mut buffer) = (Vec::with_capacity(frames), [0; 2048]);
            let mut sent = 0;
            loop {
                tokio::select! {
                    _ = ticks.tick(), if sent < frames => {
                        end.send_to(&stamp(base), other).await.expect("sent");
                        sent += 1;
                    }
                    received = end.recv_from(&mut buffer) => {
                        received.expect("received");
                        let stamp = buffer[8..16].try_into().expect("8 bytes");
                        let sent = u64::from_le_bytes(stamp) as f64;
                        delays.push((base.elapsed().as_nanos() as f64 - sent) / 1e3);
                    }
                    () = sleep(Duration::from_millis(300)), if sent == frames => break,
                }
            }
            delays
        }));
    }
    let mut delays = Vec::new();
    for task in tasks {
        delays.extend(task.await.expect("no end fails"));
    }
    let at = |share| quantile(delays.iter().copied(), share);
    (at(0.5), at(0.95))
}

/// The delay of a received packet from application to application, in microseconds: without what it waited
/// in the jitter buffer, with the way out of it, where it came through one.
fn delay(base: Instant, event: Option<TransportEvent>) -> Option<f64> {
    let Some(TransportEvent::Media(Media::Audio { frame, .. })) = event else { return None };
    let (opus, held) = match &frame.data {
        AudioData::Encoded(packet) => (&*packet.opus, frame.delay),
        AudioData::Packet(packet) => (&*packet.payload, Duration::ZERO),
        _ => return None,
    };
    let nanos = u64::from_le_bytes(opus.get(8..16)?.try_into().ok()?);
    let on_the_way = base.elapsed().saturating_sub(held);
    Some((on_the_way.as_nanos() as f64 - nanos as f64) / 1e3)
}

/// The CPU time of all threads of this process (Linux; zero elsewhere).
pub fn cpu() -> Duration {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let nanos = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
