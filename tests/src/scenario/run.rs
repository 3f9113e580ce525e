//! Runs what was drawn: first under faults, then healed, and tells what was wrong.

mod faults;
mod heal;
mod rings;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use rtcmesh_core::config::{AudioSettings, Config, ConnectMode, ReceivedAudio};
use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::{Reliability, RuntimeData};
use rtcmesh_core::trace::Recorder;
use rtcmesh_core::transport::{Event, Outcome, Transport};

use super::apart::When;
use super::draw::Plan;
use super::errors::ErrorLog;
use super::model::{Model, Violation, number};
use super::report::Report;
use super::tag::Class;
use crate::host::Setup;
use crate::net::{Jitter, Loss};
use crate::world::World;
use faults::Faults;

/// Applications look at what has come, and send the next frame of audio, this often.
const TICK: Duration = Duration::from_millis(20);

/// An audio packet is this long in bytes: 32 kbit/s.
const AUDIO_SIZE: usize = 80;

/// A frame of video, and a keyframe, is this long in bytes.
const VIDEO_SIZE: usize = 2_500;
const KEYFRAME_SIZE: usize = 12_000;

/// From this size on messages travel in fragments between two of us (the wire's limit of 16 KiB).
const FRAGMENTED_FROM: usize = 16 * 1024;

/// A call is answered within this: its limit of 10 s, and the time until it is told.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);

/// What a running scenario tells whoever watches it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress {
    /// Virtual time since the start.
    pub elapsed: Duration,
    /// About how long it will be in all.
    pub total: Duration,
    /// Packets of audio that were sent so far, each counted once for each receiver.
    pub audio_packets: u64,
}

/// What waits for the application at most (the bounds of the core's queues): frames of media, data messages, and other events,
/// of which those that later ones have superseded are left out from a number on.
const MEDIA_WAITING: usize = 1_000;
const DATA_WAITING: usize = 16_384;
const EVENTS_WAITING: usize = 4_097;

/// One application.
#[derive(Debug, Default, Clone)]
struct App {
    talks: bool,
    films: bool,
    keyframe: bool,
    /// Whether a transport is there that was not shut down.
    alive: bool,
    /// Calls that wait for their outcome, and since when.
    waiting: BTreeMap<PeerId, Duration>,
    /// Since when it does not read: what it is told then may have happened since.
    stalled_since: Option<Duration>,
    /// The connections that it knew then, by the times of their beginnings.
    knew: BTreeMap<PeerId, Duration>,
}

struct Run<'a> {
    plan: &'a Plan,
    world: World,
    model: Model,
    apps: Vec<App>,
    faults: Faults,
    timeline: Vec<(Duration, String)>,
    ticks: u64,
    /// Sent so far, each counted once for each receiver.
    audio_packets: u64,
    stranger: Option<usize>,
    /// Who stays when all others leave.
    survivors: BTreeSet<usize>,
    /// Whether it was said that the capture is full.
    full: bool,
    /// Where each transport is recorded, if they are.
    rings: Vec<Option<Recorder>>,
}

/// Runs a plan in a world of its own, on this thread: within [`crate::isolated`] equal plans give equal digests.
///
/// Whatever goes wrong is in the report: it does not panic where a machine does, and an error in a log is a violation.
pub fn run(plan: &Plan, watch: &mut dyn FnMut(Progress)) -> Report {
    run_tapped(plan, false, watch).0
}

/// The same; with `tap` it also gives all that passed as a pcapng file ([`World::capture`]), up to
/// [`World::CAPTURE_LIMIT`] bytes.
pub fn run_tapped(
    plan: &Plan,
    tap: bool,
    watch: &mut dyn FnMut(Progress),
) -> (Report, Option<Vec<u8>>) {
    run_all(plan, tap, None, watch)
}

