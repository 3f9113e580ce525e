//! All that passes in a world as a file that Wireshark opens, decrypted.
//!
//! - Each datagram is there once, when and as it was sent: with the addresses that its sender knows. The interface is the
//!   sending host, by name. The comment says to whom it went, or why it is lost, and whether it was doubled or damaged
//!   on the way.
//! - SRTP and SRTCP are there as the RTP and RTCP before encryption; a datagram with DTLS records of data as its SCTP packets,
//!   each in an IP packet of its own (protocol 132) without the ports of UDP, their checksums filled in. Everything else is as it is: STUN and
//!   TURN, DTLS's handshakes, what a stranger sends, and the datagrams of machines that are no transports.
//! - Signaling messages are there when they arrive, as UDP from or to port [`SIGNALING_PORT`] of the server.
//! - Times are the world's, since the start of 2026.

mod packet;
mod pcapng;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rtcmesh_core::transport::Transport;

use crate::net::{Fate, Lost};
use packet::{sctp, udp};
use pcapng::File;

/// The server's port in the file: no protocol's, to tell signaling from the rest.
pub(crate) const SIGNALING_PORT: u16 = 8_088;

/// The comment's longest part beside both names, in bytes, generously.
const COMMENT: usize = 96;

/// What is kept beside the bytes of the packets, as part of the limit.
const PER_PACKET: usize = pcapng::OVERHEAD + COMMENT;

/// A packet of the file.
#[derive(Debug)]
struct Entry {
    at: Duration,
    /// The sender's number in the network.
    from: usize,
    packet: Vec<u8>,
    about: About,
}

/// What its comment is made of.
#[derive(Debug)]
enum About {
    /// The number of its datagram.
    Datagram(u64),
    /// The receiver's number in the network, and what it is.
    Signaling(usize, &'static str),
}

/// What became of a datagram so far.
#[derive(Debug, Default)]
struct Course {
    arrived: Option<usize>,
    lost: Option<Lost>,
    doubled: bool,
    damaged: bool,
}

/// What has passed so far.
#[derive(Debug)]
pub(crate) struct Tap {
    /// Virtual wall-clock time at the start.
    start: Duration,
    entries: Vec<Entry>,
    courses: BTreeMap<u64, Course>,
    /// What is left of the file's length, in bytes.
    left: usize,
    full: bool,
}

impl Tap {
    /// Nothing has passed; times count from this one, and the file gets this long at most, in bytes.
    pub(crate) fn new(start: Duration, limit: usize) -> Self {
        Self { start, entries: Vec::new(), courses: BTreeMap::new(), left: limit, full: false }
    }

    /// Whether something is left out, since the file is as long as it may be.
    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// A host has sent a datagram.
    pub(crate) fn sent(
        &mut self,
        at: Duration,
        host: usize,
        number: u64,
        (from, to): (SocketAddr, SocketAddr),
        payload: &[u8],
    ) {
        let plain = Transport::plain_of(payload);
        if self.full {
            return;
        }
        self.courses.insert(number, Course::default());
        let about = || About::Datagram(number);
        if plain.is_empty() {
            self.add(at, host, udp(from, to, payload), about());
        }
        for plain in plain {
            // RTP and RTCP: RFC 7983, section 7. SCTP began as DTLS.
            let packet = match payload.first() {
                Some(128..=191) => udp(from, to, &plain),
                _ => sctp(from.ip(), to.ip(), &plain),
            };
            self.add(at, host, packet, about());
        }
    }

    /// A signaling message has arrived: from one host to another, by their numbers and addresses.
    pub(crate) fn signaling(
        &mut self,
        at: Duration,
        (from, sender): (usize, SocketAddr),
        (to, receiver): (usize, SocketAddr),
        kind: &'static str,
        text: &str,
    ) {
        let packet = udp(sender, receiver, text.as_bytes());
        self.add(at, from, packet, About::Signaling(to, kind));
    }

    fn add(&mut self, at: Duration, from: usize, packet: Vec<u8>, about: About) {
        let length = packet.len() + PER_PACKET;
        self.full |= length > self.left;
        if !self.full {
            self.left -= length;
            self.entries.push(Entry { at, from, packet, about });
        }
    }

    /// What became of a datagram.
    pub(crate) fn fate(&mut self, number: u64, fate: Fate) {
        let Some(course) = self.courses.get_mut(&number) else { return };
        match fate {
            Fate::Doubled => course.doubled = true,
            Fate::Damaged => course.damaged = true,
            Fate::Arrived(host) => course.arrived = Some(host),
            Fate::Lost(lost) => course.lost = Some(lost),
        }
    }

    /// The file; the hosts' names are in the order of their numbers.
    pub(crate) fn into_file(self, names: &[String]) -> Vec<u8> {
        let mut file = File::new("rtcmesh-sim");
        for name in names {
            file.interface(name);
        }
        let nothing = Course::default();
        for Entry { at, from, packet, about } in self.entries {
            let name = |host: usize| names.get(host).map_or("?", String::as_str);
            let comment = match about {
                About::Signaling(to, kind) => format!("{} to {}, {kind}", name(from), name(to)),
                About::Datagram(number) => {
                    let course = self.courses.get(&number).unwrap_or(&nothing);
                    course.comment(name(from), course.arrived.map(name))
                }
            };
            file.packet(from as u32, self.start + at, &packet, &comment);
        }
        file.into_bytes()
    }
}

impl Course {
    fn comment(&self, from: &str, to: Option<&str>) -> String {
        let mut comment = match (to, self.lost) {
            (Some(to), _) => format!("{from} to {to}"),
            (None, Some(lost)) => format!("{from}: lost, {}", reason(lost)),
            (None, None) => format!("{from}: under way at the end"),
        };
        if self.doubled {
            comment.push_str(", doubled on the way");
        }
        if self.damaged {
            comment.push_str(", damaged on the way");
        }
        comment
    }
}

const fn reason(lost: Lost) -> &'static str {
    match lost {
        Lost::Loss => "by chance",
        Lost::Queue => "a queue was full",
        Lost::Mtu => "too long for a link",
        Lost::Firewall => "a firewall",
        Lost::NatFilter => "a NAT did not let it in",
        Lost::NatFull => "a NAT was full",
        Lost::Hairpin => "a NAT without hairpinning",
        Lost::NoRoute => "nobody has the address",
        Lost::Partition => "kept apart",
        Lost::InterfaceDown => "an interface was down",
    }
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
