//! What a peer says that it can do.

use std::fmt;

use crate::trace::state::saved;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The kinds of media that a peer announces: a non-empty set of `audio`, `video` and `data`. In JSON an
/// array of these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Capabilities {
    /// It takes or sends audio.
    pub audio: bool,
    /// It takes or sends video.
    pub video: bool,
    /// It opens or accepts data channels.
    pub data: bool,
}

saved!(struct Capabilities { audio, video, data });

impl Capabilities {
    /// The set of these; `None` where it would be empty.
    pub const fn new(audio: bool, video: bool, data: bool) -> Option<Self> {
        if audio || video || data { Some(Self { audio, video, data }) } else { None }
    }

    /// Everything.
    pub const ALL: Self = Self { audio: true, video: true, data: true };

    /// The words, in the order `audio`, `video`, `data`.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        [("audio", self.audio), ("video", self.video), ("data", self.data)]
            .into_iter()
            .filter_map(|(word, set)| set.then_some(word))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.words().enumerate() {
            write!(f, "{}{word}", if n > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut words = serializer.serialize_seq(None)?;
        for word in self.words() {
            words.serialize_element(word)?;
        }
        words.end()
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = Capabilities;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a non-empty array of audio, video and data")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Capabilities, A::Error> {
                let mut set = Capabilities { audio: false, video: false, data: false };
                while let Some(word) = words.next_element::<std::borrow::Cow<'de, str>>()? {
                    match &*word {
                        "audio" => set.audio = true,
                        "video" => set.video = true,
                        "data" => set.data = true,
                        _ => return Err(A::Error::custom("expected audio, video or data")),
                    }
                }
                Capabilities::new(set.audio, set.video, set.data)
                    .ok_or_else(|| A::Error::custom("the set is empty"))
            }
        }
        deserializer.deserialize_seq(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_an_array_of_words_without_the_empty_set() {
        let set: Capabilities = serde_json::from_str(r#"["data","audio","data"]"#).unwrap();
        assert_eq!(set, Capabilities::new(true, false, true).unwrap());
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["audio","data"]"#);
        for bad in ["[]", r#"["Audio"]"#, r#""audio""#, "[1]", "null"] {
            assert!(serde_json::from_str::<Capabilities>(bad).is_err(), "{bad}");
        }
    }
}