/// The same, with a look at memory: what machines hold that should hold nothing any more, and what nobody holds when the world
/// is gone, is a violation. `allocated` tells how many bytes this process has allocated at present; no other thread may
/// allocate meanwhile, and what a process makes once must have been made: run another plan before.
pub fn run_weighed(
    plan: &Plan,
    tap: bool,
    allocated: &dyn Fn() -> usize,
    watch: &mut dyn FnMut(Progress),
) -> (Report, Option<Vec<u8>>) {
    let before = allocated();
    let (mut report, capture) = run_all(plan, tap, Some(allocated), watch);
    // The spare room of a long timeline is no leak.
    report.timeline.iter_mut().for_each(|(_, text)| text.shrink_to_fit());
    report.timeline.shrink_to_fit();
    let with_report = allocated();
    let copy = report.clone();
    let of_report = allocated().saturating_sub(with_report);
    drop(copy);
    let kept = before + of_report + capture.as_ref().map_or(0, Vec::capacity);
    let left = with_report.saturating_sub(kept);
    if left > heal::HELD_BY_NOBODY {
        report.add_violation(format!("{left} bytes are held by nobody when the world is gone"));
    }
    (report, capture)
}

fn run_all(
    plan: &Plan,
    tap: bool,
    allocated: Option<&dyn Fn() -> usize>,
    watch: &mut dyn FnMut(Progress),
) -> (Report, Option<Vec<u8>>) {
    let errors = ErrorLog::default();
    // Outside of what may panic: what has passed until then is of use.
    let mut kept = None;
    let guarded = || kept.insert(Run::new(plan, tap)).all(watch);
    let result = tracing::subscriber::with_default(errors.clone(), || {
        std::panic::catch_unwind(AssertUnwindSafe(guarded))
    });
    let capture = kept.as_mut().and_then(|run| run.world.take_capture());
    let mut report = match (result, kept) {
        (Ok(()), Some(run)) => run.report(allocated),
        (Err(panic), run) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            let mut report = run.map_or_else(|| Report::empty(plan), |run| run.report(None));
            report.add_violation(format!("panicked: {text}"));
            report
        }
        (Ok(()), None) => Report::empty(plan),
    };
    let logged = errors.take().into_iter();
    report.violations.extend(logged.map(|what| Violation {
        at: report.elapsed,
        host: None,
        what: format!("logged as an error: {what}"),
    }));
    (report, capture)
}

/// Whether received audio can be decoded in this build.
#[must_use]
pub const fn can_decode() -> bool {
    cfg!(feature = "opus")
}

