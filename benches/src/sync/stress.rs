//! Seeded models of lines that are worse than those of [`super::models`], or change more: what captures of real
//! networks have in them, exaggerated.
//!
//! A line goes through conditions in turns. Delays count from the fastest packet, as those of captured
//! traces do, since there nothing else is known either. What is silent (`dtx`) counts as lost, as in a file.

use rtcmesh_core::rng::{Rng, Seed};

use super::trace::{Sent, Trace};

/// What a line does for a while. Times are milliseconds.
#[derive(Debug, Clone, Copy)]
struct Condition {
    /// How long it lasts, at least and at most.
    stay: (f64, f64),
    /// Gamma distributed jitter of this standard deviation (of the shape 4).
    jitter: f64,
    /// What arrives does so at multiples of that: a radio's slots, its beacons, what a host wakes up for.
    grid: f64,
    /// The share of the transmissions that is repeated, and what that costs.
    again: (f64, f64),
    /// After so long in the mean nothing arrives for so long in the mean, and no longer than that; then all at once.
    stall: (f64, f64, f64),
    /// The share of the packets with which a burst of losses begins, and its length in packets in the mean.
    lost: (f64, f64),
    /// The share of the packets that is overtaken, and by how much they come later.
    overtaken: (f64, f64),
    /// A queue that others fill as cubic congestion control does (RFC 9438) while it lasts.
    queue: f64,
    /// The path is longer by up to that while it lasts.
    longer: f64,
}

/// A good line, for a minute.
const CLEAN: Condition = Condition {
    stay: (60_000.0, 60_000.0),
    jitter: 0.7,
    grid: 0.0,
    again: (0.0, 0.0),
    stall: (f64::INFINITY, 0.0, 0.0),
    lost: (0.0, 1.0),
    overtaken: (0.0, 0.0),
    queue: 0.0,
    longer: 0.0,
};
/// A crowded radio.
const CROWDED: Condition =
    Condition { jitter: 5.0, stall: (700.0, 35.0, 400.0), lost: (0.004, 2.0), ..CLEAN };
/// A mobile network: slots, retransmissions by HARQ after 8 ms.
const MOBILE: Condition = Condition { jitter: 3.0, grid: 1.0, again: (0.1, 8.0), ..CLEAN };
const ALL_LOST: (f64, f64) = (1.0, 1e9);

/// A line: its name, how long its packets are and how long it lasts, in milliseconds, by how many ppm the sender's
/// clock is off, and its conditions.
type Line = (&'static str, f64, f64, f64, &'static [Condition]);

const SHORT: f64 = 30_000.0;
const USUAL: f64 = 240_000.0;
const LONG: f64 = 900_000.0;

