//! What passes from peer to peer: offers, answers, candidates, disconnects.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::Server;
use super::room::{Kept, Kind, Offer, Reached};
use super::rpc::{self, Call, RpcError};
use crate::id::{LinkId, PeerId, RequestId};

/// Sender, room and receiver of a message, checked.
struct Route {
    room: Arc<str>,
    from: PeerId,
    to: PeerId,
}

impl Server {
    pub(super) fn on_call(&mut self, now: Instant, link: LinkId, call: &Call<'_>) {
        let announced = self.connections.get(&link).is_some_and(|c| c.peer.is_some());
        let result = match &*call.method {
            "peer.announce" => return self.on_announce(now, link, call),
            _ if !announced => Err(RpcError::invalid_params("peer_id", "announce first")),
            "peer.offer" => self.on_offer(now, link, call),
            "peer.answer" => self.on_answer(now, link, call),
            "peer.ice_candidate" => self.on_candidate(link, call),
            "peer.disconnect" => self.on_disconnect(link, call),
            "peer.state_changed" => self.on_state(link, call),
            _ => Err(RpcError::method_not_found()),
        };
        match (result, call.id) {
            (Err(error), id) => self.refuse(link, &error, id),
            (Ok(request), Some(id)) => {
                let mut status = json!({"status": "forwarded"});
                if let Some(request) = request {
                    status["request_id"] = request.as_str().into();
                }
                self.reply(link, rpc::result(id, &status));
            }
            (Ok(_), None) => {}
        }
    }

    /// Checks that the sender is announced and speaks for itself.
    fn route(&self, link: LinkId, call: &Call<'_>) -> Result<Route, RpcError> {
        let connection = self
            .connections
            .get(&link)
            .ok_or_else(|| RpcError::internal("the connection is gone"))?;
        let from = call.params.from()?;
        if connection.peer.as_ref() != Some(&from) {
            return Err(RpcError::invalid_params("from", "not the id announced here"));
        }
        let to = call.params.to()?;
        if to == from {
            return Err(RpcError::invalid_params("to", "the sender itself"));
        }
        Ok(Route { room: connection.room.clone(), from, to })
    }

    fn on_offer(
        &mut self,
        now: Instant,
        link: LinkId,
        call: &Call<'_>,
    ) -> Result<Option<RequestId>, RpcError> {
        let Route { room: name, from, to } = self.route(link, call)?;
        let request = call.params.request_id()?;
        call.params.sdp(RpcError::offer_invalid)?;
        self.forward(&name, &from, &to, Kind::Offer, call.raw_params)?;
        self.counters.offers += 1;
        let digest = digest(call.raw_params);
        if let Some(room) = self.rooms.get_mut(&name) {
            let before = room.offer(&from, &to);
            if before.is_some_and(|o| o.answered && o.request == request && o.digest == digest) {
                // A copy of one whose answer is on its way: nothing is expected any more.
                return Ok(Some(request));
            }
            let timer = self.timers.offered(now, (name, from.clone(), to.clone()));
            let offer = Offer { request: request.clone(), answered: false, digest, timer };
            room.put_offer(&from, &to, offer, &mut self.timers);
        }
        Ok(Some(request))
    }

    fn on_answer(
        &mut self,
        now: Instant,
        link: LinkId,
        call: &Call<'_>,
    ) -> Result<Option<RequestId>, RpcError> {
        let Route { room: name, from, to } = self.route(link, call)?;
        let request = call.params.request_id()?;
        call.params.sdp(RpcError::answer_invalid)?;
        let room = self.rooms.get(&name);
        if !room.is_some_and(|room| room.is_there(&to)) {
            return Err(RpcError::peer_not_found(&to));
        }
        let offer = room.and_then(|room| room.offer(&to, &from));
        let open = offer.filter(|offer| offer.request == request && !offer.answered);
        let digest = open.ok_or_else(|| RpcError::no_open_offer(&request))?.digest;
        self.forward(&name, &from, &to, Kind::Answer, call.raw_params)?;
        self.counters.answers += 1;
        if let Some(room) = self.rooms.get_mut(&name) {
            let timer = self.timers.answered(now, (name, to.clone(), from.clone()));
            let offer = Offer { request: request.clone(), answered: true, digest, timer };
            room.put_offer(&to, &from, offer, &mut self.timers);
            // Glare: whoever answers has dropped its own offer, which then needs no timeout.
            if room.offer(&from, &to).is_some_and(|own| !own.answered) {
                room.drop_offer(&from, &to, &mut self.timers);
            }
        }
        Ok(Some(request))
    }

