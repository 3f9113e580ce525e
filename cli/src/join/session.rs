//! The life of a joined peer: from the announce to the goodbye.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rtcmesh_core::error::{BroadcastError, ConnectError, SendError, StartError};
use rtcmesh_core::id::PeerId;
use rtcmesh_core::media::{DataMessage, EncodedVideo, Reliability, RuntimeData};
use rtcmesh_core::transport::{AudioData, Event, Media, PeerState};
use rtcmesh_tokio::{Events, TransportEvent, WebRtcTransport};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use super::book::Book;
use super::calls::Calls;
use super::commands::{self, Command};
use super::echo::Echo;
use super::report::Report;
use super::{Args, Connect, SENDS_AUDIO, VideoChoice};
use crate::audio::{Pacer, Source};
use crate::output::Output;
use crate::page::{figures, shows_figures};
use crate::reception::Age;
use crate::stop::asked_to_stop;

/// How often the transport's figures are taken over.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often people are told how each peer is received, and how often pages are told how they are.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// How long a side that only answers waits for the others to leave.
const GRACE: Duration = Duration::from_secs(3);
/// How long the last events may take.
const LAST_EVENTS: Duration = Duration::from_secs(1);
/// The most events that are taken at once: signals and deadlines have their turn in between.
const MAX_BATCH: usize = 256;

type CallResult = (PeerId, Result<(), ConnectError>);

/// Where the session stands, with the end of this phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody has been connected.
    Waiting(Instant),
    /// Somebody has; `None`: until it is asked to stop.
    Running(Option<Instant>),
    /// The others may leave first.
    Leaving(Instant),
    Over,
}

impl Phase {
    fn end(self) -> Option<Instant> {
        match self {
            Self::Waiting(end) | Self::Leaving(end) => Some(end),
            Self::Running(end) => end,
            Self::Over => None,
        }
    }

    /// The phase after what is known: `connected`: somebody was; `standing`: somebody is.
    fn next(
        self,
        now: Instant,
        connected: bool,
        standing: bool,
        seconds: Option<Duration>,
        only_answers: bool,
    ) -> Self {
        let due = self.end().is_some_and(|end| end <= now);
        match self {
            Self::Waiting(_) if connected => Self::Running(seconds.map(|seconds| now + seconds)),
            Self::Waiting(_) if due => Self::Over,
            Self::Running(_) if due && only_answers && standing => Self::Leaving(now + GRACE),
            Self::Running(_) if due => Self::Over,
            Self::Leaving(_) if due || !standing => Self::Over,
            same => same,
        }
    }
}

/// A joined peer.
pub(super) struct Session {
    id: PeerId,
    wish: Connect,
    seconds: Option<Duration>,
    record: Option<PathBuf>,
    transport: WebRtcTransport,
    output: Output,
    phase: Phase,
    book: Book,
    calls: Calls,
    results: (mpsc::UnboundedSender<CallResult>, mpsc::UnboundedReceiver<CallResult>),
    echo: Option<Echo>,
    video: VideoChoice,
    commands: Option<mpsc::Receiver<commands::Line>>,
    /// When people and pages were told last.
    told: (Instant, Instant),
    /// Whether it was announced.
    started: bool,
    /// Why signaling is over.
    refused: Option<String>,
}

impl Session {
    /// A peer that is not started yet, and gives up at `give_up` if nobody is connected then.
    pub(super) fn new(
        args: &Args,
        transport: WebRtcTransport,
        output: Output,
        give_up: Instant,
    ) -> Self {
        let named = args.connect.named();
        Self {
            id: args.id.clone(),
            wish: args.connect.clone(),
            seconds: args.seconds,
            record: args.record.clone(),
            transport,
            output,
            phase: Phase::Waiting(give_up),
            book: Book::new(&named),
            calls: Calls::new(&named),
            results: mpsc::unbounded_channel(),
            echo: args.echo.then(Echo::default),
            video: args.video,
            commands: args.commands.then(commands::from_stdin),
            told: (Instant::now(), Instant::now()),
            started: false,
            refused: None,
        }
    }

