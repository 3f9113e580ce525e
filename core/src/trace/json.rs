//! Signaling texts without secrets and contents: what is not known to be harmless gets a label.

use super::labels::Labels;

/// The members whose strings stay, but for addresses: names of peers, methods, negotiations, states.
const KEPT: [&str; 16] = [
    "jsonrpc",
    "method",
    "id",
    "status",
    "server_time",
    "peer_id",
    "from",
    "to",
    "request_id",
    "reason",
    "connection_state",
    "timestamp",
    "sdp_mid",
    "message",
    "field",
    "registered_at",
];

/// The texts of capabilities that stay.
const CAPABILITIES: [&str; 3] = ["audio", "video", "data"];

/// The deepest text that is looked through; the parser of messages refuses it at the same depth.
const MAX_DEPTH: usize = 128;

impl Labels {
    /// A signaling text. Only what is replaced changes: white space, order, doubled members and escapes are
    /// those of the original, since they decide how it is read. What is no JSON has no meaning, and becomes
    /// as many question marks.
    pub(crate) fn signaling(&mut self, text: &str) -> String {
        if !self.acts() {
            return text.to_owned();
        }
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
            return "?".repeat(text.len());
        }
        let mut walk = Walk { labels: self, rest: text, out: String::with_capacity(text.len()) };
        walk.value("", Inside::Message, 0);
        walk.space();
        walk.out
    }

    /// What an application says about itself: the members stay, with labels for their values.
    pub(crate) fn user_data(
        &mut self,
        data: &serde_json::Map<String, serde_json::Value>,
    ) -> serde_json::Value {
        let text = serde_json::json!({ "user_data": data }).to_string();
        let mut value: serde_json::Value =
            serde_json::from_str(&self.signaling(&text)).unwrap_or_default();
        value.get_mut("user_data").map(serde_json::Value::take).unwrap_or_default()
    }
}

/// What a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Message,
    UserData,
    /// The library's own member: numbers stay.
    Own,
}

/// Copies a text that is valid JSON, with labels in their places.
struct Walk<'a, 'b> {
    labels: &'a mut Labels,
    rest: &'b str,
    out: String,
}

