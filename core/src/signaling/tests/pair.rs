//! Clients and a server, connected in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::desk::{CANDIDATE, SDP, UNIX};
use crate::id::{LinkId, PeerId, RequestId};
use crate::net::{IoCommand, IoEvent};
use crate::rng::{Rng, Seed};
use crate::signaling::{
    Capabilities, Client, ClientConfig, ClientEvent, DisconnectReason, Server, ServerCommand,
    ServerConfig, ToPeer,
};

/// What one side will see, in order.
enum Under {
    ToServer(LinkId, String),
    ServerClosed(LinkId, Option<u16>),
    ToClient(LinkId, String),
    ClientClosed(LinkId, Option<u16>),
}

/// Some clients and a server. A message takes no time, but the order of each link is kept.
struct Net {
    server: Server,
    clients: Vec<Client>,
    events: Vec<Vec<ClientEvent>>,
    now: Instant,
    /// By the server's name of a link: whose it is, and the client's name of it.
    links: BTreeMap<LinkId, (usize, LinkId)>,
    wires: VecDeque<Under>,
    next_link: u64,
    reachable: bool,
    /// Links on which nothing passes any more, without either side knowing.
    dead: BTreeSet<LinkId>,
}

impl Net {
    fn new(ids: &[&str]) -> Self {
        let now = Instant::now();
        let server = Server::new(ServerConfig::default(), Seed::from_number(1), now, UNIX).unwrap();
        let clients: Vec<Client> = ids.iter().map(|id| client(id, now)).collect();
        let events = vec![Vec::new(); clients.len()];
        let mut net = Self {
            server,
            clients,
            events,
            now,
            links: BTreeMap::new(),
            wires: VecDeque::new(),
            next_link: 100,
            reachable: true,
            dead: BTreeSet::new(),
        };
        for index in 0..ids.len() {
            net.clients[index].start(now);
            net.run();
        }
        net
    }

    fn run(&mut self) {
        loop {
            for index in 0..self.clients.len() {
                self.carry_out(index);
            }
            while let Some(command) = self.server.poll_command() {
                match command {
                    ServerCommand::Send { link, text } => {
                        self.server.handle_sent(self.now, link, text.len());
                        self.wires.push_back(Under::ToClient(link, text.to_string()));
                    }
                    ServerCommand::Ping { link } => {
                        if !self.dead.contains(&link) {
                            self.server.handle_pong(self.now, link);
                        }
                    }
                    ServerCommand::Close { link, code, .. } => {
                        self.wires.push_back(Under::ClientClosed(link, Some(code)));
                    }
                    ServerCommand::Authorize { .. } => unreachable!(),
                }
            }
            match self.wires.pop_front() {
                Some(under) => self.arrive(under),
                None => return,
            }
        }
    }

    fn carry_out(&mut self, index: usize) {
        while let Some(command) = self.clients[index].poll_command() {
            match command {
                IoCommand::OpenLink { link, url } => {
                    assert_eq!(url, "ws://server.test/room");
                    if !self.reachable {
                        let down = IoEvent::LinkDown { link, code: None, reason: "refused" };
                        self.clients[index].handle_io(self.now, &down);
                        continue;
                    }
                    let server = LinkId(self.next_link);
                    self.next_link += 1;
                    self.links.insert(server, (index, link));
                    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    self.server.handle_open(self.now, server, "/room", address);
                    self.clients[index].handle_io(self.now, &IoEvent::LinkUp { link });
                }
                IoCommand::SendLink { link, text } => {
                    if let Some(server) = self.server_link(index, link) {
                        self.wires.push_back(Under::ToServer(server, text));
                    }
                }
                IoCommand::CloseLink { link, code } => {
                    if let Some(server) = self.server_link(index, link) {
                        self.wires.push_back(Under::ServerClosed(server, Some(code)));
                    }
                }
                other => panic!("a client has no use for {other:?}"),
            }
        }
        while let Some(event) = self.clients[index].poll_event() {
            self.events[index].push(event);
        }
    }