    /// Sends an offer or an answer on to its receiver, or keeps it for one that is expected back.
    fn forward(
        &mut self,
        room: &Arc<str>,
        from: &PeerId,
        to: &PeerId,
        kind: Kind,
        params: &str,
    ) -> Result<(), RpcError> {
        let method = if kind == Kind::Offer { "peer.offer" } else { "peer.answer" };
        let text: Arc<str> = rpc::notification(method, params).into();
        let kept = || Some(Kept { from: from.clone(), kind, text: text.clone() });
        let reached = self.rooms.get_mut(room).map(|room| room.reach(to, kept));
        match reached {
            Some(Reached::Link(link)) => {
                self.send(link, text);
                if self.connections.contains_key(&link) {
                    return Ok(());
                }
                Err(RpcError::connection_failed(to, "it does not read"))
            }
            Some(Reached::Kept) => Ok(()),
            Some(Reached::Full) => {
                Err(RpcError::connection_failed(to, "it is absent and too much waits for it"))
            }
            Some(Reached::Nobody) | None => Err(RpcError::peer_not_found(to)),
        }
    }

    /// Candidates are sent on at once or never.
    fn on_candidate(
        &mut self,
        link: LinkId,
        call: &Call<'_>,
    ) -> Result<Option<RequestId>, RpcError> {
        let Route { room: name, from, to } = self.route(link, call)?;
        let request = call.params.request_id()?;
        call.params.candidate()?;
        let room = self.rooms.get_mut(&name);
        let reached = match room.filter(|room| room.knows(&from, &to, &request)) {
            Some(room) => room.reach(&to, || None),
            None => {
                self.counters.candidates_dropped += 1;
                let reason = "no negotiation of this name";
                // As a notification it is just dropped: it may have overtaken, or come too late.
                return match call.id {
                    Some(_) => Err(RpcError::invalid_params("request_id", reason)),
                    None => Ok(None),
                };
            }
        };
        let Reached::Link(target) = reached else {
            self.counters.candidates_dropped += 1;
            return match call.id {
                Some(_) => Err(RpcError::peer_not_found(&to)),
                None => Ok(None),
            };
        };
        self.counters.candidates += 1;
        let text = rpc::notification("peer.ice_candidate", call.raw_params);
        self.send(target, text.into());
        Ok(Some(request))
    }

    fn on_disconnect(
        &mut self,
        link: LinkId,
        call: &Call<'_>,
    ) -> Result<Option<RequestId>, RpcError> {
        let Route { room: name, from, to } = self.route(link, call)?;
        let reason = call.params.reason()?;
        let named = call.params.optional_request_id()?;
        let Some(room) = self.rooms.get_mut(&name) else { return Ok(None) };
        // Without the name of a negotiation it would mean that the sender has left signaling.
        let latest = room.offer(&from, &to).or_else(|| room.offer(&to, &from));
        let request = named.clone().or_else(|| latest.map(|offer| offer.request.clone()));
        // An open offer that the sender does not name has crossed its disconnect: it stands.
        let crossed = |offer: &Offer| !offer.answered && named.as_ref() != Some(&offer.request);
        let crossed = named.is_some() && room.offer(&to, &from).is_some_and(crossed);
        room.drop_offer(&from, &to, &mut self.timers);
        if !crossed {
            room.drop_offer(&to, &from, &mut self.timers);
        }
        let text: Arc<str> = disconnected(&from, &reason, request.as_ref()).into();
        let kept = || Some(Kept { from: from.clone(), kind: Kind::Disconnect, text: text.clone() });
        match room.reach(&to, kept) {
            Reached::Link(link) => self.send(link, text),
            Reached::Kept => {}
            Reached::Full => return Err(RpcError::connection_failed(&to, "it is absent")),
            Reached::Nobody => return Err(RpcError::peer_not_found(&to)),
        }
        self.counters.disconnects += 1;
        Ok(request)
    }

    /// States are only counted.
    fn on_state(&mut self, link: LinkId, call: &Call<'_>) -> Result<Option<RequestId>, RpcError> {
        self.route(link, call)?;
        let request = call.params.request_id()?;
        match &*call.params.states()? {
            "connected" => self.counters.reported_connected += 1,
            "failed" => self.counters.reported_failed += 1,
            _ => {}
        }
        Ok(Some(request))
    }
}

/// Tells texts apart; the same in every process.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The text of `peer.disconnected`.
pub(super) fn disconnected(from: &PeerId, reason: &str, request: Option<&RequestId>) -> String {
    let mut params = json!({"from": from, "reason": reason});
    if let Some(request) = request {
        params["request_id"] = request.as_str().into();
    }
    rpc::notification("peer.disconnected", &params.to_string())
}
