//! A world of transports in virtual time: several meshes' machines, the signaling server's machine and the
//! network between them in one thread, without sockets, clocks or sleeping.
//!
//! ```
//! use rtcmesh_core::config::Config;
//! use rtcmesh_sim::World;
//!
//! let mut world = World::new(1);
//! let alice = world.add(Config::new(World::URL).peer_id("alice"));
//! let bob = world.add(Config::new(World::URL).peer_id("bob"));
//! world.start_all();
//! assert!(world.run_until(|world| world.connected(alice, bob) && world.connected(bob, alice)));
//! ```
//!
//! One seed gives one history, byte for byte, where the world runs within [`isolated`], in a binary that calls
//! [`interpose!`]; the digest of a [`World`] tells whether two runs were equal.
//!
//! [`scenario`] draws whole worlds from seeds, with everything that happens in them, and checks them against a model.

#![forbid(unsafe_code)]

mod certificate;
mod clock;
mod digest;
mod host;
mod hostile;
pub mod interpose;
pub mod net;
mod node;
pub mod scenario;
mod tap;
mod world;

pub use clock::ClockError;
pub use digest::{Digest, Mode, Record};
pub use host::{Attachment, Family, Host, Setup};
pub use hostile::hostile_datagrams;
pub use interpose::isolated;
pub use node::Node;
pub use world::{Held, World};
