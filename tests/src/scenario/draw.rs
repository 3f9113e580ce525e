//! What a seed draws: how many peers where, which faults, how hard, and everything that happens.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rtcmesh_core::rng::{Rng, Seed};

use super::act::Act;
use crate::host::Family;
use crate::net::Preset;

/// What a scenario is about: which acts it draws, how many peers, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scenario {
    /// Everything: the seed first draws which kinds of acts there are at all, and how often (swarm testing:
    /// Groce et al., ISSTA 2012).
    Mixed,
    /// Everybody talks, nothing happens: for speed and for long runs.
    Talk,
    /// Joining, leaving, crashing, restarting.
    Churn,
    /// Both sides of pairs call, end and call again at once.
    Glare,
    /// Cuts, partitions, storms, interfaces that go down.
    Network,
    /// Moving to other networks, and NATs that forget.
    Roam,
    /// A signaling server that restarts, and connections to it that break.
    Server,
    /// Messages of every size, video, readers that stall.
    Data,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Mixed,
        Self::Talk,
        Self::Churn,
        Self::Glare,
        Self::Network,
        Self::Roam,
        Self::Server,
        Self::Data,
    ];

    /// Its name, as on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Talk => "talk",
            Self::Churn => "churn",
            Self::Glare => "glare",
            Self::Network => "network",
            Self::Roam => "roam",
            Self::Server => "server",
            Self::Data => "data",
        }
    }

    /// How often each kind of act is drawn, relative to the others.
    fn weights(self) -> [(Kind, u32); KINDS.len()] {
        KINDS.map(|kind| (kind, kind.weight(self)))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no scenario of this name; the message lists those that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownScenario(pub String);

impl fmt::Display for UnknownScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Scenario::ALL.map(Scenario::name).join(", ");
        write!(f, "no scenario is called {:?}; there are: {names}", self.0)
    }
}

impl std::error::Error for UnknownScenario {}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == name);
        found.ok_or_else(|| UnknownScenario(name.to_owned()))
    }
}

/// A kind of act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Leave,
    Crash,
    Restart,
    Connect,
    Disconnect,
    Say,
    Talk,
    Film,
    Configure,
    Stall,
    BreakSignaling,
    StopServer,
    Cut,
    Partition,
    Flap,
    Roam,
    Rebind,
    Storm,
    Spray,
    Forge,
}

const KINDS: [Kind; 20] = [
    Kind::Leave,
    Kind::Crash,
    Kind::Restart,
    Kind::Connect,
    Kind::Disconnect,
    Kind::Say,
    Kind::Talk,
    Kind::Film,
    Kind::Configure,
    Kind::Stall,
    Kind::BreakSignaling,
    Kind::StopServer,
    Kind::Cut,
    Kind::Partition,
    Kind::Flap,
    Kind::Roam,
    Kind::Rebind,
    Kind::Storm,
    Kind::Spray,
    Kind::Forge,
];

impl Kind {
    const fn weight(self, scenario: Scenario) -> u32 {
        use Kind::*;
        match (scenario, self) {
            (Scenario::Talk, _) => 0,
            // What makes the rest worth looking at.
            (Scenario::Mixed, Say) => 8,
            (_, Say) => 5,
            (Scenario::Mixed, Talk | Connect) => 4,
            (_, Talk) => 2,
            (Scenario::Mixed, Disconnect | Film | Storm | Cut) => 3,
            (Scenario::Mixed, Restart | Leave | Crash | BreakSignaling | Flap | Roam) => 2,
            (Scenario::Mixed, _) => 1,
            (Scenario::Churn, Leave | Crash | Restart) => 4,
            (Scenario::Glare, Connect) => 12,
            (Scenario::Glare, Disconnect) => 6,
            (Scenario::Network, Cut | Storm | Flap) => 4,
            (Scenario::Network, Partition) => 2,
            (Scenario::Roam, Roam) => 6,
            (Scenario::Roam, Rebind | Flap) => 3,
            (Scenario::Server, BreakSignaling) => 5,
            (Scenario::Server, StopServer) => 3,
            (Scenario::Server, Restart | Connect) => 2,
            (Scenario::Data, Film | Stall | Configure) => 3,
            (Scenario::Data, Storm | Spray) | (Scenario::Server, Forge) => 1,
            _ => 0,
        }
    }
}