    fn server_link(&self, index: usize, link: LinkId) -> Option<LinkId> {
        self.links.iter().find(|(_, of)| **of == (index, link)).map(|(server, _)| *server)
    }

    fn arrive(&mut self, under: Under) {
        match under {
            Under::ToServer(link, text) if !self.dead.contains(&link) => {
                self.server.handle_text(self.now, link, &text);
            }
            Under::ServerClosed(link, code) if !self.dead.contains(&link) => {
                self.links.remove(&link);
                self.server.handle_closed(self.now, link, code);
            }
            Under::ToClient(link, text) if !self.dead.contains(&link) => {
                if let Some((index, link)) = self.links.get(&link).copied() {
                    self.clients[index]
                        .handle_io(self.now, &IoEvent::LinkText { link, text: &text });
                }
            }
            Under::ClientClosed(link, code) => {
                if let Some((index, link)) = self.links.remove(&link) {
                    let down = IoEvent::LinkDown { link, code, reason: "closed" };
                    self.clients[index].handle_io(self.now, &down);
                }
            }
            _ => {}
        }
    }

    /// Both sides of a client's link see it break; what is under way is lost.
    fn cut(&mut self, index: usize) {
        let of = |(_, (owner, _)): &(&LinkId, &(usize, LinkId))| *owner == index;
        let Some((server, link)) = self.links.iter().find(of).map(|(s, (_, l))| (*s, *l)) else {
            return;
        };
        self.links.remove(&server);
        self.server.handle_closed(self.now, server, None);
        let down = IoEvent::LinkDown { link, code: None, reason: "reset" };
        self.clients[index].handle_io(self.now, &down);
        self.run();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mine = self.clients.iter().filter_map(Client::poll_timeout);
            let next = mine.chain(self.server.poll_timeout()).map(|d| d.at).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    fn tick(&mut self) {
        for client in &mut self.clients {
            client.handle_timeout(self.now);
        }
        self.server.handle_timeout(self.now);
        self.run();
    }

    fn send(&mut self, index: usize, message: ToPeer) {
        self.clients[index].send(self.now, message);
        self.run();
    }

    fn take(&mut self, index: usize) -> Vec<ClientEvent> {
        std::mem::take(&mut self.events[index])
    }

    fn clear(&mut self) {
        self.events.iter_mut().for_each(Vec::clear);
    }
}

fn client(id: &str, now: Instant) -> Client {
    let config = ClientConfig::new("ws://server.test/room", peer(id), Capabilities::ALL);
    Client::new(config, Rng::new(Seed::from_number(9)).fork(id), now)
}

fn peer(id: &str) -> PeerId {
    PeerId::new(id).unwrap()
}

fn request(id: &str) -> RequestId {
    RequestId::new(id).unwrap()
}

fn offer(to: &str, id: &str) -> ToPeer {
    ToPeer::Offer { to: peer(to), request: request(id), sdp: SDP.into() }
}

fn answer(to: &str, id: &str) -> ToPeer {
    ToPeer::Answer { to: peer(to), request: request(id), sdp: SDP.into() }
}

fn candidate(to: &str, id: &str) -> ToPeer {
    let (mid, index) = (Some("0".into()), 0);
    ToPeer::Candidate {
        to: peer(to),
        request: request(id),
        candidate: CANDIDATE.into(),
        mid,
        index,
    }
}

fn disconnect(to: &str, id: &str) -> ToPeer {
    let reason = DisconnectReason::UserRequested;
    ToPeer::Disconnect { to: peer(to), reason, request: Some(request(id)) }
}

/// The events in short.
fn short(events: &[ClientEvent]) -> Vec<String> {
    let name = |event: &ClientEvent| match event {
        ClientEvent::Up { .. } => "up".to_owned(),
        ClientEvent::Down { retry_in, .. } => format!("down {}", retry_in.is_some()),
        ClientEvent::Announced { peer, .. } => format!("announced {peer}"),
        ClientEvent::Offer { from, request, .. } => format!("offer {from} {request}"),
        ClientEvent::Answer { from, request, .. } => format!("answer {from} {request}"),
        ClientEvent::Candidate { from, request, .. } => format!("candidate {from} {request}"),
        ClientEvent::Disconnected { from, reason, request } => {
            format!("disconnected {from} {reason} {}", request.as_ref().map_or("-", |r| r.as_str()))
        }
        ClientEvent::Refused { to, request, code, .. } => format!("refused {to} {request} {code}"),
    };
    events.iter().map(name).collect()
}

#[test]
fn two_clients_find_each_other_and_negotiate() {
    let mut net = Net::new(&["a", "b"]);
    assert_eq!(short(&net.take(0)), ["up", "announced b"]);
    assert_eq!(short(&net.take(1)), ["up", "announced a"]);
    net.send(0, offer("b", "r"));
    net.send(0, candidate("b", "r"));
    assert_eq!(short(&net.take(1)), ["offer a r", "candidate a r"]);
    net.send(1, candidate("a", "r"));
    assert!(net.take(0).is_empty(), "held until the answer");
    net.send(1, answer("a", "r"));
    net.send(1, candidate("a", "r"));
    assert_eq!(short(&net.take(0)), ["answer b r", "candidate b r", "candidate b r"]);
    net.send(1, disconnect("a", "r"));
    assert_eq!(short(&net.take(0)), ["disconnected b user_requested r"]);
    net.send(0, offer("nobody", "s"));
    assert_eq!(short(&net.take(0)), ["refused nobody s -32000"]);
    net.clients[1].stop(net.now);
    net.run();
    assert_eq!(short(&net.take(0)), ["disconnected b user_requested -"]);
    net.pass(Duration::from_secs(120));
    assert!(net.take(0).is_empty() && net.take(1).is_empty());
    assert_eq!(net.clients[0].counters().malformed, 0);
}

#[test]
fn a_short_break_is_seen_by_nobody_else_and_loses_nothing() {
    let mut net = Net::new(&["a", "b"]);
    net.clear();
    net.cut(1);
    assert!(!net.clients[1].is_up());
    net.send(1, offer("a", "mine"));
    net.send(1, candidate("a", "mine"));
    net.send(0, offer("b", "yours"));
    net.pass(Duration::from_secs(3));
    assert_eq!(short(&net.take(1)), ["down true", "up", "announced a", "offer a yours"]);
    assert_eq!(short(&net.take(0)), ["offer b mine", "candidate b mine"]);
    net.send(1, answer("a", "yours"));
    assert_eq!(short(&net.take(0)), ["answer b yours"]);
    assert_eq!(net.clients[1].counters().reconnects, 1);
}

#[test]
fn a_message_whose_reply_was_lost_is_not_seen_twice() {
    let mut net = Net::new(&["a", "b"]);
    net.clear();
    // The offer arrives, its reply does not.
    net.clients[0].send(net.now, offer("b", "r"));
    net.carry_out(0);
    let Some(under) = net.wires.pop_front() else { panic!("nothing was sent") };
    net.arrive(under);
    net.cut(0);
    net.pass(Duration::from_secs(3));
    assert_eq!(short(&net.take(1)), ["offer a r"]);
    net.send(1, answer("a", "r"));
    assert_eq!(short(&net.take(0)), ["down true", "up", "announced b", "answer b r"]);
}

#[test]
fn a_long_break_is_told_and_the_return_too() {
    let mut net = Net::new(&["a", "b"]);
    net.clear();
    net.reachable = false;
    net.cut(1);
    net.pass(Duration::from_secs(10));
    assert_eq!(short(&net.take(0)), ["disconnected b network_error -"]);
    net.reachable = true;
    net.pass(Duration::from_secs(31));
    assert_eq!(short(&net.take(0)), ["announced b"]);
    assert!(net.clients[1].is_up());
}

#[test]
fn retries_grow_to_30_s_with_jitter_and_never_stop() {
    let mut net = Net::new(&["a"]);
    net.clear();
    net.reachable = false;
    net.cut(0);
    net.pass(Duration::from_secs(600));
    let waits: Vec<f64> = net.events[0]
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Down { retry_in: Some(wait), .. } => Some(wait.as_secs_f64()),
            _ => None,
        })
        .collect();
    assert!(waits.len() > 20, "{waits:?}");
    for (n, wait) in waits.iter().enumerate() {
        let middle = (0.5 * 2f64.powi(n as i32)).min(30.0);
        assert!(*wait >= 0.5 * middle && *wait <= (1.5 * middle).min(30.0), "{n}: {wait}");
    }
    assert!(waits.windows(2).any(|pair| pair[0] != pair[1] && pair[0] > 15.0), "jitter");
}

