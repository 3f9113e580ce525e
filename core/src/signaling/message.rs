//! The messages of the wire (JSON-RPC 2.0), their limits and their error codes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::id::{PeerId, RequestId};
use crate::signaling::Capabilities;
use crate::trace::state::saved;

/// The largest message, in bytes.
pub(super) const MAX_MESSAGE: usize = 1_000_000;
/// The largest description, in bytes.
pub(super) const MAX_SDP: usize = 64 * 1024;
/// The largest candidate, in bytes: real ones have below 200.
pub(super) const MAX_CANDIDATE: usize = 4 * 1024;
/// The most memory that another peer's `user_data` takes here, in bytes: more than 1 KB of JSON can.
const MAX_USER_DATA_MEMORY: usize = 20 * 1024;
/// What is read of a server's texts for humans, in characters.
const MAX_HUMAN: usize = 256;

/// Error codes of replies: those of JSON-RPC 2.0, section 5.1, and the contract's own.
pub(super) mod code {
    pub(in crate::signaling) const INVALID_PARAMS: i64 = -32_602;
    pub(in crate::signaling) const PEER_NOT_FOUND: i64 = -32_000;
    pub(in crate::signaling) const ANSWER_INVALID: i64 = -32_003;
}

/// Why a peer ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DisconnectReason {
    /// Its user wished it.
    UserRequested,
    /// The path was lost.
    NetworkError,
    /// The other side did not answer.
    Timeout,
    /// Something else went wrong.
    Error,
    /// Nobody knows.
    Unknown,
}

saved!(
    enum DisconnectReason {
        UserRequested,
        NetworkError,
        Timeout,
        Error,
        Unknown,
    }
);

/// Where a connection stands, for the server's monitoring (RTCPeerConnectionState).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PeerConnectionState {
    /// Not begun.
    New,
    /// Being made.
    Connecting,
    /// Made.
    Connected,
    /// The path is lost.
    Disconnected,
    /// Given up.
    Failed,
    /// Ended.
    Closed,
}

saved!(
    enum PeerConnectionState {
        New,
        Connecting,
        Connected,
        Disconnected,
        Failed,
        Closed,
    }
);

/// A message to another peer, by way of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToPeer {
    /// An offer.
    Offer {
        /// To whom.
        to: PeerId,
        /// The name of the negotiation that it begins.
        request: RequestId,
        /// The description.
        sdp: String,
    },
    /// The answer to an offer.
    Answer {
        /// To whom.
        to: PeerId,
        /// The name of the offer's negotiation.
        request: RequestId,
        /// The description.
        sdp: String,
    },
    /// A candidate.
    Candidate {
        /// To whom.
        to: PeerId,
        /// The name of its negotiation.
        request: RequestId,
        /// `candidate:…` (RFC 8839, section 5.1); empty: the end of candidates.
        candidate: String,
        /// The media section that it belongs to.
        mid: Option<String>,
        /// The index of that section.
        index: u16,
    },
    /// The end of a connection or of an attempt.
    Disconnect {
        /// To whom.
        to: PeerId,
        /// Why.
        reason: DisconnectReason,
        /// The name of its latest negotiation.
        request: Option<RequestId>,
    },
    /// The state of a connection, for the server alone.
    StateChanged {
        /// Of the connection to whom.
        to: PeerId,
        /// The state.
        state: PeerConnectionState,
        /// The name of its latest negotiation.
        request: RequestId,
        /// When, in ISO 8601.
        timestamp: String,
    },
}

saved!(enum ToPeer {
    Offer { to, request, sdp }, Answer { to, request, sdp },
    Candidate { to, request, candidate, mid, index }, Disconnect { to, reason, request },
    StateChanged { to, state, request, timestamp },
});

impl ToPeer {
    /// Its receiver.
    pub const fn to(&self) -> &PeerId {
        match self {
            Self::Offer { to, .. }
            | Self::Answer { to, .. }
            | Self::Candidate { to, .. }
            | Self::Disconnect { to, .. }
            | Self::StateChanged { to, .. } => to,
        }
    }

    /// The name of its negotiation.
    pub const fn request(&self) -> Option<&RequestId> {
        match self {
            Self::Offer { request, .. }
            | Self::Answer { request, .. }
            | Self::Candidate { request, .. }
            | Self::StateChanged { request, .. } => Some(request),
            Self::Disconnect { request, .. } => request.as_ref(),
        }
    }

