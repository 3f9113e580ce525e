//! What simulated applications send: each piece says who sent it, to whom and which one it is, and whatever follows
//! from that is checked by who receives it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rtcmesh_core::media::{DataMessage, EncodedAudio, EncodedVideo, VideoCodec};

/// Who sent a piece, and which one of its kind it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag {
    /// The sender's number among the hosts.
    pub(super) from: u32,
    /// How often another transport had taken its place.
    pub(super) incarnation: u32,
    /// How often the sender had connected with the receiver; 0 of what is sent to all.
    pub(super) epoch: u32,
    /// Its number, from 0 on: of a medium since the transport was made, of messages in the epoch.
    pub(super) number: u64,
}

/// What kind of message it is: those of one kind keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    /// Reliable, in one piece.
    Small,
    /// Reliable, in fragments.
    Large,
    /// Sent once, in no order.
    Unreliable,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Unreliable];

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    const fn letter(self) -> char {
        match self {
            Self::Small => 's',
            Self::Large => 'l',
            Self::Unreliable => 'u',
        }
    }
}

/// RFC 6716, section 3.1: CELT, full band, 20 ms, mono, one frame.
const AUDIO_HEADER: u8 = 0xf8;

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, incarnation, epoch, number } = self;
        write!(f, "{from}.{incarnation}.{epoch}.{number}")
    }
}

impl Tag {
    fn bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.from.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[12..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let number = u64::from_le_bytes(bytes.get(12..20)?.try_into().ok()?);
        Some(Self { from: word(0)?, incarnation: word(4)?, epoch: word(8)?, number })
    }

    /// What fills a piece behind its tag: a function of the number.
    fn filling(self, length: usize) -> impl Iterator<Item = u8> {
        // Marsaglia, "Xorshift RNGs", 2003: eight bytes of each state.
        let mut state = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..length).map(move |at| {
            if at % 8 == 0 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
            }
            (state >> (at % 8 * 8)) as u8
        })
    }

    /// 20 ms of audio in a packet of `size` bytes. Nobody who decodes it hears anything sensible.
    pub(super) fn audio(self, size: usize) -> EncodedAudio {
        let mut opus = vec![AUDIO_HEADER];
        opus.extend(self.bytes());
        let rest = size.saturating_sub(opus.len());
        opus.extend(self.filling(rest));
        EncodedAudio { opus: opus.into(), duration: Duration::from_millis(20) }
    }

    /// Reads the tag of a packet of audio; `None`: it is no such packet, or not as it was sent.
    pub(super) fn of_audio(packet: &EncodedAudio) -> Option<Self> {
        let (header, rest) = packet.opus.split_first()?;
        let (tag, filling) = (Self::read(rest)?, rest.get(20..)?);
        let whole =
            *header == AUDIO_HEADER && tag.filling(filling.len()).eq(filling.iter().copied());
        whole.then_some(tag)
    }

    /// One frame of VP8 at 25 frames a second, with `size` bytes behind its header.
    pub(super) fn video(self, size: usize, keyframe: bool) -> EncodedVideo {
        // RFC 6386, section 9.1: the frame tag, the start code, 320 × 240.
        let mut data: Vec<u8> = if keyframe {
            vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00]
        } else {
            vec![0x11, 0, 0]
        };
        data.extend(self.bytes());
        data.extend(self.filling(size));
        let timestamp = Duration::from_millis(40 * self.number);
        EncodedVideo {
            codec: VideoCodec::Vp8,
            data: data.into(),
            timestamp,
            keyframe,
            captured: None,
        }
    }

    /// Reads the tag of a frame of video.
    pub(super) fn of_video(frame: &EncodedVideo) -> Option<Self> {
        let header = if frame.keyframe { 10 } else { 3 };
        let tag = Self::read(frame.data.get(header..)?)?;
        let size = frame.data.len() - header - 20;
        (tag.video(size, frame.keyframe).data == frame.data).then_some(tag)
    }

    /// A message of `size` bytes about.
    pub(super) fn message(self, class: Class, size: usize) -> DataMessage {
        let head = format!("{}{self}:", class.letter());
        let mut bytes = head.into_bytes();
        let rest = size.saturating_sub(bytes.len());
        bytes.extend(self.filling(rest).map(|byte| b'a' + byte % 26));
        match String::from_utf8(bytes) {
            Ok(text) => DataMessage::Text(Arc::from(text)),
            Err(error) => DataMessage::binary(error.into_bytes()),
        }
    }

    /// Reads the tag of a message.
    pub(super) fn of_message(message: &DataMessage) -> Option<(Class, Self)> {
        let DataMessage::Text(text) = message else { return None };
        let (head, _) = text.split_once(':')?;
        let class = Class::ALL.into_iter().find(|class| head.starts_with(class.letter()))?;
        let mut numbers = head.get(1..)?.split('.');
        let mut word = || numbers.next()?.parse::<u32>().ok();
        let (from, incarnation, epoch) = (word()?, word()?, word()?);
        let number = numbers.next()?.parse().ok()?;
        let tag = Self { from, incarnation, epoch, number };
        (tag.message(class, text.len()) == *message).then_some((class, tag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_read_back_and_damage_is_seen(
            (from, incarnation, epoch, number) in any::<(u32, u32, u32, u64)>(),
            size in 21usize..3_000, at in any::<prop::sample::Index>(),
        ) {
            let tag = Tag { from, incarnation, epoch, number: number % (1 << 40) };
            prop_assert_eq!(Tag::of_audio(&tag.audio(size)), Some(tag));
            for keyframe in [true, false] {
                prop_assert_eq!(Tag::of_video(&tag.video(size, keyframe)), Some(tag));
            }
            for class in Class::ALL {
                prop_assert_eq!(Tag::of_message(&tag.message(class, size)), Some((class, tag)));
            }
            let mut packet = tag.audio(size);
            let mut bytes = packet.opus.to_vec();
            let at = 1 + at.index(bytes.len() - 1);
            bytes[at] ^= 1;
            packet.opus = bytes.into();
            prop_assert_ne!(Tag::of_audio(&packet), Some(tag));
        }
    }
}
