//! What holds whatever comes in.

use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::desk::Desk;
use crate::signaling::hostile::{
    BREAK, DEADLINE, TEXT, hostile_client, hostile_message, hostile_server,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn nothing_crosses_rooms_or_comes_in_anothers_name(
        bytes in prop::collection::vec(any::<u8>(), 0..900)
    ) {
        hostile_server(Instant::now(), &bytes);
    }

    #[test]
    fn equal_seeds_and_inputs_give_equal_outputs(
        bytes in prop::collection::vec(any::<u8>(), 0..400)
    ) {
        let run = || hostile_server(Instant::now(), &bytes);
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn a_client_survives_any_calls(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        hostile_client(Instant::now(), &bytes);
    }

    #[test]
    fn any_text_has_one_reply_at_most(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        hostile_message(Instant::now(), &bytes);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("a".to_owned()),
        Just("me".to_owned()),
        Just("r".to_owned()),
        Just("peer_id_taken".to_owned()),
        "\\PC{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..4u64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(member(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn member() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 16] = [
        "peer_id",
        "capabilities",
        "user_data",
        "from",
        "to",
        "sdp",
        "request_id",
        "candidate",
        "sdp_mid",
        "sdp_m_line_index",
        "reason",
        "session_key",
        "status",
        "code",
        "message",
        "data",
    ];
    prop_oneof![prop::sample::select(&KNOWN[..]).prop_map(str::to_owned), "[a-z]{0,6}"]
}

fn message() -> impl Strategy<Value = String> {
    const METHODS: [&str; 8] = [
        "peer.announce",
        "peer.announced",
        "peer.offer",
        "peer.answer",
        "peer.ice_candidate",
        "peer.disconnect",
        "peer.disconnected",
        "peer.state_changed",
    ];
    let method = prop::option::of(prop::sample::select(&METHODS[..]));
    let params = prop::collection::btree_map(member(), json_value(), 0..8);
    let rest = (prop::option::of(json_value()), prop::option::of(json_value()));
    let id = prop::option::of(prop_oneof![(0..4u64).prop_map(Value::from), json_value()]);
    let structured =
        (method, params, rest, id).prop_map(|(method, params, (result, error), id)| {
            let mut message = json!({"jsonrpc": "2.0"});
            let params: serde_json::Map<String, Value> = params.into_iter().collect();
            if let Some(method) = method {
                message["method"] = method.into();
                message["params"] = params.into();
            }
            for (name, value) in [("result", result), ("error", error), ("id", id)] {
                if let Some(value) = value {
                    message[name] = value;
                }
            }
            message.to_string()
        });
    prop_oneof![6 => structured, 1 => json_value().prop_map(|v| v.to_string()), 1 => "\\PC{0,60}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_server_survives_any_json(texts in prop::collection::vec(message(), 0..40)) {
        let mut desk = Desk::new();
        let (a, _) = desk.join("/", "a");
        let (b, _) = desk.join("/", "b");
        for text in &texts {
            desk.text(a, text);
        }
        prop_assert!(desk.closed.is_empty());
        desk.forget();
        // It still works for the other.
        let reply = desk.request(b, "peer.sing", &json!({}));
        prop_assert_eq!(&reply["error"]["code"], -32_601);
        desk.seconds(60);
    }

    #[test]
    fn a_client_survives_any_json(texts in prop::collection::vec((message(), 0..4u8), 0..60)) {
        let mut bytes = Vec::new();
        for (text, what) in &texts {
            match what {
                0 if text.len() % 5 == 0 => bytes.extend([BREAK, 0]),
                1 => bytes.push(DEADLINE),
                _ => {
                    bytes.push(TEXT);
                    bytes.extend((text.len() as u16).to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
            // Events are fetched.
            bytes.push(0);
        }
        hostile_client(Instant::now(), &bytes);
    }

    #[test]
    fn a_message_has_one_reply_at_most(text in message()) {
        hostile_message(Instant::now(), text.as_bytes());
    }
}