    /// Its size in bytes, without what is the same for all.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Offer { sdp, .. } | Self::Answer { sdp, .. } => sdp.len(),
            Self::Candidate { candidate, .. } => candidate.len(),
            Self::Disconnect { .. } | Self::StateChanged { .. } => 0,
        }
    }

    /// The JSON text; `id` is used by those that are requests.
    pub(super) fn to_json(&self, from: &PeerId, id: u64) -> String {
        let described = |method: &str, to: &PeerId, request: &RequestId, sdp: &str| {
            json!({
                "jsonrpc": "2.0",
                "method": method,
                "params": {
                    "from": from,
                    "to": to,
                    "sdp": sdp,
                    "can_trickle_ice_candidates": true,
                    "request_id": request.as_str(),
                },
                "id": id,
            })
        };
        let value = match self {
            Self::Offer { to, request, sdp } => described("peer.offer", to, request, sdp),
            Self::Answer { to, request, sdp } => described("peer.answer", to, request, sdp),
            Self::Candidate { to, request, candidate, mid, index } => json!({
                "jsonrpc": "2.0",
                "method": "peer.ice_candidate",
                "params": {
                    "from": from,
                    "to": to,
                    "candidate": candidate,
                    "sdp_m_line_index": index,
                    "sdp_mid": mid,
                    "request_id": request.as_str(),
                },
            }),
            Self::Disconnect { to, reason, request } => {
                let mut params = json!({"from": from, "to": to, "reason": reason});
                if let Some(request) = request {
                    params["request_id"] = request.as_str().into();
                }
                json!({"jsonrpc": "2.0", "method": "peer.disconnect", "params": params})
            }
            Self::StateChanged { to, state, request, timestamp } => json!({
                "jsonrpc": "2.0",
                "method": "peer.state_changed",
                "params": {
                    "from": from,
                    "to": to,
                    "connection_state": state,
                    "request_id": request.as_str(),
                    "timestamp": timestamp,
                },
            }),
        };
        value.to_string()
    }
}

/// What a server's text is.
#[derive(Debug)]
pub(super) enum FromServer {
    Result { id: u64, result: Value },
    Error { id: Option<u64>, code: i64, message: String, reason: Option<String> },
    Announced { peer: PeerId, capabilities: Capabilities, user_data: Map<String, Value> },
    Offer(Described),
    Answer(Described),
    Candidate(Trickled),
    Disconnected { from: PeerId, reason: String, request: Option<RequestId> },
}

#[derive(Debug)]
pub(super) struct Described {
    pub(super) from: PeerId,
    pub(super) request: RequestId,
    pub(super) sdp: String,
}

#[derive(Debug)]
pub(super) struct Trickled {
    pub(super) from: PeerId,
    pub(super) request: RequestId,
    pub(super) candidate: String,
    pub(super) mid: Option<String>,
    pub(super) index: Option<u16>,
}

saved!(struct Trickled { from, request, candidate, mid, index });

/// Why a text means nothing to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meaningless(pub(super) &'static str);

impl FromServer {
    /// Reads a text from the server. Whoever it is for is checked against `us`.
    pub(super) fn parse(text: &str, us: &PeerId) -> Result<Self, Meaningless> {
        if text.len() > MAX_MESSAGE {
            return Err(Meaningless("larger than 1 MB"));
        }
        let Ok(Value::Object(mut object)) = serde_json::from_str(text) else {
            return Err(Meaningless("no JSON object"));
        };
        if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(Meaningless("not JSON-RPC 2.0"));
        }
        let Some(Value::String(method)) = object.remove("method") else {
            return reply(object);
        };
        let Some(Value::Object(params)) = object.remove("params") else {
            return Err(Meaningless("params is no object"));
        };
        if params.get("to").is_some_and(|to| to.as_str() != Some(us.as_str())) {
            return Err(Meaningless("it is for somebody else"));
        }
        let sender = params.get("from").or_else(|| params.get("peer_id"));
        if sender.is_some_and(|sender| sender.as_str() == Some(us.as_str())) {
            return Err(Meaningless("it claims to come from us"));
        }
        notification(&method, params)
    }
}

