//! The form of a signaling URL (RFC 6455, section 3; RFC 3986, section 3.2).

use std::net::Ipv6Addr;

/// The longest path, which names the room, in bytes.
const MAX_ROOM: usize = 128;

/// Says what is wrong with a URL. Whether its host exists is found when it is dialled.
pub(super) fn check(url: &str) -> Result<(), &'static str> {
    let rest = url
        .strip_prefix("ws://")
        .or_else(|| url.strip_prefix("wss://"))
        .ok_or("must begin with ws:// or wss://")?;
    if let Some(c) = url.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(if c.is_whitespace() || c.is_control() {
            "holds white space"
        } else {
            "holds a character that is not ASCII: a host is written in Punycode, a path in %XX"
        });
    }
    if rest.contains('#') {
        return Err("holds a fragment (#), which a WebSocket URL has not");
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("holds a user, which signaling has not");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']').ok_or("holds an IPv6 address without its ]")?;
            host.parse::<Ipv6Addr>().map_err(|_| "holds no IPv6 address between [ and ]")?;
            (host, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    if host.is_empty() {
        return Err("names no host");
    }
    if !port.is_empty() {
        let digits = port.strip_prefix(':').filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse::<u16>().ok());
        if number.is_none_or(|number| number == 0) {
            return Err("holds a port that is not within 1 to 65535");
        }
    }
    let room = path.split('?').next().unwrap_or_default();
    if room.strip_suffix('/').unwrap_or(room).len() > MAX_ROOM {
        return Err("holds a path, the room, of more than 128 bytes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_be_dialled_are_taken() {
        let long = format!("ws://h/{}/?token=x", "r".repeat(127));
        for url in [
            "ws://h",
            "wss://h/",
            "ws://h:1",
            "ws://h:65535/a/b",
            "ws://h?token=a:b@c",
            "ws://[::1]",
            "ws://[fe80::1]:80/r",
            "ws://127.0.0.1:8080/",
            "ws://h/a:b@c",
            &long,
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        let long = format!("ws://h/{}", "r".repeat(128));
        for (url, word) in [
            ("", "begin"),
            ("http://h/", "begin"),
            ("WS://h/", "begin"),
            ("ws:///room", "no host"),
            ("ws://:80/", "no host"),
            ("ws://?x", "no host"),
            ("ws://h/a b", "white space"),
            ("ws://h/\n", "white space"),
            ("ws://\u{e9}.example/", "ASCII"),
            ("ws://h/#room", "fragment"),
            ("ws://u:p@h/", "user"),
            ("ws://[::1", "without its ]"),
            ("ws://[h]/", "no IPv6"),
            ("ws://[::1]80", "port"),
            ("ws://h:/", "port"),
            ("ws://h:0/", "port"),
            ("ws://h:65536/", "port"),
            ("ws://h:+1/", "port"),
            ("ws://::1/", "no host"),
            (&long, "room"),
        ] {
            let error = check(url).unwrap_err();
            assert!(error.contains(word), "{url}: {error}");
        }
    }
}
