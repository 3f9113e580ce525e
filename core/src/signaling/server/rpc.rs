//! JSON-RPC 2.0 as the server reads and writes it: what is forwarded is never rewritten.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::id::{PeerId, RequestId};
use crate::signaling::message::{MAX_CANDIDATE, MAX_SDP};

/// An error reply: JSON-RPC 2.0, section 5.1, and the codes of the wire contract.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: &'static str,
    pub(super) data: Value,
}

impl RpcError {
    fn new(code: i64, message: &'static str, data: Value) -> Self {
        Self { code, message, data }
    }

    pub(super) fn parse(reason: impl Into<String>) -> Self {
        Self::new(-32_700, "parse error", json!({"reason": reason.into()}))
    }

    pub(super) fn invalid_request(reason: impl Into<String>) -> Self {
        Self::new(-32_600, "invalid request", json!({"reason": reason.into()}))
    }

    pub(super) fn method_not_found() -> Self {
        Self::new(-32_601, "method not found", Value::Null)
    }

    pub(super) fn invalid_params(field: &str, reason: impl Into<String>) -> Self {
        let data = json!({"field": field, "reason": reason.into()});
        Self::new(-32_602, "invalid params", data)
    }

    pub(super) fn internal(reason: &str) -> Self {
        Self::new(-32_603, "internal error", json!({"reason": reason}))
    }

    pub(super) fn peer_not_found(peer: &PeerId) -> Self {
        let data = json!({"peer_id": peer, "reason": "peer_not_found"});
        Self::new(-32_000, "peer not found", data)
    }

    pub(super) fn peer_id_taken(peer: &PeerId, registered_at: &str) -> Self {
        let data =
            json!({"peer_id": peer, "reason": "peer_id_taken", "registered_at": registered_at});
        Self::new(-32_000, "peer id taken", data)
    }

    pub(super) fn connection_failed(peer: &PeerId, reason: &str) -> Self {
        Self::new(-32_001, "connection failed", json!({"peer_id": peer, "reason": reason}))
    }

    pub(super) fn offer_invalid(reason: &str, position: usize) -> Self {
        Self::new(-32_002, "offer invalid", json!({"reason": reason, "position": position}))
    }

    pub(super) fn answer_invalid(reason: &str, position: usize) -> Self {
        Self::new(-32_003, "answer invalid", json!({"reason": reason, "position": position}))
    }

    pub(super) fn no_open_offer(request: &RequestId) -> Self {
        let reason = "no open offer with this request_id";
        Self::new(
            -32_003,
            "answer invalid",
            json!({"reason": reason, "request_id": request.as_str()}),
        )
    }

    pub(super) fn candidate_invalid(reason: &str) -> Self {
        Self::new(-32_004, "ICE candidate invalid", json!({"reason": reason}))
    }

    pub(super) fn limit(reason: &str) -> Self {
        Self::new(-32_005, "session limit exceeded", json!({"reason": reason}))
    }

    /// The reply; `id` is the request's, as it was sent, or `null` where it is not known.
    pub(super) fn to_json(&self, id: Option<&str>) -> String {
        let mut error = json!({"code": self.code, "message": self.message});
        if !self.data.is_null() {
            error["data"] = self.data.clone();
        }
        format!(r#"{{"jsonrpc":"2.0","error":{error},"id":{}}}"#, id.unwrap_or("null"))
    }
}

/// The reply to a request that succeeded.
pub(super) fn result(id: &str, result: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","result":{result},"id":{id}}}"#)
}

/// A notification with the params as they came.
pub(super) fn notification(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#)
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    id: Option<&'a RawValue>,
}

/// A member that is there and null is no absent one.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    member: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(member).map(Some)
}

/// A request or a notification.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: Cow<'a, str>,
    pub(super) raw_params: &'a str,
    pub(super) params: Params<'a>,
    /// The id as it was sent; `None`: a notification.
    pub(super) id: Option<&'a str>,
}

/// The members of all methods' params; unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Params<'a> {
    #[serde(borrow)]
    peer_id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) capabilities: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) user_data: Option<&'a RawValue>,
    #[serde(borrow)]
    session_key: Option<&'a RawValue>,
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    #[serde(borrow)]
    to: Option<&'a RawValue>,
    #[serde(borrow)]
    sdp: Option<&'a RawValue>,
    #[serde(borrow)]
    can_trickle_ice_candidates: Option<&'a RawValue>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    candidate: Option<&'a RawValue>,
    #[serde(borrow)]
    sdp_mid: Option<&'a RawValue>,
    #[serde(borrow)]
    sdp_m_line_index: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
    #[serde(borrow)]
    connection_state: Option<&'a RawValue>,
    #[serde(borrow)]
    ice_connection_state: Option<&'a RawValue>,
    #[serde(borrow)]
    ice_gathering_state: Option<&'a RawValue>,
    #[serde(borrow)]
    signaling_state: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

