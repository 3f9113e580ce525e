//! The mesh: signaling, connections, media and data of all peers as one machine.
//!
//! [`Transport`] is driven like every machine of this crate. After any call of a method that takes `now`,
//! drain the outputs: [`Transport::poll_transmit`], [`Transport::poll_command`],
//! [`Transport::poll_outcome`], [`Transport::poll_event`] and [`Transport::poll_media`], in any order; then
//! wait until [`Transport::poll_timeout`] or the next input. The queues are bounded, so that a driver that
//! drains late loses media, never memory.

mod command;
mod demux;
mod event;
#[cfg(any(test, feature = "sim"))]
mod hostile;
mod info;
mod input;
mod list;
mod merge;
mod mesh;
mod outgoing;
mod playout;
mod queue;
mod reception;
mod record;
mod remote;
#[cfg(feature = "opus")]
mod rendering;
mod send;
mod settle;
#[cfg(feature = "sim")]
mod sim;
mod sockets;
#[cfg(feature = "opus")]
mod voice;

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::config::{Config, ConnectMode};
use crate::error::ConfigError;
use crate::id::PeerId;
use crate::net::{IoCommand, Transmit};
use crate::peer::{self, Engine};
use crate::rng::{Rng, Seed};
use crate::signaling::{Capabilities, Client, ClientConfig};
use crate::time::{Clock, Deadline};
use crate::trace::Tape;
use crate::trace::state::saved;

use demux::Demux;
use list::Remotes;
use outgoing::AudioSource;
use queue::Queues;
use sockets::Sockets;

#[cfg(feature = "sim")]
pub use crate::peer::{BareEnd, bare_provider, hostile_peer};
pub use event::{AudioData, AudioFrame, CaptureTime, ClosedBy, Event, Media, Outcome, VideoTiming};
#[cfg(any(test, feature = "sim"))]
pub use hostile::hostile_demux;
pub use info::{BroadcastStats, Metrics, PeerCounters, PeerInfo, PeerState, Quality, SyncInfo};
pub use record::{Replay, ReplayReport};
#[cfg(feature = "sim")]
#[doc(hidden)]
pub use record::{hostile, resaved};
#[cfg(feature = "opus")]
pub use voice::OpusVoice;

/// Where a transport stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not started.
    New,
    /// `start` was called: the announce has not been answered.
    Starting,
    /// Announced once: from here on signaling may come and go.
    Running,
    /// `shutdown` was called.
    Ended,
}

saved!(
    enum Phase {
        New,
        Starting,
        Running,
        Ended,
    }
);

/// A mesh of peers: everything but sockets, clocks and threads.
///
/// Equal configurations, seeds, times and inputs give equal outputs, as far as the engine underneath is
/// deterministic. A fault in one connection ends that connection alone.
pub struct Transport {
    config: Config,
    id: PeerId,
    clock: Clock,
    rng: Rng,
    phase: Phase,
    engine: Option<Engine>,
    /// What stands at the borders while a recording is made or replayed.
    tape: Option<Tape>,
    /// The same, for the calls from outside: taken out while one goes on.
    trace: Option<Tape>,
    signaling: Client,
    sockets: Sockets,
    demux: Demux,
    remotes: Remotes,
    /// The encoder of what is broadcast.
    broadcast: Option<Box<AudioSource>>,
    queues: Queues,
    counts: Counts,
    /// The number of the signaling connection, and when those that it did not announce count as gone.
    listing: u64,
    listed_at: Option<Instant>,
    start_deadline: Option<Instant>,
    /// Starts that failed.
    starts: u64,
    /// Why signaling could not be reached so far, while starting.
    start_trouble: Option<String>,
    /// Received audio is handed over as it comes.
    #[cfg(feature = "sim")]
    bypass_playout: bool,
}

saved!(struct Transport {
    config, id, clock, rng, phase, tape, trace, signaling, sockets, demux, remotes, broadcast,
    queues, counts, listing, listed_at, start_deadline, starts, start_trouble;
    engine = |_| Ok(None), #[cfg(feature = "sim")] bypass_playout = |_| Ok(false),
});

/// What has been counted since the start.
#[derive(Debug, Default)]
struct Counts {
    datagrams_in: u64,
    datagrams_out: u64,
    datagrams_unknown: u64,
    connections: u64,
    failures: u64,
    audio_encodes: u64,
    refused: u64,
}

saved!(struct Counts {
    datagrams_in, datagrams_out, datagrams_unknown, connections, failures, audio_encodes,
    refused,
});

impl Transport {
    /// A transport that has touched nothing yet. `unix_now` is the time since the Unix epoch at `now`.
    ///
    /// # Errors
    /// [`ConfigError`] naming the field that is wrong.
    pub fn new(
        config: Config,
        seed: Seed,
        now: Instant,
        unix_now: Duration,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        Self::unchecked(config, seed, now, unix_now)
    }

