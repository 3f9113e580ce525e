//! One line per event: JSON, or words for people.

use std::fmt;

use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::DataMessage;
use rtcmesh_core::transport::Event;
use serde_json::{Value, json};

use crate::figures::milliseconds;
use crate::reception::state_name;

/// The most characters of a text, or bytes of a binary message, that a line shows.
const MAX_SHOWN: usize = 4_096;

/// What is told of an event of the transport.
#[derive(Debug)]
pub(super) struct Report<'a>(&'a Event);

impl<'a> Report<'a> {
    /// `None`: this event is not told.
    pub(super) fn of(event: &'a Event) -> Option<Self> {
        matches!(
            event,
            Event::PeerDiscovered { .. }
                | Event::Connecting { .. }
                | Event::Connected { .. }
                | Event::Data { .. }
                | Event::Failed { .. }
                | Event::Closed { .. }
                | Event::SyncStateChanged { .. }
        )
        .then_some(Self(event))
    }

    /// The event as a JSON object.
    pub(super) fn json(&self) -> Value {
        let object = |name: &str, peer: &PeerId| json!({ "event": name, "peer": peer });
        let with = |mut object: Value, key: &str, value: Value| {
            object[key] = value;
            object
        };
        match self.0 {
            Event::PeerDiscovered { peer, capabilities, user_data } => {
                let object = with(object("announced", peer), "capabilities", json!(capabilities));
                with(object, "user_data", json!(**user_data))
            }
            Event::Connecting { peer } => object("connecting", peer),
            Event::Connected { peer, after } => {
                with(object("connected", peer), "ms", json!(milliseconds(*after)))
            }
            Event::Data { peer, message, .. } => data(object("data", peer), message),
            Event::Failed { peer, fault } => {
                with(object("failed", peer), "reason", json!(fault.to_string()))
            }
            Event::Closed { peer, by } => {
                with(object("closed", peer), "reason", json!(by.to_string()))
            }
            Event::SyncStateChanged { peer, state } => {
                with(object("sync", peer), "state", json!(state_name(*state)))
            }
            _ => Value::Null,
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::PeerDiscovered { peer, capabilities, .. } => {
                write!(f, "{peer} is announced ({capabilities})")
            }
            Event::Connecting { peer } => write!(f, "{peer} is being connected"),
            Event::Connected { peer, after } => {
                write!(f, "{peer} is connected after {:.0} ms", milliseconds(*after))
            }
            Event::Data { peer, message: DataMessage::Binary(bytes), .. } => {
                write!(f, "{peer} sent {} bytes", bytes.len())
            }
            Event::Data { peer, message, .. } => {
                let (text, _) = shortened(&text_of(message));
                // Escaped: a peer must not be able to command the terminal.
                write!(f, "{peer} says: {}", text.escape_debug())
            }
            Event::Failed { peer, fault } => write!(f, "{peer} failed: {fault}"),
            Event::Closed { peer, by } => write!(f, "{peer} is gone: {by}"),
            Event::SyncStateChanged { peer, state } => {
                write!(f, "{peer} is {}", state_name(*state))
            }
            _ => Ok(()),
        }
    }
}

fn data(mut object: Value, message: &DataMessage) -> Value {
    let (kind, size, key, (shown, whole)) = match message {
        DataMessage::Binary(bytes) => {
            let shown = &bytes[..bytes.len().min(MAX_SHOWN)];
            let hex = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            ("binary", bytes.len(), "hex", (hex, shown.len() == bytes.len()))
        }
        other => {
            let text = text_of(other);
            let kind = if matches!(other, DataMessage::Json(_)) { "json" } else { "text" };
            (kind, text.len(), "text", shortened(&text))
        }
    };
    object["kind"] = json!(kind);
    object["size"] = json!(size);
    object[key] = json!(shown);
    if !whole {
        object["truncated"] = json!(true);
    }
    object
}