/// Reads a text; an error comes with the id to answer to, where there is one.
pub(super) fn parse(text: &str) -> Result<Call<'_>, (RpcError, Option<&str>)> {
    let not_json = |error: &serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        (RpcError::parse(format!("not JSON: {place}")), None)
    };
    let no_object = || match serde_json::from_str::<IgnoredAny>(text) {
        Err(error) => not_json(&error),
        Ok(_) if text.trim_start().starts_with('[') => {
            (RpcError::invalid_request("batches are not supported"), None)
        }
        Ok(_) => (RpcError::invalid_request("not a JSON-RPC 2.0 object"), None),
    };
    // A list with the values of an object's members would be taken for the object.
    if !text.trim_start().starts_with('{') {
        return Err(no_object());
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| {
        // A member twice is JSON all the same; whether the rest is, has to be seen.
        if error.is_data() { no_object() } else { not_json(&error) }
    })?;
    let id = match envelope.id.map(RawValue::get) {
        None => None,
        Some(id) if is_id(id) => Some(id),
        Some(_) => {
            let reason = "id is neither a string nor an integer";
            return Err((RpcError::invalid_request(reason), None));
        }
    };
    let wrong = |reason: &str| (RpcError::invalid_request(reason), id);
    if envelope.jsonrpc.and_then(text_of).as_deref() != Some("2.0") {
        return Err(wrong(r#"jsonrpc is not "2.0""#));
    }
    let method = envelope.method.and_then(text_of).ok_or_else(|| wrong("method is no string"))?;
    let raw_params = envelope.params.map_or("{}", RawValue::get);
    let no_object = || (RpcError::invalid_params("params", "not an object"), id);
    if !raw_params.starts_with('{') {
        return Err(no_object());
    }
    let params = serde_json::from_str(raw_params).map_err(|_| no_object())?;
    Ok(Call { method, raw_params, params, id })
}

/// A string or an integer. JSON-RPC discourages null, and the contract has none.
fn is_id(raw: &str) -> bool {
    (raw.starts_with('"') && raw.len() <= 256)
        || (raw.len() <= 32
            && raw.strip_prefix('-').unwrap_or(raw).bytes().all(|b| b.is_ascii_digit()))
}

fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    // Without escapes the content stands there as it is.
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str::<String>(text).ok().map(Cow::Owned)
}

impl<'a> Params<'a> {
    fn text(field: Option<&'a RawValue>, name: &str) -> Result<Cow<'a, str>, RpcError> {
        let raw = field.ok_or_else(|| RpcError::invalid_params(name, "missing"))?;
        text_of(raw).ok_or_else(|| RpcError::invalid_params(name, "not a string"))
    }

    fn optional(field: Option<&'a RawValue>, name: &str) -> Result<Option<Cow<'a, str>>, RpcError> {
        match field {
            Some(raw) if raw.get() != "null" => Self::text(Some(raw), name).map(Some),
            _ => Ok(None),
        }
    }

    fn peer(field: Option<&'a RawValue>, name: &str) -> Result<PeerId, RpcError> {
        let text = Self::text(field, name)?;
        PeerId::new(&text).map_err(|error| RpcError::invalid_params(name, error.to_string()))
    }

    fn request(field: Option<&'a RawValue>) -> Result<RequestId, RpcError> {
        let text = Self::text(field, "request_id")?;
        RequestId::new(&text)
            .ok_or_else(|| RpcError::invalid_params("request_id", "not 1 to 128 bytes"))
    }

    pub(super) fn peer_id(&self) -> Result<PeerId, RpcError> {
        Self::peer(self.peer_id, "peer_id")
    }

    pub(super) fn session_key(&self) -> Result<Option<Cow<'a, str>>, RpcError> {
        Self::optional(self.session_key, "session_key")
    }

    pub(super) fn token(&self) -> Result<Option<Cow<'a, str>>, RpcError> {
        Self::optional(self.token, "token")
    }

