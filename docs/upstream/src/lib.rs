//! Two ends of a connection of plain str0m, in one thread and virtual time: what the programs in `src/bin` share.

pub mod dtls;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// How long a datagram is on its way.
pub const DELAY: Duration = Duration::from_millis(20);

/// One end.
pub struct End {
    pub rtc: Rtc,
    address: SocketAddr,
    due: Instant,
    /// What it has told, the oldest first.
    pub events: Vec<Event>,
    /// With what it has ended.
    pub error: Option<String>,
}

/// Both ends and the path between them. Datagrams come in the order in which they were sent.
pub struct Pair {
    pub ends: [End; 2],
    pub now: Instant,
    on_their_way: Vec<(Instant, usize, Vec<u8>)>,
}

impl Pair {
    /// Two ends of this configuration that know each other's addresses and nothing else.
    pub fn new(config: impl Fn() -> RtcConfig) -> Self {
        let now = Instant::now();
        let addresses = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 5_000)));
        let ends = addresses.map(|address| {
            let mut rtc = config().build(now);
            rtc.add_local_candidate(Candidate::host(address, "udp").expect("an address of a host"));
            End { rtc, address, due: now, events: Vec::new(), error: None }
        });
        Self { ends, now, on_their_way: Vec::new() }
    }

    /// The first offers audio; the second answers.
    pub fn negotiate_audio(&mut self) -> Mid {
        let mut change = self.ends[0].rtc.sdp_api();
        let mid = change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let offered = change.apply();
        self.answer(offered, "actpass");
        mid
    }

    /// The first offers a channel, and this of DTLS's roles (RFC 8842); the second answers.
    pub fn negotiate_channel(&mut self, setup: &str) -> ChannelId {
        let mut change = self.ends[0].rtc.sdp_api();
        let id = change.add_channel("channel".into());
        let offered = change.apply();
        self.answer(offered, setup);
        id
    }

    fn answer(&mut self, offered: Option<(SdpOffer, SdpPendingOffer)>, setup: &str) {
        let [first, second] = &mut self.ends;
        let (offer, pending) = offered.expect("something to offer");
        let offer = offer.to_sdp_string().replace("setup:actpass", &format!("setup:{setup}"));
        let offer = SdpOffer::from_sdp_string(&offer).expect("its own offer");
        let answer = second.rtc.sdp_api().accept_offer(offer).expect("an answer");
        let answer = SdpAnswer::from_sdp_string(&answer.to_sdp_string()).expect("its own answer");
        first.rtc.sdp_api().accept_answer(pending, answer).expect("to take the answer");
        self.wake();
    }

    /// Both are asked for what they have to send: something was done with them.
    pub fn wake(&mut self) {
        self.ends.iter_mut().for_each(|end| end.due = self.now);
    }

    /// A datagram that seems to be the other end's is on its way to this one.
    pub fn deliver(&mut self, to: usize, datagram: Vec<u8>) {
        self.on_their_way.push((self.now + DELAY, to, datagram));
    }

    /// Lets time pass over a path that changes nothing.
    pub fn run(&mut self, time: Duration) {
        self.run_through(time, |_, _| true);
    }

    /// Lets time pass; `path` is given who sends and the datagram, which it may change, and says whether it arrives.
    pub fn run_through(
        &mut self,
        time: Duration,
        mut path: impl FnMut(usize, &mut Vec<u8>) -> bool,
    ) {
        let end = self.now + time;
        loop {
            for from in 0..2 {
                for mut datagram in self.ends[from].turn(self.now) {
                    if path(from, &mut datagram) {
                        self.on_their_way.push((self.now + DELAY, 1 - from, datagram));
                    }
                }
            }
            let due = self.ends.iter().map(|end| end.due.max(self.now + Duration::from_millis(1)));
            let next = due.chain(self.on_their_way.first().map(|first| first.0)).min();
            self.now = next.unwrap_or(end).min(end);
            while self.on_their_way.first().is_some_and(|first| first.0 <= self.now) {
                let (_, to, datagram) = self.on_their_way.remove(0);
                let from = self.ends[1 - to].address;
                self.ends[to].receive(self.now, from, &datagram);
            }
            if self.now >= end {
                return;
            }
        }
    }
}

impl End {
    /// Gives it the time, and takes what it has to send.
    fn turn(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        if self.due > now || self.error.is_some() {
            return datagrams;
        }
        let mut told = self.rtc.handle_input(Input::Timeout(now));
        while told.is_ok() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.due = at;
                    return datagrams;
                }
                Ok(Output::Transmit(transmit)) => datagrams.push(transmit.contents.to_vec()),
                Ok(Output::Event(event)) => self.events.push(event),
                Err(error) => told = Err(error),
            }
        }
        self.error = told.err().map(|error| error.to_string());
        self.due = now + Duration::from_secs(1_000_000);
        datagrams
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.address, datagram) else { return };
        if self.error.is_none() {
            let told = self.rtc.handle_input(Input::Receive(now, receive));
            self.error = told.err().map(|error| error.to_string());
            self.due = now;
        }
    }

    /// Writes a message to a channel.
    pub fn write(&mut self, id: ChannelId, message: &[u8]) -> Result<bool, String> {
        let mut channel = self.rtc.channel(id).ok_or("the channel is not open")?;
        channel.write(true, message).map_err(|error| error.to_string())
    }

    /// The lengths of the messages that have come.
    pub fn messages(&self) -> Vec<usize> {
        let of = |event: &Event| match event {
            Event::ChannelData(data) => Some(data.data.len()),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }
}

/// Prints both, and says whether they are the same.
pub fn compare(expected: &str, happens: &str) -> ExitCode {
    println!("expected: {expected}\nhappens:  {happens}");
    if expected == happens { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
