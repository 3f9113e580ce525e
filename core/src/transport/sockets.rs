//! The UDP sockets: one per address that may be a host candidate (RFC 8445, section 5.1.1.1).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::id::SocketId;
use crate::net::IoCommand;
use crate::trace::state::saved;

/// Signaling starts when all sockets are bound, or after this long at the latest.
const GATHERING_TIMEOUT: Duration = Duration::from_secs(1);

/// More addresses than any machine should offer: each multiplies the checks of every connection.
const MAX_SOCKETS: usize = 16;

#[derive(Debug)]
pub(super) struct Sockets {
    loopback: bool,
    next: u64,
    sockets: BTreeMap<SocketId, Socket>,
    /// Bound addresses in the order of binding: few, and looked at for each datagram.
    bound: Vec<(SocketAddr, SocketId)>,
    /// Addresses whose sockets are gone, and connections have not been told.
    gone: Vec<SocketAddr>,
    /// The addresses are told in their order already: of masked ones, that of the originals.
    pub(super) ordered: bool,
    reported: bool,
    give_up_at: Option<Instant>,
}

saved!(struct Sockets { loopback, next, sockets, bound, gone, ordered, reported, give_up_at });

#[derive(Debug)]
struct Socket {
    wanted: IpAddr,
    pending: bool,
}

saved!(struct Socket { wanted, pending });

impl Sockets {
    /// `loopback`: offered even where there are other addresses.
    pub(super) const fn new(loopback: bool) -> Self {
        Self {
            loopback,
            next: 0,
            sockets: BTreeMap::new(),
            bound: Vec::new(),
            gone: Vec::new(),
            ordered: false,
            reported: false,
            give_up_at: None,
        }
    }

    /// Asks for the addresses.
    pub(super) fn start(&mut self, now: Instant) -> IoCommand {
        self.give_up_at = Some(now + GATHERING_TIMEOUT);
        self.reported = false;
        IoCommand::WatchInterfaces
    }

    /// The addresses that are up now: binds new ones and closes those that are gone.
    pub(super) fn interfaces(&mut self, addresses: &[IpAddr]) -> Vec<IoCommand> {
        self.reported = true;
        let wanted = self.choose(addresses);
        let mut commands = Vec::new();
        let gone: Vec<SocketId> = self
            .sockets
            .iter()
            .filter(|(_, socket)| !wanted.contains(&socket.wanted))
            .map(|(id, _)| *id)
            .collect();
        for socket in gone {
            self.forget(socket);
            commands.push(IoCommand::CloseUdp { socket });
        }
        for ip in wanted {
            if self.sockets.values().any(|socket| socket.wanted == ip) {
                continue;
            }
            let socket = SocketId(self.next);
            self.next += 1;
            self.sockets.insert(socket, Socket { wanted: ip, pending: true });
            commands.push(IoCommand::BindUdp { socket, addr: SocketAddr::new(ip, 0) });
        }
        commands
    }

    fn choose(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let mut usable: Vec<IpAddr> = addresses.iter().copied().filter(is_usable).collect();
        if !self.ordered {
            usable.sort();
        }
        usable.dedup();
        let only_loopback = usable.iter().all(IpAddr::is_loopback);
        usable.retain(|ip| self.loopback || only_loopback || !ip.is_loopback());
        usable.truncate(MAX_SOCKETS);
        usable
    }

    /// A socket is bound: gives its address where it is one that is still wanted.
    pub(super) fn bound(&mut self, id: SocketId, local: SocketAddr) -> Option<SocketAddr> {
        let socket = self.sockets.get_mut(&id)?;
        if !std::mem::replace(&mut socket.pending, false) {
            return None;
        }
        self.bound.push((local, id));
        Some(local)
    }

    /// A socket could not be bound, or broke. Its address is tried again when the interfaces change.
    pub(super) fn forget(&mut self, id: SocketId) {
        self.sockets.remove(&id);
        let gone = self.bound.iter().filter(|(_, socket)| *socket == id).map(|(local, _)| *local);
        self.gone.extend(gone);
        self.bound.retain(|(_, socket)| *socket != id);
    }

    /// The addresses of ours that are gone, once those that come in their place are there: connections are to know the
    /// new ones first, so that they need not be without any.
    pub(super) fn take_gone(&mut self) -> Vec<SocketAddr> {
        if self.gone.is_empty() || self.sockets.values().any(|socket| socket.pending) {
            return Vec::new();
        }
        std::mem::take(&mut self.gone)
    }

