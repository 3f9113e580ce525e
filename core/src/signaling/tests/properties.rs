//! What holds whatever comes in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::desk::{Desk, described, trickled};
use crate::id::{LinkId, PeerId};
use crate::net::{IoCommand, IoEvent};
use crate::rng::{Rng, Seed};
use crate::signaling::{Capabilities, Client, ClientConfig, ServerConfig};

const ROOMS: [&str; 2] = ["/one", "/two"];
const IDS: [&str; 3] = ["a", "b", "c"];
const REQUESTS: [&str; 3] = ["r", "s", "t"];

#[derive(Debug, Clone)]
enum Op {
    Open { room: usize },
    Announce { link: usize, id: usize, key: usize },
    Described { link: usize, answer: bool, from: usize, to: usize, request: usize },
    Candidate { link: usize, from: usize, to: usize, request: usize },
    Disconnect { link: usize, from: usize, to: usize, request: Option<usize> },
    Text { link: usize, text: String },
    Mangled { link: usize, answer: bool, at: usize, with: char },
    Binary { link: usize },
    Close { link: usize, code: Option<u16> },
    Stuck { link: usize },
    Pass { ms: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let link = || 0..8usize;
    let id = || 0..IDS.len();
    let request = || 0..REQUESTS.len();
    prop_oneof![
        2 => (0..ROOMS.len()).prop_map(|room| Op::Open { room }),
        4 => (link(), id(), 0..16usize).prop_map(|(link, id, key)| Op::Announce { link, id, key }),
        6 => (link(), any::<bool>(), id(), id(), request()).prop_map(
            |(link, answer, from, to, request)| Op::Described { link, answer, from, to, request }
        ),
        3 => (link(), id(), id(), request())
            .prop_map(|(link, from, to, request)| Op::Candidate { link, from, to, request }),
        2 => (link(), id(), id(), prop::option::of(request()))
            .prop_map(|(link, from, to, request)| Op::Disconnect { link, from, to, request }),
        1 => (link(), "\\PC{0,80}").prop_map(|(link, text)| Op::Text { link, text }),
        1 => (link(), any::<bool>(), any::<usize>(), any::<char>())
            .prop_map(|(link, answer, at, with)| Op::Mangled { link, answer, at, with }),
        1 => link().prop_map(|link| Op::Binary { link }),
        2 => (link(), prop::option::of(prop_oneof![Just(1000u16), Just(1001), Just(4000)]))
            .prop_map(|(link, code)| Op::Close { link, code }),
        1 => link().prop_map(|link| Op::Stuck { link }),
        2 => (0..12_000u64).prop_map(|ms| Op::Pass { ms }),
    ]
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
    fn new() -> Self {
        let config = ServerConfig {
            queue_bytes: 64 * 1024,
            announces_per_second: 1_000,
            ..ServerConfig::default()
        };
        Self {
            desk: Desk::with(config),
            links: Vec::new(),
            announced: BTreeMap::new(),
            keys: Vec::new(),
            sent: BTreeMap::new(),
            next_id: 0,
        }
    }

    fn link(&self, link: usize) -> Option<(LinkId, &'static str)> {
        (!self.links.is_empty()).then(|| self.links[link % self.links.len()])
    }

    fn send(&mut self, link: usize, method: &str, mut params: Value) {
        let Some((link, room)) = self.link(link) else { return };
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

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Open { room } => {
                let link = self.desk.open(ROOMS[room]);
                self.links.push((link, ROOMS[room]));
            }
            Op::Announce { link, id, key } => {
                let mut params = json!({"peer_id": IDS[id], "capabilities": ["data"]});
                // The newest keys first: they are the likely ones.
                if let Some(key) = self.keys.iter().rev().nth(key) {
                    params["session_key"] = key.as_str().into();
                }
                self.send(link, "peer.announce", params);
            }
            Op::Described { link, answer, from, to, request } => {
                let method = if answer { "peer.answer" } else { "peer.offer" };
                self.send(link, method, described(IDS[from], IDS[to], REQUESTS[request]));
            }
            Op::Candidate { link, from, to, request } => {
                let params = trickled(IDS[from], IDS[to], REQUESTS[request]);
                self.send(link, "peer.ice_candidate", params);
            }
            Op::Disconnect { link, from, to, request } => {
                let mut params = json!({"from": IDS[from], "to": IDS[to], "reason": "error"});
                if let Some(request) = request {
                    params["request_id"] = REQUESTS[request].into();
                }
                self.send(link, "peer.disconnect", params);
            }
            Op::Text { link, ref text } => {
                if let Some((link, _)) = self.link(link) {
                    self.desk.text(link, text);
                }
            }
            Op::Mangled { link, answer, at, with } => {
                let Some((link, _)) = self.link(link) else { return };
                let method = if answer { "peer.answer" } else { "peer.announce" };
                let params = described("a", "b", "r");
                let text = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 0});
                let mut chars: Vec<char> = text.to_string().chars().collect();
                let at = at % chars.len();
                chars[at] = with;
                self.desk.text(link, &chars.into_iter().collect::<String>());
            }
            Op::Binary { link } => {
                if let Some((link, _)) = self.link(link) {
                    self.desk.server.handle_binary(self.desk.now, link);
                    self.desk.drain();
                }
            }
            Op::Close { link, code } => {
                if let Some((link, _)) = self.link(link) {
                    self.desk.close(link, code);
                    self.announced.remove(&link);
                }
            }
            Op::Stuck { link } => {
                if let Some((link, _)) = self.link(link) {
                    self.desk.stuck.push(link);
                }
            }
            Op::Pass { ms } => self.desk.pass(Duration::from_millis(ms)),
        }
        self.check();
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
                    let id = result["peer_id"].as_str().unwrap().to_owned();
                    self.announced.insert(link, id);
                    let key = result["session_key"].as_str().unwrap();
                    assert_eq!(text.matches(key).count(), 1);
                    if !self.keys.iter().any(|known| known == key) {
                        fresh.push(key.to_owned());
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_crosses_rooms_or_comes_in_anothers_name(ops in prop::collection::vec(op(), 1..150)) {
        let mut model = Model::new();
        for room in [0, 0, 0, 1] {
            model.apply(&Op::Open { room });
        }
        for link in 0..3 {
            model.apply(&Op::Announce { link, id: link, key: 15 });
        }
        for op in &ops {
            model.apply(op);
        }
        // When all have left, nothing is left of them.
        for (link, _) in model.links.clone() {
            model.desk.close(link, Some(1000));
        }
        model.desk.seconds(30);
        let metrics = model.desk.server.metrics();
        prop_assert_eq!((metrics.rooms, metrics.peers, metrics.connections), (0, 0, 0));
        prop_assert_eq!(model.desk.server.timers_waiting(), 0);
    }

    #[test]
    fn equal_seeds_and_inputs_give_equal_outputs(ops in prop::collection::vec(op(), 1..60)) {
        let run = || {
            let mut model = Model::new();
            let mut texts = Vec::new();
            for op in &ops {
                model.apply(op);
                texts.push(format!("{:?} {:?}", model.keys, model.desk.closed));
            }
            texts
        };
        prop_assert_eq!(run(), run());
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("a".to_owned()),
        Just("me".to_owned()),
        Just("r".to_owned()),
        Just("peer_id_taken".to_owned()),
        "\\PC{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..4u64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(member(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn member() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 16] = [
        "peer_id",
        "capabilities",
        "user_data",
        "from",
        "to",
        "sdp",
        "request_id",
        "candidate",
        "sdp_mid",
        "sdp_m_line_index",
        "reason",
        "session_key",
        "status",
        "code",
        "message",
        "data",
    ];
    prop_oneof![prop::sample::select(&KNOWN[..]).prop_map(str::to_owned), "[a-z]{0,6}"]
}