const LINES: &[Line] = &[
    ("ether", 20.0, USUAL, 3.0, &[CLEAN]),
    ("ether-short", 20.0, SHORT, 0.0, &[CLEAN]),
    ("ether-spikes", 10.0, USUAL, -20.0, &[Condition { stall: (4e3, 12.0, 60.0), ..CLEAN }]),
    (
        "wifi-good",
        20.0,
        USUAL,
        15.0,
        &[Condition { jitter: 1.5, stall: (3e3, 15.0, 80.0), ..CLEAN }],
    ),
    (
        "wifi-outages",
        20.0,
        SHORT,
        10.0,
        &[Condition { jitter: 1.5, stall: (1e4, 350.0, 900.0), ..CLEAN }],
    ),
    ("wifi-airport", 20.0, USUAL, -35.0, &[CROWDED]),
    ("wifi-short", 20.0, SHORT, 0.0, &[CROWDED]),
    (
        "wifi-saving",
        20.0,
        USUAL,
        40.0,
        &[
            Condition { stay: (2e3, 2e4), grid: 102.4, jitter: 1.0, ..CLEAN },
            Condition { stay: (5e3, 3e4), jitter: 1.5, ..CLEAN },
        ],
    ),
    ("wifi-asleep", 20.0, USUAL, 0.0, &[Condition { grid: 102.4, jitter: 1.5, ..CLEAN }]),
    (
        "wifi-dozing",
        20.0,
        USUAL,
        0.0,
        &[
            Condition { stay: (200.0, 3e3), grid: 102.4, jitter: 1.5, ..CLEAN },
            Condition { stay: (500.0, 8e3), jitter: 2.0, ..CLEAN },
        ],
    ),
    (
        "wifi-scans",
        20.0,
        USUAL,
        20.0,
        &[Condition { jitter: 1.5, stall: (25e3, 150.0, 220.0), ..CLEAN }],
    ),
    (
        "wifi-roaming",
        20.0,
        USUAL,
        0.0,
        &[
            Condition { stay: (15e3, 40e3), jitter: 2.0, longer: 8.0, ..CLEAN },
            Condition { stay: (2e3, 5e3), ..CROWDED },
            Condition { stay: (100.0, 400.0), lost: ALL_LOST, ..CLEAN },
        ],
    ),
    (
        "oven",
        20.0,
        USUAL,
        0.0,
        &[
            Condition { stay: (20e3, 60e3), jitter: 1.5, ..CLEAN },
            Condition {
                stay: (30e3, 60e3),
                jitter: 2.0,
                grid: 20.0,
                again: (0.3, 10.0),
                lost: (0.01, 1.0),
                ..CLEAN
            },
        ],
    ),
    (
        "aggregated",
        20.0,
        USUAL,
        0.0,
        &[Condition { jitter: 1.0, stall: (90.0, 45.0, 100.0), ..CLEAN }],
    ),
    (
        "batches",
        7.256,
        120_000.0,
        0.0,
        &[Condition { jitter: 4.0, grid: 60.0, lost: (0.01, 2.0), ..CLEAN }],
    ),
    (
        "batches-late",
        20.0,
        USUAL,
        0.0,
        &[Condition { jitter: 15.0, grid: 60.0, stall: (4e3, 60.0, 300.0), ..CLEAN }],
    ),
    ("pairs", 10.0, USUAL, 50.0, &[Condition { jitter: 1.0, grid: 20.0, ..CLEAN }]),
    (
        "lte",
        20.0,
        USUAL,
        60.0,
        &[
            Condition { stay: (15e3, 60e3), longer: 15.0, stall: (6e3, 30.0, 120.0), ..MOBILE },
            Condition { stay: (40.0, 250.0), stall: (1.0, 150.0, 300.0), ..MOBILE },
        ],
    ),
    (
        "lte-edge",
        20.0,
        USUAL,
        0.0,
        &[
            Condition {
                stay: (20e3, 50e3),
                again: (0.35, 8.0),
                stall: (1.5e3, 40.0, 300.0),
                lost: (0.003, 2.0),
                ..MOBILE
            },
            Condition {
                stay: (5e3, 20e3),
                again: (0.5, 8.0),
                stall: (600.0, 60.0, 500.0),
                lost: (0.01, 3.0),
                ..MOBILE
            },
        ],
    ),
    (
        "5g",
        20.0,
        USUAL,
        0.0,
        &[Condition {
            jitter: 1.0,
            grid: 2.5,
            again: (0.1, 5.0),
            stall: (5e3, 35.0, 120.0),
            ..CLEAN
        }],
    ),
    (
        "satellite",
        20.0,
        USUAL,
        0.0,
        &[Condition {
            stay: (15e3, 15e3),
            jitter: 4.0,
            longer: 20.0,
            stall: (8e3, 40.0, 150.0),
            lost: (0.003, 2.0),
            ..CLEAN
        }],
    ),
    (
        "bloat-cubic",
        20.0,
        USUAL,
        0.0,
        &[
            Condition { stay: (5e3, 12e3), jitter: 2.0, queue: 180.0, ..CLEAN },
            Condition { stay: (5e3, 12e3), jitter: 2.0, queue: 150.0, ..CLEAN },
            Condition { stay: (2e3, 20e3), jitter: 2.0, ..CLEAN },
        ],
    ),
    (
        "bloat-short",
        20.0,
        SHORT,
        0.0,
        &[
            Condition { stay: (3e3, 6e3), jitter: 2.0, queue: 90.0, ..CLEAN },
            Condition { stay: (1e3, 5e3), jitter: 2.0, ..CLEAN },
        ],
    ),
    (
        "vpn-tcp",
        20.0,
        USUAL,
        0.0,
        &[Condition { jitter: 3.0, stall: (5e3, 110.0, 600.0), ..CLEAN }],
    ),
    (
        "bad-then-clean",
        20.0,
        420_000.0,
        0.0,
        &[
            Condition {
                stay: (120e3, 180e3),
                jitter: 12.0,
                stall: (900.0, 80.0, 450.0),
                lost: (0.01, 2.0),
                ..CLEAN
            },
            Condition { stay: (LONG, LONG), ..CLEAN },
        ],
    ),
    (
        "clean-then-bad",
        20.0,
        USUAL,
        0.0,
        &[
            Condition { stay: (120e3, 150e3), ..CLEAN },
            Condition { stay: (LONG, LONG), jitter: 10.0, stall: (1.5e3, 60.0, 300.0), ..CLEAN },
        ],
    ),
    (
        "now-and-then",
        20.0,
        600_000.0,
        25.0,
        &[
            Condition { stay: (20e3, 90e3), jitter: 1.5, ..CLEAN },
            Condition { stay: (5e3, 30e3), ..CROWDED },
        ],
    ),
    (
        "shifts",
        20.0,
        USUAL,
        0.0,
        &[Condition { stay: (5e3, 40e3), jitter: 2.0, longer: 60.0, ..CLEAN }],
    ),
    ("drift", 20.0, LONG, 180.0, &[Condition { jitter: 3.0, ..CLEAN }]),
    ("drift-slow", 20.0, LONG, -180.0, &[Condition { jitter: 6.0, ..CLEAN }]),
    (
        "dtx",
        20.0,
        USUAL,
        0.0,
        &[
            Condition { stay: (1e3, 4e3), jitter: 4.0, stall: (2e3, 30.0, 150.0), ..CLEAN },
            Condition { stay: (400.0, 3e3), jitter: 4.0, lost: ALL_LOST, ..CLEAN },
        ],
    ),
    (
        "internet",
        20.0,
        USUAL,
        12.0,
        &[Condition { jitter: 6.0, stall: (2e3, 25.0, 200.0), lost: (0.01, 1.5), ..CLEAN }],
    ),
    (
        "internet-long",
        20.0,
        1_800_000.0,
        -12.0,
        &[
            Condition {
                stay: (60e3, 300e3),
                jitter: 4.0,
                longer: 10.0,
                stall: (5e3, 30.0, 200.0),
                lost: (0.004, 1.5),
                ..CLEAN
            },
            Condition {
                stay: (20e3, 120e3),
                jitter: 10.0,
                queue: 60.0,
                lost: (0.02, 2.0),
                ..CLEAN
            },
        ],
    ),
    ("two-paths", 20.0, USUAL, 0.0, &[Condition { jitter: 2.0, overtaken: (0.5, 35.0), ..CLEAN }]),
    (
        "reordered",
        20.0,
        USUAL,
        0.0,
        &[Condition { jitter: 1.0, overtaken: (0.05, 200.0), ..CLEAN }],
    ),
    (
        "reordered-rare",
        20.0,
        USUAL,
        0.0,
        &[Condition { jitter: 2.0, overtaken: (0.004, 70.0), ..CLEAN }],
    ),
];

