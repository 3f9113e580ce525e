//! Seeded models of networks, as a drift estimator sees them: when each packet and report arrives.

use rtcmesh_core::rng::{Rng, Seed};

/// Media are sent in packets of so many seconds.
pub const STEP: f64 = 0.02;
/// A sender report follows every so many packets: 5 s.
pub const REPORT_EVERY: usize = 250;
/// The fastest way through any model, in seconds.
const BASE: f64 = 0.02;
/// What the receiving host adds at most, in seconds: it wakes late.
const HOST: f64 = 0.0003;

/// The models' names.
pub const MODELS: [&str; 12] = [
    "lan", "gamma2", "gamma10", "gamma30", "spikes", "route", "loss5", "wifi", "bloat", "handover",
    "lte", "netem",
];

/// What arrived of a stream.
#[derive(Debug, Clone)]
pub struct Trace {
    /// For each packet sent, when it arrived, in seconds of the receiver's clock; `None`: lost.
    pub packets: Vec<Option<f64>>,
    /// For each sender report, the packet it goes with and when it arrived.
    pub reports: Vec<(usize, f64)>,
}

/// `seconds` of the model `name`, sent by a clock that is `ppm` fast.
///
/// # Panics
/// Where there is no such model.
pub fn trace(name: &str, ppm: f64, seconds: usize, seed: u64) -> Trace {
    let count = (seconds as f64 / STEP) as usize;
    let mut network = Network::new(name, seed);
    let mut trace = Trace { packets: Vec::with_capacity(count), reports: Vec::new() };
    for nth in 0..count {
        let sent = nth as f64 * STEP / (1.0 + ppm * 1e-6);
        network.advance(sent);
        trace.packets.push(network.packet(sent));
        if nth % REPORT_EVERY == REPORT_EVERY / 2 {
            // RTCP is not repeated either, but a lost report only makes an estimate wait.
            trace.reports.push((nth, network.arrival(sent)));
        }
    }
    trace
}

/// A network's state.
struct Network {
    rng: Rng,
    shape: Shape,
    /// The queue that empties in real time: until when packets are held, in seconds.
    held: f64,
    /// When the next event begins.
    next: f64,
    /// Which event it is.
    events: usize,
    /// The present event: its begin and its size.
    event: (f64, f64),
    /// What the route adds.
    route: f64,
    /// Whether the loss model is in its bad state.
    bad: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Gamma(f64),
    Spikes,
    Route,
    Loss,
    Wifi,
    Bloat,
    Handover,
    Lte,
    Netem,
}

impl Network {
    fn new(name: &str, seed: u64) -> Self {
        let shape = match name {
            "lan" => Shape::Gamma(0.000_1),
            "gamma2" => Shape::Gamma(0.002),
            "gamma10" => Shape::Gamma(0.010),
            "gamma30" => Shape::Gamma(0.030),
            "spikes" => Shape::Spikes,
            "route" => Shape::Route,
            "loss5" => Shape::Loss,
            "wifi" => Shape::Wifi,
            "bloat" => Shape::Bloat,
            "handover" => Shape::Handover,
            "lte" => Shape::Lte,
            "netem" => Shape::Netem,
            other => panic!("there is no model {other:?}"),
        };
        let mut network = Self {
            rng: Rng::new(Seed::from_number(seed)).fork(name),
            shape,
            held: 0.0,
            next: 0.0,
            events: 0,
            event: (0.0, 0.0),
            route: 0.0,
            bad: false,
        };
        network.next = network.pause();
        network
    }

    /// How long until the next event.
    fn pause(&mut self) -> f64 {
        match self.shape {
            Shape::Spikes => self.exponential(8.0),
            Shape::Wifi => self.exponential(6.0),
            Shape::Route => self.between(12.0, 25.0),
            Shape::Bloat => self.between(10.0, 20.0),
            Shape::Handover => self.between(15.0, 35.0),
            _ => f64::INFINITY,
        }
    }

    fn advance(&mut self, now: f64) {
        while now >= self.next {
            let at = self.next;
            self.events += 1;
            let size = match self.shape {
                Shape::Spikes => self.between(0.06, 0.22),
                Shape::Wifi => self.between(0.05, 0.25),
                Shape::Bloat => self.between(0.06, 0.12),
                _ => 0.4,
            };
            self.event = (at, size);
            let up = self.events % 2 == 1;
            match self.shape {
                Shape::Spikes | Shape::Wifi => self.held = at + size,
                Shape::Route => self.route = if up { 0.03 } else { 0.0 },
                Shape::Handover => {
                    self.held = at + size;
                    self.route = if up { 0.02 } else { 0.0 };
                }
                _ => {}
            }
            self.next = at + self.pause();
            if self.shape == Shape::Bloat {
                self.next += 12.0;
            }
        }
        let chance = if self.bad { 0.3 } else { 0.016 };
        if self.shape == Shape::Loss && self.rng.unit() < chance {
            self.bad = !self.bad;
        }
    }

    fn packet(&mut self, sent: f64) -> Option<f64> {
        let arrival = self.arrival(sent);
        (!self.bad).then_some(arrival)
    }

    fn arrival(&mut self, sent: f64) -> f64 {
        let jitter = match self.shape {
            Shape::Gamma(sigma) => self.gamma(sigma),
            Shape::Loss => self.gamma(0.006),
            Shape::Spikes | Shape::Route | Shape::Wifi | Shape::Handover => self.gamma(0.002),
            Shape::Bloat => self.gamma(0.002) + self.queue(sent),
            Shape::Lte => self.granted(),
            Shape::Netem => self.skewed(),
        };
        let mut arrival = sent + BASE + self.route + jitter;
        if sent < self.held {
            // What waits leaves in a burst, with a little distance.
            arrival = arrival.max(self.held + BASE + (sent - self.event.0) / STEP * 0.000_5);
        }
        arrival + self.rng.unit() * HOST
    }

    /// A queue that fills for 10 s and empties in 2 s.
    fn queue(&self, now: f64) -> f64 {
        let (begin, most) = self.event;
        match now - begin {
            age if self.events == 0 || age >= 12.0 => 0.0,
            age if age < 10.0 => most * age / 10.0,
            age => most * (12.0 - age) / 2.0,
        }
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.rng.unit()
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.unit()).ln()
    }

    /// A gamma variable of shape 2: the sum of two exponential ones.
    fn gamma(&mut self, sigma: f64) -> f64 {
        let scale = sigma / 2f64.sqrt();
        self.exponential(scale) + self.exponential(scale)
    }

    /// The wait for the next of the transmissions that are granted every 5 ms, whose phase moves with
    /// each grant, and for repetitions 8 ms later, of which one in ten fails.
    fn granted(&mut self) -> f64 {
        let mut wait = self.between(0.0, 0.005);
        while self.rng.unit() < 0.1 {
            wait += 0.008;
        }
        wait
    }

    /// Bulk and tail like those of measured tables: log-normal about 12 ms, and one in ten longer.
    fn skewed(&mut self) -> f64 {
        let bulk = 0.012 * (0.5 * gaussian(&mut self.rng)).exp();
        let tail = if self.rng.unit() < 0.1 { self.exponential(0.02) } else { 0.0 };
        bulk + tail
    }
}

/// A standard normal variable (Box and Muller, 1958).
pub fn gaussian(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.unit()).cos()
}
