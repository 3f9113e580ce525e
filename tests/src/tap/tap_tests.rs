//! Tests of the capture's parts: checksums by published vectors, and what comments say. Whole files: tests/tests/capture.rs.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::packet::{checksum, crc32c, pseudo};
use super::*;

#[test]
fn crc32c_is_that_of_the_rfc() {
    // RFC 3720, appendix B.4: 32 zeros.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    // The field itself does not count.
    let mut packet = [0; 32];
    packet[8..12].copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(crc32c(&packet), 0x8a91_36aa);
}

#[test]
fn the_checksum_is_that_of_the_rfc() {
    // RFC 1071, section 3: the sum of these is ddf2.
    assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    assert_eq!(checksum(&[&[0x01, 0x02, 0x03]]), !(0x0102 + 0x0300));
}

#[test]
fn packets_have_right_headers_in_both_versions() {
    let v4 = [1, 2].map(|n| SocketAddr::from((Ipv4Addr::new(10, 0, 0, n), 5_000)));
    let v6 = [1, 2].map(|n| SocketAddr::from((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n), 5_000)));
    for (from, to, header) in [(v4[0], v4[1], 20), (v6[0], v6[1], 40), (v4[0], v6[0], 20)] {
        for payload in [&b""[..], b"odd", b"even"] {
            let packet = udp(from, to, payload);
            assert_eq!(packet.len(), header + 8 + payload.len());
            if header == 20 {
                assert_eq!(checksum(&[&packet[..20]]), 0);
            }
            let receiver =
                if header == 40 || to.is_ipv4() { to.ip() } else { Ipv4Addr::UNSPECIFIED.into() };
            let pseudo = pseudo(from.ip(), receiver, 17, (8 + payload.len()) as u16);
            assert_eq!(checksum(&[&pseudo, &packet[header..]]), 0, "{from} {to} {payload:?}");
        }
    }
    assert_eq!(udp(v4[0], v4[1], &[0; 70_000]).len(), 65_535);
    assert_eq!(sctp(v6[0].ip(), v6[1].ip(), &[0; 3]).len(), 43, "too short for a checksum");
}

#[test]
fn comments_say_what_became_of_it() {
    let mut course = Course::default();
    assert_eq!(course.comment("a", None), "a: under way at the end");
    course.lost = Some(Lost::NatFilter);
    assert_eq!(course.comment("a", None), "a: lost, a NAT did not let it in");
    (course.doubled, course.damaged) = (true, true);
    assert_eq!(course.comment("a", Some("b")), "a to b, doubled on the way, damaged on the way");
}