/// The traces of `seed`, two of each line.
pub fn traces(seed: u64) -> Vec<Trace> {
    let of = |line: &Line| [1, 2].map(|number| trace(seed, line, number));
    LINES.iter().flat_map(of).collect()
}

fn trace(seed: u64, &(name, frame, length, drift, conditions): &Line, number: u32) -> Trace {
    let name = format!("{name}/{number}");
    let rng = Rng::new(Seed::from_number(seed)).fork(&format!("stress {name}"));
    let pace = frame / (1.0 + drift * 1e-6);
    let mut state = State { rng, last: 0.0, open: 0.0, losing: false };
    let mut packets: Vec<Sent> = Vec::new();
    let (mut until, mut next) = (0.0, conditions.iter().cycle());
    let (mut now, mut began, mut longer, mut height) = (CLEAN, 0.0, 0.0, 0.0);
    for n in 0..(length / pace) as usize {
        let sent = n as f64 * pace;
        while sent >= until {
            now = *next.next().unwrap_or(&CLEAN);
            began = until;
            until += state.between(now.stay.0, now.stay.1);
            longer = state.between(0.0, now.longer);
            height = state.between(0.5 * now.queue, now.queue);
            state.losing = false;
            state.open = state.open.max(began + now.stall.0 * state.exponential());
        }
        // From 0.3 of it on, steeply at first: after a loss, in the middle of others.
        let passed = ((sent - began) / (until - began)).clamp(0.0, 1.0);
        let queue = height * (1.0 - 0.7 * (1.0 - passed).powi(3));
        let arrival = state.arrival(&now, sent, longer + queue);
        packets.push(Sent { sent, arrival: (!state.is_lost(&now)).then_some(arrival) });
    }
    let transits = packets.iter().filter_map(|packet| Some(packet.arrival? - packet.sent));
    let base = transits.fold(f64::INFINITY, f64::min);
    for packet in &mut packets {
        packet.arrival = packet.arrival.map(|arrival| arrival - base);
    }
    Trace { name, frame, base: 0.0, phase: 0.0, packets }
}

