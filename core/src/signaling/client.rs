//! The client's machine: keeps a transport announced, and carries its messages to other peers and back.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::id::{LinkId, PeerId, RequestId};
use crate::net::{IoCommand, IoEvent};
use crate::rng::Rng;
use crate::signaling::Capabilities;
use crate::signaling::held::Held;
use crate::signaling::message::{Described, FromServer, ToPeer, Trickled, code, memory};
use crate::signaling::outbox::{Answered, Outbox, Waiting};
use crate::time::Deadline;
use crate::trace::state::saved;

/// The time from the wish for a link to the link, and from the announce to its reply (contract: 10 s).
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// A lost link is opened again after this long, doubling up to the maximum; a quarter more or less, so
/// that the clients of one server do not all come back at once.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const MAX_RETRY: Duration = Duration::from_secs(30);
/// A link that was announced for this long was a good one: the next wait is the first again.
const GOOD: Duration = Duration::from_secs(10);
/// A session key that a server gives is opaque, but not a novel.
const MAX_SESSION_KEY: usize = 512;
/// Events that wait: more than any transport leaves, and bounded by their bytes.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;
/// From this many bytes on, candidates are dropped: others can still be found without them.
const MAX_CANDIDATE_BYTES: usize = 8 * 1024 * 1024;
/// A close code by which the server says that another connection has taken our id over.
const TAKEN_OVER: u16 = 4001;

/// What a client announces, and where.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The server: `ws://` or `wss://`; the path is the room.
    pub url: String,
    /// Our id.
    pub peer_id: PeerId,
    /// What we can do.
    pub capabilities: Capabilities,
    /// What others shall know of us: at most 1 KB as JSON.
    pub user_data: Map<String, Value>,
    /// An opaque token for the server's admission control.
    pub token: Option<String>,
}

saved!(struct ClientConfig { url, peer_id, capabilities, user_data, token });

impl ClientConfig {
    /// Without user data and token.
    pub fn new(url: impl Into<String>, peer_id: PeerId, capabilities: Capabilities) -> Self {
        Self { url: url.into(), peer_id, capabilities, user_data: Map::new(), token: None }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token must not reach a log, and the URL may hold one.
        f.debug_struct("ClientConfig").field("peer_id", &self.peer_id).finish_non_exhaustive()
    }
}

/// What a client reports.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// Announced.
    Up {
        /// It was announced before.
        resumed: bool,
    },
    /// Not announced any more.
    Down {
        /// Why.
        reason: String,
        /// When it is tried again; `None`: never, the server refused us.
        retry_in: Option<Duration>,
    },
    /// A peer is there.
    Announced {
        /// Who.
        peer: PeerId,
        /// What it can do.
        capabilities: Capabilities,
        /// What it says about itself.
        user_data: Map<String, Value>,
    },
    /// An offer.
    Offer {
        /// From whom.
        from: PeerId,
        /// The name of the negotiation.
        request: RequestId,
        /// The description.
        sdp: String,
    },
    /// An answer.
    Answer {
        /// From whom.
        from: PeerId,
        /// The name of the negotiation.
        request: RequestId,
        /// The description.
        sdp: String,
    },
    /// A candidate, after its offer or answer.
    Candidate {
        /// From whom.
        from: PeerId,
        /// The name of the negotiation.
        request: RequestId,
        /// The candidate; empty: there will be no more.
        candidate: String,
        /// The media section.
        mid: Option<String>,
        /// Its index.
        index: Option<u16>,
    },
    /// A peer ended a connection or an attempt; without `request`: it left signaling.
    Disconnected {
        /// Who.
        from: PeerId,
        /// Why.
        reason: String,
        /// The name of the negotiation.
        request: Option<RequestId>,
    },
    /// The server could not forward an offer or an answer of ours.
    Refused {
        /// To whom.
        to: PeerId,
        /// The name of the negotiation.
        request: RequestId,
        /// The error's code.
        code: i64,
        /// The error's text.
        message: String,
        /// `data.reason` of the error.
        reason: Option<String>,
    },
}

saved!(enum ClientEvent {
    Up { resumed }, Down { reason, retry_in }, Announced { peer, capabilities, user_data },
    Offer { from, request, sdp }, Answer { from, request, sdp },
    Candidate { from, request, candidate, mid, index }, Disconnected { from, reason, request },
    Refused { to, request, code, message, reason },
});

/// What a client has counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCounters {
    /// Texts from the server that meant nothing.
    pub malformed: u64,
    /// Replies to nothing, errors about notifications, and offers and answers that came twice.
    pub unexpected: u64,
    /// Times that it was announced again.
    pub reconnects: u64,
    /// Messages that found no room or waited too long, in either direction.
    pub dropped: u64,
}

