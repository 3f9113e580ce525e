//! Messages that overtake the word that their channel is open.

use std::time::{Duration, Instant};

use super::rtc::{ChannelData, ChannelId};
use crate::trace::state::saved;

/// That word is late by the jitter of the path, or by a retransmission: whoever waits longer hears nothing.
const WAIT: Duration = Duration::from_secs(5);

/// What waits at most.
const MAX_MESSAGES: usize = 64;
const MAX_BYTES: usize = 1024 * 1024;

/// The other side may use a channel of ours as soon as it knows of it, and its word that it is open can come
/// later than what it sends (RFC 8832, section 6). Whoever is told of a message wishes to answer it, which
/// takes an open channel: until then it waits here.
#[derive(Default)]
pub(super) struct Early {
    held: Vec<ChannelData>,
    until: Option<Instant>,
    /// The other side never gives that word, or sends too much before it: nothing waits any more.
    given_up: bool,
}

saved!(struct Early { held, until, given_up });

impl Early {
    /// Keeps a message of a channel that is being opened. Gives what is to be taken all the same.
    pub(super) fn hold(&mut self, now: Instant, data: ChannelData) -> Vec<ChannelData> {
        self.held.push(data);
        self.until.get_or_insert(now + WAIT);
        let bytes: usize = self.held.iter().map(|data| data.data.len()).sum();
        if self.given_up || self.held.len() > MAX_MESSAGES || bytes > MAX_BYTES {
            return self.give_up();
        }
        Vec::new()
    }

    /// What may be taken now: whatever is not of a channel that is still being opened.
    pub(super) fn release(&mut self, is_opening: impl Fn(ChannelId) -> bool) -> Vec<ChannelData> {
        let (held, released) =
            std::mem::take(&mut self.held).into_iter().partition(|data| is_opening(data.id));
        self.held = held;
        if self.held.is_empty() {
            self.until = None;
        }
        released
    }

    /// What has waited long enough.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<ChannelData> {
        if self.until.is_some_and(|until| until <= now) { self.give_up() } else { Vec::new() }
    }

    fn give_up(&mut self) -> Vec<ChannelData> {
        self.given_up = true;
        self.until = None;
        std::mem::take(&mut self.held)
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.until
    }
}
