//! The engine alone, as our peers configure it: what everything of ours is measured by. Simulations and benches only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::media::{MediaData, Mid, Pt};
use str0m::{Event, Output};

use super::channels::{DATA, FRAGMENTS, UNRELIABLE};
use super::live::Live;
use super::rtc::Wanted;
use super::{Engine, PeerConfig};
use crate::rng::{Rng, Seed};

/// As [`Peer`](super::Peer) has it: the engine may name a deadline that has passed, more than once.
const TURNS: usize = 8;

/// One end of a connection of the engine, with audio and our data channels, driven as the engine's documentation says.
/// Nothing of ours is in the way, not even what works round the engine's faults (docs/upstream.md).
pub struct BareEnd {
    live: Live,
    local: SocketAddr,
    remote: SocketAddr,
    next: Instant,
    mid: Option<Mid>,
    /// Where audio can be sent. Once it is connected.
    audio: Option<(Mid, Pt)>,
    connected: bool,
    /// Samples sent at 48 kHz.
    rtp: u64,
    received: u64,
    out: Vec<Vec<u8>>,
}

impl BareEnd {
    /// Two ends at these addresses that know each other's descriptions, with what they have to say first. Equal seeds
    /// give equal ICE credentials and nothing else.
    ///
    /// # Errors
    /// What the engine says, in words.
    #[doc(hidden)]
    pub fn pair(addresses: [SocketAddr; 2], seed: u64, now: Instant) -> Result<[Self; 2], String> {
        let engine = Engine::bare()?;
        let mut rng = Rng::new(Seed::from_number(seed)).fork("bare");
        let config = PeerConfig { remote_is_rtcmesh: true, ..PeerConfig::default() };
        let [first, second] = addresses;
        let mut end = |local, remote| {
            let (rtc, _) = engine.build(&config, &mut rng, now).map_err(|e| e.to_string())?;
            let mut live = Live::new(rtc);
            live.add_local(local).ok_or("the address is none to be sent from")?;
            Ok::<_, String>(Self {
                live,
                local,
                remote,
                next: now,
                mid: None,
                audio: None,
                connected: false,
                rtp: 0,
                received: 0,
                out: Vec::new(),
            })
        };
        let (mut a, mut b) = (end(first, second)?, end(second, first)?);
        let labels = vec![DATA, UNRELIABLE, FRAGMENTS];
        let wanted = Wanted { audio: true, video: false, restart: false, labels };
        let offered = a.live.offer(&wanted);
        let offer = offered.sdp.ok_or("nothing to offer")?;
        a.mid = offered.audio.as_deref().map(Mid::from);
        a.turn(now);
        b.live.read_offer(&offer)?;
        let answer = b.live.accept_offer().map_err(|e| e.to_string())?;
        b.turn(now);
        a.live.read_answer(&answer)?;
        a.live.accept_answer().map_err(|e| e.to_string())?;
        a.turn(now);
        Ok([a, b])
    }

    /// When it wants to be called.
    #[doc(hidden)]
    #[must_use]
    pub const fn due(&self) -> Instant {
        self.next
    }

    /// Whether a path is found and encrypted, and audio can be sent.
    #[doc(hidden)]
    #[must_use]
    pub const fn connected(&self) -> bool {
        self.connected && self.audio.is_some()
    }

    /// How many frames of audio have come.
    #[doc(hidden)]
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Takes the datagrams that are to be sent to the other end, in order.
    #[doc(hidden)]
    pub fn take_datagrams(&mut self) -> std::vec::Drain<'_, Vec<u8>> {
        self.out.drain(..)
    }

    /// A datagram of the other end.
    #[doc(hidden)]
    pub fn handle_datagram(&mut self, now: Instant, payload: &[u8]) {
        let _ = self.live.take(now, self.local, self.remote, payload);
        self.drain();
        self.handle_timeout(now);
    }

    /// Lets it do what is due.
    #[doc(hidden)]
    pub fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..TURNS {
            if self.next > now {
                return;
            }
            self.turn(now);
        }
        self.next = self.next.max(now + Duration::from_millis(1));
    }

    /// Sends 20 ms of Opus. Once it is connected.
    #[doc(hidden)]
    pub fn send_audio(&mut self, now: Instant, opus: &Arc<[u8]>) {
        let Some(section) = self.audio else { return };
        self.rtp += 960;
        let captured = now.checked_sub(Duration::from_millis(20)).unwrap_or(now);
        let _ = self.live.write_audio(section, captured, self.rtp, opus, None);
        self.drain();
        self.turn(now);
    }

    /// Finds what audio is sent with.
    fn settle(&mut self) {
        let opus = self.live.sending(self.mid, None).opus;
        self.audio = self.mid.zip(opus.map(Pt::from));
    }

    /// Time passes, if only by nothing.
    fn turn(&mut self, now: Instant) {
        let _ = self.live.timeout(now);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.live.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.next = at;
                    return;
                }
                Ok(Output::Transmit(transmit)) => self.out.push(transmit.contents.into()),
                Ok(Output::Event(Event::MediaData(MediaData { data, .. }))) => {
                    self.received += 1;
                    drop(data);
                }
                Ok(Output::Event(Event::Connected)) => {
                    self.connected = true;
                    self.settle();
                }
                Ok(Output::Event(Event::MediaAdded(added))) => {
                    self.mid = Some(added.mid);
                    self.settle();
                }
                Ok(Output::Event(_)) => {}
                // It has ended, and wants nothing any more.
                Err(_) => {
                    self.next += Duration::from_secs(3_600);
                    return;
                }
            }
        }
    }
}

impl std::fmt::Debug for BareEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareEnd").field("local", &self.local).finish_non_exhaustive()
    }
}