/// What a user may fix of what a seed draws.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// The scenario; `Mixed` by default.
    pub scenario: Option<Scenario>,
    /// How many peers, 2 to 64.
    pub peers: Option<usize>,
    /// Where all of them are but the first, which stays at a public address: without servers no two NATs are crossed.
    pub preset: Option<Preset>,
    /// How long the part with faults lasts.
    pub duration: Option<Duration>,
    /// Only these acts, by their numbers; `None`: all.
    pub only: Option<Vec<usize>>,
    /// A fuzzer's input: the world and its acts are read from it ([`Plan::decode`]), and no seed draws them.
    pub input: Option<Vec<u8>>,
    /// Whether received audio is decoded and played, which needs the feature `opus` of the core.
    pub decode: bool,
    /// When everything that can connect must have connected after the last fault; [`Plan::HEALED_WITHIN`] by default.
    pub healed_within: Option<Duration>,
    /// Whether each transport records into a small ring, which is replayed time and again.
    pub rings: bool,
}

/// The bounds of [`Options::peers`].
pub(super) const PEERS: (usize, usize) = (2, 64);

/// One peer, as drawn.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Peer {
    /// Its room.
    pub room: usize,
    /// Where it is; `None`: at a public address.
    pub preset: Option<Preset>,
    /// Which versions of IP it has there.
    pub family: Family,
    /// Where its second interface is, of IPv4; `None`: it has one interface.
    pub second: Option<Preset>,
    /// By how much its wall clock is ahead, in milliseconds.
    pub offset_ms: i64,
    /// By how much its clocks are faster, in parts per million.
    pub drift_ppm: f64,
}

/// Everything that a seed draws.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// What it is about.
    pub scenario: Scenario,
    /// The peers.
    pub peers: Vec<Peer>,
    /// Whether they connect by themselves.
    pub automatic: bool,
    /// The latency of the internet, one way.
    pub latency: Duration,
    /// Its jitter, at most.
    pub jitter: Duration,
    /// Its losses, as a share.
    pub loss: f64,
    /// The share of its datagrams that arrive twice, and of those with a bit that is flipped.
    pub duplicate: f64,
    /// See [`Plan::duplicate`].
    pub corrupt: f64,
    /// The latency of signaling, one way, and its jitter.
    pub signaling: (Duration, Duration),
    /// Whether received audio is decoded.
    pub decode: bool,
    /// When everything that can connect must have connected after the last fault.
    pub healed_within: Duration,
    /// Whether each transport records into a small ring, which is replayed time and again.
    pub rings: bool,
    /// What happens, and when, since the start of the part with faults.
    pub acts: Vec<(Duration, Act)>,
    /// How long that part lasts.
    pub duration: Duration,
}

impl Plan {
    /// When everything that can connect must have connected after the last fault. The longest chain: the reply to an announce, with the
    /// key of the session, was lost while its peer moved. Its id counts as taken until the server gives the old connection up (45 s of
    /// silence) and its place (30 s); the client tries again after 10 s at most, and a call may take 10 s and be made twice.
    pub const HEALED_WITHIN: Duration = Duration::from_secs(110);

    /// What this seed draws. `options` fix parts of it.
    #[must_use]
    pub fn draw(seed: u64, options: &Options) -> Self {
        let mut plan = match &options.input {
            Some(input) => Self::decode(input),
            None => Self::drawn(seed, options),
        };
        plan.rings = options.rings;
        if let Some(only) = &options.only {
            let numbered = plan.acts.into_iter().enumerate();
            plan.acts = numbered.filter(|(n, _)| only.contains(n)).map(|(_, act)| act).collect();
        }
        plan
    }

