//! Reading the deep redundancy (DRED) of an Opus packet, and cutting it to what is wanted.
//!
//! DRED is a second, very coarse copy of up to a second of what came before a packet, as the values of a
//! network that was trained for it (draft-ietf-mlcodec-opus-dred). It travels as an extension in the
//! packet's padding (draft-ietf-mlcodec-opus-extension), where decoders that do not know it see padding.
//!
//! libopus makes samples of it. The binding that is used here (`opusic_c::Dred`) has no way to ask how far
//! back it reaches, and always decodes what comes straight before the packet. So the first is read here
//! from the bits; and for the second the redundancy is put into a packet of our own, where it says that it
//! lies so much further on.

mod range;
mod tables;

use std::time::Duration;

use super::packet::{frame_duration, padding};
use range::RangeDecoder;

/// The identifier of the extension, and the two bytes that tell its version while it is a draft
/// (`dnn/dred_config.h` of libopus 1.6).
const EXTENSION: u8 = 126;
const VERSION: [u8; 2] = [b'D', 12];

/// The longest redundancy that libopus writes (`DRED_MAX_DATA_SIZE`), in bytes.
const MAX_PAYLOAD: usize = 1_000;

/// A chunk is 40 ms; there are at most 26 (`DRED_MAX_LATENTS`).
const CHUNK: Duration = Duration::from_millis(40);
const MAX_CHUNKS: i32 = 26;

/// Positions are counted in 2.5 ms.
const GRAIN: Duration = Duration::from_micros(2_500);

/// The most frames of 2.5 ms in a packet (RFC 6716, section 3.2.5).
const MAX_FRAMES: u8 = 48;

/// How much of the past is asked of one packet at most: one piece of 120 ms, and what a packet of our own
/// can be shifted by behind it, in whole 10 ms.
pub(super) const MAX_REACH: Duration = Duration::from_millis(230);

/// The longest shift of a packet of our own: the position of its last frame.
const MAX_SHIFT: Duration = Duration::from_micros(2_500 * (MAX_FRAMES as u64 - 1));

/// Room for a packet of our own: header, length of the padding, position, header of the extension.
pub(super) const MAX_BYTES: usize = 2 + (MAX_PAYLOAD + 5) / 254 + 1 + 2 + 3 + MAX_PAYLOAD;

/// The redundancy of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Redundancy<'a> {
    payload: &'a [u8],
    /// Where the frame begins that carries it, in 2.5 ms from the start of the packet.
    position: u8,
}

impl<'a> Redundancy<'a> {
    /// That of `packet`, if it has any. Extensions that are repeated for each frame are not looked into: no
    /// encoder repeats this one.
    pub(super) fn find(packet: &'a [u8]) -> Option<Self> {
        let mut rest = padding(packet)?;
        let frame_grains = frame_duration(packet)?.as_micros() as usize / 2_500;
        let mut frame = 0_usize;
        while let Some((&head, behind)) = rest.split_first() {
            let (id, long) = (head >> 1, head & 1 == 1);
            let (payload, next): (&[u8], &[u8]) = match (id, long) {
                // A byte of padding.
                (0, true) => (&[], behind),
                // Nothing but padding is left; or what follows is repeated.
                (0, false) | (2, _) => return None,
                (1, false) => {
                    frame += 1;
                    (&[], behind)
                }
                (1, true) => {
                    let (&more, next) = behind.split_first()?;
                    frame += usize::from(more);
                    (&[], next)
                }
                (3..32, _) => behind.split_at_checked(long.into())?,
                (_, false) => (behind, &[]),
                (_, true) => laced(behind)?,
            };
            if id == EXTENSION
                && let Some(payload) = payload.strip_prefix(&VERSION)
                && (1..=MAX_PAYLOAD).contains(&payload.len())
            {
                let position = u8::try_from(frame * frame_grains).ok()?;
                return (position < MAX_FRAMES).then_some(Self { payload, position });
            }
            rest = next;
        }
        None
    }

