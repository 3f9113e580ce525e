//! Strangers who send what they should not.

use serde_json::json;

use super::super::model::STRANGER;
use super::{Run, name};

impl Run<'_> {
    fn stranger(&mut self) -> usize {
        match self.stranger {
            Some(stranger) => stranger,
            None => *self.stranger.insert(self.world.add_stranger()),
        }
    }

    pub(super) fn spray(&mut self, a: usize) {
        let stranger = self.stranger();
        self.world.spray(stranger, a);
    }

    /// Nothing of this may reach anybody: what is sent in another's name is refused.
    pub(super) fn forge(&mut self, a: usize, b: usize) {
        let stranger = self.stranger();
        let (from, to) = (name(a), name(b));
        let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
        let said = [
            ("peer.announce", json!({"peer_id": STRANGER, "capabilities": ["data"]})),
            (
                "peer.offer",
                json!({"from": from, "to": to, "sdp": sdp, "request_id": "f",
                "can_trickle_ice_candidates": true}),
            ),
            (
                "peer.answer",
                json!({"from": from, "to": to, "sdp": sdp, "request_id": "f",
                "can_trickle_ice_candidates": true}),
            ),
            ("peer.disconnect", json!({"from": from, "to": to, "reason": "user_requested"})),
            (
                "peer.announce",
                json!({"peer_id": from, "capabilities": ["data"], "session_key": "f"}),
            ),
        ];
        let texts = said.iter().enumerate().map(|(id, (method, params))| {
            json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id}).to_string()
        });
        let mut texts: Vec<String> = texts.collect();
        let peers = &self.plan.peers;
        if peers[a].room != peers[b].room {
            // In another room the name is free for everybody.
            texts.pop();
        }
        let room = format!("/room{}", peers[b].room);
        self.world.send_signaling(stranger, &room, &texts);
    }
}