    /// The socket of a local address.
    pub(super) fn socket(&self, local: SocketAddr) -> Option<SocketId> {
        self.bound.iter().find(|(address, _)| *address == local).map(|(_, id)| *id)
    }

    /// The local address of a socket.
    pub(super) fn local(&self, socket: SocketId) -> Option<SocketAddr> {
        self.bound.iter().find(|(_, id)| *id == socket).map(|(address, _)| *address)
    }

    /// All bound addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.bound.iter().map(|(address, _)| *address)
    }

    /// Once, when gathering is over: every socket is bound or refused, or time is up.
    pub(super) fn gathered(&mut self, now: Instant) -> bool {
        let Some(give_up_at) = self.give_up_at else { return false };
        let complete = self.reported && self.sockets.values().all(|socket| !socket.pending);
        if !complete && now < give_up_at {
            return false;
        }
        self.give_up_at = None;
        true
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.give_up_at
    }

    /// Closes all.
    pub(super) fn close(&mut self) -> Vec<IoCommand> {
        self.bound.clear();
        self.gone.clear();
        self.give_up_at = None;
        let sockets = std::mem::take(&mut self.sockets);
        sockets.into_keys().map(|socket| IoCommand::CloseUdp { socket }).collect()
    }
}

/// Addresses that other machines can reach without knowing our interfaces' names: link-local IPv6 ones
/// need a zone that a candidate cannot carry, and RFC 8445, section 5.1.1.1, excludes deprecated kinds.
fn is_usable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => {
            let site_local = v6.segments()[0] & 0xffc0 == 0xfec0;
            !v6.is_unspecified()
                && !v6.is_multicast()
                && !v6.is_unicast_link_local()
                && !site_local
                && v6.to_ipv4_mapped().is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_is_offered_only_where_it_helps() {
        let all = ips(&["127.0.0.1", "::1", "10.0.0.2", "fe80::1", "2001:db8::1", "fec0::1"]);
        let routed = ips(&["10.0.0.2", "2001:db8::1"]);
        assert_eq!(Sockets::new(false).choose(&all), routed);
        let with_loopback = ips(&["10.0.0.2", "127.0.0.1", "::1", "2001:db8::1"]);
        assert_eq!(Sockets::new(true).choose(&all), with_loopback);
        let alone = ips(&["127.0.0.1", "::1"]);
        assert_eq!(Sockets::new(false).choose(&alone), alone);
    }

    #[test]
    fn gathering_ends_once_when_all_is_bound_or_refused() {
        let now = Instant::now();
        let mut sockets = Sockets::new(false);
        sockets.start(now);
        assert!(!sockets.gathered(now));
        let commands = sockets.interfaces(&ips(&["10.0.0.2", "10.0.0.3"]));
        assert_eq!(commands.len(), 2);
        let local = "10.0.0.2:7000".parse().unwrap();
        assert_eq!(sockets.bound(SocketId(0), local), Some(local));
        assert_eq!(sockets.bound(SocketId(0), local), None, "an adapter that repeats itself");
        assert!(!sockets.gathered(now));
        sockets.forget(SocketId(1));
        assert!(sockets.gathered(now) && !sockets.gathered(now));
        assert_eq!(sockets.socket(local), Some(SocketId(0)));
        // Everything is asked for again after the end.
        sockets.close();
        sockets.start(now);
        assert!(!sockets.gathered(now));
    }

    #[test]
    fn an_adapter_that_never_answers_only_delays() {
        let now = Instant::now();
        let mut sockets = Sockets::new(false);
        sockets.start(now);
        assert!(!sockets.gathered(now));
        assert!(sockets.gathered(sockets.poll_timeout().unwrap()));
    }

    #[test]
    fn addresses_that_vanish_are_closed_and_new_ones_bound() {
        let mut sockets = Sockets::new(false);
        sockets.interfaces(&ips(&["10.0.0.2"]));
        let local = "10.0.0.2:7000".parse().unwrap();
        sockets.bound(SocketId(0), local);
        let commands = sockets.interfaces(&ips(&["10.0.0.9"]));
        let closed = IoCommand::CloseUdp { socket: SocketId(0) };
        let addr = "10.0.0.9:0".parse().unwrap();
        assert_eq!(commands, [closed, IoCommand::BindUdp { socket: SocketId(1), addr }]);
        assert_eq!(sockets.socket(local), None);
        assert!(sockets.interfaces(&ips(&["10.0.0.9"])).is_empty());
    }
}