    /// How far back from the start of its packet it reaches, if as far as that; [`MAX_REACH`] at most.
    ///
    /// Each chunk has to be read to find the end of it (draft-ietf-mlcodec-opus-dred; `dred_ec_decode` in
    /// `dnn/dred_decoder.c` of libopus). That is at most 8 chunks of 25 values and 50 values before, some
    /// 2 µs, whatever the bytes.
    pub(super) fn reach(&self) -> Duration {
        let mut bits = RangeDecoder::new(self.payload);
        let first = bits.uint(16);
        let slope = bits.uint(8);
        let far = if bits.uint(2) == 1 { 32 * bits.uint(256) as i32 } else { 0 };
        // Where the newest of it ends, in 2.5 ms after the start of the packet.
        let end = 16 - bits.uint(32) as i32 - far + i32::from(self.position);
        let last = if first < 14 && slope > 0 { bits.last_level(first) } else { 15 };
        let level = usize::from(first as u8);
        bits.values(tables::STATE_DECAY.get(level), tables::STATE_ZERO.get(level));
        let mut reach = 0;
        // What ends before that is of no use: nothing but silence was left out behind it.
        for chunk in 0..MAX_CHUNKS {
            if reach.max(-end) >= grains(MAX_REACH) || bits.left() <= 7 {
                break;
            }
            let level = quantiser(first, slope, last, chunk as u32);
            bits.values(tables::LATENT_DECAY.get(level), tables::LATENT_ZERO.get(level));
            reach = (chunk + 1) * grains(CHUNK) - end;
        }
        GRAIN * reach.clamp(0, grains(MAX_REACH)) as u32
    }

    /// Writes a packet that says it starts `shift` (a multiple of 2.5 ms) earlier than that of this
    /// redundancy, and that holds nothing else. Gives its length; `None` where it cannot say so.
    pub(super) fn shifted(&self, shift: Duration, out: &mut [u8; MAX_BYTES]) -> Option<usize> {
        if shift > MAX_SHIFT {
            return None;
        }
        let position = u8::try_from(grains(shift)).ok()?.checked_add(self.position)?;
        if position >= MAX_FRAMES {
            return None;
        }
        // Skip to the frame; then an extension that fills the rest.
        let body = 2 + 1 + VERSION.len() + self.payload.len();
        // RFC 6716, section 3.2.5: fullband CELT, 48 frames of 2.5 ms and of no bytes each, padded. A
        // length byte of 255 stands for 254 and for more to come.
        let (whole, rest) = (body / 254, body % 254);
        let head = [28 << 3 | 3, 0x40 | MAX_FRAMES].into_iter();
        let length = std::iter::repeat_n(255, whole).chain([rest as u8]);
        let extension = [1 << 1 | 1, position, EXTENSION << 1].into_iter().chain(VERSION);
        let bytes = head.chain(length).chain(extension).chain(self.payload.iter().copied());
        let mut count = 0;
        for byte in bytes {
            *out.get_mut(count)? = byte;
            count += 1;
        }
        Some(count)
    }
}

const fn grains(duration: Duration) -> i32 {
    (duration.as_micros() / GRAIN.as_micros()) as i32
}

/// An extension whose length is told by bytes of which 255 stands for more to come; and what is behind it.
fn laced(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0;
    let mut rest = data;
    loop {
        let (&byte, behind) = rest.split_first()?;
        (length, rest) = (length + usize::from(byte), behind);
        if byte < 255 {
            return rest.split_at_checked(length);
        }
    }
}

/// How coarse a chunk is: the further back, the coarser (`compute_quantizer` in `dnn/dred_coding.c`).
fn quantiser(first: u32, slope: u32, last: u32, chunk: u32) -> usize {
    const SLOPES: [u32; 8] = [0, 2, 3, 4, 6, 8, 12, 16];
    let slope = SLOPES.get(slope as usize).copied().unwrap_or_default();
    (first + (slope * chunk + 8) / 16).min(last) as usize
}

#[cfg(test)]
#[path = "dred_tests.rs"]
mod tests;
