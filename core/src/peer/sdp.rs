//! The few facts that are read from a remote description before the engine gets it (RFC 8866).

use crate::trace::state::saved;
use std::collections::BTreeSet;

/// The limit where a remote description names none (RFC 8841, section 6.1).
pub(super) const DEFAULT_MAX_MESSAGE_SIZE: usize = 65_536;

/// The most sources that are remembered: three kinds of one track each, with repairs, have fewer.
const MAX_SOURCES: usize = 16;

/// What a remote description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    /// The session's id: the second field of `o=`.
    session: Option<String>,
    /// The first `a=ice-ufrag`.
    fragment: Option<String>,
    /// The sources of media (`a=ssrc`), at most [`MAX_SOURCES`].
    sources: BTreeSet<u32>,
    /// How many candidates it brings, and how many of them have a name in place of an address.
    pub(super) candidates: (usize, usize),
    /// Whether it has an application section that is not refused.
    pub(super) application: bool,
    /// The largest data message that its sender takes, in bytes; 0 means any size.
    pub(super) max_message_size: usize,
    /// The first `a=fingerprint`: the hash function and the value.
    pub(super) fingerprint: Option<String>,
}

saved!(struct Description {
    session, fragment, sources, candidates, application, max_message_size, fingerprint,
});

impl Description {
    /// Whether this describes the connection that an earlier description of the same peer was about, and not
    /// one that began anew (a reloaded page).
    ///
    /// The session's id should tell (RFC 9429, section 5.2.1), but werift makes a new one for each
    /// description, and aiortc takes the time in seconds. The certificate belongs to a connection with most
    /// stacks, with others (this one) to the process. So: the same certificate, and one more sign that
    /// nothing but the connection itself has. ICE's fragment changes in a restart, the sources do not.
    pub(super) fn continues(&self, earlier: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        // Without a certificate it describes nothing, and is refused.
        self.fingerprint.is_none()
            || self.fingerprint == earlier.fingerprint
                && (same(&self.session, &earlier.session)
                    || same(&self.fragment, &earlier.fragment)
                    || !self.sources.is_disjoint(&earlier.sources))
    }
}

/// Reads a description; whatever is not there stays at its default.
pub(super) fn scan(sdp: &str) -> Description {
    let mut found = Description {
        session: None,
        fragment: None,
        sources: BTreeSet::new(),
        candidates: (0, 0),
        application: false,
        max_message_size: DEFAULT_MAX_MESSAGE_SIZE,
        fingerprint: None,
    };
    let mut in_application = false;
    for line in sdp.lines() {
        let line = line.trim_end();
        if let Some(origin) = line.strip_prefix("o=") {
            found.session = origin.split(' ').nth(1).map(str::to_owned);
        } else if let Some(media) = line.strip_prefix("m=") {
            let mut fields = media.split(' ');
            in_application = fields.next() == Some("application");
            if in_application {
                // Port 0 with `a=bundle-only` is no refusal (RFC 9143, section 7.2.1): seen below.
                found.application = fields.next() != Some("0");
            }
        } else if line == "a=bundle-only" && in_application {
            found.application = true;
        } else if let Some(value) = line.strip_prefix("a=fingerprint:") {
            found.fingerprint.get_or_insert_with(|| value.trim().to_owned());
        } else if let Some(fragment) = line.strip_prefix("a=ice-ufrag:") {
            found.fragment.get_or_insert_with(|| fragment.trim().to_owned());
        } else if line.starts_with("a=candidate:") {
            found.candidates.0 += usize::from(!is_name(line));
            found.candidates.1 += usize::from(is_name(line));
        } else if let Some(source) = line.strip_prefix("a=ssrc:") {
            let source = source.split(' ').next().and_then(|number| number.parse::<u32>().ok());
            let room = found.sources.len() < MAX_SOURCES;
            found.sources.extend(source.filter(|_| room));
        } else if let Some(size) = line.strip_prefix("a=max-message-size:")
            && in_application
        {
            found.max_message_size = size.trim().parse().unwrap_or(DEFAULT_MAX_MESSAGE_SIZE);
        }
    }
    found
}

/// Whether the address of a candidate is a name, as browsers send to hide it (mDNS).
pub(super) fn is_name(candidate: &str) -> bool {
    candidate.split(' ').nth(4).is_some_and(|address| address.ends_with(".local"))
}

/// The media id of the first section, which candidates are named after when all are bundled.
pub(super) fn first_mid(sdp: &str) -> Option<String> {
    sdp.lines().find_map(|line| line.strip_prefix("a=mid:")).map(|mid| mid.trim().to_owned())
}