    pub(super) fn from(&self) -> Result<PeerId, RpcError> {
        Self::peer(self.from, "from")
    }

    pub(super) fn to(&self) -> Result<PeerId, RpcError> {
        Self::peer(self.to, "to")
    }

    pub(super) fn request_id(&self) -> Result<RequestId, RpcError> {
        Self::request(self.request_id)
    }

    pub(super) fn optional_request_id(&self) -> Result<Option<RequestId>, RpcError> {
        match self.request_id {
            Some(raw) if raw.get() != "null" => Self::request(Some(raw)).map(Some),
            _ => Ok(None),
        }
    }

    /// The description, checked for its form: `invalid` makes the error of a wrong one.
    pub(super) fn sdp(&self, invalid: fn(&str, usize) -> RpcError) -> Result<(), RpcError> {
        let sdp = Self::text(self.sdp, "sdp")?;
        let trickles = self.can_trickle_ice_candidates.map(RawValue::get);
        if !matches!(trickles, Some("true" | "false")) {
            let reason = "missing, or neither true nor false";
            return Err(RpcError::invalid_params("can_trickle_ice_candidates", reason));
        }
        check_sdp(&sdp).map_err(|(reason, line)| invalid(reason, line))
    }

    pub(super) fn candidate(&self) -> Result<(), RpcError> {
        let candidate = Self::text(self.candidate, "candidate")?;
        Self::optional(self.sdp_mid, "sdp_mid")?;
        if let Some(index) = self.sdp_m_line_index.map(RawValue::get)
            && index != "null"
            && index.parse::<u32>().is_err()
        {
            return Err(RpcError::invalid_params("sdp_m_line_index", "not an index"));
        }
        check_candidate(&candidate).map_err(RpcError::candidate_invalid)
    }

    pub(super) fn reason(&self) -> Result<Cow<'a, str>, RpcError> {
        const REASONS: [&str; 5] =
            ["user_requested", "network_error", "timeout", "error", "unknown"];
        let reason = Self::text(self.reason, "reason")?;
        if REASONS.contains(&&*reason) {
            return Ok(reason);
        }
        Err(RpcError::invalid_params("reason", format!("none of {}", REASONS.join(", "))))
    }

    /// The connection's state, with every other one checked that is there.
    pub(super) fn states(&self) -> Result<Cow<'a, str>, RpcError> {
        const CONNECTION: &[&str] =
            &["new", "connecting", "connected", "disconnected", "failed", "closed"];
        const ICE: &[&str] =
            &["new", "checking", "connected", "completed", "failed", "disconnected", "closed"];
        const GATHERING: &[&str] = &["new", "gathering", "complete"];
        const SIGNALING: &[&str] = &[
            "stable",
            "have-local-offer",
            "have-remote-offer",
            "have-local-pranswer",
            "have-remote-pranswer",
            "closed",
        ];
        let check = |field, name, known: &[&str]| {
            let Some(text) = Self::optional(field, name)? else { return Ok(None) };
            if known.contains(&&*text) {
                return Ok(Some(text));
            }
            Err(RpcError::invalid_params(name, format!("none of {}", known.join(", "))))
        };
        let state = check(self.connection_state, "connection_state", CONNECTION)?;
        check(self.ice_connection_state, "ice_connection_state", ICE)?;
        check(self.ice_gathering_state, "ice_gathering_state", GATHERING)?;
        check(self.signaling_state, "signaling_state", SIGNALING)?;
        Self::optional(self.timestamp, "timestamp")?;
        state.ok_or_else(|| RpcError::invalid_params("connection_state", "missing"))
    }
}

/// Whether a text has the form of a description (RFC 8866, section 5): what is wrong, and in which line.
fn check_sdp(sdp: &str) -> Result<(), (&'static str, usize)> {
    if sdp.len() > MAX_SDP {
        return Err(("larger than 64 KB", sdp.lines().count()));
    }
    let mut required = ["v=0", "o=", "s="].into_iter();
    let mut number = 0;
    for line in sdp.lines() {
        number += 1;
        let bytes = line.as_bytes();
        if !matches!(bytes, [b'a'..=b'z', b'=', ..]) {
            return Err(("not of the form <type>=<value>", number));
        }
        if let Some(start) = required.next()
            && !(line.starts_with(start) && (start.len() == 2 || line == start))
        {
            return Err(("does not begin with v=0, o= and s=", number));
        }
    }
    match required.next() {
        None => Ok(()),
        Some(_) => Err(("does not begin with v=0, o= and s=", number + 1)),
    }
}