#[test]
fn a_server_that_closes_at_once_is_not_asked_more_and_more_often() {
    let mut net = Net::new(&["a"]);
    net.clear();
    for _ in 0..8 {
        net.cut(0);
        let at = net.clients[0].poll_timeout().unwrap().at;
        net.pass(at - net.now);
        assert!(net.clients[0].is_up());
    }
    net.cut(0);
    let wait = net.clients[0].poll_timeout().unwrap().at - net.now;
    assert!(wait > Duration::from_secs(10), "{wait:?}");
}

#[test]
fn a_half_open_link_is_taken_over_and_the_loser_stays_away() {
    let mut net = Net::new(&["a", "b"]);
    net.clear();
    // The network goes away under b: the client sees it, the server does not.
    let (server, link) =
        net.links.iter().find(|(_, (i, _))| *i == 1).map(|(s, (_, l))| (*s, *l)).unwrap();
    net.dead.insert(server);
    net.links.remove(&server);
    let down = IoEvent::LinkDown { link, code: None, reason: "no network" };
    net.clients[1].handle_io(net.now, &down);
    net.pass(Duration::from_secs(2));
    assert_eq!(short(&net.take(1)), ["down true", "up", "announced a"]);
    assert!(net.take(0).is_empty());
    net.send(0, offer("b", "r"));
    assert_eq!(short(&net.take(1)), ["offer a r"]);
    // A close with 4001 is the end of a client.
    let (server, link) =
        net.links.iter().find(|(_, (i, _))| *i == 1).map(|(s, (_, l))| (*s, *l)).unwrap();
    net.links.remove(&server);
    let down = IoEvent::LinkDown { link, code: Some(4001), reason: "taken over" };
    net.clients[1].handle_io(net.now, &down);
    net.run();
    assert_eq!(short(&net.take(1)), ["down false"]);
    assert_eq!(net.clients[1].poll_timeout(), None);
}

