//! The engine as a peer uses it: what it is told and what it answers in plain types, so that a recording can stand
//! in its place.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use super::draws::{Draws, Others};
use super::engine::Engine;
use super::events::{KeptTurn, Turn};
use super::fragment::{HEADER, Kind, finish};
use super::live::Live;
use super::media::Sending;
use super::{PeerConfig, channels};
use crate::error::PeerFault;
use crate::media::DataMessage;
use crate::rng::Rng;
use crate::trace::state::saved;
use crate::trace::{Body, Sketch, Tape};
use str0m::media::{Mid, Pt};

/// The outputs that are written down in one entry at most.
const MAX_TURNS: usize = 1_000;

/// What stands under the peers of a transport: the engine, a tape that writes down what passes, or in a replay that
/// tape alone.
#[derive(Clone, Debug)]
pub(crate) struct Border {
    engine: Option<Engine>,
    tape: Option<Tape>,
}

impl Border {
    /// `None` where there is neither.
    pub(crate) fn new(engine: Option<&Engine>, tape: Option<&Tape>) -> Option<Self> {
        let border = Self { engine: engine.cloned(), tape: tape.cloned() };
        let any = border.engine.is_some() || border.tape.as_ref().is_some_and(Tape::plays);
        any.then_some(border)
    }

    /// Whether what stands on it follows another machine, which logs what there is to say.
    pub(super) fn follows(&self) -> bool {
        self.tape.as_ref().is_some_and(Tape::follows)
    }
}

// Without an engine: a state is that of a replay.
saved!(struct Border { tape; engine = |_| Ok(None) });

impl From<&Engine> for Border {
    fn from(engine: &Engine) -> Self {
        Self { engine: Some(engine.clone()), tape: None }
    }
}

impl From<&Border> for Border {
    fn from(border: &Border) -> Self {
        border.clone()
    }
}

/// A data channel of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChannelId(pub(super) u64);

saved!(struct ChannelId(a));

/// A message that arrived on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelData {
    pub(super) id: ChannelId,
    pub(super) binary: bool,
    pub(super) data: Vec<u8>,
}

saved!(struct ChannelData { id, binary, data });

/// What an offer is to bring.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) audio: bool,
    pub(super) video: bool,
    pub(super) restart: bool,
    /// Channels of ours.
    pub(super) labels: Vec<&'static str>,
}

/// An offer that was made.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Offered {
    pub(super) audio: Option<String>,
    pub(super) video: Option<String>,
    pub(super) channels: Vec<u64>,
    /// `None`: nothing needs a negotiation.
    pub(super) sdp: Option<String>,
}

/// What a candidate's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum CandidateKind {
    Udp,
    Other,
    Unreadable,
}

type Answer<T> = Result<T, PeerFault>;

/// One connection of the engine, or of a recording.
pub(crate) struct Rtc {
    live: Option<Box<Live>>,
    /// Its random numbers.
    draws: Option<Draws>,
    tape: Option<Tape>,
    number: u64,
    /// Outputs that were written down, or read, together.
    turns: VecDeque<KeptTurn>,
    live_turns: VecDeque<Answer<Turn>>,
    /// The channels whose messages begin with a header of ours.
    fragments: Vec<ChannelId>,
}

saved!(struct Rtc {
    tape, number, turns, fragments;
    live = |_| Ok(None), draws = |_| Ok(None), live_turns = |_| Ok(VecDeque::new()),
});

impl std::fmt::Debug for Rtc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rtc")
    }
}

fn over<T>() -> Answer<T> {
    Err(PeerFault::Internal("the recording has no more".into()))
}

/// Keeps what is done for a recording out of the way of those that are not recorded, in the code as well.
#[cold]
#[inline(never)]
fn recorded<T>(ask: impl FnOnce() -> T) -> T {
    ask()
}

/// Asks the engine, past the tape where there is one.
macro_rules! ask {
    ($self:ident, $op:literal, $told:expr, $fallback:expr, |$live:ident| $body:expr) => {{
        match (&$self.tape, &mut $self.live) {
            (None, Some($live)) => $body,
            (None, None) => $fallback,
            (Some(tape), live) => recorded(|| {
                let told = $told(tape);
                tape.ask(($op, $self.number), told, $fallback, || match live {
                    Some($live) => $body,
                    None => $fallback,
                })
            }),
        }
    }};
}

