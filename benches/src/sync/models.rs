//! Seeded models of networks: 20 ms packets, each with its fate.
//!
//! Twelve models with three seeds each and two drifting clocks with one: 38 traces. A gamma distributed
//! delay of standard deviation `s` has the shape 4 and the scale `s / 2`.

use rtcmesh_core::rng::{Rng, Seed};

use super::engine::PULL;
use super::trace::{Sent, Trace};

/// The length of a packet in milliseconds.
const FRAME: f64 = 20.0;
/// The path's own delay in milliseconds.
const BASE: f64 = 20.0;

/// A network.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Model {
    /// Hardly any jitter.
    Lan,
    /// Delays of this standard deviation.
    Gamma(f64),
    /// Now and then a delay of 60 to 220 ms, every 8 s in the mean.
    Spikes,
    /// A route that becomes 30 ms longer for the middle third.
    Route,
    /// 5 % lost, in bursts (Gilbert and Elliott).
    Loss,
    /// A radio that stalls for some 35 ms, often, and longer, rarely.
    Wifi,
    /// A queue that fills to 80 to 120 ms and empties, every 40 s.
    Bloat,
    /// Every 50 s an interruption of 400 ms, then another path.
    Handover,
    /// Transmissions on a grid of 5 ms, some of them repeated after 8 ms.
    Lte,
    /// A distribution with a long tail, as measured over the internet.
    Tail,
    /// A clock that is off by so many ppm.
    Drift(f64),
}

const MODELS: [(&str, Model); 14] = [
    ("lan", Model::Lan),
    ("gamma2", Model::Gamma(2.0)),
    ("gamma10", Model::Gamma(10.0)),
    ("gamma30", Model::Gamma(30.0)),
    ("spikes", Model::Spikes),
    ("route", Model::Route),
    ("loss5", Model::Loss),
    ("wifi", Model::Wifi),
    ("bloat", Model::Bloat),
    ("handover", Model::Handover),
    ("lte", Model::Lte),
    ("tail", Model::Tail),
    ("drift+500", Model::Drift(500.0)),
    ("drift-500", Model::Drift(-500.0)),
];

/// The traces of `seed`, each `seconds` long.
pub fn traces(seed: u64, seconds: u32) -> Vec<Trace> {
    let mut traces = Vec::new();
    for (name, model) in MODELS {
        let count = if matches!(model, Model::Drift(_)) { 1 } else { 3 };
        for number in 1..=count {
            let name = if count == 1 { name.to_owned() } else { format!("{name}/{number}") };
            let rng = Rng::new(Seed::from_number(seed)).fork(&format!("trace {name}"));
            traces.push(Network { rng, last: 0.0 }.trace(name, model, seconds));
        }
    }
    traces
}

/// The draws of one trace.
struct Network {
    rng: Rng,
    /// The last arrival: packets wait for each other, as in one queue.
    last: f64,
}

impl Network {
    fn trace(mut self, name: String, model: Model, seconds: u32) -> Trace {
        let length = f64::from(seconds) * 1_000.0;
        let drift = if let Model::Drift(ppm) = model { ppm } else { 0.0 };
        // A fast clock sends its packets sooner.
        let pace = FRAME / (1.0 + drift * 1e-6);
        let count = (length / pace) as usize;
        let disturbances = self.disturbances(model, length);
        let mut bad = false;
        let mut packets = Vec::with_capacity(count);
        for n in 0..count {
            let sent = n as f64 * pace;
            let delay = self.delay(model, sent, length);
            let arrival = sent + BASE + delay + disturbances.at(sent);
            bad = match model {
                // 2.5 % of the packets begin a burst of 2 in the mean.
                Model::Loss => self.rng.unit() < if bad { 0.5 } else { 0.0263 },
                _ => false,
            };
            let arrival = arrival.max(self.last);
            self.last = arrival;
            packets.push(Sent { sent, arrival: (!bad).then_some(arrival) });
        }
        Trace { name, frame: FRAME, base: BASE, phase: PULL * self.rng.unit(), packets }
    }

    /// The jitter of one packet, in milliseconds.
    fn delay(&mut self, model: Model, sent: f64, length: f64) -> f64 {
        match model {
            Model::Lan => self.gamma(0.4),
            Model::Gamma(s) => self.gamma(s),
            Model::Spikes => self.gamma(3.0),
            Model::Route => {
                let third = length / 3.0;
                self.gamma(5.0) + if (third..2.0 * third).contains(&sent) { 30.0 } else { 0.0 }
            }
            Model::Loss => self.gamma(6.0),
            Model::Wifi => self.gamma(4.0),
            Model::Bloat | Model::Handover => self.gamma(5.0),
            Model::Lte => {
                let mut delay = self.gamma(5.0);
                while self.rng.unit() < 0.2 {
                    delay += 8.0;
                }
                ((sent + delay) / 5.0).ceil() * 5.0 - sent
            }
            Model::Tail => {
                // A log-normal distribution, cut off: median 17, 1 % above 45, at most 75 ms.
                14.0 + (12.6 * (0.62 * self.normal()).exp()).clamp(1.0, 61.0)
            }
            Model::Drift(_) => self.gamma(2.0),
        }
    }

    fn disturbances(&mut self, model: Model, length: f64) -> Disturbances {
        let mut found = Vec::new();
        let mut at = 0.0;
        loop {
            let (mean, fixed) = match model {
                Model::Spikes => (8_000.0, 0.0),
                Model::Wifi => (1_400.0, 0.0),
                Model::Bloat => (0.0, 40_000.0),
                Model::Handover => (0.0, 50_000.0),
                _ => break,
            };
            at += fixed + mean * self.exponential();
            if fixed > 0.0 && found.is_empty() {
                at = fixed * (0.2 + 0.6 * self.rng.unit());
            }
            if at >= length {
                break;
            }
            let height = match model {
                Model::Spikes => 60.0 + 160.0 * self.rng.unit(),
                Model::Wifi => (10.0 + 36.0 * self.exponential()).min(300.0),
                Model::Bloat => 80.0 + 40.0 * self.rng.unit(),
                _ => 400.0,
            };
            found.push(Disturbance { at, height, after: 20.0 * self.rng.unit() });
        }
        Disturbances { model, found }
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.rng.unit()).ln()
    }

    /// Normally distributed (Box and Muller).
    fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.rng.unit()).cos()
    }

    /// Gamma distributed with the shape 4 and the standard deviation `s`: the sum of four exponentials.
    fn gamma(&mut self, s: f64) -> f64 {
        let sum: f64 = (0..4).map(|_| self.exponential()).sum();
        sum * s / 2.0
    }
}

/// What happens to the path beside jitter.
struct Disturbances {
    model: Model,
    found: Vec<Disturbance>,
}

#[derive(Debug, Clone, Copy)]
struct Disturbance {
    at: f64,
    height: f64,
    after: f64,
}

impl Disturbances {
    /// The delay that they add to a packet sent at `sent`.
    fn at(&self, sent: f64) -> f64 {
        let last = self.found.partition_point(|d| d.at <= sent);
        let Some(&Disturbance { at, height, after }) = self.found[..last].last() else {
            return 0.0;
        };
        let since = sent - at;
        match self.model {
            // Within 10 s the queue fills, within 4 s it empties.
            Model::Bloat if since < 10_000.0 => height * since / 10_000.0,
            Model::Bloat => (height * (1.0 - (since - 10_000.0) / 4_000.0)).max(0.0),
            Model::Handover => (height - since).max(after),
            // What came meanwhile is sent at once.
            _ => (height - since).max(0.0),
        }
    }
}
