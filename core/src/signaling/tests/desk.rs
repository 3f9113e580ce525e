//! What the tests ask of a [`Desk`].

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::id::LinkId;
use crate::signaling::ServerConfig;
pub(super) use crate::signaling::desk::{CANDIDATE, Desk, SDP, UNIX, described, trickled};

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    pub(super) fn with(config: ServerConfig) -> Self {
        Self::at(Instant::now(), config)
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// What a link was sent since the last call.
    pub(super) fn take(&mut self, link: LinkId) -> Vec<Value> {
        let texts = self.texts.remove(&link).unwrap_or_default();
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// What a link was sent, as (method, params) of its notifications.
    pub(super) fn notes(&mut self, link: LinkId) -> Vec<(String, Value)> {
        let messages = self.take(link).into_iter();
        let notes = messages.filter_map(|mut message| {
            let method = message["method"].as_str()?.to_owned();
            assert_eq!(message["jsonrpc"], "2.0");
            assert!(message.get("id").is_none(), "a notification has no id");
            Some((method, message["params"].take()))
        });
        notes.collect()
    }

    pub(super) fn forget(&mut self) {
        self.texts.clear();
    }

    pub(super) fn notify(&mut self, link: LinkId, method: &str, params: &Value) {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.text(link, &message.to_string());
    }

    /// Sends a request and takes its reply, which must be the only one; notifications stay.
    pub(super) fn request(&mut self, link: LinkId, method: &str, params: &Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id});
        self.text(link, &message.to_string());
        let texts = self.texts.entry(link).or_default();
        let is_reply = |text: &String| serde_json::from_str::<Value>(text).unwrap()["id"] == id;
        let (replies, rest): (Vec<_>, Vec<_>) =
            std::mem::take(texts).into_iter().partition(is_reply);
        *texts = rest;
        assert_eq!(replies.len(), 1, "{method}: one reply");
        let reply: Value = serde_json::from_str(&replies[0]).unwrap();
        assert_eq!(reply["jsonrpc"], "2.0");
        assert_ne!(reply.get("result").is_some(), reply.get("error").is_some());
        reply
    }

    pub(super) fn announce(&mut self, link: LinkId, id: &str, key: Option<&str>) -> Value {
        let mut params = json!({"peer_id": id, "capabilities": ["audio", "data"]});
        if let Some(key) = key {
            params["session_key"] = key.into();
        }
        self.request(link, "peer.announce", &params)
    }

    /// Opens a link and announces on it: the link and its session key. Everybody's texts are taken.
    pub(super) fn join(&mut self, room: &str, id: &str) -> (LinkId, String) {
        let link = self.open(room);
        let key = key_of(&self.announce(link, id, None));
        self.forget();
        (link, key)
    }

    /// Opens a link and announces with a key; the texts of the others stay.
    pub(super) fn resume(&mut self, room: &str, id: &str, key: &str) -> (LinkId, String) {
        let link = self.open(room);
        let key = key_of(&self.announce(link, id, Some(key)));
        (link, key)
    }

    pub(super) fn offer(&mut self, link: LinkId, from: &str, to: &str, request: &str) -> Value {
        self.request(link, "peer.offer", &described(from, to, request))
    }

    pub(super) fn answer(&mut self, link: LinkId, from: &str, to: &str, request: &str) -> Value {
        self.request(link, "peer.answer", &described(from, to, request))
    }
}

/// The session key of an announce that succeeded.
pub(super) fn key_of(reply: &Value) -> String {
    assert_eq!(reply["result"]["status"], "registered", "{reply}");
    reply["result"]["session_key"].as_str().unwrap().to_owned()
}

/// Asserts an error's code and gives its data.
#[track_caller]
pub(super) fn error(reply: &Value, code: i64) -> Value {
    assert_eq!(reply["error"]["code"], code, "{reply}");
    assert!(reply["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{reply}");
    reply["error"]["data"].clone()
}