impl Rtc {
    pub(super) fn new(
        border: &Border,
        config: &PeerConfig,
        rng: &mut Rng,
        now: Instant,
    ) -> Answer<Self> {
        let number = border.tape.as_ref().map_or(0, Tape::number);
        let mut live = None;
        let mut draws = None;
        // Its credentials are secrets.
        let mut build = || {
            let Some(engine) = &border.engine else { return over() };
            let (rtc, its) = rng.secretly(|rng| engine.build(config, rng, now))?;
            (live, draws) = (Some(Box::new(Live::new(rtc))), Some(its));
            Ok(())
        };
        match &border.tape {
            None => build()?,
            Some(tape) => {
                let told = json!([tape.nanos(now), format!("{config:?}")]);
                tape.ask(("new", number), told, over(), build)?;
            }
        }
        Ok(Self {
            live,
            draws,
            tape: border.tape.clone(),
            number,
            turns: VecDeque::new(),
            live_turns: VecDeque::new(),
            fragments: Vec::new(),
        })
    }

    /// A datagram; `false` where it is nothing of WebRTC.
    #[inline]
    pub(super) fn receive(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) -> Answer<bool> {
        let told = |tape: &Tape| {
            let [local, remote] = [local, remote].map(|at| tape.labels(|l| l.address(at)));
            json!([tape.nanos(now), local, remote, Sketch::of(payload)])
        };
        ask!(self, "receive", told, over(), |live| live.receive(now, local, remote, payload))
    }

    #[inline]
    pub(super) fn timeout(&mut self, now: Instant) -> Answer<()> {
        ask!(self, "timeout", |tape: &Tape| json!(tape.nanos(now)), over(), |live| live
            .timeout(now))
    }

    pub(super) fn close(&mut self) -> Answer<()> {
        ask!(self, "close", |_: &Tape| Value::Null, over(), |live| live.close())
    }

    /// The next output, until it rests.
    #[inline(always)]
    pub(super) fn poll(&mut self) -> Answer<Turn> {
        match (&self.tape, &mut self.live) {
            (None, Some(live)) => live.poll(),
            (None, None) => over(),
            (Some(_), _) => self.poll_recorded(),
        }
    }

    #[cold]
    fn poll_recorded(&mut self) -> Answer<Turn> {
        let Some(tape) = self.tape.clone() else { return over() };
        if self.live.is_some() {
            if self.live_turns.is_empty() {
                self.gather(&tape);
            }
            return self.live_turns.pop_front().unwrap_or_else(over);
        }
        if self.turns.is_empty() {
            let none: Vec<KeptTurn> = Vec::new();
            self.turns = tape.ask(("poll", self.number), Value::Null, none, Vec::new).into();
            self.turns.truncate(MAX_TURNS);
        }
        match self.turns.pop_front().map(|turn| turn.revive(&tape)) {
            Some(turn) => {
                self.note(&turn);
                turn
            }
            None => over(),
        }
    }

    /// Remembers which channels have a header of ours.
    fn note(&mut self, turn: &Answer<Turn>) {
        if let Ok(Turn::ChannelOpen(id, label)) = turn
            && label == channels::FRAGMENTS
        {
            self.fragments.push(*id);
        }
    }

    /// Fetches outputs up to a rest, and writes them down.
    fn gather(&mut self, tape: &Tape) {
        let (live, gathered, fragments) =
            (&mut self.live, &mut self.live_turns, &mut self.fragments);
        let gather = || {
            while let Some(live) = live.as_mut().filter(|_| gathered.len() < MAX_TURNS) {
                let turn = live.poll();
                if let Ok(Turn::ChannelOpen(id, label)) = &turn
                    && label == channels::FRAGMENTS
                {
                    fragments.push(*id);
                }
                let last = matches!(turn, Ok(Turn::Rest(_)) | Err(_));
                gathered.push_back(turn);
                if last {
                    break;
                }
            }
            gathered
                .iter()
                .map(|turn| {
                    KeptTurn::of(turn, tape, |id| if fragments.contains(&id) { HEADER } else { 0 })
                })
                .collect::<Vec<_>>()
        };
        tape.ask(("poll", self.number), Value::Null, Vec::new(), gather);
    }

    /// Our ICE fragment.
    pub(super) fn fragment(&mut self) -> String {
        ask!(self, "fragment", |_: &Tape| Value::Null, String::new(), |live| live.fragment())
    }

    /// From here to [`Self::leave`] the thread draws from this engine's numbers.
    #[inline]
    pub(super) fn enter(&mut self) -> Option<Others> {
        self.draws.as_mut()?.enter()
    }

    #[inline]
    pub(super) fn leave(&mut self, others: Option<Others>) {
        if let Some(draws) = &mut self.draws {
            draws.leave(others);
        }
    }

    /// Seeds the engine's own source of ICE credentials, before it makes some.
    pub(super) fn reseed(&mut self, rng: &mut Rng) {
        if self.live.is_some() {
            self.draws = Some(Draws::new(rng.secretly(Rng::next_u64)));
        }
    }

