//! Any bytes as a plan: for fuzzing. Each field has its place, so that a change of one byte changes one thing.

use std::time::Duration;

use super::act::Act;
use super::draw::{Peer, Plan, Scenario};
use crate::host::Family;
use crate::net::Preset;

/// So many acts are read at most.
pub(super) const MAX_ACTS: usize = 20;

/// Bytes of the world, and of each act.
pub(super) const WORLD: usize = 16;
pub(super) const ACT: usize = 6;

/// So many kinds of acts are told apart.
pub(super) const KINDS: usize = 21;

/// The bytes in their places; what is missing is 0.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn at(&self, place: usize) -> usize {
        usize::from(self.0.get(place).copied().unwrap_or(0))
    }
}

impl Plan {
    /// The plan that these bytes say: 16 of the world, then 6 for each of at most 20 acts.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let world = Bytes(bytes.get(..WORLD.min(bytes.len())).unwrap_or_default());
        let count = 2 + world.at(0) % 4;
        let rooms = 1 + world.at(1) % 4 / 3;
        let place = |byte: usize| Preset::ALL.get(byte % 16).copied();
        let peers = (0..count).map(|n| {
            let byte = world.at(8 + n);
            Peer {
                room: n % rooms,
                preset: place(byte),
                family: [Family::V4, Family::V4, Family::Dual, Family::V6][byte >> 4 & 3],
                second: (byte >> 6 == 3).then_some(Preset::Cellular),
                offset_ms: (byte as i64 - 128) * 10,
                drift_ppm: (byte as f64 - 128.0) / 2.0,
            }
        });
        let acts = bytes.get(WORLD..).unwrap_or_default().chunks(ACT).take(MAX_ACTS);
        let mut at = Duration::ZERO;
        let acts = acts.map(|chunk| {
            let chunk = Bytes(chunk);
            // Squared: most pauses are short, and the longest is 6.5 s.
            at += Duration::from_micros((chunk.at(1) * chunk.at(1) * 100) as u64);
            (at, act(&chunk, count))
        });
        let acts: Vec<(Duration, Act)> = acts.collect();
        Self {
            seed: world.at(2) as u64,
            scenario: Scenario::Mixed,
            peers: peers.collect(),
            automatic: world.at(3) % 2 == 0,
            latency: Duration::from_millis(world.at(4) as u64),
            jitter: Duration::from_millis(world.at(5) as u64 / 8),
            loss: world.at(6) as f64 / 1_500.0,
            duplicate: world.at(14) as f64 / 10_000.0,
            // At most 1 %, as seeds draw it: at more, packets damaged in the same bit follow each other now and then.
            corrupt: world.at(13) as f64 / 25_500.0,
            signaling: (
                Duration::from_millis(world.at(7) as u64 / 4),
                Duration::from_millis(world.at(15) as u64),
            ),
            decode: false,
            healed_within: Self::HEALED_WITHIN,
            rings: false,
            duration: at + Duration::from_secs(2),
            acts,
        }
    }
}

fn act(chunk: &Bytes<'_>, peers: usize) -> Act {
    let a = chunk.at(2) % peers;
    let b = (a + 1 + chunk.at(3) % (peers - 1)) % peers;
    let (x, y) = (chunk.at(4), chunk.at(5));
    let time = Duration::from_millis((y * y / 5) as u64);
    let on = x % 2 == 0;
    match chunk.at(0) % KINDS {
        0 => Act::Leave(a, time),
        1 => Act::Crash(a, time),
        2 => Act::Restart(a),
        3 => Act::Connect(a, b),
        4 => Act::Disconnect(a, b),
        5 | 6 => {
            let size = if x < 200 { x * 10 } else { (x - 199) * 4_000 };
            let count = 1 + (y % 16) as u32;
            Act::Say { from: a, to: b, count, size, reliable: y < 192 }
        }
        7 => Act::Talk(a, on),
        8 => Act::Film(a, on),
        9 => Act::Configure(a, 50 + x as u32 % 151),
        10 => Act::Stall(a, time),
        11 => Act::BreakSignaling(a),
        12 => Act::StopServer(time),
        13 => Act::Cut(a, b, time),
        14 => Act::Partition(x as u64 & ((1 << peers) - 1), time),
        15 if on => Act::Flap(a, time),
        15 => Act::Handover(a, time),
        16 => Act::Roam(a, Preset::ALL.get(x % 16).copied()),
        17 => Act::Rebind(a),
        18 => Act::Storm(a, x as u16 * 2, time),
        19 => Act::Forge(a, b),
        _ => Act::Spray(a),
    }
}

/// Runs the plan that these bytes say, within [`crate::isolated`]: in a binary that calls [`crate::interpose!`] a failure
/// repeats byte for byte.
///
/// # Panics
/// Where the model finds something wrong: what a fuzzer looks for.
pub fn hostile_mesh(bytes: &[u8]) {
    let plan = Plan::decode(bytes);
    let report = crate::isolated(plan.seed, || super::run::run(&plan, &mut |_| {}));
    assert!(report.passed(), "{plan}\n{report}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::{Options, input};

    #[test]
    fn an_input_takes_the_place_of_a_seed() {
        let bytes: Vec<u8> = (0..140).collect();
        let mut options = Options { input: Some(bytes.clone()), ..Options::default() };
        let whole = Plan::draw(7, &options);
        assert_eq!(whole, Plan::decode(&bytes));
        options.only = Some(vec![3, 5]);
        let part = Plan::draw(7, &options);
        assert_eq!(part.acts, [whole.acts[3].clone(), whole.acts[5].clone()]);
        assert_eq!((part.peers, part.duration), (whole.peers, whole.duration));
    }

    /// Two connections that were ended before the other side was told of them, in the model alone.
    #[test]
    fn inputs_that_have_found_something_hold() {
        for number in [1_720, 2_822] {
            hostile_mesh(&input(number));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_a_world_that_holds(bytes in prop::collection::vec(any::<u8>(), 0..140)) {
            hostile_mesh(&bytes);
        }
    }
}
