//! Announces: admission, ids that are taken, and places that are taken over.

use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::room::{Keys, Member};
use super::rpc::{self, Call, RpcError};
use super::{Server, ServerCommand, close};
use crate::id::{LinkId, PeerId};
use crate::signaling::Capabilities;
use crate::time::iso8601;

/// The most bytes of `user_data`, as JSON.
const MAX_USER_DATA: usize = 1024;
/// The longest token or session key that is looked at, in bytes.
const MAX_SECRET: usize = 8 * 1024;

/// Names a question of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The embedder's decision about an announce.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It may.
    Accept,
    /// It may not, for a reason that the peer is told.
    Refuse(String),
}

/// A valid announce.
#[derive(Debug)]
struct Announce {
    peer: PeerId,
    capabilities: Capabilities,
    user_data: String,
    session_key: Option<Secret>,
    id: Option<String>,
}

/// An announce that waits for the embedder.
#[derive(Debug)]
pub(super) struct Pending {
    ticket: Ticket,
    announce: Announce,
}

impl Pending {
    pub(super) const fn ticket(&self) -> Ticket {
        self.ticket
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.announce.id.as_deref()
    }
}

struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Server {
    pub(super) fn on_announce(&mut self, now: Instant, link: LinkId, call: &Call<'_>) {
        if let Err(error) = self.try_announce(now, link, call) {
            self.refuse(link, &error, call.id);
        }
    }

    fn try_announce(
        &mut self,
        now: Instant,
        link: LinkId,
        call: &Call<'_>,
    ) -> Result<(), RpcError> {
        let Some(connection) = self.connections.get(&link) else { return Ok(()) };
        let (announce, token) = read(call)?;
        if connection.pending.is_some() {
            return Err(RpcError::invalid_params("peer_id", "an announce is being decided"));
        }
        if let Some(known) = connection.peer.as_ref().filter(|known| **known != announce.peer) {
            let reason = format!("this connection is announced as {known}");
            return Err(RpcError::invalid_params("peer_id", reason));
        }
        let room = connection.room.clone();
        let address = self.addresses.get_mut(&connection.address);
        if !address.is_none_or(|address| address.announces.take(now)) {
            self.counters.limited += 1;
            return Err(RpcError::limit("too many announces"));
        }
        if !self.config.authorize {
            return self.complete(now, link, announce);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let peer_id = announce.peer.clone();
        if let Some(connection) = self.connections.get_mut(&link) {
            connection.pending = Some(Pending { ticket, announce });
        }
        self.timers.decide(now, link, ticket);
        self.commands.push_back(ServerCommand::Authorize { ticket, room, peer_id, token });
        Ok(())
    }

    /// The embedder has decided about an announce. A decision that comes too late is ignored.
    pub fn authorize(&mut self, now: Instant, ticket: Ticket, verdict: Verdict) {
        let now = self.clock.advance(now);
        let Some(link) = self.timers.link_of(ticket) else { return };
        let Some(pending) = self.take_pending(link, ticket) else { return };
        let id = pending.announce.id.clone();
        let result = match verdict {
            Verdict::Accept => self.complete(now, link, pending.announce),
            Verdict::Refuse(reason) => Err(RpcError::invalid_params("token", reason)),
        };
        if let Err(error) = result {
            self.refuse(link, &error, id.as_deref());
        }
    }

    pub(super) fn take_pending(&mut self, link: LinkId, ticket: Ticket) -> Option<Pending> {
        let connection = self.connections.get_mut(&link)?;
        connection.pending.take_if(|pending| pending.ticket == ticket)
    }

    /// Registers a peer, or lets it take its place over.
    fn complete(&mut self, now: Instant, link: LinkId, announce: Announce) -> Result<(), RpcError> {
        let Some(connection) = self.connections.get_mut(&link) else { return Ok(()) };
        let server_time = iso8601(self.clock.unix(now));
        let name = connection.room.clone();
        let room = self.rooms.entry(name.clone()).or_default();
        let Announce { peer, capabilities, user_data, session_key, id } = announce;
        let notice: Arc<str> = notice(&peer, capabilities, &user_data, &server_time).into();
        let again = connection.peer.is_some();
        let crowded = room.members.len() >= self.config.peers_per_room;
        let Some(member) = room.members.get_mut(&peer) else {
            if crowded {
                self.counters.limited += 1;
                return Err(RpcError::limit("the room is full"));
            }
            connection.peer = Some(peer.clone());
            let keys = Keys::new(&mut self.rng);
            let key = keys.current().to_owned();
            room.joins += 1;
            let joined = room.joins;
            let member = Member::new(link, notice.clone(), server_time.clone(), joined, keys);
            room.members.insert(peer.clone(), member);
            self.registered(link, &name, &peer, id.as_deref(), &server_time, &key);
            let links = self.rooms.get(&name).map(|room| room.links(&peer)).unwrap_or_default();
            self.send_all(links, &notice);
            return Ok(());
        };
        let holds = again && member.link == Some(link);
        let right = session_key.is_some_and(|key| member.keys.renew(&key.0, &mut self.rng));
        if !holds && !right {
            return Err(RpcError::peer_id_taken(&peer, &member.registered_at));
        }
        self.counters.resumes += u64::from(right);
        connection.peer = Some(peer.clone());
        let before = member.link.replace(link).filter(|before| *before != link);
        let absent = member.absent.take();
        let kept = member.take_kept();
        room.joins += 1;
        member.listed = room.joins;
        let changed = !same_but_for_time(&member.notice, &notice);
        member.notice = notice.clone();
        let key = member.keys.current().to_owned();
        // Those who were told that it left, or never of it, or who know it as it was.
        let everyone = changed || absent.is_some_and(|absent| absent.told);
        let since = absent.map_or(u64::MAX, |absent| absent.joins);
        let others = room
            .members
            .iter()
            .filter(|(id, other)| **id != peer && (everyone || other.listed > since));
        let links: Vec<LinkId> = others.filter_map(|(_, other)| other.link).collect();
        if let Some(before) = before {
            let reason = "taken over by another connection";
            // It is no peer any more: its end means nothing.
            if let Some(connection) = self.connections.get_mut(&before) {
                connection.peer = None;
            }
            self.drop_link(now, before, close::TAKEN_OVER, reason);
        }
        self.registered(link, &name, &peer, id.as_deref(), &server_time, &key);
        self.send_all(links, &notice);
        for kept in kept {
            self.send(link, kept.text);
        }
        Ok(())
    }

    /// Answers an announce, and tells the peer of everyone who is there.
    fn registered(
        &mut self,
        link: LinkId,
        room: &Arc<str>,
        peer: &PeerId,
        id: Option<&str>,
        server_time: &str,
        session_key: &str,
    ) {
        self.counters.announces += 1;
        if let Some(id) = id {
            let result = json!({
                "status": "registered",
                "server_time": server_time,
                "peer_id": peer,
                "session_key": session_key,
            });
            self.reply(link, rpc::result(id, &result));
        }
        let Some(room) = self.rooms.get(room) else { return };
        let present =
            room.members.iter().filter(|(other, member)| *other != peer && member.link.is_some());
        let notices: Vec<Arc<str>> = present.map(|(_, member)| member.notice.clone()).collect();
        for notice in notices {
            self.send(link, notice);
        }
    }

    /// An error reply to a request; a notification is only counted.
    pub(super) fn refuse(&mut self, link: LinkId, error: &RpcError, id: Option<&str>) {
        match id {
            Some(id) => self.reply_error(link, error, Some(id)),
            None => self.counters.invalid_notifications += 1,
        }
    }
}

fn read(call: &Call<'_>) -> Result<(Announce, Option<String>), RpcError> {
    let params = &call.params;
    let peer = params.peer_id()?;
    let capabilities =
        params.capabilities.ok_or_else(|| RpcError::invalid_params("capabilities", "missing"))?;
    let capabilities = serde_json::from_str(capabilities.get()).map_err(|_| {
        let reason = "not a non-empty array of audio, video and data";
        RpcError::invalid_params("capabilities", reason)
    })?;
    let user_data = params.user_data.map_or("{}", RawValue::get);
    let user_data = if user_data == "null" { "{}" } else { user_data };
    if !user_data.starts_with('{') {
        return Err(RpcError::invalid_params("user_data", "not an object"));
    }
    if user_data.len() > MAX_USER_DATA {
        let reason = format!("{} bytes, at most {MAX_USER_DATA}", user_data.len());
        return Err(RpcError::invalid_params("user_data", reason));
    }
    // Readers refuse what is nested without bounds, and would not see the peer at all.
    if serde_json::from_str::<Map<String, Value>>(user_data).is_err() {
        return Err(RpcError::invalid_params("user_data", "nested too deeply"));
    }
    let (session_key, token) = (params.session_key()?, params.token()?);
    for (name, secret) in [("session_key", &session_key), ("token", &token)] {
        if secret.as_ref().is_some_and(|secret| secret.len() > MAX_SECRET) {
            return Err(RpcError::invalid_params(name, "larger than 8 KB"));
        }
    }
    let announce = Announce {
        peer,
        capabilities,
        user_data: user_data.to_owned(),
        session_key: session_key.map(|key| Secret(key.into_owned())),
        id: call.id.map(str::to_owned),
    };
    Ok((announce, token.map(std::borrow::Cow::into_owned)))
}

fn notice(peer: &PeerId, capabilities: Capabilities, user_data: &str, at: &str) -> String {
    let words = json!(capabilities);
    // The order matters to `same_but_for_time`.
    let params = format!(
        r#"{{"peer_id":"{peer}","capabilities":{words},"user_data":{user_data},"announced_at":"{at}"}}"#
    );
    rpc::notification("peer.announced", &params)
}

fn same_but_for_time(a: &str, b: &str) -> bool {
    let before = |notice: &str| notice.rfind(r#","announced_at":"#).unwrap_or(notice.len());
    a.get(..before(a)) == b.get(..before(b))
}