    /// Lives from the start to the end, and tells the summary whatever happens. The result: which wishes
    /// were not fulfilled.
    ///
    /// A server that refuses this peer ends it. One that is not reached is sought until the end of the
    /// time limit.
    pub(super) async fn run(mut self, source: Option<Source>) -> Vec<String> {
        let mut events = self.transport.events();
        // A handle of its own: the future borrows it, while the session changes.
        let starter = self.transport.clone();
        let mut starting = std::pin::pin!(starter.start());
        let (standing, audible) = watch::channel(false);
        let sender =
            source.map(|source| tokio::spawn(send_audio(self.transport.clone(), source, audible)));
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(asked_to_stop());
        while self.phase != Phase::Over {
            self.call_whoever_is_due();
            let deadline = [self.phase.end(), self.calls.deadline()].into_iter().flatten().min();
            let wake = async {
                match deadline {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                result = &mut starting, if !self.started => match result {
                    Ok(()) => {
                        self.started = true;
                        self.output.note(format_args!("{} is announced", self.id));
                    }
                    Err(StartError::Timeout { .. }) => starting.set(starter.start()),
                    Err(error) => {
                        self.refused.get_or_insert(error.to_string());
                        break;
                    }
                },
                event = events.next() => match event {
                    Some(event) => self.take_all(event, &mut events),
                    None => break,
                },
                Some((peer, result)) = self.results.1.recv() => self.called(&peer, result),
                Some(line) = next_command(&mut self.commands) => self.obey(line),
                _ = look.tick() => {
                    self.look();
                    self.tell_reception();
                }
                () = wake => {}
                () = &mut stop => break,
            }
            standing.send_if_modified(|before| {
                let after = self.book.any_connected_now();
                std::mem::replace(before, after) != after
            });
            self.phase = self.phase.next(
                Instant::now(),
                self.book.any_connected(),
                self.book.any_standing(),
                self.seconds,
                self.wish == Connect::None,
            );
        }
        self.look();
        if let Some(sender) = sender {
            sender.abort();
        }
        self.leave(&mut events).await;
        self.output.object(&self.book.summary(&self.id));
        for line in self.book.lines() {
            self.output.note(line);
        }
        let mut unfulfilled = self.book.unfulfilled(&self.wish);
        match self.refused {
            Some(reason) if !self.started => unfulfilled.insert(0, reason),
            None if !self.started => unfulfilled.insert(0, "signaling did not answer".into()),
            _ => {}
        }
        unfulfilled
    }

    /// Says goodbye to everybody. What the summary tells is the state before it.
    async fn leave(&mut self, events: &mut Events) {
        self.transport.shutdown().await;
        let rest = async {
            while let Some(event) = events.next().await {
                if let TransportEvent::Event(event @ Event::Closed { .. }) = event {
                    self.tell(&event);
                }
            }
        };
        let _ = timeout(LAST_EVENTS, rest).await;
    }

    fn call_whoever_is_due(&mut self) {
        while let Some(peer) = self.calls.next(Instant::now()) {
            let (transport, results) = (self.transport.clone(), self.results.0.clone());
            tokio::spawn(async move {
                let result = transport.connect_peer(peer.as_str()).await;
                let _ = results.send((peer, result));
            });
        }
    }

    fn called(&mut self, peer: &PeerId, result: Result<(), ConnectError>) {
        match result {
            Ok(()) => self.calls.connected(peer),
            Err(error) => {
                tracing::info!("calling {peer}: {error}");
                self.calls.failed(peer, Instant::now());
            }
        }
    }

    /// Takes an event and all others that are there already, before anything is echoed: what has arrived
    /// by then cannot be the echo of an echo.
    fn take_all(&mut self, first: TransportEvent, events: &mut Events) {
        self.take(first);
        for _ in 1..MAX_BATCH {
            let Some(event) = events.try_next() else { break };
            self.take(event);
        }
        self.send_echoes();
    }

    fn take(&mut self, event: TransportEvent) {
        match event {
            TransportEvent::Event(event) => {
                self.tell(&event);
                self.happened(event);
            }
            TransportEvent::Media(Media::Audio { peer, frame }) => {
                let AudioData::Decoded(audio) = &frame.data else { return };
                let record = self.record.as_deref();
                if let Err(error) = self.book.audio(&peer, audio, frame.concealed, record) {
                    tracing::error!("recording {peer} ends: {error}");
                }
                self.book.audio_age(&peer, Age::of(frame.capture));
            }
            TransportEvent::Media(Media::Video { peer, frame, timing, .. }) => {
                self.book.video_age(&peer, Age::of(timing.capture));
                self.echo_video(&peer, frame);
            }
            _ => {}
        }
    }

    fn tell(&self, event: &Event) {
        if let Some(report) = Report::of(event) {
            if self.output.is_json() {
                self.output.object(&report.json());
            } else {
                self.output.note(report);
            }
        }
    }

    fn happened(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::PeerDiscovered { peer, .. } => {
                self.calls.announced(&peer, now);
                self.book.seen(&peer);
            }
            Event::PeerGone { peer, .. } => self.calls.gone(&peer),
            Event::Connecting { peer } => self.book.state(&peer, PeerState::Connecting),
            Event::Connected { peer, after } => {
                self.calls.connected(&peer);
                self.book.connected(&peer, after);
                self.look();
            }
            Event::Reconnecting { peer } => self.book.state(&peer, PeerState::Reconnecting),
            Event::Reconnected { peer } => self.book.state(&peer, PeerState::Connected),
            Event::Failed { peer, .. } => {
                self.calls.failed(&peer, now);
                self.ended(&peer, PeerState::Failed);
            }
            Event::Closed { peer, .. } => {
                self.calls.closed(&peer);
                self.ended(&peer, PeerState::Closed);
            }
            Event::Data { peer, message, reliability } => {
                self.book.data_in(&peer);
                self.echo(&peer, message, reliability, now);
            }
            Event::SignalingDown { reason, retry_in: Some(pause) } => {
                tracing::warn!("signaling is down, next attempt in {pause:.1?}: {reason}");
            }
            Event::SignalingDown { reason, retry_in: None } => {
                if self.started {
                    tracing::error!("signaling is over: {reason}");
                }
                self.refused.get_or_insert(format!("signaling: {reason}"));
                if !self.book.any_standing() {
                    self.phase = Phase::Over;
                }
            }
            Event::QualityChanged { peer, .. } => {
                self.look();
                self.output.figures(&self.book.quality(&peer));
            }
            Event::KeyframeRequested { peer } if self.video == VideoChoice::Echo => {
                // Who sees its own video is who can make a keyframe of it.
                let _ = self.transport.request_keyframe(peer.as_str());
            }
            Event::Lagged { media, data } => {
                tracing::warn!("too slow: {media} frames and {data} messages were lost");
            }
            _ => {}
        }
    }

