//! Whatever comes in, through signaling: texts, and histories of calls of both machines, read from bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::hostile::Bytes;
use crate::id::{LinkId, PeerId, RequestId};
use crate::net::{IoCommand, IoEvent};
use crate::rng::{Rng, Seed};
use crate::signaling::desk::{CANDIDATE, Desk, SDP, described, trickled};
use crate::signaling::message::{FromServer, PeerConnectionState};
use crate::signaling::{
    Capabilities, Client, ClientConfig, DisconnectReason, ServerConfig, ToPeer, Verdict,
};

const ROOMS: [&str; 2] = ["/one", "/two"];
const IDS: [&str; 3] = ["a", "b", "c"];
const REQUESTS: [&str; 3] = ["r", "s", "t"];

fn us() -> PeerId {
    PeerId::new("me").expect("a valid id")
}

/// A text, as the server reads it and as a client does.
///
/// # Panics
///
/// Where a promise is broken, as of the others here: that is a mistake of the library, not of the bytes.
#[doc(hidden)]
pub fn hostile_message(start: Instant, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut desk = Desk::at(start, ServerConfig::default());
    let link = desk.open("/");
    desk.text(link, &text);
    let replies = desk.texts.remove(&link).unwrap_or_default();
    assert!(replies.len() <= 1, "one message, {} replies", replies.len());
    for reply in replies {
        let reply: Value = serde_json::from_str(&reply).expect("the server sends JSON");
        assert!(reply["jsonrpc"] == "2.0" && reply.get("id").is_some(), "{reply}");
        assert_ne!(reply.get("result").is_some(), reply.get("error").is_some(), "{reply}");
    }
    assert!(desk.closed.is_empty(), "for one message");
    if let Ok(FromServer::Error { message, .. }) = FromServer::parse(&text, &us()) {
        assert!(message.chars().count() <= 256, "a novel");
    }
}

/// Calls of a server by some links, beside a model of it. Gives what it said, for comparisons.
#[doc(hidden)]
pub fn hostile_server(start: Instant, bytes: &[u8]) -> Vec<String> {
    let mut bytes = Bytes(bytes);
    let mut model = Model::new(start, bytes.one_in(8));
    for room in [0, 0, 0, 1] {
        model.open(ROOMS[room]);
    }
    for (link, id) in IDS.iter().enumerate() {
        model.announce(link, id, 15);
        model.check();
    }
    let mut said = Vec::new();
    while !bytes.is_empty() {
        model.step(&mut bytes);
        model.check();
        said.push(format!("{:?} {:?}", model.keys, model.desk.closed));
    }
    // When all have left, nothing is left of them.
    for (link, _) in model.links.clone() {
        model.desk.close(link, Some(1000));
    }
    model.desk.pass(Duration::from_secs(30));
    let metrics = model.desk.server.metrics();
    assert_eq!((metrics.rooms, metrics.peers, metrics.connections), (0, 0, 0));
    assert_eq!(model.desk.server.timers_waiting(), 0);
    said
}

/// Beside the server: who is announced where, by the replies alone, and what was sent by whom.
struct Model {
    desk: Desk,
    links: Vec<(LinkId, &'static str)>,
    announced: BTreeMap<LinkId, String>,
    keys: Vec<String>,
    /// By mark: room and id of the sender, and the receiver named.
    sent: BTreeMap<u64, (&'static str, String, String)>,
    next_id: u64,
}

impl Model {
    fn new(start: Instant, authorize: bool) -> Self {
        let config = ServerConfig {
            queue_bytes: 64 * 1024,
            announces_per_second: 1_000,
            authorize,
            ..ServerConfig::default()
        };
        Self {
            desk: Desk::at(start, config),
            links: Vec::new(),
            announced: BTreeMap::new(),
            keys: Vec::new(),
            sent: BTreeMap::new(),
            next_id: 0,
        }
    }

    fn open(&mut self, room: &'static str) {
        let link = self.desk.open(room);
        self.links.push((link, room));
    }

    fn send(&mut self, link: usize, method: &str, mut params: Value) {
        let (link, room) = self.links[link % self.links.len()];
        self.next_id += 1;
        params["mark"] = self.next_id.into();
        if let Some(id) = self.announced.get(&link) {
            let to = params["to"].as_str().unwrap_or_default().to_owned();
            self.sent.insert(self.next_id, (room, id.clone(), to));
        }
        let id = self.next_id;
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id});
        self.desk.text(link, &message.to_string());
    }