#[test]
fn a_taken_id_is_final_at_the_first_announce() {
    let mut net = Net::new(&["a", "a"]);
    let events = net.take(1);
    assert_eq!(short(&events), ["down false"]);
    let ClientEvent::Down { reason, .. } = &events[0] else { panic!() };
    assert!(reason.contains("peer_id_taken"), "{reason}");
    net.pass(Duration::from_secs(120));
    assert!(net.take(1).is_empty());
    assert!(net.clients[0].is_up());
}

#[test]
fn an_announce_that_was_cut_off_is_tried_until_its_lease_has_gone() {
    let mut net = Net::new(&[]);
    net.clients.push(client("a", net.now));
    net.events.push(Vec::new());
    net.clients[0].start(net.now);
    net.carry_out(0);
    // The announce arrives, its reply with the key does not.
    net.carry_out(0);
    let Some(under) = net.wires.pop_front() else { panic!("nothing was sent") };
    net.arrive(under);
    net.cut(0);
    net.pass(Duration::from_secs(10));
    assert!(!net.clients[0].is_up());
    net.pass(Duration::from_secs(60));
    assert!(net.clients[0].is_up(), "{:?}", short(&net.take(0)));
}

#[test]
fn a_restarted_server_is_joined_anew() {
    let mut net = Net::new(&["a", "b"]);
    net.clear();
    let seed = Seed::from_number(2);
    net.server = Server::new(ServerConfig::default(), seed, net.now, UNIX).unwrap();
    for index in 0..2 {
        net.cut(index);
    }
    net.pass(Duration::from_secs(5));
    assert!(net.clients.iter().all(Client::is_up));
    net.clear();
    net.send(0, offer("b", "r"));
    assert_eq!(short(&net.take(1)), ["offer a r"]);
}