    fn ended(&mut self, peer: &PeerId, state: PeerState) {
        self.book.state(peer, state);
        if let Some(echo) = &mut self.echo {
            echo.forget(peer);
        }
    }

    fn echo(&mut self, peer: &PeerId, message: DataMessage, kind: Reliability, now: Instant) {
        let Some(echo) = &mut self.echo else { return };
        if !echo.received(peer, message, kind, now) {
            tracing::warn!("{peer} sends faster than it takes the echo: a message is not echoed");
        }
    }

    fn send_echoes(&mut self) {
        let Some(echo) = &mut self.echo else { return };
        for peer in echo.waiting() {
            while let Some((message, kind)) = echo.next(&peer) {
                let id = peer.as_str();
                match self.transport.send_data_channel_message_with(id, message, *kind) {
                    Ok(()) => {
                        echo.sent(&peer, Instant::now());
                        self.book.data_out(&peer);
                    }
                    // An event tells when there is room, and each look tries too.
                    Err(SendError::SendBufferFull(_)) => break,
                    // It came by a channel that the other side has not called open yet: it will be.
                    Err(SendError::DataChannelNotAvailable { .. })
                        if *kind == Reliability::Reliable =>
                    {
                        break;
                    }
                    Err(error) => {
                        tracing::warn!("a message is not echoed: {error}");
                        echo.drop_next(&peer);
                    }
                }
            }
        }
    }

    fn echo_video(&self, peer: &PeerId, frame: EncodedVideo) {
        if self.video == VideoChoice::Echo
            && let Err(error) =
                self.transport.send_to_peer(peer.as_str(), &RuntimeData::Video(frame))
        {
            tracing::debug!("a frame of video is not echoed: {error}");
        }
    }

