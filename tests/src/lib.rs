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

mod host;
mod hostile;
mod network;
mod world;

pub use host::Host;
pub use hostile::hostile_datagrams;
pub use world::World;
