//! What else may live in a world: anything that speaks the sans-IO verbs.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::{Outgoing, StunServer, TurnServer};

/// A machine on a host of its own: a STUN or TURN server, another implementation, an application.
///
/// It is driven as a transport is: after each call its datagrams are fetched, and it is called again when it
/// asks to be. Times are those of its host's clock, since the world's start. Its addresses are those that [`crate::World::add_node`] gave.
pub trait Node: fmt::Debug {
    /// A datagram has come in.
    fn handle_datagram(&mut self, now: Duration, to: SocketAddr, from: SocketAddr, payload: &[u8]);

    /// The time that it asked for has come. A call before that must do no harm.
    fn handle_timeout(&mut self, now: Duration);

    /// When it wants to be called; `None`: only when something comes in.
    fn poll_timeout(&self) -> Option<Duration>;

    /// The next datagram to be sent; `None` ends it until something else happens.
    fn poll_transmit(&mut self) -> Option<Outgoing>;
}

/// The servers have the verbs as their own.
macro_rules! server {
    ($($server:ty)*) => {
        $(impl Node for $server {
            fn handle_datagram(
                &mut self,
                now: Duration,
                to: SocketAddr,
                from: SocketAddr,
                payload: &[u8],
            ) {
                Self::handle_datagram(self, now, to, from, payload);
            }

            fn handle_timeout(&mut self, now: Duration) {
                Self::handle_timeout(self, now);
            }

            fn poll_timeout(&self) -> Option<Duration> {
                Self::poll_timeout(self)
            }

            fn poll_transmit(&mut self) -> Option<Outgoing> {
                Self::poll_transmit(self)
            }
        })*
    };
}

server!(StunServer TurnServer);
