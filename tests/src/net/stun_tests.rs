//! Tests of STUN messages and the server: the vectors of RFC 5769, and what is no message.

use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// RFC 5769, section 2.4: a request with long-term credentials.
const LONG_TERM: &str = "
    00 01 00 60 21 12 a4 42 78 ad 34 33 c6 ad 72 c0 29 da 41 2e
    00 06 00 12 e3 83 9e e3 83 88 e3 83 aa e3 83 83 e3 82 af e3 82 b9 00 00
    00 15 00 1c 66 2f 2f 34 39 39 6b 39 35 34 64 36 4f 4c 33 34 6f 4c 39 46 53 54 76 79 36 34 73 41
    00 14 00 0b 65 78 61 6d 70 6c 65 2e 6f 72 67 00
    00 08 00 14 f6 70 24 65 6d d6 4a 3e 02 b8 e0 71 2e 85 c9 a2 8c a8 96 66";

#[test]
fn long_term_credentials_are_those_of_the_vector() {
    let vector = bytes(LONG_TERM);
    let message = Message::parse(&vector).unwrap();
    let user = message.text(attribute::USERNAME).unwrap();
    let key = long_term_key(user, "example.org", "TheMatrIX");
    assert!(message.verify(&key));
    assert!(!message.verify(&long_term_key(user, "example.org", "TheMatrix")));
    // Written by us it is the same.
    let written = Builder::new(Class::Request, BINDING, message.transaction)
        .add(attribute::USERNAME, user.as_bytes())
        .add(attribute::NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
        .add(attribute::REALM, b"example.org")
        .finish(Some(&key));
    assert_eq!(written, vector);
    for at in 0..vector.len() {
        let mut damaged = vector.clone();
        damaged[at] ^= 1;
        // Padding counts too.
        assert!(!Message::parse(&damaged).is_some_and(|message| message.verify(&key)), "{at}");
    }
}

#[test]
fn addresses_are_masked_as_in_the_vectors() {
    let transaction = bytes("b7 e7 a7 01 bc 34 d6 86 fa 87 df ae").try_into().unwrap();
    for (address, value) in [
        ("192.0.2.1:32853", "00 01 a1 47 e1 12 a6 43"),
        (
            "[2001:db8:1234:5678:11:2233:4455:6677]:32853",
            "00 02 a1 47 01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9",
        ),
    ] {
        let address = address.parse().unwrap();
        let written = Builder::new(Class::Success, BINDING, transaction)
            .address(attribute::XOR_MAPPED_ADDRESS, address)
            .finish(None);
        let message = Message::parse(&written).unwrap();
        assert_eq!(message.get(attribute::XOR_MAPPED_ADDRESS), Some(bytes(value).as_slice()));
        assert_eq!(message.address(attribute::XOR_MAPPED_ADDRESS), Some(address));
    }
}

#[test]
fn error_codes_are_those_that_there_are() {
    let code = |class, number| {
        let message = Builder::new(Class::Error, BINDING, [1; 12]);
        let written = message.add(attribute::ERROR_CODE, &[0, 0, class, number]).finish(None);
        Message::parse(&written).unwrap().error()
    };
    assert_eq!((code(4, 1), code(6, 99), code(3, 0)), (Some(401), Some(699), Some(300)));
    assert_eq!(code(0xFC, 38), Some(438), "the other bits are reserved");
    assert_eq!((code(2, 99), code(7, 0), code(4, 100), code(0x87, 0xD9)), (None, None, None, None));
}

#[test]
fn the_server_tells_where_a_request_came_from() {
    let mut server = StunServer::new();
    let (to, from) = ("198.18.0.1:3478".parse().unwrap(), "198.18.0.9:1234".parse().unwrap());
    let request = Builder::new(Class::Request, BINDING, [7; 12]).finish(None);
    server.handle_datagram(Duration::ZERO, to, from, &request);
    let reply = server.poll_transmit().unwrap();
    assert_eq!((reply.from, reply.to), (to, from));
    let answer = Message::parse(&reply.payload).unwrap();
    assert_eq!(
        (answer.class, answer.method, answer.transaction),
        (Class::Success, BINDING, [7; 12])
    );
    assert_eq!(answer.address(attribute::XOR_MAPPED_ADDRESS), Some(from));
    // It answers no answers.
    server.handle_datagram(Duration::ZERO, to, from, &reply.payload);
    assert_eq!((server.poll_transmit(), server.answered()), (None, 1));
    for _ in 0..MAX_REPLIES + 10 {
        server.handle_datagram(Duration::ZERO, to, from, &request);
    }
    assert_eq!(std::iter::from_fn(|| server.poll_transmit()).count(), MAX_REPLIES);
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        method in 0_u16..0x1000, class in 0_usize..4, transaction: [u8; 12],
        attributes in prop::collection::vec((0x0100_u16.., prop::collection::vec(any::<u8>(), 0..40)), 0..8),
    ) {
        let class = [Class::Request, Class::Indication, Class::Success, Class::Error][class];
        let mut builder = Builder::new(class, method, transaction);
        for (number, value) in &attributes {
            builder = builder.add(*number, value);
        }
        let written = builder.finish(None);
        let message = Message::parse(&written).unwrap();
        prop_assert_eq!((message.class, message.method), (class, method));
        prop_assert_eq!(message.transaction, transaction);
        let read: Vec<_> = message.attributes.iter().map(|(n, value)| (*n, value.to_vec())).collect();
        prop_assert_eq!(read, attributes);
        for end in 0..written.len() {
            prop_assert!(Message::parse(&written[..end]).is_none());
        }
    }

    #[test]
    fn strange_bytes_do_no_harm(mut strange in prop::collection::vec(any::<u8>(), 0..200)) {
        if strange.len() >= HEADER {
            strange[0] &= 0x3F;
            let length = (strange.len() - HEADER) as u16;
            strange[2..4].copy_from_slice(&length.to_be_bytes());
            strange[4..8].copy_from_slice(&COOKIE);
        }
        if let Some(message) = Message::parse(&strange) {
            prop_assert!(!message.verify(b"key"));
            for number in 0..0x30 {
                let _ = message.address(number);
            }
            let _ = message.error();
        }
    }
}