impl<'b> Walk<'_, 'b> {
    fn take(&mut self, length: usize) -> &'b str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn space(&mut self) {
        let length = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        let space = self.take(length);
        self.out.push_str(space);
    }

    /// The next token that is one character, copied.
    fn sign(&mut self) -> Option<char> {
        let sign = self.rest.chars().next()?;
        self.take(sign.len_utf8());
        self.out.push(sign);
        Some(sign)
    }

    /// Takes a string with its quotes.
    fn string(&mut self) -> &'b str {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' => at += 2,
                b'"' => break,
                _ => at += 1,
            }
        }
        self.take((at + 1).min(bytes.len()))
    }

    fn value(&mut self, key: &str, inside: Inside, depth: usize) {
        self.space();
        if depth > MAX_DEPTH {
            return;
        }
        match self.rest.chars().next() {
            Some('{') => {
                self.sign();
                self.members(inside, depth);
            }
            Some('[') => {
                self.sign();
                self.items(key, inside, depth);
            }
            Some('"') => {
                let literal = self.string();
                self.text(key, inside, literal);
            }
            Some(_) => {
                let end = self.rest.find([',', '}', ']', ' ', '\t', '\r', '\n']);
                let word = self.take(end.unwrap_or(self.rest.len()));
                if inside == Inside::UserData && word != "null" {
                    self.quote(&self.labels.label('u', word.as_bytes()));
                } else {
                    self.out.push_str(word);
                }
            }
            None => {}
        }
    }

    fn members(&mut self, inside: Inside, depth: usize) {
        loop {
            self.space();
            if !self.rest.starts_with('"') {
                // The end, or a comma.
                match self.sign() {
                    Some(',') => continue,
                    _ => return,
                }
            }
            let literal = self.string();
            let name: String = serde_json::from_str(literal).unwrap_or_default();
            let below = match (inside, name.as_str()) {
                (Inside::Message, "user_data") => Inside::UserData,
                (Inside::UserData, "rtcmesh") => Inside::Own,
                (inside, _) => inside,
            };
            self.out.push_str(literal);
            self.space();
            self.sign();
            self.value(&name, below, depth + 1);
        }
    }

    fn items(&mut self, key: &str, inside: Inside, depth: usize) {
        loop {
            self.space();
            match self.rest.chars().next() {
                Some(']') | None => {
                    self.sign();
                    return;
                }
                Some(',') => {
                    self.sign();
                }
                Some(_) => self.value(key, inside, depth + 1),
            }
        }
    }

    fn text(&mut self, key: &str, inside: Inside, literal: &str) {
        let text: String = serde_json::from_str(literal).unwrap_or_default();
        let replaced = match (inside, key) {
            (Inside::UserData | Inside::Own, _) => self.labels.label('u', text.as_bytes()),
            (_, "sdp" | "candidate") => self.labels.sdp(&text),
            (_, "capabilities") if CAPABILITIES.contains(&text.as_str()) => text.clone(),
            (_, key) if KEPT.contains(&key) => self.labels.text(&text),
            _ => self.labels.label('s', text.as_bytes()),
        };
        if replaced == text {
            self.out.push_str(literal);
        } else {
            self.quote(&replaced);
        }
    }

    fn quote(&mut self, text: &str) {
        self.out.push_str(&serde_json::Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn scrub(text: &str) -> String {
        Labels::new([1; 32], true).signaling(text)
    }

    #[test]
    fn what_is_known_stays_and_the_rest_gets_labels() {
        let text = json!({
            "jsonrpc": "2.0", "id": 7, "result": {
                "session_key": "the-secret-key-of-a-session", "peer_id": "alice", "new": "unknown",
                "capabilities": ["audio", "secret"], "turn": [{"credential": "hidden-word"}],
            }
        })
        .to_string();
        let out = scrub(&text);
        for secret in ["the-secret", "unknown", "\"secret\"", "hidden"] {
            assert!(!out.contains(secret), "{out}");
        }
        for kept in ["\"2.0\"", "7", "alice", "\"audio\""] {
            assert!(out.contains(kept), "{out}");
        }
    }

    #[test]
    fn contents_of_user_data_are_labelled_but_the_own_version() {
        let text = r#"{"params":{"user_data":{"name":"Alice","age":42,"on":true,"nil":null,
            "deep":[{"x":"Alice"}],"rtcmesh":{"v":1,"t":"text"}}}}"#;
        let out: Value = serde_json::from_str(&scrub(text)).unwrap();
        let data = &out["params"]["user_data"];
        assert!(!out.to_string().contains("Alice") && !out.to_string().contains("42"), "{out}");
        assert_eq!(data["name"], data["deep"][0]["x"]);
        assert_eq!((&data["rtcmesh"]["v"], &data["nil"]), (&json!(1), &Value::Null));
        assert_ne!(data["rtcmesh"]["t"], "text");
    }

    #[test]
    fn the_form_stays_that_of_the_original() {
        let text = "{ \"id\" : 1 ,\n\"method\":\"\\u0061\", \"method\": \"b\", \"to\":[ ] } ";
        assert_eq!(scrub(text), text);
        assert_eq!(scrub("no json: secret"), "???????????????");
        let escaped = scrub(r#"{"session\u005fkey":"the-secret-key-of-a-session"}"#);
        assert!(!escaped.contains("secret"), "{escaped}");
    }

    proptest! {
        #[test]
        fn what_is_json_stays_json_of_the_same_shape(words in prop::collection::vec(".{0,12}", 1..6)) {
            let value = json!({
                "params": {"user_data": {"a": words, "b": [1, {"c": words.first()}]}},
                words[0].clone(): words,
            });
            let out: Value = serde_json::from_str(&scrub(&value.to_string())).unwrap();
            prop_assert_eq!(out["params"]["user_data"]["a"].as_array().unwrap().len(), words.len());
        }
    }
}
