//! The capture of a world, read back: everything is there once, decrypted, with right checksums, and changes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use rtcmesh_core::config::Config;
use rtcmesh_sim::net::Preset;
use rtcmesh_sim::scenario::{Options, Plan, Report, Scenario, run, run_tapped};
use rtcmesh_sim::{World, isolated};

rtcmesh_sim::interpose!();

/// What an application of a scenario sends as one packet of audio, in bytes.
const AUDIO: usize = 80;

/// The server's port of signaling in the file.
const SIGNALING: u16 = 8_088;

/// 2026 began at this time since 1970.
const START: Duration = Duration::from_secs(1_767_225_600);

/// A packet as the file has it.
struct Packet {
    interface: usize,
    at: Duration,
    comment: String,
    protocol: u8,
    ports: (u16, u16),
    /// What is in UDP, or SCTP as a whole.
    payload: Vec<u8>,
}

impl Packet {
    fn is_signaling(&self) -> bool {
        self.protocol == 17 && (self.ports.0 == SIGNALING || self.ports.1 == SIGNALING)
    }

    fn is_rtcp(&self) -> bool {
        self.is_media() && matches!(self.payload[1], 192..=223)
    }

    fn is_media(&self) -> bool {
        self.protocol == 17
            && !self.is_signaling()
            && matches!(self.payload.first(), Some(128..=191))
    }

    /// The payload of RTP, where it is that (RFC 3550, section 5.1).
    fn rtp(&self) -> Option<&[u8]> {
        let is = self.is_media() && !self.is_rtcp();
        let packet = is.then_some(&self.payload)?;
        let mut header = 12 + 4 * usize::from(packet[0] & 15);
        if packet[0] & 0x10 != 0 {
            header += 4 + 4 * usize::from(number16(&packet[header + 2..]));
        }
        packet.get(header..)
    }
}

fn number16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

fn number32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The sum over all 16 bits numbers, with carries added: all ones where a checksum is right (RFC 1071).
fn sum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let total: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    ((total & 0xffff) + (total >> 16)) as u16
}

/// CRC-32C by long division, highest bit first, unlike what wrote it; the bits of each byte lowest first.
fn crc32c(packet: &[u8]) -> u32 {
    let mut remainder = !0_u32;
    for (at, byte) in packet.iter().enumerate() {
        let byte = if (8..12).contains(&at) { 0 } else { *byte };
        remainder ^= u32::from(byte.reverse_bits()) << 24;
        for _ in 0..8 {
            let carry = remainder >> 31;
            remainder = (remainder << 1) ^ (carry * 0x1edc_6f41);
        }
    }
    !remainder.reverse_bits()
}

/// The options of a block.
fn options(mut rest: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while rest.len() >= 4 {
        let code = u16::from_le_bytes([rest[0], rest[1]]);
        let length = usize::from(u16::from_le_bytes([rest[2], rest[3]]));
        if code == 0 {
            break;
        }
        found.push((code, &rest[4..4 + length]));
        rest = &rest[4 + length.next_multiple_of(4)..];
    }
    found
}

fn text(options: &[(u16, &[u8])], code: u16) -> String {
    let value = options.iter().find(|(of, _)| *of == code).expect("it is there").1;
    String::from_utf8(value.to_vec()).expect("it is text")
}