/// A line and its draws.
struct State {
    rng: Rng,
    /// The last arrival of what is not overtaken: it waits for what was before.
    last: f64,
    /// Nothing passes before; the next stall begins behind it.
    open: f64,
    losing: bool,
}

impl State {
    fn arrival(&mut self, now: &Condition, sent: f64, longer: f64) -> f64 {
        let mut arrival = sent + longer + self.gamma(now.jitter);
        while self.rng.unit() < now.again.0 {
            arrival += now.again.1;
        }
        if arrival >= self.open && now.stall.0.is_finite() {
            // A stall has begun; behind it the line is open for a while.
            let ends = self.open + (now.stall.1 * self.exponential()).min(now.stall.2);
            self.last = self.last.max(ends);
            self.open = ends.max(arrival) + now.stall.0 * self.exponential();
        }
        if now.grid > 0.0 {
            arrival = (arrival / now.grid).ceil() * now.grid;
        }
        if self.rng.unit() < now.overtaken.0 {
            return arrival.max(self.last) + now.overtaken.1;
        }
        self.last = arrival.max(self.last);
        self.last
    }

    fn is_lost(&mut self, now: &Condition) -> bool {
        let (begins, length) = now.lost;
        let share = if self.losing { 1.0 - 1.0 / length } else { begins };
        self.losing = self.rng.unit() < share;
        self.losing
    }

    fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.rng.unit()
    }

    fn exponential(&mut self) -> f64 {
        -(1.0 - self.rng.unit()).ln()
    }

    /// Gamma distributed with the shape 4 and the standard deviation `s`: the sum of four exponentials.
    fn gamma(&mut self, s: f64) -> f64 {
        let sum: f64 = (0..4).map(|_| self.exponential()).sum();
        sum * s / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_depends_on_the_seed_alone_and_counts_from_the_fastest_transit() {
        for &(name, frame, _, drift, conditions) in LINES {
            let of = |seed| trace(seed, &(name, frame, 20_000.0, drift, conditions), 1).packets;
            let packets = of(1);
            assert!(packets == of(1) && packets != of(2), "{name}");
            let transit = |packet: &Sent| Some(packet.arrival? - packet.sent);
            let least = packets.iter().filter_map(transit).fold(f64::INFINITY, f64::min);
            assert!(least.abs() < 1e-6, "{name}: {least}");
            let overtaken = conditions[0].overtaken.0 > 0.0;
            let arrivals = packets.iter().filter_map(|packet| packet.arrival);
            assert_eq!(arrivals.is_sorted(), !overtaken, "{name}");
        }
    }
}
