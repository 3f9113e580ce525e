//! The reference model: what must happen and what must not, checked as it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rtcmesh_core::media::Reliability;
use rtcmesh_core::transport::{AudioData, ClosedBy, Event, Media};

use super::apart::{Parted, Paths, When, Wishes};
use super::tag::{Class, Tag};

/// Something that must not have happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// When, since the world's start.
    pub at: Duration,
    /// At which host; `None`: at none of them.
    pub host: Option<usize>,
    /// What.
    pub what: String,
}

impl Violation {
    /// What kind it is: what is said without the numbers in it, which change with the script.
    #[must_use]
    pub fn kind(&self) -> String {
        self.what.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect()
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.at.as_secs_f64())?;
        if let Some(host) = self.host {
            write!(f, " at p{host}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// So many violations are kept: what follows the first ones follows from them.
const MAX_VIOLATIONS: usize = 20;

/// So many numbers of unreliable messages are remembered for each pair.
const MAX_SEEN: usize = 4_096;

/// Where a connection stands, by what was told about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    Nothing,
    Connecting,
    Connected,
    Lost,
}

impl At {
    const fn is_up(self) -> bool {
        matches!(self, Self::Connected | Self::Lost)
    }
}

/// What one host has been told about another, and told it.
#[derive(Debug, Default)]
struct Pair {
    at: At,
    /// Whether it was up at some time since the last look at media.
    was_up: bool,
    /// How often they have connected.
    epoch: u32,
    audio: Option<Tag>,
    video: Option<Tag>,
    /// Frames of audio since the last count.
    heard: u64,
    /// When it ended last.
    ended: Option<Duration>,
    /// The sender's incarnation and epoch of its latest message: none of an earlier one comes after it.
    latest: (u32, u32),
    /// The next number of each reliable class, by the sender's incarnation and epoch.
    next: BTreeMap<(u32, u32, Class), u64>,
    /// Numbers of unreliable messages that came.
    seen: BTreeSet<Tag>,
    /// How many messages of each class were sent in this epoch.
    sent: [u64; 3],
    /// When it was told that they have connected.
    connected_at: Option<Duration>,
    /// Large messages from it that the transport counts as given up in this epoch, and how many of them were seen as gaps.
    given_up: u64,
    gaps: u64,
}

/// One host's story.
#[derive(Debug, Default)]
struct Mind {
    room: usize,
    incarnation: u32,
    /// When its transport was made.
    since: Duration,
    pairs: BTreeMap<usize, Pair>,
    audio: u64,
    video: u64,
    /// Frames of media and data messages that it was told it had not fetched in time, and how many messages were seen as gaps
    /// that nothing else explains.
    lagged: (u64, u64),
    gaps: u64,
}

impl Mind {
    /// Whether so many messages that did not come may be among those that it has not fetched.
    const fn excuses(&self, gap: u64) -> bool {
        self.gaps + gap <= self.lagged.1
    }
}

/// What all hosts have been told.
#[derive(Debug, Default)]
pub(super) struct Model {
    minds: Vec<Mind>,
    pub(super) violations: Vec<Violation>,
    paths: Paths,
    pub(super) wishes: Wishes,
    pub(super) parted: Parted,
    /// Pairs that were connected at some time.
    met: BTreeSet<(usize, usize)>,
    /// Whether nothing goes wrong in the world: no connection may end or be lost.
    pub(super) calm: bool,
    /// Ends that are said to be the other side's wish, to be looked at when all have been listened to.
    left: Vec<(usize, usize)>,
}

/// Without a path, what was under way is lost at once; what had arrived may be told for so long, and be played.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
const PLAYED_WITHIN: Duration = Duration::from_secs(5);

/// The same of video. What is behind a hole waits until the engine has asked for it five times, a round trip apart, and for three more
/// (str0m's `NackRegister::recovery_deadline`); over the slowest networks, with full buffers, a round trip takes 3.5 s.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// A call is answered within this of the event that answers it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// How long after the end of a connection the other side's word of it may come.
const WORD_WITHIN: Duration = Duration::from_secs(30);

/// The name under which strangers announce themselves: they are seen, and never connected.
pub(super) const STRANGER: &str = "x";

/// The number of the host of this name: `p` and the number.
pub(super) fn number(name: &str) -> Option<usize> {
    name.strip_prefix('p')?.parse().ok()
}

impl Model {
    pub(super) fn new(rooms: impl Iterator<Item = usize>) -> Self {
        let minds = rooms.map(|room| Mind { room, ..Mind::default() }).collect();
        Self { minds, ..Self::default() }
    }

    pub(super) fn violation(&mut self, at: Duration, host: Option<usize>, what: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation { at, host, what });
        }
    }

