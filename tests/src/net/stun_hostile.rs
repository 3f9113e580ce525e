//! Whatever comes to a STUN server: messages read from bytes, and what they say.

use rtcmesh_core::hostile::Bytes;

use super::*;

/// A message as it may come: any bytes, or one of ours with changes. For the TURN server's history as well.
pub(in crate::net) fn damaged(mut message: Vec<u8>, bytes: &mut Bytes<'_>) -> Vec<u8> {
    for _ in 0..bytes.byte() % 4 {
        let (what, value, place) = (bytes.byte(), bytes.byte(), bytes.below(message.len()));
        match what % 4 {
            0 => message.truncate(place),
            1 => message.extend(std::iter::repeat_n(value, usize::from(what))),
            _ => {
                if let Some(byte) = message.get_mut(place) {
                    *byte ^= value;
                }
            }
        }
    }
    message
}

/// Any bytes, or with a header that says what kind of message they are and how long.
pub(in crate::net) fn raw(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let with_header = bytes.one_in(2);
    let mut message = bytes.some().to_vec();
    if with_header && message.len() >= HEADER {
        message.truncate(HEADER + (message.len() - HEADER) / 4 * 4);
        let length = (message.len() - HEADER) as u16;
        message[0] &= 0x3F;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        message[4..8].copy_from_slice(&COOKIE);
    }
    message
}

/// Datagrams to a STUN server, which somebody fetches the answers of or nobody.
///
/// # Panics
///
/// Where a promise is broken: that is a mistake of the library, not of the bytes.
#[doc(hidden)]
pub fn hostile_stun(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let v6 = bytes.one_in(2);
    let ips = if v6 { ["2001:db8::1", "2001:db8::9"] } else { ["198.18.0.1", "198.18.0.9"] };
    let [listen, client] = ips.map(|ip| ip.parse::<IpAddr>().expect("an address"));
    let (mut server, mut answered, mut waiting) = (StunServer::new(), 0, 0);
    while !bytes.is_empty() {
        let datagram = match bytes.byte() % 4 {
            0 => raw(&mut bytes),
            _ => built(&mut bytes),
        };
        let (to, from) = (SocketAddr::new(listen, 3478), SocketAddr::new(client, bytes.short()));
        let message = Message::parse(&datagram);
        if let Some(message) = &message {
            read(message, datagram.len());
        }
        let asks = |m: &Message<'_>| (m.class, m.method) == (Class::Request, BINDING);
        let question = message.filter(asks);
        let unfetched = bytes.one_in(64);
        // Once nobody fetches, the queue may fill up.
        let count = if unfetched { 1 + usize::from(bytes.short()) % (MAX_REPLIES + 10) } else { 1 };
        for _ in 0..count {
            server.handle_datagram(Duration::ZERO, to, from, &datagram);
        }
        server.handle_timeout(Duration::ZERO);
        assert_eq!(server.poll_timeout(), None, "it waits for nothing");
        if question.is_some() {
            answered += count as u64;
            waiting = (waiting + count).min(MAX_REPLIES);
        }
        assert_eq!(server.answered(), answered);
        assert_eq!(server.replies.len(), waiting, "answers to what asks nothing");
        if unfetched {
            continue;
        }
        let newest = server.replies.back().cloned();
        while server.poll_transmit().is_some() {
            waiting -= 1;
        }
        let Some((question, reply)) = question.zip(newest) else { continue };
        assert_eq!((reply.from, reply.to), (to, from), "an answer goes back to who asked");
        let answer = Message::parse(&reply.payload).expect("an answer is a message");
        assert_eq!((answer.class, answer.method), (Class::Success, BINDING));
        assert_eq!(answer.transaction, question.transaction);
        assert_eq!(answer.address(attribute::XOR_MAPPED_ADDRESS), Some(from));
        assert!(reply.payload.len() <= 44, "a header and one address");
    }
}

/// A message that the builder writes, and its changes.
fn built(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let class = bytes.one_of(&[Class::Request, Class::Indication, Class::Success, Class::Error]);
    let method = if bytes.one_in(2) { BINDING } else { bytes.short() & 0x0FFF };
    let mut builder = Builder::new(class, method, [bytes.byte(); 12]);
    for _ in 0..bytes.byte() % 4 {
        builder = builder.add(u16::from(bytes.byte()), bytes.some());
    }
    let key = [bytes.byte()];
    let message = builder.finish(bytes.one_in(2).then_some(&key));
    let parsed = Message::parse(&message).expect("the builder writes messages");
    assert!(!parsed.is_protected() || parsed.verify(&key) || parsed.get(0x0008).is_none());
    damaged(message, bytes)
}

/// Reads all that can be read in a message, and writes it anew.
fn read(message: &Message<'_>, length: usize) {
    assert!(message.attributes.len() <= (length - HEADER) / 4);
    let mut builder = Builder::new(message.class, message.method, message.transaction);
    for (number, value) in &message.attributes {
        assert!(message.all(*number).any(|other| other == *value));
        let _ = (message.text(*number), message.number(*number));
        let unmasked = message.address(*number);
        if let Some(address) = unmasked {
            let only = Builder::new(message.class, message.method, message.transaction);
            let written = only.address(*number, address).finish(None);
            let again = Message::parse(&written).expect("the builder writes messages");
            assert_eq!(again.address(*number), unmasked);
        }
        builder = builder.add(*number, value);
    }
    assert!(message.error().is_none_or(|code| (300..700).contains(&code)), "no such code");
    assert!(message.unknown(&[]).iter().all(|number| *number < 0x8000));
    assert!(!message.verify(b"a key of nobody"), "whoever made it knew no key");
    let key = b"another one";
    for (key, protected) in [(None, false), (Some(key.as_slice()), true)] {
        let written = builder.clone().finish(key);
        let again = Message::parse(&written).expect("the builder writes messages");
        assert_eq!((again.class, again.method), (message.class, message.method));
        assert_eq!(again.transaction, message.transaction);
        assert_eq!(again.attributes, message.attributes);
        assert_eq!(
            (again.is_protected(), key.is_some_and(|key| again.verify(key))),
            (protected, protected)
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_server_answers_questions_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            hostile_stun(&bytes);
        }
    }
}
