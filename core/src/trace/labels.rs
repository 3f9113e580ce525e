//! Labels in place of secrets and contents, and masks in place of addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sha2::{Digest, Sha256};

/// The hexadecimal digits of a label: 48 bits, which two of a recording hardly ever share.
const DIGITS: usize = 12;

/// The most addresses that are masked each by its own: what comes after shares one.
const MAX_ADDRESSES: usize = 65_536;

/// Gives each secret and each content a label, each address a mask.
///
/// A label is a hash under a key that is never recorded: the same secret has the same label throughout a
/// recording, and nobody can find out by trying which secret it was. Its length is that of the secret
/// where that is at least the label's, so that limits of lengths act alike in a replay.
#[derive(Debug)]
pub(crate) struct Labels {
    /// `None`: what is labelled already stays.
    key: Option<[u8; 32]>,
    mask: bool,
    masks: BTreeMap<IpAddr, IpAddr>,
}

impl Labels {
    /// With this key; addresses are masked with `mask`.
    pub(super) fn new(key: [u8; 32], mask: bool) -> Self {
        Self { key: Some(key), mask, masks: BTreeMap::new() }
    }

    /// For what holds labels already: changes nothing.
    pub(crate) const fn none() -> Self {
        Self { key: None, mask: false, masks: BTreeMap::new() }
    }

