//! A server's machine with its links in virtual time, and what each of them was sent.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::id::{LinkId, PeerId};
use crate::rng::Seed;
use crate::signaling::{Server, ServerCommand, ServerConfig, Ticket};

/// The smallest description that says anything.
pub(super) const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
/// A candidate of a real peer.
pub(super) const CANDIDATE: &str = "candidate:1 1 udp 2113937151 192.0.2.1 50000 typ host";
/// 2026-11-24T05:00:00Z.
pub(super) const UNIX: Duration = Duration::from_secs(1_795_496_400);

/// The embedder's question about one announce.
pub(super) struct Asked {
    pub(super) ticket: Ticket,
    pub(super) room: String,
    pub(super) peer: PeerId,
    pub(super) token: Option<String>,
}

pub(super) struct Desk {
    pub(super) server: Server,
    pub(super) now: Instant,
    /// The texts that each link was sent, until they are taken.
    pub(super) texts: BTreeMap<LinkId, Vec<String>>,
    /// The code with which the server closed a link.
    pub(super) closed: BTreeMap<LinkId, u16>,
    pub(super) asked: Vec<Asked>,
    /// Links that answer no ping.
    pub(super) mute: Vec<LinkId>,
    /// Links whose socket takes nothing.
    pub(super) stuck: Vec<LinkId>,
    pub(super) pings: usize,
    next_link: u64,
    next_id: u64,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    pub(super) fn with(config: ServerConfig) -> Self {
        let now = Instant::now();
        Self {
            server: Server::new(config, Seed::from_number(1), now, UNIX).unwrap(),
            now,
            texts: BTreeMap::new(),
            closed: BTreeMap::new(),
            asked: Vec::new(),
            mute: Vec::new(),
            stuck: Vec::new(),
            pings: 0,
            next_link: 0,
            next_id: 0,
        }
    }

