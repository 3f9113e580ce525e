//! What passes between the core and the world: datagrams, and resources asked for as data.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

pub use crate::id::{LinkId, SocketId};
use crate::trace::state::saved;

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

saved!(struct Transmit { socket, remote, payload });

/// A resource that the core asks its adapter for. Each is answered by an [`IoEvent`], but sending and closing.
///
/// Its `Debug` form shows neither texts, since one of them holds a token and a session key, nor URLs, which
/// may hold a password.
#[derive(Clone, PartialEq, Eq)]
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

saved!(enum IoCommand {
    WatchInterfaces, BindUdp { socket, addr }, CloseUdp { socket }, OpenLink { link, url },
    SendLink { link, text }, CloseLink { link, code },
});

impl fmt::Debug for IoCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WatchInterfaces => f.write_str("WatchInterfaces"),
            Self::BindUdp { socket, addr } => write!(f, "BindUdp({socket}, {addr})"),
            Self::CloseUdp { socket } => write!(f, "CloseUdp({socket})"),
            Self::OpenLink { link, .. } => write!(f, "OpenLink({link})"),
            Self::SendLink { link, text } => write!(f, "SendLink({link}, {} bytes)", text.len()),
            Self::CloseLink { link, code } => write!(f, "CloseLink({link}, {code})"),
        }
    }
}

/// The adapter's report about a resource. Its `Debug` form does not show the texts of links, one of which
/// holds a session key.
#[derive(Clone, Copy)]
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

impl fmt::Debug for IoEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interfaces(addresses) => write!(f, "Interfaces({addresses:?})"),
            Self::UdpBound { socket, local } => write!(f, "UdpBound({socket}, {local})"),
            Self::UdpFailed { socket, error } => write!(f, "UdpFailed({socket}, {error:?})"),
            Self::LinkUp { link } => write!(f, "LinkUp({link})"),
            Self::LinkText { link, text } => write!(f, "LinkText({link}, {} bytes)", text.len()),
            Self::LinkDown { link, code, reason } => {
                write!(f, "LinkDown({link}, {code:?}, {reason:?})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let link = LinkId(7);
        let text = r#"{"session_key":"secret","token":"secret"}"#;
        let commands = [
            IoCommand::SendLink { link, text: text.to_owned() },
            IoCommand::OpenLink { link, url: "wss://user:secret@host/secret?secret".to_owned() },
        ];
        let printed = format!("{commands:?} {:?}", IoEvent::LinkText { link, text });
        assert!(!printed.contains("secret") && printed.contains("41 bytes"), "{printed}");
    }
}