    fn obey(&mut self, line: commands::Line) {
        let refused = match line {
            Ok(Command::Jitter(size)) => match self.transport.configure(&commands::jitter(size)) {
                Ok(()) => {
                    self.output.object(&json!({ "event": "configured", "jitter_ms": size }));
                    self.output.note(format_args!("the jitter buffer has {size} ms"));
                    return;
                }
                Err(error) => error.to_string(),
            },
            Ok(Command::Peers) => {
                self.look();
                return self.tell_peers();
            }
            Ok(Command::Leave) => {
                self.phase = Phase::Over;
                return;
            }
            Err(reason) => reason,
        };
        self.output.object(&json!({ "event": "refused", "reason": refused }));
        self.output.note(format_args!("refused: {refused}"));
    }

    /// Tells how each peer is received.
    fn tell_peers(&self) {
        for peer in self.book.connected_now() {
            self.output.object(&self.book.quality(peer));
            self.output.note(format_args!("{peer}: {}", self.book.reception(peer).words()));
        }
    }

    /// Tells people how each peer is received, and pages how they are, each in its time.
    fn tell_reception(&mut self) {
        let now = Instant::now();
        let due = |at: &mut Instant, interval| {
            let due = now.duration_since(*at) >= interval;
            if due {
                *at = now;
            }
            due
        };
        if !self.output.is_json() && due(&mut self.told.0, STATUS_INTERVAL) {
            self.tell_peers();
        }
        if due(&mut self.told.1, TELL_INTERVAL) {
            for info in self.transport.list_peers().unwrap_or_default() {
                if shows_figures(&info.user_data) {
                    let told = figures(&self.book.reception(&info.peer));
                    // Its channel may not be open yet, or be full: there will be later figures.
                    let _ = self.transport.send_data_channel_message(info.peer.as_str(), &told);
                }
            }
        }
    }

    /// Takes over the figures of all connections.
    fn look(&mut self) {
        for info in self.transport.list_peers().unwrap_or_default() {
            let silent = info.user_data.get(SENDS_AUDIO).is_some_and(|sends| sends == false);
            let expected = info.receives_audio && !silent;
            self.book.figures(&info.peer, info.quality, info.counters, expected);
        }
        self.send_echoes();
    }
}

/// The next command; none comes where none are taken.
async fn next_command(
    commands: &mut Option<mpsc::Receiver<commands::Line>>,
) -> Option<commands::Line> {
    match commands {
        Some(commands) => commands.recv().await,
        None => std::future::pending().await,
    }
}

/// Sends the source's audio to everybody while anybody is connected.
async fn send_audio(
    transport: WebRtcTransport,
    mut source: Source,
    mut audible: watch::Receiver<bool>,
) {
    while audible.wait_for(|audible| *audible).await.is_ok() {
        let mut pacer = Pacer::new();
        while *audible.borrow() {
            pacer.next().await;
            match transport.broadcast(&RuntimeData::Audio(source.chunk())) {
                Ok(_) | Err(BroadcastError::NoPeersConnected) => {}
                Err(error) => {
                    tracing::error!("the audio cannot be sent: {error}");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_one_another() {
        let now = Instant::now();
        let (second, later) = (Duration::from_secs(1), now + Duration::from_secs(100));
        let waiting = Phase::Waiting(now + second);
        // Nobody comes.
        assert_eq!(waiting.next(now, false, false, None, false), waiting);
        assert_eq!(waiting.next(later, false, true, None, false), Phase::Over);
        // Somebody comes: the seconds count from then on.
        let running = waiting.next(later, true, true, Some(second), false);
        assert_eq!(running, Phase::Running(Some(later + second)));
        assert_eq!(running.next(later, true, false, Some(second), false), running);
        assert_eq!(running.next(later + second, true, true, Some(second), false), Phase::Over);
        // Without a limit it goes on.
        let endless = waiting.next(now, true, true, None, false);
        assert_eq!(endless.next(later, true, false, None, true), endless);
    }

    #[test]
    fn a_side_that_only_answers_lets_the_others_leave_first() {
        let now = Instant::now();
        let running = Phase::Running(Some(now));
        let leaving = running.next(now, true, true, None, true);
        assert_eq!(leaving, Phase::Leaving(now + GRACE));
        assert_eq!(leaving.next(now, true, true, None, true), leaving);
        assert_eq!(leaving.next(now, true, false, None, true), Phase::Over);
        assert_eq!(leaving.next(now + GRACE, true, true, None, true), Phase::Over);
        // They have left already.
        assert_eq!(running.next(now, true, false, None, true), Phase::Over);
    }
}
