//! Offers, answers and candidates (RFC 9429, RFC 8838), and what happens when both sides offer.

use std::net::SocketAddr;
use std::time::Instant;

use super::rtc::{CandidateKind, ChannelId, Offered as Made, Rtc, Wanted};
use super::sdp::{self, Description};
use super::{Outbound, Peer, PeerConfig, Signal, State};
use crate::error::PeerFault;
use crate::id::RequestId;
use crate::trace::state::saved;

/// The most remote candidates of one negotiation: what real peers send is below 20, and each costs
/// checks with every address of ours.
const MAX_CANDIDATES: usize = 64;

/// The most datagrams that wait for an answer: an association begins with two.
const MAX_HELD: usize = 16;

/// The state of offer and answer, and what is still wished for.
pub(super) struct Negotiation {
    /// Our offer that has no answer.
    offered: Option<Offered>,
    /// The latest description of the other side.
    remote: Option<Description>,
    /// The negotiation that the remote description belongs to: whose candidates may be applied.
    current: Option<RequestId>,
    /// Candidates of our offer that overtook its answer.
    early: Vec<String>,
    /// Datagrams that overtook the answer which says how to take them.
    held: Vec<Outbound>,
    pub(super) candidates: usize,
    pub(super) unresolved: usize,
    mid: Option<String>,
    /// The first offer was ours: we are the controlling side (RFC 8445, section 6.1.1).
    first: bool,
    /// An offer of ours has gone out, whatever became of it.
    has_offered: bool,
    wishes: Wishes,
}

saved!(struct Negotiation {
    offered, remote, current, early, held, candidates, unresolved, mid, first, has_offered,
    wishes,
});

struct Offered {
    request: RequestId,
    wishes: Wishes,
    /// It brings the first data section, to a connection that stands.
    first_data: bool,
}

saved!(struct Offered { request, wishes, first_data });

/// What the next offer should bring. A wish is forgotten only when an answer or an offer of the
/// other side has settled it: a rollback loses none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wishes {
    audio: bool,
    video: bool,
    data: bool,
    restart: bool,
}

saved!(struct Wishes { audio, video, data, restart });

impl Wishes {
    fn any(self) -> bool {
        self.audio || self.video || self.data || self.restart
    }

    fn without(self, done: Self) -> Self {
        Self {
            audio: self.audio && !done.audio,
            video: self.video && !done.video,
            data: self.data && !done.data,
            restart: self.restart && !done.restart,
        }
    }
}

impl Negotiation {
    pub(super) fn new(config: &PeerConfig) -> Self {
        Self {
            offered: None,
            remote: None,
            current: None,
            early: Vec::new(),
            held: Vec::new(),
            candidates: 0,
            unresolved: 0,
            mid: None,
            first: false,
            has_offered: false,
            wishes: Wishes {
                audio: config.audio,
                video: config.video,
                data: config.data,
                restart: false,
            },
        }
    }

    /// Whether there is a negotiation that can carry candidates.
    pub(super) fn trickles(&self) -> bool {
        self.request().is_some()
    }

    /// The negotiation under way, or else the latest one.
    pub(super) fn request(&self) -> Option<&RequestId> {
        self.offered.as_ref().map(|offered| &offered.request).or(self.current.as_ref())
    }

    /// Whether an offer should go out now: something is wished, nothing is under way, and the
    /// first exchange is over (who begins that one is decided above).
    pub(super) fn pending_wish(&self) -> bool {
        self.offered.is_none() && self.remote.is_some() && self.wishes.any()
    }

    /// Whether the connection began with an offer of ours.
    pub(super) fn offered_first(&self) -> bool {
        self.first
    }

    pub(super) fn remote(&self) -> Option<&Description> {
        self.remote.as_ref()
    }

    /// Keeps what comes over DTLS while the first data section of a live connection has no answer. It is
    /// the SCTP association of whoever has already answered: the engine would take it with the default
    /// limit of message sizes in place of the answer's (docs/upstream.md).
    #[inline]
    pub(super) fn holds(&mut self, local: SocketAddr, remote: SocketAddr, payload: &[u8]) -> bool {
        let awaited = self.offered.as_ref().is_some_and(|offered| offered.first_data);
        awaited && self.hold(local, remote, payload)
    }

