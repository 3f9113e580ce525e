//! The world's tap: all that passes as a file that Wireshark opens.

use std::net::{IpAddr, SocketAddr};

use rtcmesh_core::id::LinkId;
use rtcmesh_core::transport::Transport;

use super::{Tenant, UNIX_START, World};
use crate::tap::{SIGNALING_PORT, Tap};

/// The first port of the clients of signaling in the file: they have none in the world.
const FIRST_CLIENT_PORT: u16 = 40_000;

impl World {
    /// How long a capture gets at most, in bytes, where nothing else is said: 256 MB.
    pub const CAPTURE_LIMIT: usize = 256_000_000;

    /// From now on all that passes is kept, for a pcapng file of at most about `limit` bytes: STUN, RTP, RTCP, data (SCTP) and
    /// signaling, decrypted. What is more is left out. It changes nothing in the world, nor its digest.
    ///
    /// Hosts that were there before stay encrypted.
    pub fn capture(&mut self, limit: usize) {
        self.network.keep_fates(true);
        self.tap = Some(Tap::new(UNIX_START, limit));
    }

    /// Whether the capture is as long as it may be, and something was left out.
    #[must_use]
    pub fn capture_is_full(&self) -> bool {
        self.tap.as_ref().is_some_and(Tap::is_full)
    }

    /// Ends the capture: gives the file, where there was one.
    pub fn take_capture(&mut self) -> Option<Vec<u8>> {
        self.note_fates();
        self.network.keep_fates(false);
        Transport::forget_plain();
        let name = |(node, of): (usize, &Tenant)| match *of {
            Tenant::Server => "signaling server".to_owned(),
            Tenant::Nobody => format!("stranger {node}"),
            Tenant::Host(index) => self.hosts[index].id().to_string(),
            Tenant::Other(index) => format!("node {index}"),
        };
        let names: Vec<String> = self.tenants.iter().enumerate().map(name).collect();
        self.tap.take().map(|tap| tap.into_file(&names))
    }

    /// What has become of datagrams.
    pub(super) fn note_fates(&mut self) {
        while let Some((number, fate)) = self.network.poll_fate() {
            if let Some(tap) = &mut self.tap {
                tap.fate(number, fate);
            }
        }
    }

    /// Hands a datagram to the network.
    pub(super) fn send(&mut self, node: usize, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) {
        if let Some(tap) = &mut self.tap {
            tap.sent(self.elapsed, node, self.network.last_sent() + 1, (from, to), &payload);
        }
        self.network.send(self.elapsed, node, from, to, payload);
    }

    /// A signaling message has arrived.
    pub(super) fn tap_signaling(
        &mut self,
        (link, client, address): (LinkId, usize, IpAddr),
        to_server: bool,
        kind: &'static str,
        text: &str,
    ) {
        let Some(tap) = &mut self.tap else { return };
        let Some(server) = self.network.interfaces(super::SERVER).next() else { return };
        let port = FIRST_CLIENT_PORT + (link.0 % 10_000) as u16;
        let client = (client, SocketAddr::new(address, port));
        let server = (super::SERVER, SocketAddr::new(server, SIGNALING_PORT));
        let (from, to) = if to_server { (client, server) } else { (server, client) };
        tap.signaling(self.elapsed, from, to, kind, text);
    }
}