    /// There is a direct path between these two from now on, or there is none.
    pub(super) fn path(&mut self, now: Duration, a: usize, b: usize, open: bool) {
        self.paths.set(now, a, b, open);
    }

    /// What comes from another host must have had a path.
    fn must_have_path(
        &self,
        when: When,
        (host, other): (usize, usize),
        within: Duration,
        what: &str,
    ) -> Result<(), String> {
        match self.paths.without_since(host, other) {
            Some(since) if when.earliest > since + within => {
                Err(format!("{what} p{other}, and there is no path since {since:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Whether two were connected at some time.
    pub(super) fn have_met(&self, a: usize, b: usize) -> bool {
        self.met.contains(&(a.min(b), a.max(b)))
    }

    /// Another transport takes the place of a host's.
    pub(super) fn restarted(&mut self, now: Duration, host: usize) {
        let mind = &mut self.minds[host];
        let (room, incarnation) = (mind.room, mind.incarnation + 1);
        *mind = Mind { room, incarnation, since: now, ..Mind::default() };
        self.wishes.forget_all_of(host);
    }

    pub(super) fn next_audio(&mut self, host: usize) -> Tag {
        let mind = &mut self.minds[host];
        mind.audio += 1;
        let incarnation = mind.incarnation;
        Tag { from: host as u32, incarnation, epoch: 0, number: mind.audio - 1 }
    }

    pub(super) fn next_video(&mut self, host: usize) -> Tag {
        let mind = &mut self.minds[host];
        mind.video += 1;
        let incarnation = mind.incarnation;
        Tag { from: host as u32, incarnation, epoch: 0, number: mind.video - 1 }
    }

    /// The tag of the next message of a class; it counts as sent after [`Self::sent`].
    pub(super) fn next_message(&mut self, from: usize, to: usize, class: Class) -> Tag {
        let mind = &mut self.minds[from];
        let incarnation = mind.incarnation;
        let pair = mind.pairs.entry(to).or_default();
        let number = pair.sent[class.index()];
        Tag { from: from as u32, incarnation, epoch: pair.epoch, number }
    }

    pub(super) fn sent(&mut self, from: usize, to: usize, class: Class) {
        let pair = self.minds[from].pairs.entry(to).or_default();
        pair.sent[class.index()] += 1;
    }

    /// Whether a host has been told that it is connected with another.
    pub(super) fn connected(&self, host: usize, other: usize) -> bool {
        self.minds[host].pairs.get(&other).is_some_and(|pair| pair.at == At::Connected)
    }

    /// The reliable messages that a host has sent to another in the connection that stands, and that have not
    /// arrived.
    pub(super) fn missing(&self, from: usize, to: usize) -> u64 {
        let Some(pair) = self.minds[from].pairs.get(&to).filter(|pair| pair.at.is_up()) else {
            return 0;
        };
        let Some(other) = self.minds[to].pairs.get(&from).filter(|other| other.at.is_up()) else {
            return 0;
        };
        let arrived = |class: Class| {
            let key = (self.minds[from].incarnation, pair.epoch, class);
            other.next.get(&key).copied().unwrap_or(0)
        };
        let open = |class: Class| pair.sent[class.index()].saturating_sub(arrived(class));
        let told = other.given_up.saturating_sub(other.gaps);
        let open = open(Class::Small) + open(Class::Large).saturating_sub(told);
        // What was not fetched in time may be of anybody.
        open.saturating_sub(self.minds[to].lagged.1 - self.minds[to].gaps)
    }

    /// So many large messages from another a host counts as given up, since they connected.
    pub(super) fn given_up(&mut self, host: usize, other: usize, count: u64) {
        if let Some(pair) = self.minds[host].pairs.get_mut(&other) {
            pair.given_up = pair.given_up.max(count);
        }
    }

    pub(super) fn event(&mut self, when: When, host: usize, event: &Event) {
        if let Err(what) = self.check_event(when, host, event) {
            self.violation(when.told, Some(host), what);
        }
    }

    /// What a transport counts as dropped must have been told, and the other way round.
    pub(super) fn dropped(&mut self, now: Duration, host: usize, counted: (u64, u64)) {
        let told = self.minds[host].lagged;
        if told != counted {
            let what =
                format!("frames and messages not fetched: told {told:?}, counted {counted:?}");
            self.violation(now, Some(host), what);
        }
    }

    /// The answer to a call that was made at `called` must be what the events say.
    pub(super) fn answered(
        &mut self,
        now: Duration,
        (host, other): (usize, usize),
        called: Duration,
        connected: bool,
    ) {
        let pair = self.minds[host].pairs.entry(other).or_default();
        let (at, since) = (pair.at, pair.connected_at);
        let right = if connected {
            at.is_up() || since.is_some_and(|since| since >= called)
        } else {
            !at.is_up() || since.is_none_or(|since| since + ANSWERED_WITHIN >= now)
        };
        if !right {
            let answer = if connected { "connected" } else { "failed" };
            let what = format!("the call of p{other} has {answer}, by its events it is {at:?}");
            self.violation(now, Some(host), what);
        }
    }

    /// Whether a host has been told that a connection with another stands, or is being sought anew.
    pub(super) fn is_up(&self, host: usize, other: usize) -> bool {
        self.minds[host].pairs.get(&other).is_some_and(|pair| pair.at.is_up())
    }

    /// All have been listened to: whoever is said to have ended a connection must have done so, of those that `know`.
    pub(super) fn all_looked(&mut self, now: Duration, know: impl Fn(usize) -> bool) {
        for (host, other) in std::mem::take(&mut self.left) {
            let pair = self.minds[other].pairs.get(&host);
            let goes_on = pair.is_some_and(|pair| {
                pair.at.is_up() && pair.ended.is_none_or(|ended| now > ended + WORD_WITHIN)
            });
            if goes_on && know(other) && self.minds[other].since + WORD_WITHIN < now {
                let what = format!("p{other} is said to have ended its connection, and has not");
                self.violation(now, Some(host), what);
            }
        }
    }

    /// The frames of audio that a host has heard from another since the last question.
    pub(super) fn heard(&mut self, host: usize, other: usize) -> u64 {
        let pair = self.minds[host].pairs.get_mut(&other);
        pair.map_or(0, |pair| std::mem::take(&mut pair.heard))
    }

    fn check_event(&mut self, when: When, host: usize, event: &Event) -> Result<(), String> {
        let now = when.told;
        if let Event::Lagged { media, data } = event {
            let lagged = &mut self.minds[host].lagged;
            *lagged = (lagged.0 + media, lagged.1 + data);
            return Ok(());
        }
        if let Event::SignalingUp { .. } | Event::SignalingDown { .. } = event {
            self.wishes.forget_all_of(host);
        }
        let Some(name) = event.peer() else { return Ok(()) };
        if name.as_str() == STRANGER
            && !matches!(event, Event::Connected { .. } | Event::Data { .. })
        {
            return Ok(());
        }
        let other = number(name.as_str()).filter(|other| *other < self.minds.len());
        let other = other.ok_or_else(|| format!("{name} is nobody: {event:?}"))?;
        if self.minds[other].room != self.minds[host].room {
            return Err(format!("{name} is in another room: {event:?}"));
        }
        match event {
            Event::Connected { .. } => {
                self.parted.connected(when, host, other);
                self.must_have_path(when, (host, other), TOLD_WITHIN, "connected with")?;
            }
            Event::Reconnected { .. } => {
                self.must_have_path(when, (host, other), TOLD_WITHIN, "reconnected with")?;
            }
            Event::Data { .. } => {
                self.must_have_path(when, (host, other), TOLD_WITHIN, "a message of")?;
            }
            Event::Connecting { .. } if !self.wishes.may_connect(when.earliest, host, other) => {
                return Err(format!("connects with p{other}, and nobody wishes it any more"));
            }
            Event::Closed { by: ClosedBy::Peer, .. } => {
                self.wishes.told(now, host, other);
                self.parted.told(host, other);
            }
            // Whoever is announced anew is called anew.
            Event::PeerDiscovered { .. } => {
                self.wishes.forget(host, other);
                self.parted.announced(when, host, other);
            }
            Event::PeerGone { .. } => self.wishes.forget(host, other),
            _ => {}
        }
        let ends = matches!(
            event,
            Event::Failed { .. } | Event::Closed { .. } | Event::Reconnecting { .. }
        );
        let pair = self.minds[host].pairs.entry(other).or_default();
        let before = pair.at;
        if self.calm && ends && before.is_up() {
            return Err(format!("{event:?} where nothing is wrong"));
        }
        if before.is_up() && ends && !matches!(event, Event::Reconnecting { .. }) {
            pair.ended = Some(now);
            if matches!(event, Event::Closed { by: ClosedBy::Peer, .. }) {
                self.left.push((host, other));
            }
        }
        let after = match (before, event) {
            (At::Nothing, Event::Connecting { .. }) => At::Connecting,
            (At::Connecting, Event::Connected { .. }) => {
                self.met.insert((host.min(other), host.max(other)));
                pair.epoch += 1;
                pair.sent = [0; 3];
                pair.connected_at = Some(now);
                (pair.given_up, pair.gaps) = (0, 0);
                At::Connected
            }
            (At::Connected, Event::Reconnecting { .. }) => At::Lost,
            (At::Lost, Event::Reconnected { .. }) => At::Connected,
            (
                At::Connecting | At::Connected | At::Lost,
                Event::Failed { .. } | Event::Closed { .. },
            ) => At::Nothing,
            (at, Event::PeerDiscovered { .. } | Event::PeerGone { .. }) => at,
            (at, Event::Data { message, reliability, .. }) if at.is_up() => {
                return self.check_message(host, other, message, *reliability);
            }
            (
                at,
                Event::DataChannelOpen { .. }
                | Event::BufferedAmountLow { .. }
                | Event::KeyframeRequested { .. }
                | Event::QualityChanged { .. }
                | Event::SyncStateChanged { .. },
            ) if at.is_up() => at,
            (at, event) => return Err(format!("{event:?} of a peer that is {at:?}")),
        };
        pair.at = after;
        pair.was_up |= after.is_up() || before.is_up();
        Ok(())
    }

    fn check_message(
        &mut self,
        host: usize,
        other: usize,
        message: &rtcmesh_core::media::DataMessage,
        reliability: Reliability,
    ) -> Result<(), String> {
        let Some((class, tag)) = Tag::of_message(message) else {
            return Err(format!("p{other} sent no message of {} bytes like this", message.size()));
        };
        if tag.from as usize != other {
            return Err(format!("p{other} speaks for p{}: message {tag}", tag.from));
        }
        if (class == Class::Unreliable) != (reliability == Reliability::Unreliable) {
            return Err(format!("message {tag} came as {reliability:?}"));
        }
        let pair = self.minds[host].pairs.entry(other).or_default();
        if class == Class::Unreliable {
            if pair.seen.len() >= MAX_SEEN {
                pair.seen.pop_first();
            }
            return if pair.seen.insert(tag) {
                Ok(())
            } else {
                Err(format!("unreliable message {tag} came twice"))
            };
        }
        if (tag.incarnation, tag.epoch) < pair.latest {
            return Err(format!("message {tag} is of a connection before the latest"));
        }
        pair.latest = (tag.incarnation, tag.epoch);
        let next = pair.next.entry((tag.incarnation, tag.epoch, class)).or_insert(0);
        let expected = *next;
        *next = tag.number + 1;
        let gap = tag.number.saturating_sub(expected);
        let told = class == Class::Large && pair.gaps + gap <= pair.given_up;
        if told {
            pair.gaps += gap;
        }
        let excused = told || self.minds[host].excuses(gap);
        if !told && excused {
            self.minds[host].gaps += gap;
        }
        if tag.number < expected || !excused {
            return Err(format!("{class:?} message {tag} came where number {expected} was due"));
        }
        Ok(())
    }

    pub(super) fn media(&mut self, when: When, host: usize, media: &Media) {
        if let Err(what) = self.check_media(when, host, media) {
            self.violation(when.told, Some(host), what);
        }
    }

    fn check_media(&mut self, when: When, host: usize, media: &Media) -> Result<(), String> {
        let name = media.peer();
        let other = number(name.as_str()).filter(|other| *other < self.minds.len());
        let other = other.ok_or_else(|| format!("media of {name}, who is nobody"))?;
        let within = match media {
            Media::Video { .. } => SHOWN_WITHIN,
            _ => PLAYED_WITHIN,
        };
        self.must_have_path(when, (host, other), within, "media of")?;
        let pair = self.minds[host].pairs.entry(other).or_default();
        if !pair.was_up && !pair.at.is_up() {
            return Err(format!("media of {name}, which is {:?}", pair.at));
        }
        pair.heard += u64::from(matches!(media, Media::Audio { .. }));
        let (tag, last, what) = match media {
            Media::Audio { frame, .. } => match &frame.data {
                AudioData::Encoded(packet) => (Tag::of_audio(packet), &mut pair.audio, "audio"),
                _ => return Ok(()),
            },
            Media::Video { frame, .. } => (Tag::of_video(frame), &mut pair.video, "video"),
            _ => return Ok(()),
        };
        let tag = tag.ok_or_else(|| format!("{what} of {name} is not as it was sent"))?;
        if tag.from as usize != other {
            return Err(format!("{name} speaks for p{}: {what} {tag}", tag.from));
        }
        let before = last.replace(tag);
        if let Some(before) = before
            && (tag.incarnation, tag.number) <= (before.incarnation, before.number)
        {
            return Err(format!("{what} {tag} of {name} after {before}"));
        }
        Ok(())
    }

    /// A look at all media is over: what comes from now on comes from those that are connected now.
    pub(super) fn looked(&mut self, host: usize) {
        for pair in self.minds[host].pairs.values_mut() {
            pair.was_up = pair.at.is_up();
        }
    }

    /// A host has shut down: everything about it must have come to its end.
    pub(super) fn ended(&mut self, now: Duration, host: usize) {
        let open: Vec<String> = {
            let pairs = self.minds[host].pairs.iter();
            let open = pairs.filter(|(_, pair)| pair.at != At::Nothing);
            open.map(|(other, pair)| format!("p{other} {:?}", pair.at)).collect()
        };
        if !open.is_empty() {
            self.violation(now, Some(host), format!("not ended by shutdown: {}", open.join(", ")));
        }
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