    #[cold]
    fn hold(&mut self, local: SocketAddr, remote: SocketAddr, payload: &[u8]) -> bool {
        // RFC 7983: the first bytes of DTLS.
        let is_dtls = payload.first().is_some_and(|first| (20..=63).contains(first));
        let holds = is_dtls && self.held.len() < MAX_HELD;
        if holds {
            self.held.push(Outbound { local, remote, payload: payload.into() });
        }
        holds
    }

    pub(super) fn wish_data(&mut self) {
        self.wishes.data = true;
    }

    pub(super) fn tried(&self, locals: &[SocketAddr]) -> String {
        if self.remote.is_none() {
            return "no description of the other side arrived".into();
        }
        format!(
            "{} local and {} remote candidates were tried ({} names could not be resolved)",
            locals.len(),
            self.candidates,
            self.unresolved
        )
    }
}

impl Peer {
    /// Whether what is still wished is to be offered now.
    ///
    /// To a foreign peer only when the connection stands, and the time is over in which it opens its own:
    /// werift takes an offer for a change of ICE's roles, by which it decides who begins the SCTP association.
    pub(super) fn wish_is_due(&self) -> bool {
        let ready = self.config.remote_is_rtcmesh
            || (self.state != State::Connecting && !self.channels.awaits_offerer());
        ready && self.negotiation.pending_wish()
    }

    /// Wishes for a video section, beside what there is.
    pub(crate) fn wish_video(&mut self, now: Instant) {
        if self.media.video.is_none() {
            self.negotiation.wishes.video = true;
            if self.wish_is_due() {
                self.negotiate(now);
            }
        }
    }

    /// Wishes for an ICE restart (RFC 8445, section 9): new credentials, new checks.
    pub(crate) fn restart_ice(&mut self, now: Instant) {
        self.negotiation.wishes.restart = true;
        if self.wish_is_due() {
            self.negotiate(now);
        }
    }

    /// Whether a description belongs to this very connection: another one is of a peer that has begun anew.
    pub(crate) fn continues(&self, sdp: &str) -> bool {
        let known = self.negotiation.remote.as_ref();
        known.is_none_or(|known| sdp::scan(sdp).continues(known))
    }

    /// Makes an offer of all that is wished and not there yet.
    pub(crate) fn negotiate(&mut self, now: Instant) {
        if self.negotiation.offered.is_some() || self.state == State::Closed {
            return;
        }
        let wishes = self.negotiation.wishes;
        if wishes.restart {
            // The new credentials are the engine's own: from our generator all the same.
            self.rtc.reseed(&mut self.rng);
        }
        let lines = self.locals_for_description(now);
        let offer = self.drive(now, |peer| Ok(peer.apply(wishes)));
        self.described = true;
        match offer {
            Some(Some(sdp)) => {
                let Some(request) = RequestId::new(self.rng.hex(16)) else { return };
                self.negotiation.mid = sdp::first_mid(&sdp);
                self.negotiation.early.clear();
                self.negotiation.has_offered = true;
                let first_data =
                    wishes.data && self.has_description() && !self.channels.has_section();
                self.negotiation.offered =
                    Some(Offered { request: request.clone(), wishes, first_data });
                self.out.signals.push_back(Signal::Offer { request, sdp });
                self.trickle_all(now, lines);
            }
            // Nothing needs a negotiation: what was wished is there.
            Some(None) => self.negotiation.wishes = Wishes::default(),
            None => {}
        }
    }

    fn apply(&mut self, wishes: Wishes) -> Option<String> {
        let labels = if wishes.data { self.channels.labels_to_open() } else { Vec::new() };
        let wanted = Wanted {
            audio: wishes.audio && self.media.audio.is_none(),
            video: wishes.video && self.media.video.is_none(),
            restart: wishes.restart,
            labels,
        };
        let Made { audio, video, channels, sdp } = self.rtc.offer(&wanted);
        for (label, id) in wanted.labels.iter().zip(channels) {
            self.channels.opened(label, ChannelId(id));
        }
        let mid = |text: Option<String>| text.map(|text| text.as_str().into());
        self.media.offered(mid(audio), mid(video));
        sdp
    }