/// The kind (`audio`, `video`, …) and the media id of each section that is not refused (port 0).
pub(super) fn sections(sdp: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut kind = None;
    sdp.lines().filter_map(move |line| {
        if let Some(media) = line.strip_prefix("m=") {
            let mut fields = media.split(' ');
            kind = fields.next().filter(|_| fields.next() != Some("0"));
        }
        Some((kind?, line.strip_prefix("a=mid:")?.trim()))
    })
}

/// The engine's words about a description in one line, with the line of the description in place of the
/// address in memory by which it names the place.
pub(super) fn placed(error: &str, sdp: &str) -> String {
    const ADDRESS: &str = "PointerOffset(0x";
    let mut words = error.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some(start) = words.find(ADDRESS) {
        let digits = words[start + ADDRESS.len()..].split(')').next().unwrap_or_default();
        let end = (start + ADDRESS.len() + digits.len() + 1).min(words.len());
        let offset = usize::from_str_radix(digits, 16)
            .ok()
            .and_then(|address| address.checked_sub(sdp.as_ptr() as usize))
            .and_then(|offset| sdp.as_bytes().get(..offset));
        let place = match offset {
            Some(before) => {
                format!("line {}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
            }
            None => "an unknown place".to_owned(),
        };
        words.replace_range(start..end, &place);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line_and_no_address_in_memory() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\nx=nothing\r\n";
        let error = str0m::change::SdpOffer::from_sdp_string(sdp).unwrap_err().to_string();
        assert!(error.contains("PointerOffset(0x"), "the engine tells a place by now: {error}");
        let placed = placed(&error, sdp);
        assert!(placed.contains("at line 3") && !placed.contains("0x"), "{placed}");
        assert!(!super::placed(&error, "another").contains("0x"));
        assert_eq!(super::placed("PointerOffset(0x", "v"), "an unknown place");
    }

    #[test]
    fn sections_that_are_refused_are_left_out() {
        let sdp = "v=0\r\na=group:BUNDLE x y\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x\r\n\
            m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:y\r\nm=application 9 - -\r\na=mid:z\r\n";
        let found: Vec<_> = sections(sdp).collect();
        assert_eq!(found, [("audio", "x"), ("application", "z")]);
    }

    #[test]
    fn the_application_section_is_read() {
        let sdp = "v=0\r\no=- 42 2 IN IP4 127.0.0.1\r\na=fingerprint:sha-256 AA:BB\r\n\
                   m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=max-message-size:7\r\n\
                   m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n\
                   a=max-message-size:262144\r\n";
        let found = scan(sdp);
        assert_eq!(found.session.as_deref(), Some("42"));
        assert_eq!((found.application, found.max_message_size), (true, 262_144));
        assert_eq!(found.fingerprint.as_deref(), Some("sha-256 AA:BB"));
        assert_eq!(first_mid(sdp).as_deref(), Some("0"));
    }

    #[test]
    fn a_connection_is_known_again_by_its_certificate_and_one_more_sign() {
        let description = |session: &str, certificate: &str, fragment: &str, source: &str| {
            let sdp = format!(
                "v=0\r\no=- {session} 2 IN IP4 0.0.0.0\r\na=fingerprint:sha-256 {certificate}\r\n\
                 m=audio 9 x 1\r\na=ice-ufrag:{fragment}\r\na=ssrc:{source} cname:x\r\n"
            );
            scan(&sdp)
        };
        let known = description("1", "AA", "f", "7");
        let table = [
            ("1", "AA", "f", "7", true),
            // An ICE restart, as RFC 9429 has it, and by a stack that changes the session too.
            ("1", "AA", "g", "7", true),
            ("2", "AA", "g", "7", true),
            // Something was added, by a stack that changes the session.
            ("2", "AA", "f", "8", true),
            // The same process, another connection.
            ("2", "AA", "g", "8", false),
            // A new certificate, in the same second.
            ("1", "BB", "g", "8", false),
        ];
        for (session, certificate, fragment, source, continues) in table {
            let next = description(session, certificate, fragment, source);
            assert_eq!(next.continues(&known), continues, "{next:?}");
        }
        assert!(scan("").continues(&known), "it is no description");
    }

    #[test]
    fn absent_refused_and_bundle_only_sections_differ() {
        assert!(!scan("v=0\nm=audio 9 x 1\n").application);
        assert!(!scan("v=0\nm=application 0 x y\n").application);
        assert!(scan("v=0\nm=application 0 x y\na=bundle-only\n").application);
        assert_eq!(scan("m=application 9 x y\n").max_message_size, 65_536);
        assert_eq!(scan("m=application 9 x y\na=max-message-size:x").max_message_size, 65_536);
    }
}
