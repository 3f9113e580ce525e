//! One machine of a world: a transport, its addresses and what it has reported.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtcmesh_core::id::{LinkId, PeerId, SocketId};
use rtcmesh_core::transport::{Event, Media, Outcome, PeerInfo, Transport};

use crate::clock::{ClockError, HostClock};
use crate::net::{Access, LinkConfig, Preset, SiteId};

/// Where a host is, and how its clock goes.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Setup {
    /// How it is attached to the network. The default: a public address, and nothing in its way.
    pub attachment: Attachment,
    /// Which versions of IP it has.
    pub family: Family,
    /// How its clocks differ from the world's.
    pub clock: ClockError,
}

/// Which versions of IP a host has at a place. Signaling is reached with each (as through NAT64).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// Both.
    Dual,
    /// IPv6.
    V6,
}

impl Family {
    pub(crate) const fn has_v4(self) -> bool {
        !matches!(self, Self::V6)
    }

    pub(crate) const fn has_v6(self) -> bool {
        !matches!(self, Self::V4)
    }
}

/// How a host is attached to the network.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Attachment {
    /// At a public address, over a line without delay.
    #[default]
    Public,
    /// As this preset says.
    Preset(Preset),
    /// At this place of the network, with this access.
    At(SiteId, Box<Access>),
}

/// A line without delay, loss or limit, and no firewall.
pub(crate) fn perfect() -> Access {
    let link = LinkConfig { latency: Duration::ZERO, ..LinkConfig::default() };
    Access { up: link.clone(), down: link, ..Access::default() }
}

impl Setup {
    /// As this preset says.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        Self { attachment: Attachment::Preset(preset), ..Self::default() }
    }

    /// At this place of the network, with this access.
    #[must_use]
    pub fn at(site: SiteId, access: Access) -> Self {
        Self { attachment: Attachment::At(site, Box::new(access)), ..Self::default() }
    }

    /// With these versions of IP.
    #[must_use]
    pub const fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// With clocks that differ from the world's.
    #[must_use]
    pub fn clock(mut self, offset_ms: i64, drift_ppm: f64) -> Self {
        self.clock = ClockError::new(offset_ms, drift_ppm);
        self
    }
}

/// A host with one transport.
#[derive(Debug)]
pub struct Host {
    /// The transport.
    pub transport: Transport,
    /// Everything that it has reported since it was started, in order, as far as it was not taken out.
    pub events: Vec<Event>,
    /// Everything that it has received since, in order, as far as it was not taken out.
    pub media: Vec<Media>,
    /// What became of its commands since, in order, as far as it was not taken out.
    pub outcomes: Vec<Outcome>,
    /// Whether the events and media are fetched; otherwise they wait inside the transport, as where an
    /// application does not read.
    pub fetches: bool,
    pub(crate) clock: HostClock,
    /// Its number in the network.
    pub(crate) node: usize,
    pub(crate) sockets: BTreeMap<SocketId, SocketAddr>,
    pub(crate) by_address: BTreeMap<SocketAddr, SocketId>,
    pub(crate) links: BTreeMap<LinkId, LinkId>,
    pub(crate) watches: bool,
    pub(crate) next_port: u16,
    pub(crate) crashed: bool,
    /// How often another transport has taken this one's place.
    pub(crate) incarnation: u32,
    /// When the transport wants to be called, by the world's time.
    pub(crate) due: Option<Duration>,
    /// When each of the events was fetched, where that is kept.
    pub(crate) times: Vec<Duration>,
    pub(crate) wakes: Wakes,
}

/// So many calls for a deadline within [`Wakes::WINDOW`] are more than any machine needs: its deadlines creep.
const MAX_WAKES: u32 = 20_000;

/// How often a machine was called of late because it had asked to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wakes {
    since: Duration,
    count: u32,
}

impl Wakes {
    const WINDOW: Duration = Duration::from_millis(1);

    /// It is called once more.
    ///
    /// # Panics
    /// Where time hardly goes on between its calls.
    pub(crate) fn count(&mut self, now: Duration, node: usize) {
        if now > self.since + Self::WINDOW {
            *self = Self { since: now, count: 0 };
        }
        self.count += 1;
        let Self { since, count } = *self;
        assert!(
            count < MAX_WAKES,
            "host {node} in the network spins: {count} calls since {since:?}"
        );
    }
}

/// The first port that a host gives out: the first of the dynamic ones (RFC 6335, section 6), rounded.
const FIRST_PORT: u16 = 50_000;

impl Host {
    pub(crate) fn new(transport: Transport, node: usize, clock: HostClock) -> Self {
        Self {
            transport,
            events: Vec::new(),
            media: Vec::new(),
            outcomes: Vec::new(),
            fetches: true,
            clock,
            node,
            sockets: BTreeMap::new(),
            by_address: BTreeMap::new(),
            links: BTreeMap::new(),
            watches: false,
            next_port: FIRST_PORT,
            crashed: false,
            incarnation: 0,
            due: None,
            times: Vec::new(),
            wakes: Wakes::default(),
        }
    }

    /// Another transport takes the place of what ran here.
    pub(crate) fn replace(&mut self, transport: Transport) {
        let next_port = self.next_port;
        let incarnation = self.incarnation + 1;
        *self = Self { incarnation, next_port, ..Self::new(transport, self.node, self.clock) };
    }

    /// A socket at this address; port 0 is any.
    pub(crate) fn bind(&mut self, socket: SocketId, addr: SocketAddr) -> SocketAddr {
        let mut local = addr;
        if local.port() == 0 {
            local.set_port(self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        }
        self.sockets.insert(socket, local);
        self.by_address.insert(local, socket);
        local
    }

    pub(crate) fn close(&mut self, socket: SocketId) {
        if let Some(local) = self.sockets.remove(&socket) {
            self.by_address.remove(&local);
        }
    }

    /// The id of its transport.
    pub fn id(&self) -> &PeerId {
        self.transport.peer_id()
    }

    /// How often another transport has taken the place of the first one here.
    #[must_use]
    pub const fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Whether it is gone without a word.
    #[must_use]
    pub const fn is_crashed(&self) -> bool {
        self.crashed
    }

    /// Its open sockets with their addresses.
    pub fn sockets(&self) -> impl Iterator<Item = (SocketId, SocketAddr)> + '_ {
        self.sockets.iter().map(|(socket, local)| (*socket, *local))
    }

    /// The addresses of its open sockets.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.sockets.values().map(|local| local.ip())
    }

    /// What it knows of a peer.
    pub fn peer(&self, id: &PeerId) -> Option<PeerInfo> {
        self.transport.known_peers().ok()?.into_iter().find(|info| info.peer == *id)
    }

    /// How many of its events are like this.
    pub fn count(&self, like: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| like(event)).count()
    }
}