    /// One whose configuration was validated.
    fn unchecked(
        config: Config,
        seed: Seed,
        now: Instant,
        unix_now: Duration,
    ) -> Result<Self, ConfigError> {
        let rng = Rng::new(seed);
        let id = match &config.peer_id {
            Some(id) => id.clone(),
            None => format!("peer-{}", rng.fork("peer id").hex(8)),
        };
        let id = PeerId::new(id).map_err(|error| ConfigError::new("peer_id", error.to_string()))?;
        let signaling = Client::new(announce(&config, &id), rng.fork("signaling"), now);
        Ok(Self {
            clock: Clock::new(now, unix_now),
            sockets: Sockets::new(config.signaling_on_loopback()),
            id,
            rng,
            phase: Phase::New,
            engine: None,
            tape: None,
            trace: None,
            signaling,
            demux: Demux::default(),
            remotes: Remotes::default(),
            broadcast: None,
            queues: Queues::default(),
            counts: Counts::default(),
            listing: 0,
            listed_at: None,
            start_deadline: None,
            starts: 0,
            start_trouble: None,
            #[cfg(feature = "sim")]
            bypass_playout: false,
            config,
        })
    }

    /// Warms the cryptographic library of this process up: its first use costs 30 to 90 ms. Call it once,
    /// on a thread of its own, before the first connection is wanted; without it the first pays.
    pub fn warm_up(now: Instant) {
        peer::warm_up(now);
    }

    /// This peer's id.
    pub const fn peer_id(&self) -> &PeerId {
        &self.id
    }

    /// The settings in force.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The next datagram to send. What cannot be sent now may be dropped: the network loses datagrams too.
    #[must_use]
    #[inline]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.queues.poll_transmit()?;
        self.counts.datagrams_out += 1;
        if let Some(tape) = &self.tape {
            record::transmit(tape, &transmit);
        }
        Some(transmit)
    }

    /// The next resource to see to, in order. Sockets are closed only after all datagrams that were to be
    /// sent from them have been fetched.
    #[must_use]
    #[inline]
    pub fn poll_command(&mut self) -> Option<IoCommand> {
        if !self.queues.transmits.is_empty()
            && matches!(self.queues.commands.front(), Some(IoCommand::CloseUdp { .. }))
        {
            return None;
        }
        let command = self.queues.commands.pop_front()?;
        if let Some(tape) = &self.tape {
            record::command(tape, &command);
        }
        Some(command)
    }

    /// The next event.
    #[must_use]
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.queues.poll_event()?;
        if let Some(tape) = &self.tape {
            record::event(tape, &event);
        }
        Some(event)
    }

    /// The next frame of media: audio at its playout time, video as it arrived.
    #[must_use]
    #[inline]
    pub fn poll_media(&mut self) -> Option<Media> {
        let media = self.queues.poll_media()?;
        if let Some(tape) = &self.tape {
            record::media(tape, &media);
        }
        Some(media)
    }

    /// Whether [`Transport::poll_event`] or [`Transport::poll_media`] would give something.
    pub fn has_events(&self) -> bool {
        self.queues.has_events()
    }

    /// What became of a command.
    #[must_use]
    #[inline]
    pub fn poll_outcome(&mut self) -> Option<Outcome> {
        let outcome = self.queues.outcomes.pop_front()?;
        if let Some(tape) = &self.tape {
            record::outcome(tape, &outcome);
        }
        Some(outcome)
    }

    /// When [`Transport::handle_timeout`] wants to be called: at once while datagrams, commands or outcomes
    /// wait to be fetched; `None` before `start` and after the end. Events and media wait for the
    /// application, and are no reason to call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if let Some(why) = self.queues.waiting() {
            return Some(Deadline::new(self.clock.now(), why));
        }
        self.timers()
    }

    /// The next timer.
    fn timers(&self) -> Option<Deadline> {
        if matches!(self.phase, Phase::New | Phase::Ended) {
            return None;
        }
        let mut earliest = self.signaling.poll_timeout();
        Deadline::consider(&mut earliest, self.sockets.poll_timeout(), "gathering");
        Deadline::consider(&mut earliest, self.listed_at, "peers not announced again");
        Deadline::consider(&mut earliest, self.start_deadline, "start");
        Deadline::earliest(earliest, self.remotes.poll_timeout())
    }

    fn automatic(&self) -> bool {
        self.config.connect == ConnectMode::Automatic
    }
}

/// What is said about ourselves.
fn announce(config: &Config, id: &PeerId) -> ClientConfig {
    // The configuration was validated: something is enabled.
    let (audio, data) = (config.audio.enabled, config.enable_data_channel);
    let capabilities =
        Capabilities::new(audio, config.video.enabled, data).unwrap_or(Capabilities::ALL);
    let mut user_data: Map<String, Value> = config.user_data.clone();
    user_data.insert("rtcmesh".into(), json!({"v": 1}));
    let mut client = ClientConfig::new(&config.signaling_url, id.clone(), capabilities);
    client.user_data = user_data;
    client.token = config.token.clone();
    client
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("id", &self.id)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
