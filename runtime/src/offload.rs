//! Many datagrams in one call of the system: the segmentation offloads of Linux for UDP (udp(7)), for any
//! runtime's socket.
//!
//! By quinn-udp, of which only what pays is used. Measured on loopback, 10 datagrams of 1,200 bytes, a
//! datagram: sending one by one 2.7 µs, in one call 0.66, and 0.32 to a socket that receives them in one;
//! receiving one by one 0.45, coalesced 0.15. Its receiving without coalescing (`recvmmsg`) saves nothing, and
//! a socket set up for coalescing needs 1.4 µs for a single datagram instead of 0.9.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
#[cfg(unix)]
use std::os::fd::AsFd as AsSystemSocket;
#[cfg(windows)]
use std::os::windows::io::AsSocket as AsSystemSocket;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use crate::runtime::Received;

/// What sends and receives many datagrams at once on one socket. A runtime's socket has one and lends itself
/// to it, inside of what the reactor calls `try_io` or the like.
#[derive(Debug)]
pub struct SegmentOffload {
    local: IpAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Most sockets never need it.
    Untried,
    Ready(UdpSocketState),
    Unsupported,
}

impl SegmentOffload {
    /// For a socket that is bound to this address.
    pub fn new(local: IpAddr) -> Self {
        Self { local, state: State::Untried }
    }

    /// How many datagrams [`send`](Self::send) takes; 1 where there is no such offload.
    pub fn max_segments(&mut self) -> usize {
        self.state().map_or(1, UdpSocketState::max_gso_segments)
    }

    /// Sends datagrams of `segment` bytes, the last of which may be shorter, joined in `payload`: all or none.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them. Devices that cannot do it are known by `EIO`, and sizes above the
    /// path's by `EINVAL`: [`max_segments`](Self::max_segments) is 1 from then on.
    pub fn send(
        &mut self,
        socket: &impl AsSystemSocket,
        remote: SocketAddr,
        segment: usize,
        payload: &[u8],
    ) -> io::Result<()> {
        let state = self.state().ok_or(io::ErrorKind::Unsupported)?;
        let transmit = Transmit {
            destination: remote,
            ecn: None,
            contents: payload,
            segment_size: Some(segment),
            src_ip: None,
        };
        state.try_send(socket.into(), &transmit)
    }

    /// Lets the system coalesce what `socket` receives, for good: it is to be read by
    /// [`receive`](Self::receive) alone from now on. `false`: it cannot, and nothing has changed.
    ///
    /// quinn-udp also has such a socket probe for the path's MTU, for QUIC: what is too long for the path is dropped there
    /// (`IP_PMTUDISC_PROBE`, ip(7)). WebRTC sends no such probes, so that is as before afterwards: a path over a tunnel
    /// gets fragments. What stays is `IPV6_DONTFRAG`, which concerns only datagrams above 1,232 bytes: each IPv6 path
    /// takes up to those (RFC 8200, section 5), and the engine packs for 1,150. On Windows datagrams of such a socket
    /// are never split.
    pub fn coalesce(&mut self, socket: &impl AsSystemSocket) -> bool {
        if self.state().is_none_or(|state| state.gro_segments() <= 1) {
            return false;
        }
        // It succeeded on a socket of the same kind. Where it fails here, it may have come as far as the
        // option that matters: `receive` takes both.
        let discovery = path_mtu::Discovery::of(socket);
        if let Err(error) = UdpSocketState::new(socket.into()) {
            tracing::debug!(%error, "a UDP socket that could not be set up wholly");
        }
        discovery.restore(socket);
        true
    }

    /// Receives a datagram, or some of one sender that the system has coalesced, into `buffer`.
    ///
    /// # Errors
    /// The system's, `WouldBlock` among them.
    pub fn receive(
        &mut self,
        socket: &impl AsSystemSocket,
        buffer: &mut [u8],
    ) -> io::Result<Received> {
        let state = self.state().ok_or(io::ErrorKind::Unsupported)?;
        let mut meta = [RecvMeta::default()];
        state.recv(socket.into(), &mut [IoSliceMut::new(buffer)], &mut meta)?;
        let [meta] = meta;
        Ok(Received { remote: meta.addr, length: meta.len, segment: meta.stride })
    }

    /// The state, made at the first need. From a socket of its own, since to be made it sets options, and those
    /// of receiving are of use only to a socket that coalesces.
    fn state(&mut self) -> Option<&UdpSocketState> {
        if matches!(self.state, State::Untried) {
            let made = UdpSocket::bind((self.local, 0))
                .and_then(|socket| UdpSocketState::new((&socket).into()));
            self.state = match made {
                Ok(state) => State::Ready(state),
                Err(error) => {
                    tracing::debug!(%error, "no segmentation offload");
                    State::Unsupported
                }
            };
        }
        match &self.state {
            State::Ready(state) => Some(state),
            State::Untried | State::Unsupported => None,
        }
    }
}