    /// The newest keys first: they are the likely ones.
    fn announce(&mut self, link: usize, id: &str, key: usize) {
        let mut params = json!({"peer_id": id, "capabilities": ["data"]});
        if let Some(key) = self.keys.iter().rev().nth(key) {
            params["session_key"] = key.as_str().into();
        }
        self.send(link, "peer.announce", params);
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.byte() % 26;
        let nth = bytes.below(8);
        let (link, _) = self.links[nth % self.links.len()];
        match what {
            0 | 1 => self.open(bytes.one_of(&ROOMS)),
            2..=5 => {
                let id = bytes.one_of(&IDS);
                self.announce(nth, id, bytes.below(16));
            }
            6..=11 => {
                let method = bytes.one_of(&["peer.offer", "peer.answer"]);
                let (from, to) = (bytes.one_of(&IDS), bytes.one_of(&IDS));
                let params = described(from, to, bytes.one_of(&REQUESTS));
                self.send(nth, method, params.clone());
                self.send(nth, method, params);
            }
            12..=14 => {
                let (from, to) = (bytes.one_of(&IDS), bytes.one_of(&IDS));
                let params = trickled(from, to, bytes.one_of(&REQUESTS));
                self.send(nth, "peer.ice_candidate", params);
            }
            15 | 16 => {
                let (from, to) = (bytes.one_of(&IDS), bytes.one_of(&IDS));
                let mut params = json!({"from": from, "to": to, "reason": "error"});
                if bytes.one_in(2) {
                    params["request_id"] = bytes.one_of(&REQUESTS).into();
                }
                self.send(nth, "peer.disconnect", params);
            }
            17 => {
                let text = bytes.text();
                self.desk.text(link, &text);
            }
            18 => self.mangled(link, bytes),
            19 => {
                self.desk.server.handle_binary(self.desk.now, link);
                self.desk.drain();
            }
            20 | 21 => {
                let code = bytes.one_of(&[None, Some(1000), Some(1001), Some(4000)]);
                self.desk.close(link, code);
                self.announced.remove(&link);
            }
            22 => self.desk.stuck.push(link),
            23 => self.verdict(bytes),
            _ => self.desk.pass(Duration::from_millis(u64::from(bytes.short()) % 12_000)),
        }
    }

    /// A message in which one letter is another.
    fn mangled(&mut self, link: LinkId, bytes: &mut Bytes<'_>) {
        let method = bytes.one_of(&["peer.answer", "peer.announce"]);
        let params = described("a", "b", "r");
        let text = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 0});
        let mut chars: Vec<char> = text.to_string().chars().collect();
        let at = bytes.below(chars.len());
        let with = u32::from(bytes.short());
        chars[at] = char::from_u32(with).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.desk.text(link, &chars.into_iter().collect::<String>());
    }

    /// The embedder answers a question, maybe one of long ago.
    fn verdict(&mut self, bytes: &mut Bytes<'_>) {
        if self.desk.asked.is_empty() {
            return;
        }
        let place = bytes.below(self.desk.asked.len());
        let asked = self.desk.asked.swap_remove(place);
        assert!(ROOMS.contains(&asked.room.as_str()) && IDS.contains(&asked.peer.as_str()));
        assert_eq!(asked.token, None);
        let refuse = || Verdict::Refuse("no".into());
        let verdict = if bytes.one_in(4) { refuse() } else { Verdict::Accept };
        self.desk.server.authorize(self.desk.now, asked.ticket, verdict);
        self.desk.drain();
    }

    /// Checks everything that was sent since the last call.
    fn check(&mut self) {
        let mut fresh = Vec::new();
        for (link, texts) in std::mem::take(&mut self.desk.texts) {
            for text in texts {
                let message: Value = serde_json::from_str(&text).expect("the server sends JSON");
                assert_eq!(message["jsonrpc"], "2.0");
                let result = &message["result"];
                if result["status"] == "registered" {
                    let text_of = |name: &str| result[name].as_str().expect("a text").to_owned();
                    self.announced.insert(link, text_of("peer_id"));
                    let key = text_of("session_key");
                    assert_eq!(text.matches(key.as_str()).count(), 1);
                    if !self.keys.contains(&key) {
                        fresh.push(key);
                    }
                } else {
                    for key in self.keys.iter().chain(&fresh) {
                        assert!(!text.contains(key.as_str()), "a key in {text}");
                    }
                }
                self.check_forwarded(link, &message);
            }
        }
        self.keys.extend(fresh);
        for link in self.desk.closed.keys() {
            self.announced.remove(link);
        }
    }

    fn check_forwarded(&self, link: LinkId, message: &Value) {
        let Some(method) = message["method"].as_str() else { return };
        let room = self.links.iter().find(|(known, _)| *known == link).map(|(_, room)| *room);
        let params = &message["params"];
        match method {
            "peer.offer" | "peer.answer" | "peer.ice_candidate" => {
                let mark = params["mark"].as_u64().expect("only what somebody sent");
                let (of, from, to) = &self.sent[&mark];
                assert_eq!(Some(*of), room, "out of its room: {message}");
                assert_eq!(params["from"], from.as_str(), "in another's name: {message}");
                assert_eq!(params["to"], to.as_str());
                assert_eq!(self.announced.get(&link), Some(to), "to a third: {message}");
            }
            "peer.announced" => {
                let ours = self.announced.get(&link).expect("announced before it is told");
                assert_ne!(params["peer_id"], ours.as_str(), "told of itself");
            }
            "peer.disconnected" => {
                assert_ne!(params["from"], self.announced[&link].as_str());
            }
            other => panic!("the server sends no {other}"),
        }
    }
}