saved!(struct ClientCounters { malformed, unexpected, reconnects, dropped });

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Opening { link: LinkId, until: Instant },
    Announcing { link: LinkId, until: Instant, id: u64 },
    Up { link: LinkId, since: Instant },
    Waiting { until: Instant },
    Ended,
}

saved!(enum State {
    Idle, Opening { link, until }, Announcing { link, until, id }, Up { link, since },
    Waiting { until }, Ended,
});

/// The client's machine.
///
/// It keeps one link to the server, announces, and does so again after every loss with its session key.
/// Messages sent while it is not announced wait for up to 30 s. Nothing that a server says makes it fail
/// or grow.
pub struct Client {
    config: ClientConfig,
    rng: Rng,
    now: Instant,
    state: State,
    session_key: Option<String>,
    /// An announce was cut off: the server may hold our id for a key that we never saw.
    unanswered: bool,
    was_up: bool,
    failures: u32,
    next_link: u64,
    next_id: u64,
    outbox: Outbox,
    held: Held,
    commands: VecDeque<IoCommand>,
    events: VecDeque<ClientEvent>,
    event_bytes: usize,
    counters: ClientCounters,
}

saved!(struct Client {
    config, rng, now, state, session_key, unanswered, was_up, failures, next_link, next_id,
    outbox, held, commands, events, event_bytes, counters,
});

impl Client {
    /// A client that has done nothing yet.
    pub fn new(config: ClientConfig, rng: Rng, now: Instant) -> Self {
        Self {
            config,
            rng,
            now,
            state: State::Idle,
            session_key: None,
            unanswered: false,
            was_up: false,
            failures: 0,
            next_link: 0,
            next_id: 1,
            outbox: Outbox::default(),
            held: Held::default(),
            commands: VecDeque::new(),
            events: VecDeque::new(),
            event_bytes: 0,
            counters: ClientCounters::default(),
        }
    }

    /// A client that has done nothing yet, in place of one that was stopped: names of links are not used
    /// again, so that a late word about an old one is no word about a new one.
    pub(crate) fn again(&self, config: ClientConfig, rng: Rng, now: Instant) -> Self {
        Self { next_link: self.next_link, ..Self::new(config, rng, now) }
    }

    /// Opens the link and announces; from then on both are kept up.
    pub fn start(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.state == State::Idle {
            self.open();
        }
    }

    /// Leaves: the link is closed with the code that means so, and nothing is opened again.
    pub fn stop(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if let Some(link) = self.link() {
            self.commands.push_back(IoCommand::CloseLink { link, code: 1000 });
        }
        self.end();
    }

    /// Nothing is sent or heard any more: what waits for that is let go.
    fn end(&mut self) {
        self.state = State::Ended;
        self.outbox.clear();
        self.held = Held::default();
    }

    /// Whether it is announced.
    pub const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// What has been counted.
    pub const fn counters(&self) -> ClientCounters {
        let mut counters = self.counters;
        counters.dropped += self.outbox.dropped;
        counters
    }

    const fn link(&self) -> Option<LinkId> {
        match self.state {
            State::Opening { link, .. }
            | State::Announcing { link, .. }
            | State::Up { link, .. } => Some(link),
            State::Idle | State::Waiting { .. } | State::Ended => None,
        }
    }

    /// A report about a link; gives whether it was about the one in use.
    pub fn handle_io(&mut self, now: Instant, event: &IoEvent<'_>) -> bool {
        self.now = self.now.max(now);
        let current = self.link();
        match *event {
            IoEvent::LinkUp { link } if current == Some(link) => self.announce(link),
            IoEvent::LinkText { link, text } if current == Some(link) => self.receive(text),
            IoEvent::LinkDown { link, code, reason } if current == Some(link) => {
                if code == Some(TAKEN_OVER) {
                    self.ended("another connection has taken this id over");
                } else {
                    self.lost(reason);
                }
            }
            _ => return false,
        }
        true
    }

