//! Reading an Opus packet's headers without decoding it (RFC 6716, section 3).

use std::time::Duration;

/// The longest packet (RFC 6716, section 3.2.5, R5), in units of 0.1 ms.
const MAX_TENTHS: u32 = 1_200;

/// The first byte of a packet (RFC 6716, section 3.1).
#[derive(Debug, Clone, Copy)]
struct Toc(u8);

impl Toc {
    const fn config(self) -> u8 {
        self.0 >> 3
    }

    const fn stereo(self) -> bool {
        self.0 & 0b100 != 0
    }

    /// Whether a SILK layer is in there: the modes SILK-only and hybrid of table 2.
    const fn has_silk(self) -> bool {
        self.config() < 16
    }

    /// The duration of one frame by table 2, in units of 0.1 ms.
    const fn frame_tenths(self) -> u32 {
        let config = self.config();
        match (config, config % 4) {
            (0..12, 0) => 100,
            (0..12, 1) => 200,
            (0..12, 2) => 400,
            (0..12, _) => 600,
            (12..16, step) => 100 << (step % 2),
            (_, step) => 25 << step,
        }
    }
}

/// How many frames a packet has, by the code in the TOC byte and the frame count byte
/// (RFC 6716, section 3.2). `None`: malformed.
fn frame_count(packet: &[u8]) -> Option<u32> {
    match packet.first()? & 0b11 {
        0 => Some(1),
        1 | 2 => Some(2),
        _ => match packet.get(1)? & 0b11_1111 {
            0 => None,
            count => Some(u32::from(count)),
        },
    }
}

/// How much audio an Opus packet carries, from its headers alone (RFC 6716, sections 3.1 and 3.2).
///
/// `None` for what no packet can be: no bytes, no frames, or more than 120 ms of them. The sizes of
/// the frames inside are left to the decoder.
///
/// ```
/// use std::time::Duration;
/// // SILK, narrowband, 20 ms, mono, one frame.
/// assert_eq!(rtcmesh_core::codec::opus_packet_duration(&[0x08]), Some(Duration::from_millis(20)));
/// assert_eq!(rtcmesh_core::codec::opus_packet_duration(&[]), None);
/// ```
pub fn opus_packet_duration(packet: &[u8]) -> Option<Duration> {
    let toc = Toc(*packet.first()?);
    let tenths = toc.frame_tenths() * frame_count(packet)?;
    (tenths <= MAX_TENTHS).then(|| Duration::from_micros(u64::from(tenths) * 100))
}

/// Reads a frame length of one or two bytes at `at` (RFC 6716, section 3.2.1): the length and the
/// offset behind it.
fn frame_length(packet: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = usize::from(*packet.get(at)?);
    if first < 252 {
        return Some((first, at + 1));
    }
    let second = usize::from(*packet.get(at + 1)?);
    Some((second * 4 + first, at + 2))
}

/// How much audio each frame of a packet is (table 2).
#[cfg(feature = "dred")]
pub(super) fn frame_duration(packet: &[u8]) -> Option<Duration> {
    let toc = Toc(*packet.first()?);
    Some(Duration::from_micros(u64::from(toc.frame_tenths()) * 100))
}

/// The bytes of the first frame of a packet (RFC 6716, sections 3.2.2 to 3.2.5). `None`: malformed.
fn first_frame(packet: &[u8]) -> Option<&[u8]> {
    let code = packet.first()? & 0b11;
    let rest = packet.get(1..)?;
    match code {
        0 => Some(rest),
        1 if rest.len() % 2 == 0 => rest.get(..rest.len() / 2),
        1 => None,
        2 => {
            let (length, start) = frame_length(packet, 1)?;
            packet.get(start..start + length)
        }
        _ => first_of_many(packet),
    }
}

/// The first frame of a packet of code 3: frame count byte, padding, then lengths (if VBR) and frames.
fn first_of_many(packet: &[u8]) -> Option<&[u8]> {
    let vbr = *packet.get(1)? & 0x80 != 0;
    let count = usize::try_from(frame_count(packet)?).ok()?;
    let (mut start, end) = frames_of_many(packet)?;
    if !vbr {
        let length = end.checked_sub(start)?;
        return (length % count == 0)
            .then_some(())
            .and_then(|()| packet.get(start..start + length / count));
    }
    let mut first = None;
    for _ in 1..count {
        let (length, behind) = frame_length(packet, start)?;
        start = behind;
        first.get_or_insert(length);
    }
    match first {
        Some(length) if start + length <= end => packet.get(start..start + length),
        Some(_) => None,
        None => packet.get(start..end),
    }
}

/// Where the frames of a packet of code 3 begin, or their lengths, and where its padding begins
/// (RFC 6716, section 3.2.5).
fn frames_of_many(packet: &[u8]) -> Option<(usize, usize)> {
    let padded = *packet.get(1)? & 0x40 != 0;
    let mut start = 2;
    let mut padding = 0;
    if padded {
        loop {
            let byte = usize::from(*packet.get(start)?);
            start += 1;
            if byte < 255 {
                padding += byte;
                break;
            }
            padding += 254;
        }
    }
    let end = packet.len().checked_sub(padding)?;
    (start <= end).then_some((start, end))
}

