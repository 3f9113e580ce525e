//! IP packets with UDP or SCTP inside, with their checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Protocol numbers (IANA).
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// The longest payload: what fits into IPv4 with UDP, in bytes.
const MAX_PAYLOAD: usize = 65_535 - 20 - 8;

/// A UDP datagram (RFC 768) in an IP packet. A payload that is too long is cut.
pub(super) fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_PAYLOAD)];
    let length = (8 + payload.len()) as u16;
    let address = of_family(from.ip(), to.ip());
    let mut packet = ip(from.ip(), address, UDP, length);
    let start = packet.len();
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    let pseudo = pseudo(from.ip(), address, UDP, length);
    // A sum of zero is sent as its complement: zero says that there is none.
    let sum = match checksum(&[&pseudo, &packet[start..]]) {
        0 => 0xffff,
        sum => sum,
    };
    packet[start + 6..start + 8].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// An SCTP packet (RFC 9260) straight in an IP packet. Where its checksum is left out, since DTLS has a better one
/// (RFC 9653), it is put in.
pub(super) fn sctp(from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_PAYLOAD)];
    let mut packet = ip(from, of_family(from, to), SCTP, payload.len() as u16);
    let start = packet.len();
    packet.extend(payload);
    let sctp = &mut packet[start..];
    if sctp.get(8..12) == Some(&[0; 4]) {
        let sum = crc32c(sctp);
        sctp[8..12].copy_from_slice(&sum.to_le_bytes());
    }
    packet
}

/// The receiver's address; where it is of the other version than the sender's, so that nothing can get there, the unspecified
/// one.
fn of_family(from: IpAddr, to: IpAddr) -> IpAddr {
    match from {
        _ if from.is_ipv4() == to.is_ipv4() => to,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The header: RFC 791, section 3.1, or RFC 8200, section 3.
fn ip(from: IpAddr, to: IpAddr, protocol: u8, length: u16) -> Vec<u8> {
    const HOPS: u8 = 64;
    if from.is_ipv6() {
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(length.to_be_bytes());
        header.extend([protocol, HOPS]);
        header.extend(octets(from));
        header.extend(octets(to));
        return header;
    }
    let mut header = vec![0x45, 0];
    header.extend((20 + length).to_be_bytes());
    // No identification, as it is not to be fragmented (RFC 6864, section 4.1).
    header.extend([0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
    header.extend(octets(from));
    header.extend(octets(to));
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// What else a checksum covers: RFC 768, and RFC 8200, section 8.1.
pub(super) fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: u16) -> Vec<u8> {
    let mut header = [octets(from), octets(to)].concat();
    header.extend([0, protocol]);
    header.extend(length.to_be_bytes());
    header
}

/// The internet's checksum (RFC 1071). All parts but the last have an even length.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// SCTP's checksum (RFC 9260, appendix A), in which the four bytes of the checksum itself are taken as zero.
pub(super) fn crc32c(packet: &[u8]) -> u32 {
    /// The Castagnoli polynomial, lowest bit first.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let byte = |crc: u32, byte: u8| {
        let crc = crc ^ u32::from(byte);
        (0..8).fold(crc, |crc, _| crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 })
    };
    let bytes = packet.iter().enumerate();
    !bytes.fold(!0, |crc, (at, of)| byte(crc, if (8..12).contains(&at) { 0 } else { *of }))
}
