//! Whatever a stream was like before: a clean one that follows is played.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{AudioRenderer, Decode, JitterBuffer, Packet, PlayoutConfig, Pop};

const STEP: u32 = 960;
const FRAME: Duration = Duration::from_millis(20);
/// The packets of the clean stream: 16 s.
const CLEAN: u64 = 800;
/// By then it has been told from what was before, and nothing more of it may be missing.
const SETTLED: u64 = 150;
/// What marks its packets.
const MARK: u64 = 1 << 40;

/// One packet of what comes before.
#[derive(Debug, Clone, Copy)]
struct Odd {
    /// From the one before: steps of sequence numbers and of timestamps, and the time that passes.
    steps: i64,
    moved: i64,
    passed: Duration,
    duration: u32,
    dtx: bool,
}

fn odd() -> impl Strategy<Value = Odd> {
    let steps = prop_oneof![
        6 => Just(1_i64),
        2 => -20_i64..40,
        1 => -4_000_i64..4_000,
        1 => -(1_i64 << 40)..(1 << 40),
    ];
    let moved = prop_oneof![
        6 => Just(i64::from(STEP)),
        2 => -48_000_i64..96_000,
        1 => -(1_i64 << 31)..(1 << 31),
    ];
    let passed = prop_oneof![
        6 => (0_u64..40).prop_map(Duration::from_millis),
        2 => (0_u64..3_000).prop_map(Duration::from_millis),
        1 => (0_u64..4_000).prop_map(Duration::from_secs),
    ];
    let duration = prop_oneof![4 => Just(STEP), 1 => any::<u32>()];
    (steps, moved, passed, duration, prop::bool::weighted(0.1)).prop_map(
        |(steps, moved, passed, duration, dtx)| Odd { steps, moved, passed, duration, dtx },
    )
}

/// The packets of a history, then the clean ones.
fn packets(start: Instant, before: &[Odd], first: Odd) -> Vec<Packet<u64>> {
    let (mut sequence, mut rtp, mut arrived) = (1_u64 << 41, 0_u32, start);
    let mut packets = Vec::new();
    for odd in before.iter().chain([&first]) {
        sequence = sequence.saturating_add_signed(odd.steps);
        rtp = rtp.wrapping_add(odd.moved as u32);
        arrived += odd.passed;
        let (duration, dtx) = (odd.duration, odd.dtx);
        packets.push(Packet { sequence, rtp, duration, dtx, arrived, payload: 0 });
    }
    packets.pop();
    packets.extend((0..CLEAN).map(|n| Packet {
        sequence: sequence.saturating_add(n),
        rtp: rtp.wrapping_add(n as u32 * STEP),
        duration: STEP,
        dtx: false,
        arrived: arrived + FRAME * n as u32,
        payload: MARK + n,
    }));
    packets
}

/// Says nothing, and takes note of what is said.
#[derive(Debug, Default)]
struct Listener {
    heard: Vec<u64>,
}

impl Decode<u64> for Listener {
    fn decode(&mut self, &n: &u64, out: &mut [f32]) -> Option<usize> {
        self.heard.push(n);
        out.get_mut(..STEP as usize)?.fill(0.1);
        Some(STEP as usize)
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        out.get_mut(..frames)?.fill(0.1);
        Some(frames)
    }

    fn covers(&self, _: &u64) -> usize {
        0
    }

    fn recover(&mut self, _: &u64, _: usize, _: usize, _: &mut [f32]) -> Option<usize> {
        None
    }
}

/// Which of the clean packets are missing behind the first ones, but for the last second that may wait.
fn missing(heard: &[u64]) -> Vec<u64> {
    (SETTLED..CLEAN - 50).filter(|n| !heard.contains(&(MARK + n))).collect()
}

fn popped(config: PlayoutConfig, packets: Vec<Packet<u64>>) -> Vec<u64> {
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut heard = Vec::new();
    for packet in packets {
        while let Some(due) = buffer.poll_timeout().filter(|due| *due < packet.arrived) {
            match buffer.pop(due) {
                Pop::Frame { packet, .. } => heard.push(packet.payload),
                Pop::None => assert!(buffer.poll_timeout().is_none_or(|next| next > due)),
                _ => {}
            }
        }
        buffer.insert(packet);
    }
    heard
}

fn rendered(config: PlayoutConfig, packets: Vec<Packet<u64>>) -> Vec<u64> {
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut renderer = AudioRenderer::new(1, &config.tuning, 1);
    let mut listener = Listener::default();
    let mut now: Option<Instant> = None;
    for packet in packets {
        let mut at = now.unwrap_or(packet.arrived);
        // Who is silent for longer than that is not asked any more.
        if packet.arrived.saturating_duration_since(at) > Duration::from_secs(4) {
            at = packet.arrived - Duration::from_secs(4);
        }
        while at < packet.arrived {
            renderer.render(&mut buffer, &mut listener, at, &mut [0.0; 480]);
            at += Duration::from_millis(10);
        }
        now = Some(at);
        buffer.insert(packet);
    }
    listener.heard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn after_any_stream_a_clean_one_is_played(
        before in prop::collection::vec(odd(), 0..60),
        first in odd(),
    ) {
        let start = Instant::now();
        for config in [
            PlayoutConfig::adaptive(Duration::from_millis(50)),
            PlayoutConfig::fixed(Duration::from_millis(50)),
        ] {
            let packets = packets(start, &before, first);
            let lost = missing(&popped(config, packets.clone()));
            prop_assert!(lost.is_empty(), "popped, {:?} are missing", lost);
            let lost = missing(&rendered(config, packets));
            prop_assert!(lost.is_empty(), "rendered, {:?} are missing", lost);
        }
    }
}
