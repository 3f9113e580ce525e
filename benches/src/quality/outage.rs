//! A network that is good but for interruptions: for what is heard where concealment is long.

use rtcmesh_core::rng::{Rng, Seed};

use crate::sync::engine::PULL;
use crate::sync::trace::{Sent, Trace};

/// The length of a packet in milliseconds.
const FRAME: f64 = 20.0;
/// The path's own delay in milliseconds.
const BASE: f64 = 20.0;
/// So many packets are lost at once: 100, 200 and 400 ms.
const LOST: [usize; 3] = [5, 10, 20];
/// And so many are sent from one loss to the next, but for what is drawn: about 3 s.
const BETWEEN: usize = 150;

/// Two traces of `seconds` for each length of an interruption, whose losses are drawn from `seed`; delays
/// vary by 2 ms.
pub fn traces(seed: u64, seconds: u32) -> Vec<Trace> {
    let numbers = |lost| (1..=2).map(move |number| trace(seed, seconds, lost, number));
    LOST.into_iter().flat_map(numbers).collect()
}

fn trace(seed: u64, seconds: u32, lost: usize, number: u32) -> Trace {
    let name = format!("outage{}/{number}", lost as f64 * FRAME);
    let mut rng = Rng::new(Seed::from_number(seed)).fork(&name);
    let offset = (rng.unit() * BETWEEN as f64) as usize;
    let count = (f64::from(seconds) * 1_000.0 / FRAME) as usize;
    let packets = (0..count)
        .map(|n| {
            let sent = n as f64 * FRAME;
            let arrival = sent + BASE + 2.0 * rng.unit();
            let lost = (n + offset) % BETWEEN >= BETWEEN - lost;
            Sent { sent, arrival: (!lost).then_some(arrival) }
        })
        .collect();
    Trace { name, frame: FRAME, base: BASE, phase: PULL * rng.unit(), packets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_in_succession_are_lost_every_three_seconds() {
        let traces = traces(1, 60);
        assert_ne!(traces[0].packets, traces[1].packets);
        for (trace, length) in traces.iter().zip([5, 5, 10, 10, 20, 20]) {
            let lost: Vec<_> =
                trace.packets.iter().map(|packet| packet.arrival.is_none()).collect();
            let runs: Vec<_> = lost.chunk_by(|a, b| a == b).filter(|run| run[0]).collect();
            assert!((19..=21).contains(&runs.len()), "{}: {}", trace.name, runs.len());
            assert!(runs.iter().filter(|run| run.len() == length).count() >= 19, "{}", trace.name);
        }
    }
}