/// Reads a file: the interfaces' names, and all packets, whose headers must be right.
fn read(file: &[u8]) -> (Vec<String>, Vec<Packet>) {
    let (mut names, mut packets) = (Vec::new(), Vec::new());
    let mut rest = file;
    while !rest.is_empty() {
        let (kind, length) = (number32(rest), number32(&rest[4..]) as usize);
        assert_eq!(length % 4, 0);
        assert_eq!(number32(&rest[length - 4..]) as usize, length, "both lengths are equal");
        let body = &rest[8..length - 4];
        match kind {
            0x0a0d_0d0a => {
                assert_eq!(rest.len(), file.len(), "one section");
                assert_eq!(number32(body), 0x1a2b_3c4d);
            }
            1 => {
                assert_eq!(number32(body), 101, "packets of IP");
                names.push(text(&options(&body[8..]), 2));
            }
            6 => {
                let interface = number32(body) as usize;
                let nanos = u64::from(number32(&body[4..])) << 32 | u64::from(number32(&body[8..]));
                let length = number32(&body[12..]) as usize;
                let comment = text(&options(&body[20 + length.next_multiple_of(4)..]), 1);
                let at = Duration::from_nanos(nanos);
                packets.push(unpack(interface, at, comment, &body[20..20 + length]));
            }
            other => panic!("a block of kind {other}"),
        }
        rest = &rest[length..];
    }
    (names, packets)
}

fn unpack(interface: usize, at: Duration, comment: String, packet: &[u8]) -> Packet {
    assert_eq!(packet[0], 0x45, "IPv4 without options");
    assert_eq!(usize::from(number16(&packet[2..])), packet.len());
    let (header, inner) = packet.split_at(20);
    assert_eq!(sum(&[header]), 0xffff, "the header's checksum");
    let protocol = packet[9];
    let ports = (number16(inner), number16(&inner[2..]));
    let payload = if protocol == 17 {
        assert_eq!(usize::from(number16(&inner[4..])), inner.len());
        let length = (inner.len() as u16).to_be_bytes();
        assert_eq!(sum(&[&header[12..20], &[0, 17], &length, inner]), 0xffff, "UDP's checksum");
        inner[8..].to_vec()
    } else {
        assert_eq!(protocol, 132);
        assert_eq!(number32(&inner[8..]), crc32c(inner), "SCTP's checksum");
        inner.to_vec()
    };
    Packet { interface, at, comment, protocol, ports, payload }
}

fn plan(scenario: Scenario, seed: u64, seconds: u64, preset: Option<Preset>) -> Plan {
    let mut options = Options::default();
    options.scenario = Some(scenario);
    options.peers = Some(3);
    options.preset = preset;
    options.duration = Some(Duration::from_secs(seconds));
    Plan::draw(seed, &options)
}

fn captured(plan: &Plan) -> (Report, Vec<u8>) {
    let (report, file) = isolated(plan.seed, || run_tapped(plan, true, &mut |_| {}));
    assert!(report.passed(), "{report}");
    (report, file.expect("it was asked for"))
}

#[test]
fn media_are_there_once_decrypted_and_in_the_order_of_time() {
    let mut plan = plan(Scenario::Talk, 1, 6, None);
    (plan.loss, plan.jitter) = (0.05, Duration::from_millis(5));
    let (report, file) = captured(&plan);
    let (names, packets) = read(&file);
    assert_eq!(names[..4], ["signaling server", "p0", "p1", "p2"]);
    assert!(packets.is_sorted_by_key(|packet| packet.at));
    assert!(packets[0].at >= START);
    assert!(packets.last().is_some_and(|last| last.at <= START + report.elapsed));

    let mut once = BTreeSet::new();
    for packet in packets.iter().filter(|packet| packet.rtp().is_some()) {
        assert!(once.insert(packet.payload[2..12].to_vec()), "sequence number, time and source");
    }
    let audio = packets.iter().filter(|packet| packet.rtp().is_some_and(|rtp| rtp.len() == AUDIO));
    // Each of three talks to two others, 50 packets a second, for 6 s and somewhat more.
    assert!(audio.count() > 6 * 50 * 6 * 8 / 10);
    assert!(packets.iter().filter_map(Packet::rtp).all(|rtp| rtp.len() != AUDIO + 16), "no tag");

    let mut reports = 0;
    for packet in packets.iter().filter(|packet| packet.is_rtcp()) {
        // RFC 3550, section 6.1: each part states its length, and the last one ends with the packet.
        let mut rest = &packet.payload[..];
        while !rest.is_empty() {
            assert_eq!(rest[0] >> 6, 2);
            reports += usize::from(rest[1] == 200);
            rest = &rest[4 + 4 * usize::from(number16(&rest[2..]))..];
        }
    }
    assert!(reports > 10, "sender reports");

    // Every datagram is there: those with data once or more, for their SCTP packets; all others once.
    let datagrams = packets.iter().filter(|packet| !packet.is_signaling());
    assert!(datagrams.clone().count() as u64 >= report.network.sent);
    let others = datagrams.filter(|packet| packet.protocol == 17).count() as u64;
    assert!(others <= report.network.sent);
    assert!(report.network.lost > 0);
    let lost = packets.iter().filter(|packet| packet.comment.ends_with("lost, by chance")).count();
    assert!(lost > 0);
    assert!(lost as u64 <= report.network.lost);
    assert!(packets.iter().any(|packet| packet.comment == "p0 to p1" && packet.interface == 1));
}

