//! A network that is good but for interruptions: for what is heard where concealment is long.

use rtcmesh_core::rng::{Rng, Seed};

use crate::sync::engine::PULL;
use crate::sync::trace::{Sent, Trace};

/// The length of a packet in milliseconds.
const FRAME: f64 = 20.0;
/// The path's own delay in milliseconds.
const BASE: f64 = 20.0;
/// So many packets are lost at once: 200 ms.
const LOST: usize = 10;
/// And so many are sent from one loss to the next, but for what is drawn: about 3 s.
const BETWEEN: usize = 150;

/// Three traces of `seconds`, whose losses are drawn from `seed`; delays vary by 2 ms.
pub fn traces(seed: u64, seconds: u32) -> Vec<Trace> {
    (1..=3).map(|number| trace(seed, seconds, number)).collect()
}

fn trace(seed: u64, seconds: u32, number: u32) -> Trace {
    let name = format!("outage/{number}");
    let mut rng = Rng::new(Seed::from_number(seed)).fork(&name);
    let offset = (rng.unit() * BETWEEN as f64) as usize;
    let count = (f64::from(seconds) * 1_000.0 / FRAME) as usize;
    let packets = (0..count)
        .map(|n| {
            let sent = n as f64 * FRAME;
            let arrival = sent + BASE + 2.0 * rng.unit();
            let lost = (n + offset) % BETWEEN >= BETWEEN - LOST;
            Sent { sent, arrival: (!lost).then_some(arrival) }
        })
        .collect();
    Trace { name, frame: FRAME, base: BASE, phase: PULL * rng.unit(), packets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_packets_in_succession_are_lost_every_three_seconds() {
        let traces = traces(1, 60);
        assert_ne!(traces[0].packets, traces[1].packets);
        for trace in &traces {
            let lost: Vec<_> =
                trace.packets.iter().map(|packet| packet.arrival.is_none()).collect();
            let runs: Vec<_> = lost.chunk_by(|a, b| a == b).filter(|run| run[0]).collect();
            assert!((19..=21).contains(&runs.len()), "{}: {}", trace.name, runs.len());
            assert!(runs.iter().filter(|run| run.len() == LOST).count() >= 19, "{}", trace.name);
        }
    }
}
