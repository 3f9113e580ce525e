//! New sources of RTP are on probation (RFC 3550, appendix A.1): one datagram alone takes nobody's place.
//!
//! The engine maps a source that it does not know to the section that its MID names, before it checks whether the packet is
//! genuine, and never goes back to the source before (docs/upstream.md). So one datagram that was damaged on its way would
//! end a peer's audio or video for good.

/// Sources that are remembered: audio, video and its retransmissions, with room for changes.
const MAX_KNOWN: usize = 16;

/// So far apart the sequence numbers of the two packets may be that prove a source. RFC 3550, appendix A.1, wants them next to each
/// other; one that is lost between them does no harm. Farther apart, two may have been damaged in the same bit.
const MAX_DISTANCE: u16 = 3;

/// The sources of one connection.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Those that are trusted with the payload types that they came with, the latest first.
    known: Vec<(u32, u8)>,
    /// The first packet of a source that is not.
    held: Option<(Header, Vec<u8>)>,
}

/// What becomes of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is taken.
    Pass,
    /// It is taken, after the packet of its source that was held.
    PassAfter(Vec<u8>),
    /// It is held until another one of its source comes.
    Hold,
}

/// What a packet's head says (RFC 3550, section 5.1).
#[derive(Debug, Clone, Copy)]
struct Header {
    source: u32,
    payload_type: u8,
    sequence: u16,
}

impl Sources {
    /// `expected` says whether a description has named the source.
    #[inline]
    pub(super) fn judge(&mut self, payload: &[u8], expected: impl FnOnce(u32) -> bool) -> Verdict {
        let Some(header) = header(payload) else { return Verdict::Pass };
        if self.known.iter().any(|(source, _)| *source == header.source) {
            return Verdict::Pass;
        }
        self.judge_new(header, payload, expected)
    }

    #[cold]
    fn judge_new(
        &mut self,
        header: Header,
        payload: &[u8],
        expected: impl FnOnce(u32) -> bool,
    ) -> Verdict {
        let taken = self.known.iter().any(|(_, of)| *of == header.payload_type);
        if !taken || expected(header.source) {
            self.trust(header);
            return Verdict::Pass;
        }
        let before = self.held.take_if(|(held, _)| {
            let distance = header.sequence.wrapping_sub(held.sequence);
            held.source == header.source && (1..=MAX_DISTANCE).contains(&distance)
        });
        match before {
            Some((_, packet)) => {
                self.trust(header);
                Verdict::PassAfter(packet)
            }
            None => {
                self.held = Some((header, payload.to_vec()));
                Verdict::Hold
            }
        }
    }

    fn trust(&mut self, header: Header) {
        self.known.truncate(MAX_KNOWN - 1);
        self.known.insert(0, (header.source, header.payload_type));
    }
}

/// The head of an RTP packet; `None` for everything else (RFC 7983, section 7; RFC 5761, section 4).
#[inline]
fn header(payload: &[u8]) -> Option<Header> {
    let [128..=191, second, high, low, _, _, _, _, a, b, c, d, ..] = *payload else { return None };
    if (192..=223).contains(&second) {
        return None;
    }
    Some(Header {
        source: u32::from_be_bytes([a, b, c, d]),
        payload_type: second & 0x7f,
        sequence: u16::from_be_bytes([high, low]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: u32, payload_type: u8, sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x90, payload_type];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0; 4]);
        packet.extend(source.to_be_bytes());
        packet.push(9);
        packet
    }

    #[test]
    fn the_first_of_each_payload_type_passes_and_others_prove_themselves() {
        let mut sources = Sources::default();
        let mut judge = |packet: &[u8]| sources.judge(packet, |_| false);
        assert_eq!(judge(&packet(1, 111, 10)), Verdict::Pass);
        assert_eq!(judge(&packet(2, 98, 10)), Verdict::Pass);
        let other = packet(3, 111, 65_535);
        assert_eq!(judge(&other), Verdict::Hold);
        assert_eq!(judge(&packet(1, 111, 11)), Verdict::Pass);
        assert_eq!(judge(&other), Verdict::Hold, "the same once more");
        assert_eq!(judge(&packet(3, 111, 0)), Verdict::PassAfter(other));
        assert_eq!(judge(&packet(3, 111, 1)), Verdict::Pass);
        assert_eq!(judge(&packet(1, 98, 11)), Verdict::Pass, "a known one may change its codec");
    }

    #[test]
    fn packets_of_one_source_that_are_far_apart_are_no_proof() {
        let mut sources = Sources::default();
        sources.judge(&packet(1, 111, 10), |_| false);
        for sequence in [0, 200, 100, 160, 164, 400] {
            assert_eq!(sources.judge(&packet(2, 111, sequence), |_| false), Verdict::Hold);
        }
    }

    #[test]
    fn a_source_that_was_described_passes_and_rtcp_is_not_judged() {
        let mut sources = Sources::default();
        sources.judge(&packet(1, 111, 10), |_| false);
        assert_eq!(sources.judge(&packet(2, 111, 10), |source| source == 2), Verdict::Pass);
        assert_eq!(sources.judge(&packet(3, 200, 10), |_| false), Verdict::Pass);
        for rest in [&[][..], &[0x90], &packet(4, 111, 10)[..11], &[0, 1, 0, 0]] {
            assert_eq!(sources.judge(rest, |_| false), Verdict::Pass);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut sources = Sources::default();
        for n in 0..1_000 {
            sources.judge(&packet(n, 111, 10), |_| true);
        }
        assert_eq!(sources.known.len(), MAX_KNOWN);
    }
}