    /// An offer of the other side.
    pub(crate) fn handle_offer(&mut self, now: Instant, request: &RequestId, text: &str) {
        if self.state == State::Closed {
            return;
        }
        if let Err(reason) = self.rtc.read_offer(text) {
            return self.refuse_description("offer", &reason);
        }
        if self.negotiation.offered.is_some() {
            if self.config.impolite {
                // Ours stands: the other side drops its own and answers (RFC 9429's rollback).
                self.figures.glare += 1;
                return;
            }
            self.roll_back(now);
            // It may be another engine by now.
            if let Err(reason) = self.rtc.read_offer(text) {
                return self.refuse_description("offer", &reason);
            }
        }
        if self.negotiation.remote.is_none() && !self.negotiation.has_offered {
            self.accept_media_of_foreign_offer();
        }
        self.initiate_sctp(now, text);
        let lines = self.locals_for_description(now);
        let Some(sdp) = self.drive(now, |peer| peer.rtc.accept_offer()) else {
            return;
        };
        self.negotiation.mid = sdp::first_mid(&sdp);
        self.media.answering(&mut self.rtc, &sdp);
        self.take_description(request, text);
        self.negotiation.wishes.restart = false;
        self.settle();
        self.out.signals.push_back(Signal::Answer { request: request.clone(), sdp });
        self.trickle_all(now, lines);
    }

    /// Which media there are is said by the foreign peer that begins: it may be one that takes no second
    /// offer. What was offered from here is still wished, and so is what the application asks for later.
    fn accept_media_of_foreign_offer(&mut self) {
        if !self.config.remote_is_rtcmesh {
            self.negotiation.wishes.audio = false;
            self.negotiation.wishes.video = false;
        }
    }

    /// Drops our offer. Before the first exchange the connection begins anew, so that nothing of
    /// the dropped offer is left in the engine.
    fn roll_back(&mut self, now: Instant) {
        self.figures.glare += 1;
        self.negotiation.offered = None;
        self.media.rolled_back();
        self.channels.rolled_back();
        self.receive_held(now);
        if self.negotiation.remote.is_none() {
            match Rtc::new(&self.border, &self.config, &mut self.rng, now) {
                Ok(rtc) => {
                    self.rtc = rtc;
                    self.next = None;
                }
                Err(fault) => self.fail(fault),
            }
        }
    }

    /// Our offer will get no answer (the server refused it, or time is up): a live connection goes on
    /// without what it would have brought. Gives whether it was the offer under way.
    pub(crate) fn withdraw(&mut self, now: Instant, request: &RequestId) -> bool {
        let Some(offered) = self.negotiation.offered.take_if(|o| o.request == *request) else {
            return false;
        };
        self.media.rolled_back();
        self.channels.rolled_back();
        let left = &mut self.negotiation.wishes;
        *left = left.without(offered.wishes);
        self.receive_held(now);
        true
    }

    /// The answer to our offer; any other is counted and dropped.
    pub(crate) fn handle_answer(&mut self, now: Instant, request: &RequestId, text: &str) {
        let Some(offered) = self.negotiation.offered.take_if(|o| o.request == *request) else {
            self.figures.stale += 1;
            return;
        };
        if let Err(reason) = self.rtc.read_answer(text) {
            self.negotiation.offered = Some(offered);
            return self.refuse_description("answer", &reason);
        }
        let Offered { wishes, .. } = offered;
        self.negotiation.first |= self.negotiation.remote.is_none();
        self.initiate_sctp(now, text);
        let accepted = self.drive(now, |peer| peer.rtc.accept_answer());
        if accepted.is_none() {
            return;
        }
        self.take_description(request, text);
        let left = &mut self.negotiation.wishes;
        // What was offered is settled, even where the other side refused it.
        *left = left.without(wishes);
        self.media.answered();
        self.settle();
        self.receive_held(now);
        for candidate in std::mem::take(&mut self.negotiation.early) {
            self.add_remote(now, &candidate);
        }
    }

    /// Begins the SCTP association where the other side may wait for it.
    ///
    /// Either side may (RFC 8841, section 10.2), and most stacks begin on both. The engine begins as DTLS
    /// client alone, some stacks (werift) as ICE's controlling side alone: with an offer of ours and an
    /// active answer both would wait for ever. Begun this way, the engine never learns the other side's
    /// limit and keeps to the default one, so it is done only where that loses nothing (docs/upstream.md).
    fn initiate_sctp(&mut self, now: Instant, remote: &str) {
        let description = sdp::scan(remote);
        let small = (1..=sdp::DEFAULT_MAX_MESSAGE_SIZE).contains(&description.max_message_size);
        let waits = self.negotiation.first && description.application && small;
        if waits && !self.config.remote_is_rtcmesh && !self.channels.has_section() {
            self.drive(now, |peer| {
                peer.rtc.start_sctp();
                Ok(())
            });
        }
    }