#[test]
fn data_are_there_as_sctp_and_signaling_as_text() {
    let (_, file) = captured(&plan(Scenario::Data, 1, 30, Some(Preset::Lan)));
    let (_, packets) = read(&file);
    let mut data = 0;
    for packet in packets.iter().filter(|packet| packet.protocol == 132) {
        // RFC 8841, section 5.1: the usual port. RFC 9260, section 3.2: chunks fill the packet.
        assert_eq!(packet.ports, (5_000, 5_000));
        let mut rest = &packet.payload[12..];
        while !rest.is_empty() {
            data += usize::from(rest[0] == 0 || rest[0] == 64);
            rest = &rest[usize::from(number16(&rest[2..])).next_multiple_of(4)..];
        }
    }
    // One message of 64 KiB takes this many alone.
    assert!(data > 65_536 / 1_200, "{data} chunks of data");
    // What is encrypted after the handshake has epoch 3 of DTLS 1.3 and a header of 5 bytes (RFC 9147, section 4, figure
    // 3). Its acknowledgements and alerts are of 2 bytes and a multiple of 16, while SCTP's packets are of multiples of 4.
    let records: Vec<_> = packets
        .iter()
        .filter(|packet| packet.protocol == 17 && matches!(packet.payload[..], [0x2f, ..]))
        .map(|packet| (packet.payload.len() - 5 - 17) % 16)
        .collect();
    assert!(!records.is_empty());
    assert!(records.iter().all(|over| *over == 2), "data that is still encrypted");
    let texts =
        packets.iter().filter(|packet| packet.is_signaling() && packet.payload.starts_with(b"{"));
    assert!(texts.count() > 10);
    assert!(packets.iter().any(|packet| packet.comment == "signaling server to p0, signaling"));
    assert!(packets.iter().any(|packet| packet.comment == "p0 to signaling server, signaling"));
}

#[test]
fn a_capture_changes_nothing() {
    for (scenario, seed) in [(Scenario::Talk, 3), (Scenario::Mixed, 4)] {
        let plan = plan(scenario, seed, 6, None);
        let plain = isolated(seed, || run(&plan, &mut |_| {}));
        let (report, first) = captured(&plan);
        assert_eq!(plain.digest, report.digest);
        assert!(captured(&plan).1 == first, "the file is the same byte for byte");
    }
}

#[test]
fn a_capture_is_bounded_and_says_so() {
    const LIMIT: usize = 30_000;
    let mut world = World::new(5);
    assert!(world.take_capture().is_none());
    world.capture(LIMIT);
    for name in ["a", "b"] {
        world.add(Config::new(World::URL).peer_id(name));
    }
    world.start_all();
    assert!(!world.capture_is_full());
    assert!(world.run_until(World::all_connected));
    world.run(Duration::from_secs(60));
    assert!(world.capture_is_full());
    let file = world.take_capture().expect("it was asked for");
    assert!((LIMIT / 2..=LIMIT).contains(&file.len()), "{}", file.len());
    assert!(read(&file).1.len() > 20);
    assert!(world.take_capture().is_none());
}