fn reply(mut object: Map<String, Value>) -> Result<FromServer, Meaningless> {
    let id = object.get("id").and_then(Value::as_u64);
    if let Some(result) = object.remove("result") {
        let id = id.ok_or(Meaningless("a result without an id of ours"))?;
        return Ok(FromServer::Result { id, result });
    }
    let Some(Value::Object(error)) = object.remove("error") else {
        return Err(Meaningless("neither method nor result nor error"));
    };
    let code = error.get("code").and_then(Value::as_i64).unwrap_or(-32_603);
    let human = |text: Option<&Value>| {
        text.and_then(Value::as_str).map(|text| text.chars().take(MAX_HUMAN).collect::<String>())
    };
    let reason = human(error.get("data").and_then(|data| data.get("reason")));
    let message = human(error.get("message")).unwrap_or_default();
    Ok(FromServer::Error { id, code, message, reason })
}

/// What an object takes in memory, about, in bytes.
pub(super) fn memory(object: &Map<String, Value>) -> usize {
    /// A member's part of the tree, beside its name and value.
    const NODE: usize = 32;
    // The depth is bounded by the reader (128).
    fn of(value: &Value) -> usize {
        let inside = match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(of).sum(),
            Value::Object(object) => memory(object),
        };
        size_of::<Value>() + inside
    }
    object.iter().map(|(name, value)| NODE + name.len() + of(value)).sum()
}

fn notification(method: &str, mut params: Map<String, Value>) -> Result<FromServer, Meaningless> {
    fn text(params: &mut Map<String, Value>, name: &str) -> Option<String> {
        match params.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }
    fn peer(params: &mut Map<String, Value>, name: &str) -> Result<PeerId, Meaningless> {
        text(params, name)
            .and_then(|id| PeerId::new(id).ok())
            .ok_or(Meaningless("no valid peer id"))
    }
    fn request(params: &mut Map<String, Value>) -> Result<RequestId, Meaningless> {
        text(params, "request_id")
            .and_then(RequestId::new)
            .ok_or(Meaningless("no valid request_id"))
    }
    fn described(mut params: Map<String, Value>) -> Result<Described, Meaningless> {
        let from = peer(&mut params, "from")?;
        let request = request(&mut params)?;
        let sdp = text(&mut params, "sdp").ok_or(Meaningless("sdp is no text"))?;
        if sdp.len() > MAX_SDP {
            return Err(Meaningless("sdp is larger than 64 KB"));
        }
        Ok(Described { from, request, sdp })
    }
    match method {
        "peer.announced" => {
            let peer = peer(&mut params, "peer_id")?;
            let capabilities = params.remove("capabilities").unwrap_or(Value::Null);
            let capabilities = serde_json::from_value(capabilities)
                .map_err(|_| Meaningless("no valid capabilities"))?;
            let user_data = match params.remove("user_data") {
                Some(Value::Object(user_data)) => user_data,
                Some(Value::Null) | None => Map::new(),
                Some(_) => return Err(Meaningless("user_data is no object")),
            };
            if memory(&user_data) > MAX_USER_DATA_MEMORY {
                return Err(Meaningless("user_data is too large"));
            }
            Ok(FromServer::Announced { peer, capabilities, user_data })
        }
        "peer.offer" => described(params).map(FromServer::Offer),
        "peer.answer" => described(params).map(FromServer::Answer),
        "peer.ice_candidate" => {
            let from = peer(&mut params, "from")?;
            let request = request(&mut params)?;
            let candidate =
                text(&mut params, "candidate").ok_or(Meaningless("candidate is no text"))?;
            if candidate.len() > MAX_CANDIDATE {
                return Err(Meaningless("candidate is larger than 4 KB"));
            }
            let mid = text(&mut params, "sdp_mid").filter(|mid| mid.len() <= 256);
            let index = params.get("sdp_m_line_index").and_then(Value::as_u64);
            let index = index.and_then(|index| u16::try_from(index).ok());
            Ok(FromServer::Candidate(Trickled { from, request, candidate, mid, index }))
        }
        "peer.disconnected" => {
            let from = peer(&mut params, "from")?;
            let reason = text(&mut params, "reason").unwrap_or_else(|| "unknown".into());
            let request = match params.contains_key("request_id") {
                true => Some(request(&mut params)?),
                false => None,
            };
            let reason = reason.chars().take(64).collect();
            Ok(FromServer::Disconnected { from, reason, request })
        }
        _ => Err(Meaningless("unknown method")),
    }
}
