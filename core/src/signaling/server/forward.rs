//! What passes from peer to peer: offers, answers, candidates, disconnects.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::Server;
use super::room::{Offer, Reached};
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
        let result = match &*call.method {
            "peer.announce" => return self.on_announce(now, link, call),
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
        let peer = connection
            .peer
            .as_ref()
            .ok_or_else(|| RpcError::invalid_params("peer_id", "announce first"))?;
        let from = call.params.from()?;
        if from != *peer {
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
        self.forward(&name, &to, "peer.offer", call.raw_params)?;
        self.counters.offers += 1;
        if let Some(room) = self.rooms.get_mut(&name) {
            let offer = Offer { request: request.clone(), answered: false };
            room.offers.insert((from.clone(), to.clone()), offer);
        }
        self.timers.offered(now, name, from, to, request.clone());
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
        let pair = (to.clone(), from.clone());
        let open = |offer: &&mut Offer| offer.request == request && !offer.answered;
        let room = self.rooms.get_mut(&name);
        if !room.is_some_and(|room| room.offers.get_mut(&pair).as_ref().is_some_and(open)) {
            return Err(RpcError::answer_invalid("no open offer with this request_id", 0));
        }
        self.forward(&name, &to, "peer.answer", call.raw_params)?;
        self.counters.answers += 1;
        if let Some(offer) = self.rooms.get_mut(&name).and_then(|r| r.offers.get_mut(&pair)) {
            offer.answered = true;
        }
        self.timers.answered(now, name, to, from, request.clone());
        Ok(Some(request))
    }

    /// Sends a message on to its receiver, or keeps it for one that is expected back.
    fn forward(
        &mut self,
        room: &Arc<str>,
        to: &PeerId,
        method: &str,
        params: &str,
    ) -> Result<(), RpcError> {
        let text: Arc<str> = rpc::notification(method, params).into();
        let reached = self.rooms.get_mut(room).map(|room| room.reach(to, Some(&text)));
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
            Some(room) => room.reach(&to, None),
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
        let request = call.params.optional_request_id()?;
        let text: Arc<str> = disconnected(&from, &reason, request.as_ref()).into();
        let Some(room) = self.rooms.get_mut(&name) else { return Ok(None) };
        room.forget_pair(&from, &to);
        match room.reach(&to, Some(&text)) {
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

/// The text of `peer.disconnected`.
pub(super) fn disconnected(from: &PeerId, reason: &str, request: Option<&RequestId>) -> String {
    let mut params = json!({"from": from, "reason": reason});
    if let Some(request) = request {
        params["request_id"] = request.as_str().into();
    }
    rpc::notification("peer.disconnected", &params.to_string())
}