/// Whether the system keeps to the path's MTU, and splits what is longer.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod path_mtu {
    use std::io;
    use std::os::fd::AsFd;

    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu_discover, ipv6_mtu_discover,
        set_ip_mtu_discover, set_ipv6_mtu_discover,
    };

    /// Of both families: a socket of IPv6 has the options of IPv4 too.
    #[derive(Debug, PartialEq)]
    pub(super) struct Discovery {
        v4: Option<Ipv4PathMtuDiscovery>,
        v6: Option<Ipv6PathMtuDiscovery>,
    }

    impl Discovery {
        /// That of a socket now.
        pub(super) fn of(socket: &impl AsFd) -> Self {
            Self { v4: ip_mtu_discover(socket).ok(), v6: ipv6_mtu_discover(socket).ok() }
        }

        /// Gives it back to the socket.
        pub(super) fn restore(self, socket: &impl AsFd) {
            let v4 = self.v4.map_or(Ok(()), |value| set_ip_mtu_discover(socket, value));
            let v6 = self.v6.map_or(Ok(()), |value| set_ipv6_mtu_discover(socket, value));
            if let Err(error) = v4.and(v6) {
                let error = io::Error::from(error);
                tracing::debug!(%error, "a UDP socket that does not split datagrams");
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod path_mtu {
    /// Elsewhere it stays as it becomes.
    pub(super) struct Discovery;

    impl Discovery {
        pub(super) fn of<S>(_: &S) -> Self {
            Self
        }

        pub(super) fn restore<S>(self, _: &S) {}
    }
}

#[cfg(test)]
mod tests {
    use std::env::consts::OS;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn socket() -> UdpSocket {
        UdpSocket::bind((LOOPBACK, 0)).unwrap()
    }

    /// Ten of 1,200 bytes and a shorter one, no two alike.
    fn train() -> Vec<Vec<u8>> {
        (0..11).map(|n| vec![n; if n < 10 { 1200 } else { 700 }]).collect()
    }

    #[test]
    fn a_train_arrives_as_the_datagrams_that_it_is_made_of() {
        let (near, far) = (socket(), socket());
        let mut offload = SegmentOffload::new(LOOPBACK);
        if offload.max_segments() == 1 {
            return assert_ne!(OS, "linux", "it has had it since 4.18");
        }
        let to = far.local_addr().unwrap();
        offload.send(&near, to, 1200, &train().concat()).unwrap();
        let mut buffer = [0; 2048];
        for datagram in train() {
            let (length, remote) = far.recv_from(&mut buffer).unwrap();
            assert_eq!(remote, near.local_addr().unwrap());
            assert!(buffer[..length] == datagram, "datagram {}", datagram[0]);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_coalesces_still_splits_what_is_too_long_for_the_path() {
        for address in [LOOPBACK, std::net::Ipv6Addr::LOCALHOST.into()] {
            // Not every machine has IPv6.
            let Ok(socket) = UdpSocket::bind((address, 0)) else { continue };
            let before = path_mtu::Discovery::of(&socket);
            assert!(SegmentOffload::new(address).coalesce(&socket), "{address}");
            assert_eq!(path_mtu::Discovery::of(&socket), before, "{address}");
        }
    }

    #[test]
    fn what_the_system_coalesced_is_told_apart() {
        let (near, far) = (socket(), socket());
        let (mut sender, mut receiver) =
            (SegmentOffload::new(LOOPBACK), SegmentOffload::new(LOOPBACK));
        if !receiver.coalesce(&far) {
            return assert_ne!(OS, "linux", "it has had it since 5.0");
        }
        let to = far.local_addr().unwrap();
        sender.send(&near, to, 1200, &train().concat()).unwrap();
        // Single ones and empty ones as well.
        near.send_to(&[99], to).unwrap();
        near.send_to(&[], to).unwrap();
        let mut expected = train();
        expected.extend([vec![99], Vec::new()]);
        let (mut got, mut calls) = (Vec::new(), 0);
        let mut buffer = vec![0; 65_535];
        while got.len() < expected.len() {
            match receiver.receive(&far, &mut buffer) {
                Ok(received) => {
                    calls += 1;
                    assert_eq!(received.remote, near.local_addr().unwrap());
                    let bytes = &buffer[..received.length];
                    got.extend(bytes.chunks(received.segment.max(1)).map(<[u8]>::to_vec));
                    if bytes.is_empty() {
                        got.push(Vec::new());
                    }
                }
                // It was made non-blocking.
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(got == expected, "other datagrams than were sent");
        assert_eq!(calls, 3, "nothing was coalesced");
    }
}