    pub(super) fn open(&mut self, room: &str) -> LinkId {
        self.open_from(room, IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    pub(super) fn open_from(&mut self, room: &str, address: IpAddr) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.server.handle_open(self.now, link, room, address);
        self.drain();
        link
    }

    pub(super) fn text(&mut self, link: LinkId, text: &str) {
        self.server.handle_text(self.now, link, text);
        self.drain();
    }

    pub(super) fn close(&mut self, link: LinkId, code: Option<u16>) {
        self.server.handle_closed(self.now, link, code);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(command) = self.server.poll_command() {
            match command {
                ServerCommand::Send { link, text } => {
                    assert!(!self.closed.contains_key(&link), "a text after the close");
                    if !self.stuck.contains(&link) {
                        self.server.handle_sent(self.now, link, text.len());
                    }
                    self.texts.entry(link).or_default().push(text.to_string());
                }
                ServerCommand::Ping { link } => {
                    self.pings += 1;
                    if !self.mute.contains(&link) {
                        self.server.handle_pong(self.now, link);
                    }
                }
                ServerCommand::Close { link, code, reason } => {
                    assert!(!reason.is_empty());
                    assert_eq!(self.closed.insert(link, code), None, "closed twice");
                    self.server.handle_closed(self.now, link, Some(code));
                }
                ServerCommand::Authorize { ticket, room, peer_id, token } => {
                    let room = room.to_string();
                    self.asked.push(Asked { ticket, room, peer: peer_id, token });
                }
            }
        }
    }

    /// Lets time pass, from deadline to deadline.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut rounds = 0;
        while let Some(deadline) = self.server.poll_timeout()
            && deadline.at <= end
        {
            rounds += 1;
            assert!(rounds < 1_000_000, "the timer {} spins", deadline.why);
            self.now = self.now.max(deadline.at);
            self.server.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
        self.server.handle_timeout(end);
        self.drain();
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// What a link was sent since the last call.
    pub(super) fn take(&mut self, link: LinkId) -> Vec<Value> {
        let texts = self.texts.remove(&link).unwrap_or_default();
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// What a link was sent, as (method, params) of its notifications.
    pub(super) fn notes(&mut self, link: LinkId) -> Vec<(String, Value)> {
        let messages = self.take(link).into_iter();
        let notes = messages.filter_map(|mut message| {
            let method = message["method"].as_str()?.to_owned();
            assert_eq!(message["jsonrpc"], "2.0");
            assert!(message.get("id").is_none(), "a notification has no id");
            Some((method, message["params"].take()))
        });
        notes.collect()
    }

    pub(super) fn forget(&mut self) {
        self.texts.clear();
    }

    pub(super) fn notify(&mut self, link: LinkId, method: &str, params: &Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.text(link, &message.to_string());
    }

    /// Sends a request and takes its reply, which must be the only one; notifications stay.
    pub(super) fn request(&mut self, link: LinkId, method: &str, params: &Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id});
        self.text(link, &message.to_string());
        let texts = self.texts.entry(link).or_default();
        let is_reply = |text: &String| serde_json::from_str::<Value>(text).unwrap()["id"] == id;
        let (replies, rest): (Vec<_>, Vec<_>) =
            std::mem::take(texts).into_iter().partition(is_reply);
        *texts = rest;
        assert_eq!(replies.len(), 1, "{method}: one reply");
        let reply: Value = serde_json::from_str(&replies[0]).unwrap();
        assert_eq!(reply["jsonrpc"], "2.0");
        assert_ne!(reply.get("result").is_some(), reply.get("error").is_some());
        reply
    }

    pub(super) fn announce(&mut self, link: LinkId, id: &str, key: Option<&str>) -> Value {
        let mut params = json!({"peer_id": id, "capabilities": ["audio", "data"]});
        if let Some(key) = key {
            params["session_key"] = key.into();
        }
        self.request(link, "peer.announce", &params)
    }

    /// Opens a link and announces on it: the link and its session key. Everybody's texts are taken.
    pub(super) fn join(&mut self, room: &str, id: &str) -> (LinkId, String) {
        let link = self.open(room);
        let key = key_of(&self.announce(link, id, None));
        self.forget();
        (link, key)
    }

    /// Opens a link and announces with a key; the texts of the others stay.
    pub(super) fn resume(&mut self, room: &str, id: &str, key: &str) -> (LinkId, String) {
        let link = self.open(room);
        let key = key_of(&self.announce(link, id, Some(key)));
        (link, key)
    }

    pub(super) fn offer(&mut self, link: LinkId, from: &str, to: &str, request: &str) -> Value {
        self.request(link, "peer.offer", &described(from, to, request))
    }

    pub(super) fn answer(&mut self, link: LinkId, from: &str, to: &str, request: &str) -> Value {
        self.request(link, "peer.answer", &described(from, to, request))
    }
}

/// The session key of an announce that succeeded.
pub(super) fn key_of(reply: &Value) -> String {
    assert_eq!(reply["result"]["status"], "registered", "{reply}");
    reply["result"]["session_key"].as_str().unwrap().to_owned()
}

/// Asserts an error's code and gives its data.
#[track_caller]
pub(super) fn error(reply: &Value, code: i64) -> Value {
    assert_eq!(reply["error"]["code"], code, "{reply}");
    assert!(reply["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{reply}");
    reply["error"]["data"].clone()
}

/// The params of an offer or an answer.
pub(super) fn described(from: &str, to: &str, request: &str) -> Value {
    json!({
        "from": from,
        "to": to,
        "sdp": SDP,
        "can_trickle_ice_candidates": true,
        "request_id": request,
    })
}

/// The params of a candidate.
pub(super) fn trickled(from: &str, to: &str, request: &str) -> Value {
    json!({
        "from": from,
        "to": to,
        "candidate": CANDIDATE,
        "sdp_m_line_index": 0,
        "sdp_mid": "0",
        "request_id": request,
    })
}