    fn drawn(seed: u64, options: &Options) -> Self {
        let scenario = options.scenario.unwrap_or(Scenario::Mixed);
        let root = Rng::new(Seed::from_number(seed)).fork("plan").fork(scenario.name());
        // Each part has a generator of its own, so that fixing one changes nothing in another.
        let mut dice = Dice(root.fork("world"));
        let most = if scenario == Scenario::Talk { 10 } else { 2 + dice.below(5) };
        let (least, limit) = PEERS;
        let count = options.peers.unwrap_or(most).clamp(least, limit);
        let duration = options.duration.unwrap_or(match scenario {
            Scenario::Talk => Duration::from_secs(60),
            _ => Duration::from_secs(20 + dice.below(40) as u64),
        });
        let calm = scenario == Scenario::Talk;
        let rooms = if !calm && dice.one_in(4) { 2 } else { 1 };
        let anywhere = dice.one_in(2);
        let clocks = dice.one_in(2);
        let rich = !calm && Dice(root.fork("places")).one_in(3);
        let peers = (0..count).map(|n| {
            let mut dice = Dice(root.fork(&format!("peer {n}")));
            let somewhere = (!calm && anywhere && dice.one_in(2)).then(|| dice.preset());
            let (offset, drift) = (dice.below(2_000) as i64 - 1_000, dice.unit() * 200.0 - 100.0);
            let (offset_ms, drift_ppm) = if clocks { (offset, drift) } else { (0, 0.0) };
            // Drawn apart: worlds without it are as they were.
            let mut more = Dice(root.fork(&format!("places of peer {n}")));
            let family = if rich { more.family() } else { Family::V4 };
            let phone = rich && more.one_in(3);
            let somewhere = if phone { Some(Preset::HomeWifi) } else { somewhere };
            Peer {
                room: n % rooms,
                preset: options.preset.filter(|_| n > 0).or(somewhere),
                family,
                second: phone.then_some(Preset::Cellular),
                offset_ms,
                drift_ppm,
            }
        });
        let peers: Vec<Peer> = peers.collect();
        let automatic = calm || dice.one_in(2);
        let latency = Duration::from_millis(1 + dice.below(if calm { 20 } else { 100 }) as u64);
        let hard = !calm && dice.one_in(2);
        let jitter = Duration::from_millis(if hard { dice.below(30) as u64 } else { 0 });
        let loss = if hard && dice.one_in(2) { dice.unit() * 0.15 } else { 0.0 };
        let slow = !calm && dice.one_in(2);
        let signaling = (
            Duration::from_millis(1 + dice.below(60) as u64),
            Duration::from_millis(if slow { dice.below(300) as u64 } else { 0 }),
        );
        let mut acts = script(&root, scenario, count, duration);
        handovers(&root, &peers, duration, &mut acts);
        let (duplicate, corrupt) = if hard && dice.one_in(2) {
            (dice.unit() * 0.02, dice.unit() * 0.01)
        } else {
            (0.0, 0.0)
        };
        let decode = options.decode;
        let healed_within = options.healed_within.unwrap_or(Self::HEALED_WITHIN);
        Self {
            seed,
            scenario,
            peers,
            automatic,
            latency,
            jitter,
            loss,
            duplicate,
            corrupt,
            signaling,
            decode,
            healed_within,
            rings: false,
            acts,
            duration,
        }
    }

    /// The first of the acts wished for that this seed does not draw.
    #[must_use]
    pub fn unknown_act(&self, options: &Options) -> Option<usize> {
        let mut every = options.clone();
        let only = every.only.take()?;
        let drawn = Self::draw(self.seed, &every).acts.len();
        only.into_iter().find(|number| *number >= drawn)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, scenario, peers, .. } = self;
        let mode = if self.automatic { "automatic" } else { "manual" };
        writeln!(f, "seed {seed}, scenario {scenario}: {} peers, {mode}", peers.len())?;
        let (signaling, shakes) = self.signaling;
        writeln!(
            f,
            "internet: {:?} + up to {:?}, {:.1} % lost, {:.1} % twice, {:.1} % damaged; signaling: {signaling:?} + up to {shakes:?}",
            self.latency,
            self.jitter,
            self.loss * 100.0,
            self.duplicate * 100.0,
            self.corrupt * 100.0,
        )?;
        for (n, peer) in peers.iter().enumerate() {
            let Peer { room, preset, family, second, offset_ms, drift_ppm } = peer;
            let place = preset.map_or("a public address", Preset::name);
            let family = match family {
                Family::V4 => "",
                Family::Dual => " (IPv4 and IPv6)",
                Family::V6 => " (IPv6)",
            };
            let second = second.map(|second| format!(" and {second}")).unwrap_or_default();
            writeln!(
                f,
                "p{n}: room {room}, {place}{family}{second}, clock {offset_ms:+} ms {drift_ppm:+.1} ppm"
            )?;
        }
        for (n, (at, act)) in self.acts.iter().enumerate() {
            writeln!(f, "{n:>4} {:>8.3} s {act}", at.as_secs_f64())?;
        }
        write!(f, "{:.0} s, then all is put right", self.duration.as_secs_f64())
    }
}

/// So many acts are drawn at most: those of some hours.
const MAX_ACTS: usize = 100_000;

