//! Sockets with the options that they have on every runtime, bound and non-blocking: an implementation of
//! [`Runtime`](crate::Runtime) registers them with its reactor.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// The receive buffer asked for each UDP socket, in bytes: a second of a 16 Mbit/s stream.
const UDP_RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
/// Connections that wait to be accepted.
const LISTEN_BACKLOG: i32 = 1024;

/// A UDP socket bound to `addr`; port 0 takes any free one. One of IPv6 takes no IPv4. Its receive buffer is of
/// 2 MiB, or the system's limit.
///
/// # Errors
/// The system's.
pub fn udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(addr, Type::DGRAM, Protocol::UDP)?;
    socket.set_recv_buffer_size(UDP_RECEIVE_BUFFER)?;
    // Linux reports twice what it grants (socket(7)).
    let granted = socket.recv_buffer_size()? / if cfg!(target_os = "linux") { 2 } else { 1 };
    if granted < UDP_RECEIVE_BUFFER {
        tracing::debug!(
            granted,
            asked = UDP_RECEIVE_BUFFER,
            "the system limits the UDP receive buffer (net.core.rmem_max on Linux)"
        );
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// A TCP socket that listens at `addr`; port 0 takes any free one. The unspecified IPv6 address takes IPv4 too.
///
/// # Errors
/// The system's.
pub fn listener(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(addr, Type::STREAM, Protocol::TCP)?;
    // A restarted server takes its port back from connections in TIME_WAIT. (On Windows the option
    // means something else, and nothing of the kind is needed.)
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

fn socket(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        // One socket per address: an IPv6 one that took IPv4 too would show mapped addresses.
        socket.set_only_v6(!addr.ip().is_unspecified() || kind == Type::DGRAM)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
