//! An owned [`IoEvent`]: what happened to a resource, on its way to the machine.

use std::net::{IpAddr, SocketAddr};

use rtcmesh_core::id::{LinkId, SocketId};
use rtcmesh_core::net::IoEvent;
use tungstenite::Utf8Bytes;

/// See [`IoEvent`], variant by variant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Interfaces(Vec<IpAddr>),
    UdpBound { socket: SocketId, local: SocketAddr },
    UdpFailed { socket: SocketId, error: String },
    LinkUp { link: LinkId },
    LinkText { link: LinkId, text: Utf8Bytes },
    LinkDown { link: LinkId, code: Option<u16>, reason: String },
}

impl Report {
    /// As the machine takes it.
    pub(crate) fn as_event(&self) -> IoEvent<'_> {
        match self {
            Self::Interfaces(addresses) => IoEvent::Interfaces(addresses),
            Self::UdpBound { socket, local } => {
                IoEvent::UdpBound { socket: *socket, local: *local }
            }
            Self::UdpFailed { socket, error } => IoEvent::UdpFailed { socket: *socket, error },
            Self::LinkUp { link } => IoEvent::LinkUp { link: *link },
            Self::LinkText { link, text } => IoEvent::LinkText { link: *link, text },
            Self::LinkDown { link, code, reason } => {
                IoEvent::LinkDown { link: *link, code: *code, reason }
            }
        }
    }
}