/// A client `me` that the test speaks to directly as its server, which answers its announce.
fn answered(result: &Value) -> (Client, LinkId, Instant) {
    let now = Instant::now();
    let mut client = client("me", now);
    client.start(now);
    let Some(IoCommand::OpenLink { link, .. }) = client.poll_command() else { panic!() };
    client.handle_io(now, &IoEvent::LinkUp { link });
    let Some(IoCommand::SendLink { text, .. }) = client.poll_command() else { panic!() };
    let id = &serde_json::from_str::<Value>(&text).unwrap()["id"];
    let text = json!({"jsonrpc": "2.0", "result": result, "id": id}).to_string();
    client.handle_io(now, &IoEvent::LinkText { link, text: &text });
    (client, link, now)
}

fn announced() -> (Client, LinkId, Instant) {
    let (mut client, link, now) = answered(&json!({"status": "registered", "session_key": "k"}));
    assert_eq!(short(&[client.poll_event().unwrap()]), ["up"]);
    (client, link, now)
}

#[test]
fn a_link_that_does_not_come_up_or_answer_is_given_up_after_10_s() {
    let now = Instant::now();
    let mut client = client("me", now);
    client.start(now);
    let Some(IoCommand::OpenLink { link, .. }) = client.poll_command() else { panic!() };
    let at = client.poll_timeout().unwrap().at;
    assert_eq!(at - now, Duration::from_secs(10));
    client.handle_timeout(at);
    assert!(
        matches!(client.poll_command(), Some(IoCommand::CloseLink { link: l, .. }) if l == link)
    );
    assert_eq!(short(&[client.poll_event().unwrap()]), ["down true"]);
    let at = client.poll_timeout().unwrap().at;
    client.handle_timeout(at);
    let Some(IoCommand::OpenLink { link, .. }) = client.poll_command() else { panic!() };
    client.handle_io(at, &IoEvent::LinkUp { link });
    let _ = client.poll_command();
    let late = client.poll_timeout().unwrap().at;
    assert_eq!(late - at, Duration::from_secs(10));
    client.handle_timeout(late);
    // No code that means leaving: the announce may have arrived.
    let Some(IoCommand::CloseLink { code, .. }) = client.poll_command() else { panic!() };
    assert!(code != 1000 && code != 1001);
    assert_eq!(short(&[client.poll_event().unwrap()]), ["down true"]);
}

#[test]
fn an_announce_that_is_answered_by_something_else_is_made_again() {
    for (result, named) in [
        (json!({"status": 5, "peer_id": "me"}), "status"),
        (json!({"status": "registered", "peer_id": "you"}), "id"),
    ] {
        let (mut client, ..) = answered(&result);
        let down = client.poll_event();
        assert!(matches!(&down, Some(ClientEvent::Down { reason, .. }) if reason.contains(named)));
        assert!(client.poll_timeout().is_some_and(|deadline| deadline.why.contains("attempt")));
    }
}