    /// The label of some bytes, with a letter for what they are.
    pub(crate) fn label(&self, what: char, bytes: &[u8]) -> String {
        let Some(key) = &self.key else { return String::from_utf8_lossy(bytes).into_owned() };
        let mut hash = Sha256::new();
        hash.update(key);
        hash.update(bytes);
        let hash = hash.finalize();
        let digits = hash.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}"));
        let mut label: String = std::iter::once(format!("{what}-")).chain(digits).collect();
        while label.len() < bytes.len() {
            label.push('-');
        }
        label
    }

    /// Whether anything is changed at all.
    pub(crate) const fn acts(&self) -> bool {
        self.key.is_some()
    }

    /// A description or a candidate without secrets: ICE passwords (RFC 8839, section 5.4), keys (RFC 4568) and
    /// the SCTP INIT of SNAP, whose tags are only told over DTLS otherwise.
    pub(crate) fn sdp(&mut self, text: &str) -> String {
        if !self.acts() {
            return text.to_owned();
        }
        const SECRETS: [&str; 4] = ["a=ice-pwd:", "a=crypto:", "a=sctp-init:", "a=identity:"];
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let body = line.trim_end_matches(['\r', '\n']);
            let end = line.get(body.len()..).unwrap_or_default();
            match SECRETS
                .iter()
                .find_map(|name| Some((name, body.trim_start().strip_prefix(*name)?)))
            {
                Some((name, value)) => {
                    out.push_str(name);
                    out.push_str(&self.label('s', value.trim().as_bytes()));
                }
                None => out.push_str(&self.text(body)),
            }
            out.push_str(end);
        }
        out
    }

    /// A URL without its query, which may hold a token, and with its host masked where addresses are.
    pub(crate) fn url(&mut self, url: &str) -> String {
        if !self.acts() {
            return url.to_owned();
        }
        let (before, query) = match url.split_once('?') {
            Some((before, query)) => (before, format!("?{}", self.label('s', query.as_bytes()))),
            None => (url, String::new()),
        };
        let Some((scheme, rest)) = before.split_once("://").filter(|_| self.mask) else {
            return format!("{before}{query}");
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rfind(':').filter(|_| !authority.ends_with(']')) {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        };
        let bare = host.trim_matches(['[', ']']);
        let host = match bare.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{}]", self.ip(ip.into())),
            Ok(ip) => self.ip(ip).to_string(),
            Err(_) if bare == "localhost" => bare.to_owned(),
            Err(_) => format!("{}.invalid", self.label('h', bare.as_bytes())),
        };
        format!("{scheme}://{host}{port}{path}{query}")
    }

    /// A text of somebody else's (an error, a reason): addresses in it are masked.
    pub(crate) fn text(&mut self, text: &str) -> String {
        if !self.mask {
            return text.to_owned();
        }
        let part = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']');
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(part) {
            let (before, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find(|c| !part(c)).unwrap_or(from.len()));
            out.push_str(before);
            let (bare, dot) = match word.strip_suffix(['.', ':']) {
                Some(bare) if !bare.ends_with(':') => (bare, word.get(bare.len()..)),
                _ => (word, None),
            };
            if let Ok(address) = bare.parse::<SocketAddr>() {
                out.push_str(&self.address(address).to_string());
            } else if let Ok(ip) = bare.parse::<IpAddr>() {
                out.push_str(&self.ip(ip).to_string());
            } else {
                out.push_str(bare);
            }
            out.push_str(dot.unwrap_or_default());
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// An address, masked where that is wished: its port stays.
    pub(crate) fn address(&mut self, address: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.ip(address.ip()), address.port())
    }

    /// An address of a host. A mask keeps the family and what kind of address it is: unspecified, loopback,
    /// link-local, private or public; the same address has the same mask.
    pub(crate) fn ip(&mut self, ip: IpAddr) -> IpAddr {
        if !self.mask || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
            return ip;
        }
        if let Some(mask) = self.masks.get(&ip) {
            return *mask;
        }
        let number = self.masks.len().min(MAX_ADDRESSES) as u32 + 1;
        let [_, high, middle, low] = number.to_be_bytes();
        let mask = match ip {
            IpAddr::V4(v4) if v4.is_private() => Ipv4Addr::new(10, high, middle, low).into(),
            IpAddr::V4(v4) if v4.is_link_local() => Ipv4Addr::new(169, 254, middle, low).into(),
            IpAddr::V4(v4) if v4.is_broadcast() => return ip,
            // RFC 2544's range for benchmarks: 17 bits, as many as there can be numbers.
            IpAddr::V4(_) => Ipv4Addr::new(198, 18 + (high & 1), middle, low).into(),
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                // Its kind is not used for anything.
                Ipv4Addr::new(198, 18 + (high & 1), middle, low).to_ipv6_mapped().into()
            }
            IpAddr::V6(v6) => {
                let [first, ..] = v6.segments();
                let prefix = match first {
                    0xfe80..=0xfebf => 0xfe80,
                    0xfec0..=0xfeff => 0xfec0,
                    0xfc00..=0xfdff => 0xfd00,
                    // RFC 3849's range for documentation.
                    _ => 0x2001,
                };
                let second = if prefix == 0x2001 { 0x0db8 } else { 0 };
                let (high, low) = ((number >> 16) as u16, number as u16);
                Ipv6Addr::new(prefix, second, 0, 0, 0, 0, high, low).into()
            }
        };
        if self.masks.len() < MAX_ADDRESSES {
            self.masks.insert(ip, mask);
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(mask: bool) -> Labels {
        Labels::new([7; 32], mask)
    }

    #[test]
    fn a_label_is_stable_keeps_the_length_and_tells_nothing() {
        let labels = labels(false);
        let secret = "a secret of some length";
        let label = labels.label('s', secret.as_bytes());
        assert_eq!(label, labels.label('s', secret.as_bytes()));
        assert_eq!(label.len(), secret.len());
        assert_ne!(label, labels.label('s', b"a secret of some lengtH"));
        assert_ne!(label, Labels::new([8; 32], false).label('s', secret.as_bytes()));
        assert_eq!(labels.label('s', b"x").len(), 2 + DIGITS);
    }

    #[test]
    fn descriptions_lose_their_secrets_and_nothing_else() {
        let sdp = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
                   a=sctp-init:AAAA\r\na=candidate:1 1 udp 1 192.168.1.7 5 typ host\r\n";
        let scrubbed = labels(false).sdp(sdp);
        assert!(!scrubbed.contains("0123456789") && !scrubbed.contains("AAAA"), "{scrubbed}");
        assert!(scrubbed.contains("ufrag:abcd") && scrubbed.contains("192.168.1.7 5 typ"));
        assert_eq!(scrubbed.lines().count(), 5);
        let masked = labels(true).sdp(sdp);
        assert!(masked.contains("udp 1 10.0.0.1 5 typ host"), "{masked}");
    }

    #[test]
    fn masks_keep_family_kind_and_equality() {
        let mut labels = labels(true);
        let mut mask = |text: &str| labels.ip(text.parse().unwrap()).to_string();
        let masks: Vec<String> =
            ["192.168.1.7", "8.8.8.8", "192.168.1.7", "127.0.0.1", "fe80::7", "2a00::1", "fd00::9"]
                .map(&mut mask)
                .into();
        assert_eq!(
            masks,
            [
                "10.0.0.1",
                "198.18.0.2",
                "10.0.0.1",
                "127.0.0.1",
                "fe80::3",
                "2001:db8::4",
                "fd00::5"
            ]
        );
    }

    #[test]
    fn urls_and_texts_lose_what_is_in_them() {
        let mut labels = labels(true);
        let url = labels.url("wss://mesh.example:8443/room?token=secret");
        assert!(url.starts_with("wss://h-") && url.contains(".invalid:8443/room?s-"), "{url}");
        assert!(!url.contains("secret") && !url.contains("mesh"), "{url}");
        assert_eq!(labels.url("ws://localhost/x"), "ws://localhost/x");
        assert_eq!(labels.url("ws://[2a00::1]:80/"), "ws://[2001:db8::1]:80/");
        let text = labels.text("refused: 9.9.9.9:80, or [2a00::1]:7 at 12:30, dead beef. 9.9.9.9.");
        assert_eq!(
            text,
            "refused: 198.18.0.2:80, or [2001:db8::1]:7 at 12:30, dead beef. 198.18.0.2."
        );
    }
}
