//! A mesh in which everybody talks: CPU, and the delay from one application to the other.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtcmesh_core::media::{EncodedAudio, RuntimeData};
use rtcmesh_core::transport::{AudioData, Media};
use rtcmesh_runtime::{Runtime, Timer, TransportEvent};
use tokio::sync::oneshot;

use crate::delay::tick_or;
use crate::frames::Kind;
use crate::measure::quantile;
use crate::mesh::Mesh;

/// How long is waited for what is still on its way, and in the jitter buffers.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// Where a packet carries the time of its sending, in nanoseconds.
pub(crate) const STAMP: Range<usize> = 8..16;

/// What a talking mesh took.
#[derive(Debug, Clone)]
pub struct Talk {
    /// CPU time of the process, in cores.
    pub cores: f64,
    /// The delays of packets without what they wait in the jitter buffer, in microseconds.
    pub delays: Vec<f64>,
    /// How many packets should have been received.
    pub expected: usize,
}

impl Talk {
    /// The delay that this share of the packets stayed below, in microseconds.
    pub fn delay(&self, share: f64) -> f64 {
        quantile(self.delays.iter().copied(), share)
    }
}

/// Lets everybody broadcast so many packets, 50 a second.
///
/// # Panics
/// Where a peer fails.
pub async fn talk<R: Runtime>(runtime: &R, mesh: &mut Mesh<R>, frames: usize) -> Talk {
    let base = Instant::now();
    let count = mesh.peers.len();
    let before = cpu();
    let mut answers = Vec::new();
    for (n, (transport, mut events)) in std::mem::take(&mut mesh.peers).into_iter().enumerate() {
        let (answer, answered) = oneshot::channel();
        answers.push(answered);
        let own = runtime.clone();
        runtime.spawn(async move {
            let expected = frames * (count - 1);
            let mut due = first_tick(base, n, count);
            let mut timer = own.timer(due);
            let mut delays = Vec::with_capacity(expected);
            let mut sent = 0;
            while sent < frames || delays.len() < expected {
                match tick_or(&mut timer, events.next()).await {
                    Some(event) => delays.extend(delay(base, event)),
                    None if sent < frames => {
                        let (opus, duration) = (stamped(base), Kind::Audio.interval());
                        let packet = RuntimeData::EncodedAudio(EncodedAudio { opus, duration });
                        transport.broadcast(&packet).expect("connected peers");
                        sent += 1;
                        due += if sent < frames { Kind::Audio.interval() } else { SILENCE };
                        timer.reset(due);
                    }
                    None => break,
                }
            }
            let _ = answer.send((transport, events, delays));
        });
    }
    let mut delays = Vec::new();
    for answered in answers {
        let (transport, events, seen) = answered.await.expect("no peer fails");
        delays.extend(seen);
        mesh.peers.push((transport, events));
    }
    let spoken = Kind::Audio.interval() * frames as u32;
    let cores = (cpu() - before).as_secs_f64() / spoken.as_secs_f64();
    Talk { cores, delays, expected: frames * count * (count - 1) }
}

/// When the `n`th of so many sends first: they are not in step with each other.
pub(crate) fn first_tick(base: Instant, n: usize, count: usize) -> Instant {
    base + Kind::Audio.interval() * n as u32 / count as u32
}

/// A packet that carries the time of its sending where its audio would be.
pub(crate) fn stamped(base: Instant) -> Arc<[u8]> {
    let mut opus: Arc<[u8]> = Kind::Audio.bytes();
    let bytes = Arc::get_mut(&mut opus).expect("nobody else has it");
    // Last: to make the packet is no part of its way.
    bytes[STAMP].copy_from_slice(&(base.elapsed().as_nanos() as u64).to_le_bytes());
    opus
}

/// When a packet says that it was sent.
pub(crate) fn stamp_of(packet: &[u8]) -> Option<f64> {
    Some(u64::from_le_bytes(packet.get(STAMP)?.try_into().ok()?) as f64)
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
    let on_the_way = base.elapsed().saturating_sub(held);
    Some((on_the_way.as_nanos() as f64 - stamp_of(opus)?) / 1e3)
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