#[test]
fn a_hostile_server_cannot_make_a_client_grow() {
    let big = "0,".repeat(300_000);
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let sdp = "x".repeat(60_000);
    let texts = |n: usize| {
        let announced = |data: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"peer.announced","params":{{"peer_id":"p{n}","capabilities":["data"],"user_data":{data}}}}}"#
            )
        };
        let described = format!(
            r#"{{"jsonrpc":"2.0","method":"peer.offer","params":{{"from":"p{n}","to":"me","sdp":"{sdp}","request_id":"r"}}}}"#
        );
        let early = format!(
            r#"{{"jsonrpc":"2.0","method":"peer.ice_candidate","params":{{"from":"p{n}","to":"me","candidate":"{}","request_id":"early{n}"}}}}"#,
            "x".repeat(4_000)
        );
        [
            announced(&format!(r#"{{"x":[{big}0]}}"#)),
            announced(&format!(r#"{{"x":{deep}}}"#)),
            described,
            early,
        ]
    };
    let (mut client, link, now) = announced();
    for n in 0..400 {
        let texts = texts(n);
        // The big ones cost time, not memory: few are enough to see them refused.
        for text in if n < 3 { &texts[..] } else { &texts[2..] } {
            client.handle_io(now, &IoEvent::LinkText { link, text });
        }
    }
    let mut bytes = 0;
    let mut announced = 0;
    while let Some(event) = client.poll_event() {
        match event {
            ClientEvent::Offer { sdp, .. } => bytes += sdp.len(),
            ClientEvent::Announced { .. } => announced += 1,
            _ => {}
        }
    }
    assert!(bytes <= 16 * 1024 * 1024, "{bytes}");
    assert_eq!(announced, 0, "user data beyond any contract is refused");
    let counters = client.counters();
    assert!(counters.dropped > 0 && counters.malformed >= 6, "{counters:?}");
}

#[test]
fn texts_that_are_not_for_us_are_counted_and_dropped() {
    let (mut client, link, now) = announced();
    let offer = |from: &str, to: &str, sdp: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"peer.offer","params":{{"from":"{from}","to":"{to}","sdp":"{sdp}","request_id":"r"}}}}"#
        )
    };
    let bad = [
        "nonsense".to_owned(),
        "[]".to_owned(),
        r#"{"jsonrpc":"1.0","method":"peer.announced","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"peer.sing","params":{}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","method":"peer.announced","params":{"peer_id":"me","capabilities":["data"]}}"#.to_owned(),
        offer("x", "somebody", "v=0"),
        offer("no such", "me", "v=0"),
        offer("me", "me", "v=0"),
        offer("x", "me", &"x".repeat(65_537)),
    ];
    for text in &bad {
        client.handle_io(now, &IoEvent::LinkText { link, text });
    }
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.counters().malformed, bad.len() as u64);
    for reply in [
        r#"{"jsonrpc":"2.0","result":{},"id":77}"#,
        r#"{"jsonrpc":"2.0","error":{"code":1,"message":"x"},"id":78}"#,
    ] {
        client.handle_io(now, &IoEvent::LinkText { link, text: reply });
    }
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.counters().unexpected, 2);
    client.handle_io(now, &IoEvent::LinkText { link, text: &offer("x", "me", "v=0") });
    assert!(matches!(client.poll_event(), Some(ClientEvent::Offer { .. })));
}

#[test]
fn an_error_text_of_any_length_is_cut() {
    let (mut client, link, now) = announced();
    client.send(now, offer("x", "r"));
    let Some(IoCommand::SendLink { text, .. }) = client.poll_command() else { panic!() };
    let id = &serde_json::from_str::<serde_json::Value>(&text).unwrap()["id"];
    let long = "é".repeat(100_000);
    let text = format!(
        r#"{{"jsonrpc":"2.0","error":{{"code":-32000,"message":"{long}","data":{{"reason":"{long}"}}}},"id":{id}}}"#
    );
    client.handle_io(now, &IoEvent::LinkText { link, text: &text });
    let Some(ClientEvent::Refused { message, reason, .. }) = client.poll_event() else { panic!() };
    assert!(message.len() < 2_000 && reason.unwrap().len() < 2_000);
}
