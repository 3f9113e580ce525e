//! Everything at once, in every order: calls, ends, renegotiations and messages of all peers, over a
//! network that delays each message by chance, with outages of all kinds among them. What is told has
//! to be consistent all the while, and afterwards everybody can be connected with everybody.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{automatic, id, manual, tone};
use proptest::prelude::*;
use rtcmesh_core::config::ConfigPatch;
use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::DataMessage;
use rtcmesh_core::transport::{Event, Outcome};
use rtcmesh_sim::World;
use rtcmesh_sim::net::{Jitter, Loss};

/// What somebody does, or what happens to somebody.
#[derive(Debug, Clone)]
enum Act {
    Connect(usize, usize),
    Disconnect(usize, usize),
    OfferVideo(usize, usize),
    /// A message, small or in fragments.
    Say(usize, usize, bool),
    Talk(usize),
    Configure(usize, u32),
    BreakSignaling(usize),
    SignalingReachable(bool),
    Cut(usize, usize, bool),
    /// Shuts down and comes back at once under the same name.
    Restart(usize),
    /// Gone without a word, and back under the same name before its place is free.
    Crash(usize),
}

fn act(peers: usize) -> impl Strategy<Value = Act> {
    let one = 0..peers;
    let two = (0..peers, 1..peers).prop_map(move |(a, by)| (a, (a + by) % peers));
    prop_oneof![
        8 => two.clone().prop_map(|(a, b)| Act::Connect(a, b)),
        5 => two.clone().prop_map(|(a, b)| Act::Disconnect(a, b)),
        2 => two.clone().prop_map(|(a, b)| Act::OfferVideo(a, b)),
        4 => (two.clone(), any::<bool>()).prop_map(|((a, b), large)| Act::Say(a, b, large)),
        2 => one.clone().prop_map(Act::Talk),
        1 => (one.clone(), 50u32..200).prop_map(|(a, size)| Act::Configure(a, size)),
        2 => one.clone().prop_map(Act::BreakSignaling),
        1 => any::<bool>().prop_map(Act::SignalingReachable),
        2 => (two, any::<bool>()).prop_map(|((a, b), cut)| Act::Cut(a, b, cut)),
        1 => one.clone().prop_map(Act::Restart),
        1 => one.prop_map(Act::Crash),
    ]
}

/// How long until the next act: often at once, or while messages are under way.
fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0u64), 4 => 0u64..60, 2 => 0u64..1_500, 1 => 1_500u64..9_000]
}

#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    peers: usize,
    automatic: bool,
    latency: u64,
    jitter: u64,
    signaling_jitter: u64,
    loss: f64,
    acts: Vec<(u64, Act)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let loss = prop_oneof![Just(0.0), 0.0..0.2];
    let weather = (1u64..100, 0u64..30, prop_oneof![Just(0u64), 1u64..300], loss);
    (2usize..5, any::<bool>(), any::<u64>(), weather).prop_flat_map(
        |(peers, automatic, seed, (latency, jitter, signaling_jitter, loss))| {
            proptest::collection::vec((pause(), act(peers)), 1..40).prop_map(move |acts| Plan {
                seed,
                peers,
                automatic,
                latency,
                jitter,
                signaling_jitter,
                loss,
                acts,
            })
        },
    )
}