/// The text of a message; nothing of a binary one.
fn text_of(message: &DataMessage) -> String {
    match message {
        DataMessage::Text(text) => text.to_string(),
        DataMessage::Json(value) => value.to_string(),
        _ => String::new(),
    }
}

/// The beginning of a text, and whether it is all of it.
fn shortened(text: &str) -> (String, bool) {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => (text[..end].into(), false),
        None => (text.into(), true),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rtcmesh_core::error::PeerFault;
    use rtcmesh_core::media::Reliability;
    use rtcmesh_core::signaling::Capabilities;
    use rtcmesh_core::sync::SyncState;
    use rtcmesh_core::transport::ClosedBy;

    use super::*;

    fn bob() -> PeerId {
        PeerId::new("bob").unwrap()
    }

    fn message(message: DataMessage) -> Event {
        Event::Data { peer: bob(), message, reliability: Reliability::Reliable }
    }

    fn json_of(event: &Event) -> Value {
        Report::of(event).unwrap().json()
    }

    #[test]
    fn events_are_told_as_json() {
        let user_data = Arc::new(serde_json::Map::from_iter([("name".into(), json!("Bob"))]));
        let table = [
            (
                Event::PeerDiscovered { peer: bob(), capabilities: Capabilities::ALL, user_data },
                json!({"event": "announced", "peer": "bob", "user_data": {"name": "Bob"},
                    "capabilities": ["audio", "video", "data"]}),
            ),
            (Event::Connecting { peer: bob() }, json!({"event": "connecting", "peer": "bob"})),
            (
                Event::Connected { peer: bob(), after: Duration::from_micros(41_500) },
                json!({"event": "connected", "peer": "bob", "ms": 41.5}),
            ),
            (
                message(DataMessage::text("h\u{e9}")),
                json!({"event": "data", "peer": "bob", "kind": "text", "size": 3, "text": "h\u{e9}"}),
            ),
            (
                message(DataMessage::binary([0, 255])),
                json!({"event": "data", "peer": "bob", "kind": "binary", "size": 2, "hex": "00ff"}),
            ),
            (
                message(DataMessage::Json(json!([1]))),
                json!({"event": "data", "peer": "bob", "kind": "json", "size": 3, "text": "[1]"}),
            ),
            (
                Event::Failed { peer: bob(), fault: PeerFault::Timeout("no answer".into()) },
                json!({"event": "failed", "peer": "bob", "reason": "timeout: no answer"}),
            ),
            (
                Event::Closed { peer: bob(), by: ClosedBy::Peer },
                json!({"event": "closed", "peer": "bob", "reason": "closed by the peer"}),
            ),
            (
                Event::SyncStateChanged { peer: bob(), state: SyncState::Synced },
                json!({"event": "sync", "peer": "bob", "state": "synced"}),
            ),
        ];
        for (event, expected) in table {
            assert_eq!(json_of(&event), expected);
            assert!(Report::of(&event).unwrap().to_string().starts_with("bob "));
        }
        assert!(Report::of(&Event::SignalingUp { resumed: false }).is_none());
    }

    #[test]
    fn long_messages_are_shown_in_part() {
        let long = json_of(&message(DataMessage::text("\u{e9}".repeat(MAX_SHOWN + 1))));
        assert_eq!((&long["size"], &long["truncated"]), (&json!(2 * MAX_SHOWN + 2), &json!(true)));
        assert_eq!(long["text"].as_str().unwrap().chars().count(), MAX_SHOWN);
        let long = json_of(&message(DataMessage::binary(vec![7; 1_000_000])));
        assert_eq!(long["hex"].as_str().unwrap().len(), 2 * MAX_SHOWN);
        let exact = json_of(&message(DataMessage::text("a".repeat(MAX_SHOWN))));
        assert_eq!(exact.get("truncated"), None);
    }

    #[test]
    fn a_message_cannot_command_the_terminal() {
        let event = message(DataMessage::text("\u{1b}[2J\nfake line"));
        let line = Report::of(&event).unwrap().to_string();
        assert!(!line.contains(['\u{1b}', '\n']), "{line:?}");
    }
}
