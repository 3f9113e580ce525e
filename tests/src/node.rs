//! What else may live in a world: anything that speaks the sans-IO verbs.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

/// A machine on a host of its own: a STUN or TURN server, another implementation, an application.
///
/// It is driven as a transport is: after each call its datagrams are fetched, and it is called again when it
/// asks to be. Times are those of its host's clock. Its addresses are those that [`crate::World::add_node`] gave.
pub trait Node: fmt::Debug {
    /// A datagram has come in.
    fn handle_datagram(&mut self, now: Instant, to: SocketAddr, from: SocketAddr, payload: &[u8]);

    /// The time that it asked for has come. A call before that must do no harm.
    fn handle_timeout(&mut self, now: Instant);

    /// When it wants to be called; `None`: only when something comes in.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The next datagram to be sent; `None` ends it until something else happens.
    fn poll_transmit(&mut self) -> Option<Outgoing>;
}

/// A datagram that a [`Node`] sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// From which of its addresses.
    pub from: SocketAddr,
    /// Where to.
    pub to: SocketAddr,
    /// Its bytes.
    pub payload: Vec<u8>,
}