/// A world with what its applications did.
struct Run {
    world: World,
    automatic: bool,
    /// The host that has the name `p0`, `p1`, … at present.
    now: Vec<usize>,
    /// Calls of `connect_peer` that wait for their outcome, with what was seen of the outcomes.
    waiting: BTreeSet<(usize, PeerId)>,
    seen: BTreeMap<usize, usize>,
    said: u64,
    /// Pairs that somebody wished to part.
    parted: BTreeSet<(usize, usize)>,
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let mut world = World::new(plan.seed);
        world.weather().latency = Duration::from_millis(plan.latency);
        world.weather().jitter = Jitter::Uniform(Duration::from_millis(plan.jitter));
        world.signaling_jitter = Duration::from_millis(plan.signaling_jitter);
        let mut run = Self {
            world,
            automatic: plan.automatic,
            now: Vec::new(),
            waiting: BTreeSet::new(),
            seen: BTreeMap::new(),
            said: 0,
            parted: BTreeSet::new(),
        };
        for n in 0..plan.peers {
            let host = run.add(n);
            run.now.push(host);
        }
        run.world.weather().loss = Loss::Random(plan.loss);
        run
    }

    fn add(&mut self, n: usize) -> usize {
        let name = name(n);
        let config = if self.automatic { automatic(&name) } else { manual(&name) };
        let host = self.world.add(config);
        self.world.act(host, |transport, now| transport.start(now)).expect("it is not started");
        host
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Connect(a, b) => self.connect(a, b),
            Act::Disconnect(a, b) => {
                self.parted.insert((a.min(b), a.max(b)));
                self.on(a, |transport, now| transport.disconnect_peer(now, &name(b)).ok());
            }
            Act::OfferVideo(a, b) => {
                self.on(a, |transport, now| transport.offer_video(now, &name(b)).ok());
            }
            Act::Say(a, b, large) => {
                self.said += 1;
                let filling = "x".repeat(if large { 50_000 } else { 0 });
                let message = DataMessage::text(format!("{:08}{filling}", self.said));
                self.on(a, |transport, now| {
                    transport.send_data_channel_message(now, &name(b), &message, None).ok()
                });
            }
            Act::Talk(a) => {
                self.on(a, |transport, now| transport.broadcast(now, &tone(440.0, 0)).ok());
            }
            Act::Configure(a, size) => {
                let mut patch = ConfigPatch::new();
                patch.jitter_buffer_size_ms = Some(size);
                self.on(a, |transport, now| transport.configure(now, &patch).ok());
            }
            Act::BreakSignaling(a) => self.world.break_signaling(self.now[a]),
            Act::SignalingReachable(reachable) => {
                self.world.signaling_reachable = reachable;
            }
            Act::Cut(a, b, cut) => self.world.cut(self.now[a], self.now[b], cut),
            Act::Restart(a) => {
                let host = self.now[a];
                self.now[a] = usize::MAX;
                self.world.act(host, |transport, now| transport.shutdown(now));
                self.outcomes();
                assert!(self.waiting.iter().all(|(of, _)| *of != host), "left waiting at the end");
                self.check_ended(host);
                self.now[a] = self.add(a);
            }
            Act::Crash(a) => {
                let host = self.now[a];
                self.world.crash(host);
                self.waiting.retain(|(of, _)| *of != host);
                self.now[a] = self.add(a);
            }
        }
    }

    fn on<T>(
        &mut self,
        n: usize,
        act: impl FnOnce(&mut rtcmesh_core::transport::Transport, std::time::Instant) -> T,
    ) -> T {
        self.outcomes();
        self.world.act(self.now[n], act)
    }

    fn connect(&mut self, a: usize, b: usize) {
        // A call without room for its outcome would be one that hangs.
        if self.on(a, |transport, now| transport.connect_peer(now, &name(b))) == Ok(false) {
            self.waiting.insert((self.now[a], id(&name(b))));
        }
    }

    /// Takes over the outcomes. Whoever could not start, since its name was still taken, tries again.
    fn outcomes(&mut self) {
        let mut refused = Vec::new();
        for (host, known) in self.world.hosts.iter().enumerate() {
            let seen = self.seen.entry(host).or_default();
            for outcome in &known.outcomes[*seen..] {
                match outcome {
                    Outcome::Connected { peer, .. } => {
                        self.waiting.remove(&(host, peer.clone()));
                    }
                    Outcome::Started(Err(_)) if self.now.contains(&host) => refused.push(host),
                    _ => {}
                }
            }
            *seen = known.outcomes.len();
        }
        for host in refused {
            self.world.act(host, |transport, now| transport.start(now)).expect("it is not started");
        }
    }

    /// Runs for a time, with applications that look at the outcomes of their calls once a second.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.world.run(Duration::from_secs(1));
            self.outcomes();
        }
    }

    fn check_ended(&self, host: usize) {
        let host = &self.world.hosts[host];
        let timeout = host.transport.poll_timeout();
        assert_eq!(timeout, None, "an ended transport wants nothing any more");
        assert_eq!(host.sockets().count(), 0, "its sockets are closed");
        check_story(&host.events, true);
    }
}

