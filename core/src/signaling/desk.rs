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
    /// The number of the latest request.
    #[cfg(test)]
    pub(super) next_id: u64,
}

impl Desk {
    /// One with these limits, which are within their bounds.
    pub(super) fn at(now: Instant, config: ServerConfig) -> Self {
        let server = Server::new(config, Seed::from_number(1), now, UNIX);
        Self {
            server: server.expect("limits within their bounds"),
            now,
            texts: BTreeMap::new(),
            closed: BTreeMap::new(),
            asked: Vec::new(),
            mute: Vec::new(),
            stuck: Vec::new(),
            pings: 0,
            next_link: 0,
            #[cfg(test)]
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
