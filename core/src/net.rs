//! What passes between the core and the world: datagrams, and resources asked for as data.

use std::net::{IpAddr, SocketAddr};

pub use crate::id::{LinkId, SocketId};

/// A received UDP datagram, borrowed from the adapter's buffer.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The socket it came in on.
    pub socket: SocketId,
    /// The sender's address.
    pub remote: SocketAddr,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// A UDP datagram to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The socket to send it from.
    pub socket: SocketId,
    /// Where to.
    pub remote: SocketAddr,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A resource that the core asks its adapter for. Each is answered by an [`IoEvent`], but the closing ones.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoCommand {
    /// Report the addresses of the interfaces that are up now, and again whenever they change:
    /// [`IoEvent::Interfaces`].
    WatchInterfaces,
    /// Bind a UDP socket to this address (port 0: any): [`IoEvent::UdpBound`] or [`IoEvent::UdpFailed`].
    BindUdp {
        /// The name that the socket will have.
        socket: SocketId,
        /// The address of an interface, never the unspecified one.
        addr: SocketAddr,
    },
    /// Close a socket.
    CloseUdp {
        /// Which.
        socket: SocketId,
    },
    /// Open a WebSocket (`ws:` or `wss:`): [`IoEvent::LinkUp`] or [`IoEvent::LinkDown`].
    OpenLink {
        /// The name that the link will have.
        link: LinkId,
        /// The URL.
        url: String,
    },
    /// Send a text frame.
    SendLink {
        /// On which link.
        link: LinkId,
        /// The text.
        text: String,
    },
    /// Close a link, after what was queued on it has been sent. It is answered by no event.
    CloseLink {
        /// Which.
        link: LinkId,
        /// The WebSocket close code (RFC 6455, section 7.4): 1000 or 1001 means leaving.
        code: u16,
    },
}

/// The adapter's report about a resource.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum IoEvent<'a> {
    /// The addresses of all interfaces that are up, loopback included.
    Interfaces(&'a [IpAddr]),
    /// A socket is bound.
    UdpBound {
        /// Which.
        socket: SocketId,
        /// Its address, with the port that it got.
        local: SocketAddr,
    },
    /// A socket could not be bound, or broke.
    UdpFailed {
        /// Which.
        socket: SocketId,
        /// The system's words.
        error: &'a str,
    },
    /// A link is open.
    LinkUp {
        /// Which.
        link: LinkId,
    },
    /// A text frame arrived.
    LinkText {
        /// On which link.
        link: LinkId,
        /// The text.
        text: &'a str,
    },
    /// A link could not be opened, was closed by the other side, or broke.
    LinkDown {
        /// Which.
        link: LinkId,
        /// The close code (RFC 6455, section 7.4), where the other side sent one.
        code: Option<u16>,
        /// Why, for logs and errors.
        reason: &'a str,
    },
}