/// Whether a text is a candidate (RFC 8839, section 5.1), or empty: the end of candidates.
fn check_candidate(candidate: &str) -> Result<(), &'static str> {
    if candidate.is_empty() {
        return Ok(());
    }
    if candidate.len() > MAX_CANDIDATE {
        return Err("larger than 4 KB");
    }
    let Some(rest) = candidate.strip_prefix("candidate:") else {
        return Err("does not begin with candidate:");
    };
    let fields: Vec<&str> = rest.split(' ').filter(|field| !field.is_empty()).collect();
    let [_, component, _, priority, _, port, typ, _, ..] = fields.as_slice() else {
        return Err("fewer than 8 fields");
    };
    if component.parse::<u16>().is_err() || priority.parse::<u32>().is_err() {
        return Err("component or priority is no number");
    }
    if port.parse::<u16>().is_err() {
        return Err("port is no number of at most 65535");
    }
    if *typ != "typ" {
        return Err("typ is missing");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> (i64, Option<&str>) {
        let (error, id) = parse(text).unwrap_err();
        (error.code, id)
    }

    #[test]
    fn texts_are_told_apart_as_json_rpc_wants() {
        for text in ["", "nonsense", "{", "[1,", r#"{"jsonrpc":"2.0","#, "\u{1}"] {
            assert_eq!(error(text), (-32_700, None), "{text}");
        }
        for text in
            ["[]", "[1]", "5", "null", r#""text""#, "{}", r#"{"jsonrpc":"1.0","method":"x"}"#]
        {
            assert_eq!(error(text), (-32_600, None), "{text}");
        }
        assert_eq!(error(r#"{"jsonrpc":"2.0","id":7}"#), (-32_600, Some("7")));
        assert_eq!(error(r#"{"jsonrpc":"2.0","method":5,"id":"a"}"#), (-32_600, Some(r#""a""#)));
        for id in ["{}", "[1]", "1.5", "true", "1e3", "null"] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"x","id":{id}}}"#);
            assert_eq!(error(&text), (-32_600, None), "{id}");
        }
        let list = r#"{"jsonrpc":"2.0","method":"x","params":[1],"id":-3}"#;
        assert_eq!(error(list), (-32_602, Some("-3")));
        let call = parse(r#"{"jsonrpc":"2.0","method":"a\u0062","params":{"x": 1},"id":"é"}"#);
        let call = call.unwrap();
        assert_eq!((&*call.method, call.raw_params, call.id), ("ab", r#"{"x": 1}"#, Some("\"é\"")));
    }

    #[test]
    fn descriptions_are_checked_with_the_line_that_is_wrong() {
        assert_eq!(check_sdp("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"), Ok(()));
        assert_eq!(check_sdp("").unwrap_err().1, 1);
        assert_eq!(check_sdp("hello").unwrap_err().1, 1);
        assert_eq!(check_sdp("v=1\r\no=x\r\ns=x").unwrap_err().1, 1);
        assert_eq!(check_sdp("v=0\r\ns=-\r\n").unwrap_err().1, 2);
        assert_eq!(check_sdp("v=0\r\no=x\r\ns=-\r\nnonsense").unwrap_err().1, 4);
        assert!(check_sdp(&format!("v=0\no=x\ns=-\na={}", "x".repeat(MAX_SDP))).is_err());
    }

    #[test]
    fn candidates_of_real_peers_pass_and_others_do_not() {
        for ok in [
            "",
            "candidate:1 1 udp 2113937151 1b2c3d4e-aaaa.local 50000 typ host generation 0 ufrag x",
            "candidate:1 1 UDP 1677729535 1.2.3.4 50000 typ srflx raddr 0.0.0.0 rport 0",
            "candidate:1 1 tcp 1518280447 ::1 9 typ host tcptype active",
        ] {
            assert_eq!(check_candidate(ok), Ok(()), "{ok}");
        }
        for bad in [
            "x",
            "a=candidate:1",
            "candidate:1 1 udp",
            "candidate:1 1 udp 1 h 70000 typ host",
            "candidate:1 x udp 1 h 7 typ host",
            "candidate:1 1 udp 1 h 7 kind host",
        ] {
            assert!(check_candidate(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,200}") {
            let _ = parse(&text);
            let _ = check_sdp(&text);
            let _ = check_candidate(&text);
        }
    }
}