fn name(host: usize) -> String {
    format!("p{host}")
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, tap: bool) -> Self {
        let mut world = World::new(plan.seed);
        if tap {
            world.capture(World::CAPTURE_LIMIT);
        }
        world.keep_times();
        let weather = world.weather();
        weather.latency = plan.latency;
        weather.jitter =
            if plan.jitter.is_zero() { Jitter::None } else { Jitter::Uniform(plan.jitter) };
        weather.loss = if plan.loss > 0.0 { Loss::Random(plan.loss) } else { Loss::None };
        (weather.duplicate, weather.corrupt) = (plan.duplicate, plan.corrupt);
        (world.signaling_latency, world.signaling_jitter) = plan.signaling;
        let model = Model::new(plan.peers.iter().map(|peer| peer.room));
        let mut run = Self {
            plan,
            world,
            model,
            apps: vec![App::default(); plan.peers.len()],
            faults: Faults::default(),
            timeline: Vec::new(),
            ticks: 0,
            audio_packets: 0,
            stranger: None,
            survivors: BTreeSet::new(),
            full: false,
            rings: plan.peers.iter().map(|_| None).collect(),
        };
        for (host, peer) in plan.peers.iter().enumerate() {
            let setup = peer.preset.map_or_else(Setup::default, Setup::preset);
            let setup = setup.clock(peer.offset_ms, peer.drift_ppm).family(peer.family);
            run.world.add_with(run.config(host), &setup);
            run.add_second(host);
            run.apps[host].alive = true;
            run.record(host);
            run.on(host, |transport, now| transport.start(now)).ok();
        }
        run.paths();
        run
    }

    fn config(&self, host: usize) -> Config {
        let url = format!("{}room{}", World::URL, self.plan.peers[host].room);
        let mode = if self.plan.automatic { ConnectMode::Automatic } else { ConnectMode::Manual };
        let mut audio = AudioSettings::default();
        audio.received =
            if self.plan.decode { ReceivedAudio::Decoded } else { ReceivedAudio::Encoded };
        Config::new(url).peer_id(name(host)).max_peers(100).connect(mode).audio(audio)
    }

    fn on<T>(
        &mut self,
        host: usize,
        act: impl FnOnce(&mut Transport, std::time::Instant) -> T,
    ) -> T {
        self.world.act(host, act)
    }

    /// Takes down between whom there is a direct path now.
    fn paths(&mut self) {
        let now = self.world.elapsed();
        for a in 0..self.apps.len() {
            for b in 0..a {
                let open = self.path(a, b);
                self.model.path(now, a, b, open);
            }
        }
    }

    fn path(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.world.network_number(a), self.world.network_number(b));
        self.world.network().can_reach_directly(a, b)
    }

    fn all(&mut self, watch: &mut dyn FnMut(Progress)) {
        // Everybody is announced, and may have connected, before it begins.
        let settle = Duration::from_secs(3);
        let total = settle + self.plan.duration + Duration::from_secs(30);
        let mut tell = |run: &Self| {
            let (elapsed, audio_packets) = (run.world.elapsed(), run.audio_packets);
            watch(Progress { elapsed, total, audio_packets });
        };
        self.until(settle, &mut tell);
        self.call_missing();
        let mut acts = self.plan.acts.iter().peekable();
        let end = settle + self.plan.duration;
        while self.world.elapsed() < end && self.model.violations.is_empty() {
            while let Some((_, act)) = acts.next_if(|(at, _)| settle + *at <= self.world.elapsed())
            {
                self.note(act.to_string());
                self.act(act);
                self.look_at_all();
            }
            self.tick();
            tell(self);
        }
        if self.model.violations.is_empty() {
            self.heal(&mut tell);
        }
    }

    fn until(&mut self, end: Duration, tell: &mut dyn FnMut(&Self)) {
        while self.world.elapsed() < end {
            self.tick();
            tell(self);
        }
    }

    fn note(&mut self, what: String) {
        self.timeline.push((self.world.elapsed(), what));
    }

    /// When something was told that a host got at `told`.
    fn when(&self, host: usize, told: Duration) -> When {
        When { earliest: self.apps[host].stalled_since.unwrap_or(told), told }
    }

    /// One tick: what ends by itself, what applications send, what they are told.
    fn tick(&mut self) {
        self.end_faults();
        for host in 0..self.apps.len() {
            self.send_media(host);
        }
        self.ticks += 1;
        self.world.run(TICK);
        if !self.full && self.world.capture_is_full() {
            self.full = true;
            self.note("the capture is full: what comes now is not in it".to_owned());
        }
        self.look_at_all();
        self.replay_ring();
    }

    fn send_media(&mut self, host: usize) {
        if !self.apps[host].alive {
            return;
        }
        if self.apps[host].talks {
            let data = RuntimeData::EncodedAudio(self.model.next_audio(host).audio(AUDIO_SIZE));
            // Nobody may be there to hear it.
            if let Ok(stats) = self.on(host, |transport, now| transport.broadcast(now, &data)) {
                self.audio_packets += stats.sent_count as u64;
            }
        }
        if self.apps[host].films && self.ticks.is_multiple_of(2) {
            let tag = self.model.next_video(host);
            let keyframe =
                std::mem::take(&mut self.apps[host].keyframe) || tag.number.is_multiple_of(50);
            let size = if keyframe { KEYFRAME_SIZE } else { VIDEO_SIZE };
            let data = RuntimeData::Video(tag.video(size, keyframe));
            self.on(host, |transport, now| transport.broadcast(now, &data)).ok();
        }
    }

    fn look_at_all(&mut self) {
        for host in 0..self.apps.len() {
            self.look(host);
        }
        let (apps, hosts) = (&self.apps, &self.world.hosts);
        // Who does not read what happens may have ended a connection, and not know of it.
        self.model.all_looked(self.world.elapsed(), |host| apps[host].alive && hosts[host].fetches);
    }

    /// What a host has been told since the last look.
    fn look(&mut self, host: usize) {
        let now = self.world.elapsed();
        let (times, events) = self.world.take_events(host);
        if events.iter().any(|event| matches!(event, Event::Data { .. })) {
            self.count_given_up(host);
        }
        for (at, event) in times.into_iter().zip(&events) {
            self.model.event(self.when(host, at), host, event);
            if let Event::KeyframeRequested { .. } = event {
                self.apps[host].keyframe = true;
            }
            if !matches!(event, Event::QualityChanged { .. } | Event::Data { .. }) {
                self.timeline.push((at, format!("p{host} {event:?}")));
            }
        }
        let media = std::mem::take(&mut self.world.hosts[host].media);
        for media in &media {
            self.model.media(self.when(host, now), host, media);
        }
        if self.world.hosts[host].fetches {
            self.model.looked(host);
        }
        let outcomes = std::mem::take(&mut self.world.hosts[host].outcomes);
        for outcome in outcomes {
            match outcome {
                Outcome::Connected { peer, result } => {
                    self.answered(host, &peer, result.is_ok());
                }
                // Its name was still taken, or signaling could not be reached: it tries again.
                Outcome::Started(Err(_)) if self.apps[host].alive => {
                    self.on(host, |transport, now| transport.start(now)).ok();
                }
                _ => {}
            }
        }
        let late =
            self.apps[host].waiting.iter().find(|(_, since)| now > **since + ANSWERED_WITHIN);
        if let Some((peer, since)) = late {
            let what = format!("the call of {peer} at {since:?} has no outcome");
            self.model.violation(now, Some(host), what);
        }
        self.check_queues(host);
    }

    /// A call has its answer.
    fn answered(&mut self, host: usize, peer: &PeerId, connected: bool) {
        let called = self.apps[host].waiting.remove(peer);
        self.check(called.is_some(), host, || {
            format!("an outcome for {peer} that nobody waits for")
        });
        // Who does not read events does not know.
        if let Some(called) = called.filter(|_| self.apps[host].stalled_since.is_none())
            && let Some(other) = number(peer.as_str())
        {
            let now = self.world.elapsed();
            self.model.answered(now, (host, other), called, connected);
        }
    }

    /// What waits inside a transport is bounded, and what it has dropped it tells.
    fn check_queues(&mut self, host: usize) {
        let now = self.world.elapsed();
        let metrics = self.world.hosts[host].transport.metrics();
        let dropped = metrics.datagrams_dropped;
        if dropped > 0 {
            self.model.violation(now, Some(host), format!("{dropped} datagrams not fetched"));
        }
        let waiting = [metrics.media_waiting, metrics.data_waiting, metrics.events_waiting];
        let (media, data, events) = (waiting[0], waiting[1], waiting[2]);
        if media > MEDIA_WAITING || data > DATA_WAITING || events - data > EVENTS_WAITING {
            let what = format!("{media} frames and {events} events wait, {data} of these are data");
            self.model.violation(now, Some(host), what);
        }
        if self.world.hosts[host].fetches && !self.world.hosts[host].is_crashed() {
            self.model.dropped(now, host, (metrics.media_dropped, metrics.data_dropped));
        }
    }

    /// Something must be so.
    fn check(&mut self, holds: bool, host: usize, what: impl FnOnce() -> String) {
        if !holds {
            self.model.violation(self.world.elapsed(), Some(host), what());
        }
    }

    fn join(&mut self, a: usize) {
        if self.apps[a].alive {
            return;
        }
        self.look(a);
        let config = self.config(a);
        self.world.restart(a, config);
        self.model.restarted(self.world.elapsed(), a);
        self.apps[a].alive = true;
        self.record(a);
        self.on(a, |transport, now| transport.start(now)).ok();
    }

    fn leave(&mut self, a: usize) {
        if !self.apps[a].alive {
            return;
        }
        self.reads_again(a);
        self.on(a, |transport, now| transport.shutdown(now));
        self.look(a);
        let answered = self.apps[a].waiting.is_empty();
        self.check(answered, a, || "shutdown left calls without an outcome".to_owned());
        let due = self.world.hosts[a].transport.poll_timeout();
        self.check(due.is_none(), a, || format!("a transport that has ended wants {due:?}"));
        let open = self.world.hosts[a].sockets().count();
        self.check(open == 0, a, || format!("{open} sockets are open after shutdown"));
        self.model.ended(self.world.elapsed(), a);
        self.gone(a);
    }

    fn gone(&mut self, a: usize) {
        self.apps[a] = App { talks: self.apps[a].talks, ..App::default() };
    }

    fn connect(&mut self, a: usize, b: usize) {
        if !self.apps[a].alive {
            return;
        }
        let now = self.world.elapsed();
        self.model.wishes.forget(a, b);
        let called = self.on(a, |transport, now| transport.connect_peer(now, &name(b)));
        // Who counts as connected has not called.
        if called == Ok(false) {
            self.model.parted.called(a, b);
        }
        if called == Ok(false)
            && let Ok(id) = PeerId::new(name(b))
        {
            // Two calls share one attempt, and both are answered.
            self.apps[a].waiting.entry(id).or_insert(now);
        }
        if self.apps[a].stalled_since.is_none() {
            self.look(a);
            let known = called != Ok(true) || self.model.is_up(a, b);
            self.check(known, a, || format!("p{b} counts as connected, and no event has said so"));
        }
    }

    fn say(&mut self, from: usize, to: usize, size: usize, reliable: bool) {
        if !self.apps[from].alive {
            return;
        }
        let class = match (reliable, size < FRAGMENTED_FROM) {
            (false, _) => Class::Unreliable,
            (true, true) => Class::Small,
            (true, false) => Class::Large,
        };
        let message = self.model.next_message(from, to, class).message(class, size);
        if self.apps[from].stalled_since.is_some() && !self.knows_connection(from, to) {
            // It would not know in which connection it speaks, and messages say that.
            return;
        }
        let kind = if reliable { Reliability::Reliable } else { Reliability::Unreliable };
        let sent = self.on(from, |transport, now| {
            transport.send_data_channel_message(now, &name(to), &message, Some(kind))
        });
        if sent.is_ok() {
            self.model.sent(from, to, class);
        }
    }

    /// The connections of a host, by the times of their beginnings.
    fn connections(&self, host: usize) -> BTreeMap<PeerId, Duration> {
        let peers = self.world.hosts[host].transport.known_peers().unwrap_or_default();
        peers.into_iter().filter_map(|info| Some((info.peer, info.connected_at?))).collect()
    }

    /// Whether the connection with another that a host knew when it ceased to read is the one that stands.
    fn knows_connection(&self, host: usize, other: usize) -> bool {
        let Ok(other) = PeerId::new(name(other)) else { return false };
        let knew = self.apps[host].knew.get(&other);
        knew.is_some() && knew == self.connections(host).get(&other)
    }

    fn film(&mut self, a: usize, on: bool) {
        self.apps[a].films = on;
        self.apps[a].keyframe = on;
        if on && self.apps[a].alive {
            for b in 0..self.apps.len() {
                self.on(a, |transport, now| transport.offer_video(now, &name(b))).ok();
            }
        }
    }

    /// Pairs that may connect, and those that had at some time.
    fn pairs_found(&self) -> (usize, usize) {
        let pairs = self.pairs();
        let met = pairs.iter().filter(|(a, b)| self.model.have_met(*a, *b)).count();
        (pairs.len(), met)
    }

    fn report(self, allocated: Option<&dyn Fn() -> usize>) -> Report {
        let pairs = self.pairs_found();
        if let Some(allocated) = allocated.filter(|_| self.model.violations.is_empty()) {
            return Report { pairs, ..self.weighed(allocated) };
        }
        let Self { plan, world, model, timeline, .. } = self;
        Report { pairs, ..Report::new(plan, &world, model.violations, timeline) }
    }
}