    pub(super) fn offer(&mut self, wanted: &Wanted) -> Offered {
        let told = |_: &Tape| json!(format!("{wanted:?}"));
        let offered = match (&self.tape, &mut self.live) {
            (None, Some(live)) => live.offer(wanted),
            (None, None) => Offered::default(),
            (Some(tape), live) => tape.ask_as(
                ("offer", self.number),
                told(tape),
                || live.as_mut().map_or_else(Offered::default, |live| live.offer(wanted)),
                |made| {
                    let sdp = made.sdp.as_ref().map(|sdp| tape.labels(|l| l.sdp(sdp)));
                    Offered { sdp, ..made.clone() }
                },
                Some,
                Offered::default(),
            ),
        };
        if self.tape.is_some() {
            let made = wanted.labels.iter().zip(&offered.channels);
            let ours = made.filter(|(label, _)| **label == channels::FRAGMENTS);
            self.fragments.extend(ours.map(|(_, id)| ChannelId(*id)));
        }
        offered
    }

    /// Reads an offer of the other side, to be accepted; or what is wrong with it.
    pub(super) fn read_offer(&mut self, text: &str) -> Result<(), String> {
        self.read("read offer", text, Live::read_offer)
    }

    /// Reads an answer of the other side, to be accepted; or what is wrong with it.
    pub(super) fn read_answer(&mut self, text: &str) -> Result<(), String> {
        self.read("read answer", text, Live::read_answer)
    }