    /// Time has passed. A call before [`Client::poll_timeout`] is a no-op.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        match self.state {
            State::Waiting { until } if until <= self.now => self.open(),
            State::Opening { until, .. } if until <= self.now => {
                self.abandon("the server could not be reached within 10 s");
            }
            State::Announcing { until, .. } if until <= self.now => {
                self.abandon("the server did not answer the announce within 10 s");
            }
            _ => {}
        }
    }

    /// Sends a message to a peer; while we are not announced it waits.
    pub fn send(&mut self, now: Instant, message: ToPeer) {
        self.now = self.now.max(now);
        match self.state {
            State::Up { link, .. } => self.transmit(link, message, false),
            State::Ended => {}
            _ if matches!(message, ToPeer::StateChanged { .. }) => {}
            _ => self.outbox.keep(self.now, message),
        }
    }

    /// The next resource to see to.
    #[must_use]
    pub fn poll_command(&mut self) -> Option<IoCommand> {
        self.commands.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        let event = self.events.pop_front()?;
        self.event_bytes -= size(&event);
        Some(event)
    }

    /// When [`Client::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        match self.state {
            State::Waiting { until } => Some(Deadline::new(until, "signaling: next attempt")),
            State::Opening { until, .. } => Some(Deadline::new(until, "signaling: open")),
            State::Announcing { until, .. } => Some(Deadline::new(until, "signaling: announce")),
            State::Idle | State::Up { .. } | State::Ended => None,
        }
    }

    fn open(&mut self) {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.state = State::Opening { link, until: self.now + STEP_TIMEOUT };
        self.commands.push_back(IoCommand::OpenLink { link, url: self.config.url.clone() });
    }

    fn announce(&mut self, link: LinkId) {
        if !matches!(self.state, State::Opening { .. }) {
            return;
        }
        let id = self.take_id();
        let mut params = json!({
            "peer_id": self.config.peer_id,
            "capabilities": self.config.capabilities,
            "user_data": self.config.user_data,
        });
        if let Some(token) = &self.config.token {
            params["token"] = token.as_str().into();
        }
        if let Some(key) = &self.session_key {
            params["session_key"] = key.as_str().into();
        }
        let message =
            json!({"jsonrpc": "2.0", "method": "peer.announce", "params": params, "id": id});
        self.commands.push_back(IoCommand::SendLink { link, text: message.to_string() });
        self.state = State::Announcing { link, until: self.now + STEP_TIMEOUT, id };
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn transmit(&mut self, link: LinkId, message: ToPeer, again: bool) {
        let is_request = matches!(message, ToPeer::Offer { .. } | ToPeer::Answer { .. });
        let id = if is_request { self.take_id() } else { 0 };
        let text = message.to_json(&self.config.peer_id, id);
        self.commands.push_back(IoCommand::SendLink { link, text });
        self.outbox.sent(self.now, is_request.then_some(id), message, again);
    }

    fn receive(&mut self, text: &str) {
        match FromServer::parse(text, &self.config.peer_id) {
            Ok(message) => self.on_message(message),
            Err(meaningless) => {
                if !self.rng.follows() {
                    tracing::debug!(why = meaningless.0, "a signaling message is dropped");
                }
                self.counters.malformed += 1;
            }
        }
    }

    fn on_message(&mut self, message: FromServer) {
        match (self.state, message) {
            (State::Announcing { link, id, .. }, FromServer::Result { id: of, result })
                if of == id =>
            {
                self.announced(link, &result);
            }
            (State::Announcing { id, .. }, FromServer::Error { id: of, code, message, reason })
                if of.is_none_or(|of| of == id) =>
            {
                self.announce_refused(code, &message, reason.as_deref());
            }
            (_, FromServer::Result { id, .. }) => {
                if self.outbox.answered(id).is_none() {
                    self.counters.unexpected += 1;
                }
            }
            (_, FromServer::Error { id, code, message, reason }) => {
                let Some(Answered { to, request, again }) =
                    id.and_then(|id| self.outbox.answered(id))
                else {
                    self.counters.unexpected += 1;
                    return;
                };
                if again && code == code::ANSWER_INVALID {
                    // It had arrived: only the word of that was lost.
                    return;
                }
                self.event(ClientEvent::Refused { to, request, code, message, reason });
            }
            (State::Up { .. }, message) => self.on_notification(message),
            // Nothing is forwarded to whoever is not announced.
            _ => self.counters.unexpected += 1,
        }
    }

    fn announced(&mut self, link: LinkId, result: &Value) {
        // A lax server may leave them out, but what it says must be true.
        let differs = |name, right: &str| result.get(name).is_some_and(|value| value != right);
        if differs("status", "registered") {
            return self.abandon("the announce was answered by another status than registered");
        }
        if differs("peer_id", self.config.peer_id.as_str()) {
            return self.abandon("the announce was answered with another id than ours");
        }
        let key = result.get("session_key").and_then(Value::as_str);
        self.session_key = key.filter(|key| key.len() <= MAX_SESSION_KEY).map(str::to_owned);
        self.state = State::Up { link, since: self.now };
        self.unanswered = false;
        let resumed = std::mem::replace(&mut self.was_up, true);
        if resumed {
            self.counters.reconnects += 1;
        }
        self.event(ClientEvent::Up { resumed });
        for Waiting { message, again, .. } in self.outbox.take(self.now) {
            self.transmit(link, message, again);
        }
    }

    fn announce_refused(&mut self, error: i64, message: &str, reason: Option<&str>) {
        let text = match reason {
            Some(reason) => format!("the announce was refused: {message} ({reason})"),
            None => format!("the announce was refused: {message} ({error})"),
        };
        // Our own connection before may still hold the id. Whoever was announced once is patient.
        let taken_for_good = error == code::PEER_NOT_FOUND && !self.unanswered;
        if !self.was_up && (error == code::INVALID_PARAMS || taken_for_good) {
            if let Some(link) = self.link() {
                self.commands.push_back(IoCommand::CloseLink { link, code: 1000 });
            }
            self.ended(&text);
        } else {
            self.abandon(&text);
        }
    }

    fn on_notification(&mut self, message: FromServer) {
        match message {
            FromServer::Announced { peer, capabilities, user_data } => {
                self.event(ClientEvent::Announced { peer, capabilities, user_data });
            }
            FromServer::Offer(Described { from, request, sdp }) => {
                let Some(waited) = self.held.described(self.now, &from, &request, &sdp) else {
                    self.counters.unexpected += 1;
                    return;
                };
                self.event(ClientEvent::Offer { from, request, sdp });
                self.release(waited);
            }
            FromServer::Answer(Described { from, request, sdp }) => {
                let Some(waited) = self.held.described(self.now, &from, &request, &sdp) else {
                    self.counters.unexpected += 1;
                    return;
                };
                self.event(ClientEvent::Answer { from, request, sdp });
                self.release(waited);
            }
            FromServer::Candidate(candidate) => match self.held.candidate(self.now, candidate) {
                Ok(candidate) => self.release(candidate),
                Err(_) => self.counters.dropped += 1,
            },
            FromServer::Disconnected { from, reason, request } => {
                self.event(ClientEvent::Disconnected { from, reason, request });
            }
            FromServer::Result { .. } | FromServer::Error { .. } => {}
        }
    }

    fn release(&mut self, candidates: impl IntoIterator<Item = Trickled>) {
        for Trickled { from, request, candidate, mid, index } in candidates {
            self.event(ClientEvent::Candidate { from, request, candidate, mid, index });
        }
    }

    fn event(&mut self, event: ClientEvent) {
        let size = size(&event);
        let limit = match event {
            ClientEvent::Candidate { .. } => MAX_CANDIDATE_BYTES,
            _ => MAX_EVENT_BYTES,
        };
        if self.event_bytes + size > limit {
            self.counters.dropped += 1;
            return;
        }
        self.event_bytes += size;
        self.events.push_back(event);
    }

    /// Closes a link that does not work. Any code but 1000 and 1001 keeps our id reserved.
    fn abandon(&mut self, reason: &str) {
        if let Some(link) = self.link() {
            self.commands.push_back(IoCommand::CloseLink { link, code: 4000 });
        }
        self.lost(reason);
    }

    fn lost(&mut self, reason: &str) {
        self.unanswered |= matches!(self.state, State::Announcing { .. });
        if matches!(self.state, State::Up { since, .. } if self.now >= since + GOOD) {
            self.failures = 0;
        }
        self.outbox.link_lost();
        let doubled = (FIRST_RETRY * 2u32.saturating_pow(self.failures.min(10))).min(MAX_RETRY);
        let delay = doubled.mul_f64(0.75 + 0.5 * self.rng.unit()).min(MAX_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Waiting { until: self.now + delay };
        self.event(ClientEvent::Down { reason: reason.to_owned(), retry_in: Some(delay) });
    }

    /// The server does not want us: nothing is tried again.
    fn ended(&mut self, reason: &str) {
        self.end();
        self.event(ClientEvent::Down { reason: reason.to_owned(), retry_in: None });
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the session key nor messages.
        f.debug_struct("Client").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What an event takes in memory, about.
fn size(event: &ClientEvent) -> usize {
    let inside = match event {
        ClientEvent::Offer { sdp, .. } | ClientEvent::Answer { sdp, .. } => sdp.len(),
        ClientEvent::Candidate { candidate, .. } => candidate.len(),
        ClientEvent::Announced { user_data, .. } => memory(user_data),
        ClientEvent::Refused { message, reason, .. } => {
            message.len() + reason.as_ref().map_or(0, String::len)
        }
        ClientEvent::Down { reason, .. } => reason.len(),
        ClientEvent::Disconnected { .. } | ClientEvent::Up { .. } => 0,
    };
    std::mem::size_of::<ClientEvent>() + inside
}