    fn receive_held(&mut self, now: Instant) {
        for Outbound { local, remote, payload } in std::mem::take(&mut self.negotiation.held) {
            self.receive(now, local, remote, &payload);
        }
    }

    /// A wrong description ends a connection that is still being made; a live one goes on without it.
    fn refuse_description(&mut self, what: &str, reason: &str) {
        self.figures.malformed += 1;
        if self.state == State::Connecting {
            self.fail(PeerFault::Misbehaved(format!("its {what}: {reason}")));
        }
    }

    fn take_description(&mut self, request: &RequestId, sdp: &str) {
        self.described = true;
        let description = sdp::scan(sdp);
        self.channels.described(&description);
        let described = description.candidates;
        self.negotiation.remote = Some(description);
        if self.negotiation.current.as_ref() != Some(request) {
            self.negotiation.current = Some(request.clone());
            (self.negotiation.candidates, self.negotiation.unresolved) = described;
        }
    }

    /// After an exchange: finds out what can be sent now, and forgets the wishes that it fulfilled.
    fn settle(&mut self) {
        self.media.settle(&mut self.rtc);
        let wishes = &mut self.negotiation.wishes;
        wishes.audio &= self.media.audio.is_none();
        wishes.video &= self.media.video.is_none();
        // Channels within a section that is there need no negotiation.
        wishes.data &= !self.channels.has_section();
        if self.state == State::Connecting {
            // An answerer waits for the offerer to open its channels, and offers a section of its
            // own only where none has come: both are the timer of missing channels.
            wishes.data = false;
        }
    }

    /// A candidate of the other side; the empty one ends them (RFC 8838, section 13).
    pub(crate) fn handle_candidate(&mut self, now: Instant, request: &RequestId, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.negotiation.offered.as_ref().is_some_and(|offered| offered.request == *request) {
            if self.negotiation.early.len() < MAX_CANDIDATES {
                self.negotiation.early.push(text.to_owned());
            } else {
                self.figures.malformed += 1;
            }
        } else if self.negotiation.current.as_ref() == Some(request) {
            self.add_remote(now, text);
        } else {
            self.figures.stale += 1;
        }
    }

    fn add_remote(&mut self, now: Instant, text: &str) {
        if self.negotiation.candidates >= MAX_CANDIDATES {
            self.figures.malformed += 1;
            return;
        }
        let text = text.strip_prefix("a=").unwrap_or(text);
        match self.rtc.read_candidate(text) {
            CandidateKind::Udp => {
                self.negotiation.candidates += 1;
                self.drive(now, |peer| {
                    peer.rtc.add_remote(text);
                    Ok(())
                });
            }
            // Transports that are not spoken here are no error.
            CandidateKind::Other => {}
            CandidateKind::Unreadable if sdp::is_name(text) => self.negotiation.unresolved += 1,
            CandidateKind::Unreadable => self.figures.malformed += 1,
        }
    }

    /// Makes candidates of what is known, so that the description has them too: a foreign peer may take none
    /// that come later (RFC 8838, section 4.3, half trickle). They are told all the same, for the others.
    fn locals_for_description(&mut self, now: Instant) -> Vec<String> {
        if self.config.remote_is_rtcmesh {
            return Vec::new();
        }
        let locals = self.locals.clone();
        self.add_locals(now, &locals)
    }

    fn trickle_all(&mut self, now: Instant, lines: Vec<String>) {
        for line in lines {
            self.signal_candidate(line);
        }
        let locals = self.locals.clone();
        self.trickle(now, &locals);
        self.signal_candidate(String::new());
    }

    /// Adds host candidates and tells the other side of them.
    pub(super) fn trickle(&mut self, now: Instant, locals: &[SocketAddr]) {
        for line in self.add_locals(now, locals) {
            self.signal_candidate(line);
        }
    }

    /// Adds host candidates, and gives those that are new.
    fn add_locals(&mut self, now: Instant, locals: &[SocketAddr]) -> Vec<String> {
        let mut lines = Vec::new();
        for address in locals {
            let line = self.drive(now, |peer| Ok(peer.rtc.add_local(*address)));
            lines.extend(line.flatten());
        }
        lines
    }

    fn signal_candidate(&mut self, candidate: String) {
        let Some(request) = self.negotiation.request().cloned() else { return };
        let mid = self.negotiation.mid.clone();
        self.out.signals.push_back(Signal::Candidate { request, candidate, mid });
    }
}