    fn read(
        &mut self,
        op: &str,
        text: &str,
        read: fn(&mut Live, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        let none = || Err("the recording has no more".to_owned());
        match (&self.tape, &mut self.live) {
            (None, Some(live)) => read(live, text),
            (None, None) => none(),
            (Some(tape), live) => tape.ask_as(
                (op, self.number),
                json!(tape.labels(|l| l.sdp(text))),
                || live.as_mut().map_or_else(none, |live| read(live, text)),
                // The words of the parser may cite the description.
                |read: &Result<(), String>| {
                    read.clone().map_err(|words| tape.labels(|l| l.text(&words)))
                },
                Some,
                none(),
            ),
        }
    }

    /// Accepts the offer that was read: gives the answer.
    pub(super) fn accept_offer(&mut self) -> Answer<String> {
        match (&self.tape, &mut self.live) {
            (None, Some(live)) => live.accept_offer(),
            (None, None) => over(),
            (Some(tape), live) => tape.ask_as(
                ("accept offer", self.number),
                Value::Null,
                || live.as_mut().map_or_else(over, |live| live.accept_offer()),
                |answer: &Answer<String>| {
                    answer.clone().map(|sdp| tape.labels(|labels| labels.sdp(&sdp)))
                },
                Some,
                over(),
            ),
        }
    }

    /// Accepts the answer that was read, to the latest offer.
    pub(super) fn accept_answer(&mut self) -> Answer<()> {
        ask!(self, "accept answer", |_: &Tape| Value::Null, over(), |live| live.accept_answer())
    }

    /// Whether a section is one of audio; `None` where it is none of media.
    pub(super) fn is_audio(&mut self, mid: Mid) -> Option<bool> {
        ask!(self, "is audio", |_: &Tape| json!(mid.to_string()), None, |live| live.is_audio(mid))
    }

    /// What can be sent in these sections.
    pub(super) fn sending(&mut self, audio: Option<Mid>, video: Option<Mid>) -> Sending {
        let told = |_: &Tape| json!([audio, video].map(|mid| mid.map(|mid| mid.to_string())));
        ask!(self, "sending", told, Sending::default(), |live| live.sending(audio, video))
    }

    /// Begins the SCTP association from here.
    pub(super) fn start_sctp(&mut self) {
        ask!(self, "start sctp", |_: &Tape| Value::Null, (), |live| live.start_sctp());
    }

    /// What a candidate's text is.
    pub(super) fn read_candidate(&mut self, text: &str) -> CandidateKind {
        let told = |tape: &Tape| json!(tape.labels(|labels| labels.sdp(text)));
        ask!(self, "read candidate", told, CandidateKind::Unreadable, |live| live
            .read_candidate(text))
    }

    pub(super) fn add_remote(&mut self, text: &str) {
        let told = |tape: &Tape| json!(tape.labels(|labels| labels.sdp(text)));
        ask!(self, "add remote", told, (), |live| live.add_remote(text));
    }

    /// Adds a host candidate; gives its text where it is a new one.
    pub(super) fn add_local(&mut self, address: SocketAddr) -> Option<String> {
        match (&self.tape, &mut self.live) {
            (None, Some(live)) => live.add_local(address),
            (None, None) => None,
            (Some(tape), live) => tape.ask_as(
                ("add local", self.number),
                json!(tape.labels(|labels| labels.address(address))),
                || live.as_mut().and_then(|live| live.add_local(address)),
                |line: &Option<String>| {
                    line.as_ref().map(|line| tape.labels(|labels| labels.sdp(line)))
                },
                Some,
                None,
            ),
        }
    }

    /// Gives a host candidate up, with all pairs that it is part of.
    pub(super) fn remove_local(&mut self, address: SocketAddr) {
        let told = |tape: &Tape| json!(tape.labels(|labels| labels.address(address)));
        ask!(self, "remove local", told, (), |live| live.remove_local(address));
    }

    /// Opens a channel of ours without a negotiation.
    pub(super) fn create_channel(&mut self, label: &'static str) -> ChannelId {
        let id = ask!(self, "create channel", |_: &Tape| json!(label), u64::MAX, |live| live
            .create_channel(label));
        if label == channels::FRAGMENTS && self.tape.is_some() {
            self.fragments.push(ChannelId(id));
        }
        ChannelId(id)
    }

    /// Hands a message over; `false` where it is not taken.
    pub(super) fn write_channel(
        &mut self,
        id: ChannelId,
        binary: bool,
        bytes: &[u8],
    ) -> Answer<bool> {
        let fragments = &self.fragments;
        let told = |_: &Tape| {
            let head = if fragments.contains(&id) { HEADER } else { 0 };
            json!([id.0, binary, Body::of(bytes, head)])
        };
        ask!(self, "write channel", told, over(), |live| live.write_channel(id, binary, bytes))
    }

    /// The bytes of a channel that are not acknowledged.
    pub(super) fn buffered(&mut self, id: ChannelId) -> usize {
        ask!(self, "buffered", |_: &Tape| json!(id.0), 0, |live| live.buffered(id))
    }

    /// Hands an Opus packet over; `false` where its section cannot be sent in.
    pub(super) fn write_audio(
        &mut self,
        (mid, pt): (Mid, Pt),
        captured: Instant,
        rtp: u64,
        opus: &std::sync::Arc<[u8]>,
        level: Option<i8>,
    ) -> Answer<bool> {
        let told = |tape: &Tape| {
            json!([mid.to_string(), *pt, tape.nanos(captured), rtp, opus.len(), level])
        };
        ask!(self, "write audio", told, over(), |live| live.write_audio(
            (mid, pt),
            captured,
            rtp,
            opus,
            level
        ))
    }

    /// Hands a frame of video over; `false` where its section cannot be sent in.
    pub(super) fn write_video(
        &mut self,
        (mid, pt): (Mid, Pt),
        captured: Instant,
        ticks: u64,
        data: &std::sync::Arc<[u8]>,
    ) -> Answer<bool> {
        let told =
            |tape: &Tape| json!([mid.to_string(), *pt, tape.nanos(captured), ticks, data.len()]);
        ask!(self, "write video", told, over(), |live| live.write_video(
            (mid, pt),
            captured,
            ticks,
            data
        ))
    }

    pub(super) fn request_keyframe(&mut self, mid: Mid) {
        ask!(self, "request keyframe", |_: &Tape| json!(mid.to_string()), (), |live| live
            .request_keyframe(mid));
    }

    /// Makes a message of what arrived. It is a border, since contents decide whether they are text, or JSON, and
    /// how much memory that takes, and are not written down.
    pub(super) fn message(&self, kind: Kind, data: Vec<u8>) -> Option<DataMessage> {
        let Some(tape) = &self.tape else { return finish(kind, data) };
        let contents = tape.contents();
        let told = json!([kind as u8, data.len()]);
        tape.ask_as(
            ("message", self.number),
            told,
            || finish(kind, data),
            |message| {
                message
                    .as_ref()
                    .map(|message| super::events::KeptMessage::of(message, tape, contents))
            },
            |kept: Option<super::events::KeptMessage>| Some(kept.map(|kept| kept.revive())),
            None,
        )
    }

    #[cfg(feature = "sim")]
    pub(super) fn accepts(
        &self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        payload: &[u8],
    ) -> bool {
        self.live.as_ref().is_some_and(|live| live.accepts(now, local, remote, payload))
    }

    /// The engine itself, for tests that need more of it than a peer does.
    #[cfg(test)]
    pub(super) fn engine(&mut self) -> &mut str0m::Rtc {
        &mut self.live.as_mut().unwrap().rtc
    }
}
