//! What happens in a scenario: what applications do, and what befalls them.

use std::fmt;
use std::time::Duration;

use crate::net::Preset;

/// One thing that happens. Hosts are numbers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Act {
    /// Shuts down properly, and is back after a time under the same name.
    Leave(usize, Duration),
    /// Is gone without a word, and back after a time under the same name.
    Crash(usize, Duration),
    /// Shuts down and is back at once.
    Restart(usize),
    /// Calls somebody.
    Connect(usize, usize),
    /// Ends a connection.
    Disconnect(usize, usize),
    /// Sends this many messages of about this many bytes.
    Say {
        /// Who.
        from: usize,
        /// To whom.
        to: usize,
        /// How many.
        count: u32,
        /// How long each is, in bytes.
        size: usize,
        /// Whether they are sent reliably.
        reliable: bool,
    },
    /// Begins to send audio to everybody, or stops.
    Talk(usize, bool),
    /// Begins to send video to everybody, or stops.
    Film(usize, bool),
    /// Sets its jitter buffer's size in milliseconds.
    Configure(usize, u32),
    /// Its application reads nothing for a time.
    Stall(usize, Duration),
    /// Its signaling connection breaks.
    BreakSignaling(usize),
    /// The signaling server's process stops, and another one takes its place after a time.
    StopServer(Duration),
    /// Nothing passes between two for a time.
    Cut(usize, usize, Duration),
    /// Nothing passes between the hosts in this set (bits) and the others for a time.
    Partition(u64, Duration),
    /// Its interface is down for a time.
    Flap(usize, Duration),
    /// Its first interface is down for a time; where it has a second one, it goes on over that.
    Handover(usize, Duration),
    /// It moves to another network; `None`: to a public address.
    Roam(usize, Option<Preset>),
    /// Its NATs forget all their mappings.
    Rebind(usize),
    /// Its access loses this share of the datagrams (in thousandths) for a time.
    Storm(usize, u16, Duration),
    /// A stranger tells the signaling server, in the name of the first, to call the second, to end their connection and more.
    Forge(usize, usize),
    /// A stranger sends it datagrams: garbage, and copies of what others sent.
    Spray(usize),
}

impl Act {
    /// Whether there may be other paths after it.
    pub(super) const fn moves(&self) -> bool {
        matches!(
            self,
            Self::Cut(..)
                | Self::Partition(..)
                | Self::Flap(..)
                | Self::Handover(..)
                | Self::Roam(..)
        )
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leave(a, time) => write!(f, "p{a} leaves, for {time:?}"),
            Self::Crash(a, time) => write!(f, "p{a} crashes, for {time:?}"),
            Self::Restart(a) => write!(f, "p{a} restarts"),
            Self::Connect(a, b) => write!(f, "p{a} calls p{b}"),
            Self::Disconnect(a, b) => write!(f, "p{a} ends its connection with p{b}"),
            Self::Say { from, to, count, size, reliable } => {
                let kind = if *reliable { "" } else { " unreliable" };
                write!(f, "p{from} sends p{to} {count}{kind} messages of {size} bytes")
            }
            Self::Talk(a, on) => write!(f, "p{a} {} audio", begins(*on)),
            Self::Film(a, on) => write!(f, "p{a} {} video", begins(*on)),
            Self::Configure(a, size) => write!(f, "p{a} sets its jitter buffer to {size} ms"),
            Self::Stall(a, time) => write!(f, "p{a} does not read for {time:?}"),
            Self::BreakSignaling(a) => write!(f, "p{a}'s signaling connection breaks"),
            Self::StopServer(time) => write!(f, "the signaling server is gone for {time:?}"),
            Self::Cut(a, b, time) => write!(f, "nothing passes between p{a} and p{b} for {time:?}"),
            Self::Partition(set, time) => {
                let inside = (0..64).filter(|n| (*set >> n) & 1 == 1);
                let names = inside.map(|n| format!("p{n}")).collect::<Vec<_>>().join(" ");
                write!(f, "{names} are cut off from the others for {time:?}")
            }
            Self::Flap(a, time) => write!(f, "p{a}'s interface is down for {time:?}"),
            Self::Handover(a, time) => write!(f, "p{a} leaves its first network for {time:?}"),
            Self::Roam(a, None) => write!(f, "p{a} moves to a public address"),
            Self::Roam(a, Some(preset)) => write!(f, "p{a} moves to {preset}"),
            Self::Rebind(a) => write!(f, "p{a}'s NAT forgets its mappings"),
            Self::Storm(a, loss, time) => {
                write!(f, "p{a} loses {}.{} % for {time:?}", loss / 10, loss % 10)
            }
            Self::Forge(a, b) => write!(f, "a stranger speaks to p{b} in the name of p{a}"),
            Self::Spray(a) => write!(f, "a stranger sends garbage to p{a}"),
        }
    }
}

fn begins(on: bool) -> &'static str {
    if on { "begins to send" } else { "stops sending" }
}