/// Draws what happens.
fn script(
    root: &Rng,
    scenario: Scenario,
    peers: usize,
    duration: Duration,
) -> Vec<(Duration, Act)> {
    let mut dice = Dice(root.fork("acts"));
    if scenario == Scenario::Talk {
        return (0..peers).map(|n| (Duration::ZERO, Act::Talk(n, true))).collect();
    }
    let mut weights = scenario.weights();
    if scenario == Scenario::Mixed {
        for (kind, weight) in &mut weights {
            // Without messages and calls there is nothing to look at.
            let least = u32::from(matches!(kind, Kind::Say | Kind::Talk | Kind::Connect));
            *weight *= least.max(dice.below(3) as u32);
        }
    }
    let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
    let busy = 1 + dice.below(4) as u64;
    let mut acts = Vec::new();
    let mut at = Duration::ZERO;
    while total > 0 && at < duration && acts.len() < MAX_ACTS {
        let mut pick = dice.below(total as usize) as u32;
        let drawn = weights.iter().find(|(_, weight)| {
            let here = pick < *weight;
            pick = pick.saturating_sub(*weight);
            here
        });
        if let Some((kind, _)) = drawn {
            acts.push((at, dice.act(*kind, peers)));
        }
        // Often at once, or while messages are under way.
        let pause = match dice.below(10) {
            0..=2 => 0,
            3..=6 => dice.below(60),
            7..=8 => dice.below(1_500),
            _ => 1_500 + dice.below(7_500),
        };
        at += Duration::from_millis(pause as u64 * busy / 2);
    }
    acts
}

/// Hosts with two interfaces go from one to the other some times.
fn handovers(root: &Rng, peers: &[Peer], duration: Duration, acts: &mut Vec<(Duration, Act)>) {
    let mut dice = Dice(root.fork("handovers"));
    for (n, _) in peers.iter().enumerate().filter(|(_, peer)| peer.second.is_some()) {
        for _ in 0..1 + dice.below(4) {
            let at = Duration::from_millis(dice.below(duration.as_millis() as usize) as u64);
            acts.push((at, Act::Handover(n, dice.outage())));
        }
    }
    acts.sort_by_key(|(at, _)| *at);
}

/// Chance.
struct Dice(Rng);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        // The bias is far below what matters here.
        if end == 0 { 0 } else { (self.0.next_u64() % end as u64) as usize }
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn unit(&mut self) -> f64 {
        self.0.unit()
    }

    fn preset(&mut self) -> Preset {
        Preset::ALL[self.below(Preset::ALL.len())]
    }

    fn family(&mut self) -> Family {
        [Family::V4, Family::V4, Family::Dual, Family::Dual, Family::V6][self.below(5)]
    }

    /// A time of some seconds, mostly short.
    fn outage(&mut self) -> Duration {
        let most = [500, 3_000, 12_000][self.below(3)];
        Duration::from_millis(1 + self.below(most) as u64)
    }

    fn act(&mut self, kind: Kind, peers: usize) -> Act {
        let a = self.below(peers);
        let b = (a + 1 + self.below(peers - 1)) % peers;
        match kind {
            Kind::Leave => Act::Leave(a, self.outage()),
            Kind::Crash => Act::Crash(a, self.outage()),
            Kind::Restart => Act::Restart(a),
            Kind::Connect => Act::Connect(a, b),
            Kind::Disconnect => Act::Disconnect(a, b),
            Kind::Say => {
                let size = match self.below(8) {
                    0..=3 => 30 + self.below(100),
                    4..=5 => self.below(16_000),
                    6 => 16_000 + self.below(200_000),
                    _ => [1_000, 1_200, 16_384, 65_536][self.below(4)],
                };
                let count = if size < 2_000 { 1 + self.below(20) as u32 } else { 1 };
                Act::Say { from: a, to: b, count, size, reliable: !self.one_in(4) }
            }
            Kind::Talk => Act::Talk(a, !self.one_in(3)),
            Kind::Film => Act::Film(a, !self.one_in(3)),
            Kind::Configure => Act::Configure(a, 50 + self.below(151) as u32),
            Kind::Stall => Act::Stall(a, self.outage()),
            Kind::BreakSignaling => Act::BreakSignaling(a),
            Kind::StopServer => Act::StopServer(self.outage()),
            Kind::Cut => Act::Cut(a, b, self.outage()),
            Kind::Partition => {
                let set = self.0.next_u64() & ((1 << peers.min(63)) - 1);
                Act::Partition(set, self.outage())
            }
            Kind::Flap => Act::Flap(a, self.outage()),
            Kind::Roam => {
                let somewhere = self.one_in(2).then(|| self.preset());
                Act::Roam(a, somewhere)
            }
            Kind::Rebind => Act::Rebind(a),
            Kind::Storm => Act::Storm(a, 1 + self.below(500) as u16, self.outage()),
            Kind::Spray => Act::Spray(a),
            Kind::Forge => Act::Forge(a, b),
        }
    }
}