fn name(n: usize) -> String {
    format!("p{n}")
}

/// The events of each peer are in their order: an attempt, perhaps a connection, one end.
fn check_story(events: &[Event], ended: bool) {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum At {
        Nothing,
        Connecting,
        Connected,
        Lost,
    }
    let mut at: BTreeMap<PeerId, At> = BTreeMap::new();
    let mut last: BTreeMap<(PeerId, bool), String> = BTreeMap::new();
    for event in events {
        let Some(peer) = event.peer() else { continue };
        let before = at.get(peer).copied().unwrap_or(At::Nothing);
        let after = match (before, event) {
            (At::Nothing, Event::Connecting { .. }) => At::Connecting,
            (At::Connecting, Event::Connected { .. }) => At::Connected,
            (At::Connected, Event::Reconnecting { .. }) => At::Lost,
            (At::Lost, Event::Reconnected { .. }) => At::Connected,
            (
                At::Connecting | At::Connected | At::Lost,
                Event::Failed { .. } | Event::Closed { .. },
            ) => At::Nothing,
            (before, Event::PeerDiscovered { .. } | Event::PeerGone { .. }) => before,
            (
                At::Connected | At::Lost,
                Event::DataChannelOpen { .. }
                | Event::BufferedAmountLow { .. }
                | Event::KeyframeRequested { .. }
                | Event::QualityChanged { .. }
                | Event::SyncStateChanged { .. },
            ) => before,
            (At::Connected | At::Lost, Event::Data { message: DataMessage::Text(text), .. }) => {
                let kind = (peer.clone(), text.len() > 8);
                let before_it = last.insert(kind, text[..8].to_owned());
                assert!(before_it.is_none_or(|it| it.as_str() < &text[..8]), "order of messages");
                before
            }
            (before, event) => panic!("{event:?} of a peer that is {before:?}:\n{events:#?}"),
        };
        at.insert(peer.clone(), after);
    }
    if ended {
        let open: Vec<_> = at.iter().filter(|(_, at)| **at != At::Nothing).collect();
        assert!(open.is_empty(), "not ended: {open:?}");
    }
}

fn survive(plan: &Plan) {
    let mut run = Run::new(plan);
    for (pause, act) in &plan.acts {
        run.world.run(Duration::from_millis(*pause));
        run.act(act);
    }
    // The weather becomes fine, and what was begun comes to its end.
    run.world.signaling_reachable = true;
    run.world.weather().loss = Loss::None;
    for a in 0..run.world.hosts.len() {
        for b in 0..a {
            run.world.cut(a, b, false);
        }
    }
    run.wait(60);
    assert!(run.waiting.is_empty(), "calls without an outcome: {:?}", run.waiting);
    for host in &run.world.hosts {
        check_story(&host.events, false);
    }
    for a in 0..plan.peers {
        for b in 0..a {
            if plan.automatic && !run.parted.contains(&(b, a)) {
                let (a, b) = (run.now[a], run.now[b]);
                let both = run.world.connected(a, b) && run.world.connected(b, a);
                assert!(both, "{a} and {b} are connected again by themselves");
            }
        }
    }
    // Both sides of each pair call at once.
    for a in 0..plan.peers {
        for b in 0..plan.peers {
            if a != b {
                let result = run.on(a, |transport, now| transport.connect_peer(now, &name(b)));
                assert!(result.is_ok(), "{a} cannot call {b}: {result:?}");
                run.world.run(Duration::from_millis(plan.seed % 40));
            }
        }
    }
    let now = run.now.clone();
    let all =
        |world: &World| now.iter().all(|a| now.iter().all(|b| a == b || world.connected(*a, *b)));
    let before = run.world.elapsed();
    assert!(run.world.run_until(all), "all are connected again");
    let took = run.world.elapsed() - before;
    assert!(took < Duration::from_secs(10), "in one attempt: {took:?}");
    for host in now {
        run.world.act(host, |transport, now| transport.shutdown(now));
        run.check_ended(host);
    }
    run.world.run(Duration::from_secs(5));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_is_told_consistently_and_heals(plan in plan()) {
        survive(&plan);
    }
}