fn message() -> impl Strategy<Value = String> {
    const METHODS: [&str; 8] = [
        "peer.announce",
        "peer.announced",
        "peer.offer",
        "peer.answer",
        "peer.ice_candidate",
        "peer.disconnect",
        "peer.disconnected",
        "peer.state_changed",
    ];
    let method = prop::option::of(prop::sample::select(&METHODS[..]));
    let params = prop::collection::btree_map(member(), json_value(), 0..8);
    let rest = (prop::option::of(json_value()), prop::option::of(json_value()));
    let id = prop::option::of(prop_oneof![(0..4u64).prop_map(Value::from), json_value()]);
    let structured =
        (method, params, rest, id).prop_map(|(method, params, (result, error), id)| {
            let mut message = json!({"jsonrpc": "2.0"});
            let params: serde_json::Map<String, Value> = params.into_iter().collect();
            if let Some(method) = method {
                message["method"] = method.into();
                message["params"] = params.into();
            }
            for (name, value) in [("result", result), ("error", error), ("id", id)] {
                if let Some(value) = value {
                    message[name] = value;
                }
            }
            message.to_string()
        });
    prop_oneof![6 => structured, 1 => json_value().prop_map(|v| v.to_string()), 1 => "\\PC{0,60}"]
}

fn client() -> (Client, Instant) {
    let now = Instant::now();
    let us = PeerId::new("me").unwrap();
    let config = ClientConfig::new("ws://h/", us, Capabilities::ALL);
    (Client::new(config, Rng::new(Seed::from_number(7)), now), now)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_server_survives_any_json(texts in prop::collection::vec(message(), 0..40)) {
        let mut desk = Desk::new();
        let (a, _) = desk.join("/", "a");
        let (b, _) = desk.join("/", "b");
        for text in &texts {
            desk.text(a, text);
        }
        prop_assert!(desk.closed.is_empty());
        desk.forget();
        // It still works for the other.
        let reply = desk.request(b, "peer.sing", &json!({}));
        prop_assert_eq!(&reply["error"]["code"], -32_601);
        desk.seconds(60);
    }

    #[test]
    fn a_client_survives_any_json(texts in prop::collection::vec((message(), 0..4u8), 0..60)) {
        let (mut client, mut now) = client();
        client.start(now);
        let mut link = None;
        let mut opened = BTreeSet::new();
        for (text, what) in &texts {
            while let Some(command) = client.poll_command() {
                match command {
                    IoCommand::OpenLink { link: new, .. } => {
                        prop_assert!(opened.insert(new), "a name twice");
                        link = Some(new);
                        client.handle_io(now, &IoEvent::LinkUp { link: new });
                    }
                    IoCommand::CloseLink { link: old, .. } if link == Some(old) => link = None,
                    _ => {}
                }
            }
            match (what, link) {
                (0, Some(link)) if text.len() % 5 == 0 => {
                    client.handle_io(now, &IoEvent::LinkDown { link, code: None, reason: "x" });
                }
                (1, _) => {
                    now = client.poll_timeout().map_or(now, |deadline| deadline.at.max(now));
                    client.handle_timeout(now);
                }
                (_, Some(link)) => {
                    client.handle_io(now, &IoEvent::LinkText { link, text });
                }
                _ => {}
            }
            while client.poll_event().is_some() {}
        }
    }
}
