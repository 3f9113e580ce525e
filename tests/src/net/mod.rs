//! The network of a simulated world: places behind NATs, links that lose and reorder, firewalls,
//! partitions, and servers of STUN and TURN as machines. Pure: virtual time and seeded randomness alone.
//!
//! A datagram takes this way, each step at its own virtual time: the firewall and the up link of its
//! sender's interface; the NATs around it, outwards, as far as needed; the path of its own between the two
//! hosts, where there is one; the receiver's NATs inwards; the firewall and the down link of the
//! receiver's interface. The receiver sees the translated address of the sender.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! use rtcmesh_core::rng::Seed;
//! use rtcmesh_sim::net::{Network, Preset};
//!
//! let mut network = Network::new(Seed::from_number(1));
//! let home = network.add_preset_host(0, Preset::HomeWifi);
//! let site = network.add_site(&[]);
//! let server = network.add_interface(1, site, Default::default(), false);
//! let (from, to) = (SocketAddr::new(home, 5000), SocketAddr::new(server, 3478));
//! network.send(Duration::ZERO, 0, from, to, b"hello".to_vec());
//! let mut arrivals = Vec::new();
//! while let Some(now) = network.next() {
//!     arrivals.extend(network.poll(now));
//! }
//! assert_eq!((arrivals[0].host, arrivals[0].to), (1, to));
//! assert_ne!(arrivals[0].from, from, "a NAT is between them");
//! ```

mod firewall;
mod link;
mod nat;
mod network;
mod preset;
mod reach;
mod stats;
mod stream;
pub mod stun;
mod topology;
pub mod turn;

pub use firewall::Firewall;
pub use link::{Jitter, LinkConfig, Loss};
pub use nat::{Behaviour, Filtering, Mapping, NatConfig, PortAssignment};
pub(crate) use network::Fate;
pub use network::{Access, AccessConfig, Arrival, Network};
pub use preset::{Preset, UnknownPreset};
pub use stats::{Lost, NetStats};
pub use stun::{Outgoing, StunServer, hostile_stun};
pub use topology::{Realm, SiteId};
pub use turn::{TurnConfig, TurnServer, hostile_turn};

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