/// What the bytes of [`hostile_client`] begin with, for those who write them: a text of the server follows, as
/// its length in two bytes and itself.
#[cfg(test)]
pub(super) const TEXT: u8 = 0;
/// The link breaks.
#[cfg(test)]
pub(super) const BREAK: u8 = 6;
/// The next deadline comes.
#[cfg(test)]
pub(super) const DEADLINE: u8 = 7;

/// Calls of a client: texts of its server, links that come and go, and what its transport wants sent.
#[doc(hidden)]
pub fn hostile_client(start: Instant, bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut now = start;
    let config = ClientConfig::new("ws://h/", us(), Capabilities::ALL);
    let mut client = Client::new(config, Rng::new(Seed::from_number(7)), now);
    client.start(now);
    let (mut link, mut asked, mut opened) = (None, 0, BTreeSet::new());
    while !bytes.is_empty() {
        for turn in 0.. {
            assert!(turn < 100_000, "commands without end");
            match client.poll_command() {
                Some(IoCommand::OpenLink { link: new, .. }) => {
                    assert!(opened.insert(new), "a name twice");
                    link = Some(new);
                    client.handle_io(now, &IoEvent::LinkUp { link: new });
                }
                Some(IoCommand::CloseLink { link: old, .. }) if link == Some(old) => link = None,
                Some(IoCommand::SendLink { link: of, text }) => {
                    assert_eq!(Some(of), link, "a text on a link that is closed");
                    let sent: Value = serde_json::from_str(&text).expect("a client sends JSON");
                    asked = sent["id"].as_u64().unwrap_or(asked);
                }
                Some(_) => {}
                None => break,
            }
        }
        let text = match bytes.byte() % 12 {
            0..=3 => Some(bytes.text()),
            4 => Some(registered(asked)),
            5 => Some(error(asked, &mut bytes)),
            6 => {
                if let Some(link) = link.take() {
                    let code = bytes.one_of(&[None, Some(1000), Some(4001)]);
                    client.handle_io(now, &IoEvent::LinkDown { link, code, reason: "x" });
                }
                None
            }
            7 => {
                now = client.poll_timeout().map_or(now, |deadline| deadline.at.max(now));
                client.handle_timeout(now);
                None
            }
            8 => {
                now += Duration::from_millis(bytes.short().into());
                None
            }
            9 if bytes.byte() == 0 => {
                client.stop(now);
                None
            }
            10 => Some(forwarded(&mut bytes)),
            _ => {
                client.send(now, wanted(&mut bytes));
                None
            }
        };
        if let (Some(link), Some(text)) = (link, text) {
            client.handle_io(now, &IoEvent::LinkText { link, text: &text });
        }
        if bytes.one_in(2) {
            while client.poll_event().is_some() {}
        }
    }
}

fn registered(id: u64) -> String {
    let result = json!({"status": "registered", "peer_id": "me", "session_key": "k"});
    json!({"jsonrpc": "2.0", "result": result, "id": id}).to_string()
}

fn error(id: u64, bytes: &mut Bytes<'_>) -> String {
    let code = bytes.one_of(&[-32_000, -32_003, -32_602, -32_603, -32_010]);
    let reason = bytes.one_of(&["peer_id_taken", "peer_not_found", "limit"]);
    let error = json!({"code": code, "message": "no", "data": {"reason": reason}});
    json!({"jsonrpc": "2.0", "error": error, "id": id}).to_string()
}

/// A message of another peer.
fn forwarded(bytes: &mut Bytes<'_>) -> String {
    let (from, request) = (bytes.one_of(&IDS), bytes.one_of(&REQUESTS));
    let (method, params) = match bytes.byte() % 5 {
        0 => ("peer.announced", json!({"peer_id": from, "capabilities": ["audio"]})),
        1 => ("peer.disconnected", json!({"from": from, "reason": "error"})),
        2 => ("peer.ice_candidate", trickled(from, "me", request)),
        3 => ("peer.offer", described(from, "me", request)),
        _ => ("peer.answer", described(from, "me", request)),
    };
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

/// What a transport wants sent.
fn wanted(bytes: &mut Bytes<'_>) -> ToPeer {
    let to = PeerId::new(bytes.one_of(&IDS)).expect("a valid id");
    let request = RequestId::new(bytes.one_of(&REQUESTS)).expect("a valid name");
    match bytes.byte() % 5 {
        0 => ToPeer::Offer { to, request, sdp: SDP.repeat(bytes.byte().into()) },
        1 => ToPeer::Answer { to, request, sdp: SDP.into() },
        2 => {
            let (candidate, mid, index) = (CANDIDATE.into(), None, bytes.short());
            ToPeer::Candidate { to, request, candidate, mid, index }
        }
        3 => {
            let request = bytes.one_in(2).then_some(request);
            ToPeer::Disconnect { to, reason: DisconnectReason::Error, request }
        }
        _ => {
            let (state, timestamp) =
                (PeerConnectionState::Connected, "2026-01-01T00:00:00Z".into());
            ToPeer::StateChanged { to, state, request, timestamp }
        }
    }
}