/// The padding of a packet: of code 3 alone (RFC 6716, section 3.2.5). `None`: malformed, or without.
#[cfg(feature = "dred")]
pub(super) fn padding(packet: &[u8]) -> Option<&[u8]> {
    if packet.first()? & 0b11 != 3 {
        return None;
    }
    packet.get(frames_of_many(packet)?.1..)
}

/// Whether an Opus packet carries a copy of its predecessor (in-band FEC, LBRR).
///
/// The SILK layer starts with, for each channel, one voice-activity flag per 20 ms and the LBRR flag
/// (RFC 6716, section 4.2.3). Each is coded with probability one half, so that they stand as plain
/// bits, highest first, in the first byte of the first frame. A malformed packet has none.
pub fn opus_packet_has_fec(packet: &[u8]) -> bool {
    let Some(toc) = packet.first().map(|&byte| Toc(byte)) else { return false };
    let Some(flags) = first_frame(packet).and_then(<[u8]>::first) else { return false };
    if !toc.has_silk() {
        return false;
    }
    let silk_frames = (toc.frame_tenths() / 200).max(1);
    let middle = flags >> (7 - silk_frames) & 1 == 1;
    // At 60 ms the flags of both channels fill exactly the eight bits of the byte.
    let side = toc.stereo() && flags >> (6 - 2 * silk_frames) & 1 == 1;
    middle || side
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(config: u8, code: u8, more: &[u8]) -> Option<f64> {
        let mut packet = vec![config << 3 | code];
        packet.extend_from_slice(more);
        opus_packet_duration(&packet).map(|duration| duration.as_secs_f64() * 1e3)
    }

    #[test]
    fn the_durations_of_table_2() {
        let silk = [10.0, 20.0, 40.0, 60.0];
        let hybrid = [10.0, 20.0];
        let celt = [2.5, 5.0, 10.0, 20.0];
        let table = silk.repeat(3).into_iter().chain(hybrid.repeat(2)).chain(celt.repeat(4));
        for (config, expected) in (0..32).zip(table) {
            assert_eq!(millis(config, 0, &[]), Some(expected), "configuration {config}");
        }
    }

    #[test]
    fn the_frame_count_multiplies_up_to_120_ms() {
        assert_eq!(millis(1, 1, &[]), Some(40.0));
        assert_eq!(millis(1, 2, &[]), Some(40.0));
        assert_eq!(millis(1, 3, &[6]), Some(120.0));
        assert_eq!(millis(1, 3, &[7]), None, "140 ms");
        assert_eq!(millis(3, 3, &[2]), Some(120.0));
        assert_eq!(millis(16, 3, &[48]), Some(120.0));
        assert_eq!(millis(16, 3, &[49]), None);
        assert_eq!(millis(1, 3, &[0]), None, "no frames");
        assert_eq!(millis(1, 3, &[]), None, "no frame count byte");
        assert_eq!(millis(1, 3, &[0b1100_0001]), Some(20.0), "the flags are no count");
    }

    #[test]
    fn the_first_frame_of_each_code() {
        assert_eq!(first_frame(&[0, 1, 2, 3]), Some(&[1, 2, 3][..]));
        assert_eq!(first_frame(&[1, 1, 2, 3, 4]), Some(&[1, 2][..]));
        assert_eq!(first_frame(&[1, 1, 2, 3]), None, "two frames of one size");
        assert_eq!(first_frame(&[2, 1, 7, 8]), Some(&[7][..]));
        assert_eq!(first_frame(&[2, 9, 7, 8]), None, "longer than the packet");
        assert_eq!(first_frame(&[3, 2, 7, 8]), Some(&[7][..]), "constant size");
        assert_eq!(first_frame(&[3, 0b0100_0001, 1, 7, 0]), Some(&[7][..]), "padded");
        assert_eq!(first_frame(&[3, 0b1000_0010, 2, 7, 8, 9]), Some(&[7, 8][..]), "VBR");
        assert_eq!(first_frame(&[3, 0b0100_0001, 9, 7]), None, "more padding than packet");
    }

    #[test]
    fn the_fec_flag_follows_the_voice_flags() {
        // Configuration 9: SILK wideband, 20 ms. Voice flag, then LBRR flag.
        assert!(opus_packet_has_fec(&[9 << 3, 0b0100_0000]));
        assert!(!opus_packet_has_fec(&[9 << 3, 0b1011_1111]));
        // 60 ms: three voice flags first.
        assert!(opus_packet_has_fec(&[11 << 3, 0b0001_0000]));
        // Stereo: voice and LBRR of the middle, then of the side.
        assert!(opus_packet_has_fec(&[9 << 3 | 4, 0b0001_0000]));
        assert!(!opus_packet_has_fec(&[20 << 3, 0xff]), "CELT has none");
        assert!(!opus_packet_has_fec(&[9 << 3]), "an empty frame");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_safely(packet in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = opus_packet_has_fec(&packet);
            if let Some(duration) = opus_packet_duration(&packet) {
                prop_assert!(duration >= Duration::from_micros(2_500));
                prop_assert!(duration <= Duration::from_millis(120));
                prop_assert_eq!(duration.as_micros() % 2_500, 0);
            }
        }
    }
}
