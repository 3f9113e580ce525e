//! One machine of a world: a transport, its addresses and what it has reported.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rtcmesh_core::id::{LinkId, PeerId, SocketId};
use rtcmesh_core::transport::{Event, Media, Outcome, PeerInfo, Transport};

/// A host with one transport.
#[derive(Debug)]
pub struct Host {
    /// The transport.
    pub transport: Transport,
    /// Everything that it has reported, in order.
    pub events: Vec<Event>,
    /// Everything that it has received, in order.
    pub media: Vec<Media>,
    /// What became of its commands, in order.
    pub outcomes: Vec<Outcome>,
    /// Whether the events and media are fetched; otherwise they wait inside the transport.
    pub fetches: bool,
    pub(crate) ip: IpAddr,
    pub(crate) sockets: BTreeMap<SocketId, SocketAddr>,
    pub(crate) links: BTreeMap<LinkId, LinkId>,
    pub(crate) next_port: u16,
    pub(crate) crashed: bool,
}

impl Host {
    pub(crate) fn new(transport: Transport, ip: IpAddr) -> Self {
        Self {
            transport,
            events: Vec::new(),
            media: Vec::new(),
            outcomes: Vec::new(),
            fetches: true,
            ip,
            sockets: BTreeMap::new(),
            links: BTreeMap::new(),
            next_port: 50_000,
            crashed: false,
        }
    }

    /// The id of its transport.
    pub fn id(&self) -> &PeerId {
        self.transport.peer_id()
    }

    /// Its open sockets with their addresses.
    pub fn sockets(&self) -> impl Iterator<Item = (SocketId, SocketAddr)> + '_ {
        self.sockets.iter().map(|(socket, local)| (*socket, *local))
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
