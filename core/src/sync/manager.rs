//! Everything about the timing of one peer's audio and video.

mod decoded;
mod medium;
mod path;
mod resampled;
mod state;
#[cfg(test)]
pub(super) mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::decoded::Decoded;
use self::medium::MediumClock;
use self::state::{Known, LocalClock};
use super::align::{self, Alignment, TimestampOffset};
use super::clock::{
    AudioTimestamp, ClockDriftEstimate, ClockError, MediaTimestamp, Medium, RecommendedAction,
    RtcpSenderReport, VideoTimestamp,
};
use super::correction;
use super::error::SyncError;
use super::frame::VideoPicture;
use super::jitter::JitterBuffer;
use super::lipsync::{AvOffset, Capture, LipSync};
use super::ntp_map::ReportUse;
use super::packet::{Inserted, Packet, Pop};
use super::ring;
use super::settings::SyncConfig;
use super::video::{self, VideoBuffer, VideoPacket, VideoPop};
use crate::error::ConfigError;
use crate::id::PeerId;
use crate::trace::state::{Save, saved};

pub use self::state::{MediumStatistics, SyncState, SyncStatistics};

/// Clocks that made no step for so long are steady.
const STEADY: Duration = Duration::from_secs(30);

/// What the two ways between peers may differ by, in milliseconds, while no round trip was measured.
const ASYMMETRY_MS: f64 = 10.0;

/// The timing of one peer's media: from packets and sender reports as they arrive to frames in order, each
/// at its time, on the sender's wall clock.
///
/// A pure state machine: time comes in with every call, wall-clock time as a value. Audio and video have
/// a jitter buffer, a map to the sender's wall clock and an estimator of drift each, and are never mixed;
/// [`LipSync`] brings what both play together.
///
/// It is generic over what it buffers. The general calls ([`Self::insert_audio`], [`Self::pop_audio`],
/// [`Self::insert_video`], [`Self::pop_video`]) take encoded packets, so that they can be decoded, and
/// what is missing concealed, at their playout. For frames that are decoded already there is a thin form
/// of them, [`SyncManager::process_audio_frame`] and its sisters. Use one or the other.
///
/// Instants must come from one clock; those that go back are taken for the latest before them, and
/// counted. Memory is bounded, whatever arrives; after the first packets none is allocated by the general
/// calls.
///
/// ```
/// use std::time::{Duration, Instant};
/// use rtcmesh_core::sync::{Packet, Pop, SyncConfig, SyncManager};
///
/// # fn at() -> Instant { #[allow(clippy::disallowed_methods)] Instant::now() }
/// let arrived = at();
/// let mut sync = SyncManager::<&str, ()>::new("alice", SyncConfig::standard())?;
/// sync.insert_audio(Packet {
///     sequence: 1, rtp: 0, duration: 960, dtx: false, arrived, payload: "opus",
/// });
/// let due = sync.poll_timeout().expect("a packet waits");
/// assert_eq!(due, arrived + Duration::from_millis(50));
/// assert!(matches!(sync.pop_audio(due), Pop::Frame { .. }));
/// # Ok::<(), rtcmesh_core::sync::SyncError>(())
/// ```
#[derive(Debug)]
pub struct SyncManager<A = Arc<[f32]>, V = VideoPicture> {
    peer: PeerId,
    config: SyncConfig,
    audio: JitterBuffer<A>,
    video: VideoBuffer<V>,
    audio_clock: MediumClock<AudioTimestamp>,
    video_clock: MediumClock<VideoTimestamp>,
    lip_sync: LipSync,
    /// Whether there is video for audio to be compared with.
    watched: bool,
    local: Option<LocalClock>,
    round_trip: Option<Duration>,
    /// The factor that was set by hand.
    manual: Option<f64>,
    /// The one that follows the drift.
    automatic: f64,
    times: Times,
    counts: Counts,
    decoded: Decoded,
}

saved!(struct SyncManager<A, V> [A: Save, V: Save] {
    peer, config, audio, video, audio_clock, video_clock, lip_sync, watched, local, round_trip,
    manual, automatic, times, counts, decoded,
});

/// The latest instants.
#[derive(Debug, Default)]
struct Times {
    latest: Option<Instant>,
    now: Option<Instant>,
    audio: Option<Instant>,
    video: Option<Instant>,
}

saved!(struct Times { latest, now, audio, video });

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    reports: u64,
    ignored_reports: u64,
    bad_reports: u64,
    invalid_frames: u64,
    backward: u64,
    payload_bytes: u64,
}

saved!(struct Counts {
    reports, ignored_reports, bad_reports, invalid_frames, backward, payload_bytes,
});

impl<A, V> SyncManager<A, V> {
    /// A manager for the media of `peer_id`.
    ///
    /// # Errors
    ///
    /// [`SyncError::InvalidPeerId`], the empty one among them; [`SyncError::InvalidConfig`] with the field.
    pub fn new(peer_id: impl AsRef<str>, config: SyncConfig) -> Result<Self, SyncError> {
        let peer = PeerId::new(peer_id)?;
        config.validate()?;
        let (threshold, expiry) = (config.drift_correction_threshold_ppm, config.expiry());
        Ok(Self {
            peer,
            config,
            audio: JitterBuffer::new(config.audio_clock_rate, config.delay()),
            video: VideoBuffer::new(config.video_clock_rate, config.delay()),
            audio_clock: MediumClock::new(config.audio_clock_rate, threshold, expiry),
            video_clock: MediumClock::new(config.video_clock_rate, threshold, expiry),
            lip_sync: LipSync::new(LipSync::PATIENCE),
            watched: false,
            local: None,
            round_trip: None,
            manual: None,
            automatic: 1.0,
            times: Times::default(),
            counts: Counts::default(),
            decoded: Decoded::default(),
        })
    }

    /// Whose media these are.
    pub fn peer_id(&self) -> &PeerId {
        &self.peer
    }

    /// The settings in force.
    pub fn config(&self) -> &SyncConfig {
        &self.config
    }

    /// Changes `jitter_buffer_size_ms`, and the maximum to that at least. What plays gets there by
    /// stretching.
    ///
    /// # Errors
    ///
    /// Out of its bounds: 50 to 200. Nothing is changed then.
    pub fn set_jitter_buffer_size_ms(&mut self, size_ms: u32) -> Result<(), ConfigError> {
        let config = self.config.jitter_buffer_size_ms(size_ms);
        config.validate()?;
        self.config = config;
        let size = Duration::from_millis(u64::from(size_ms));
        self.audio.set_size(size);
        self.video.set_size(size);
        Ok(())
    }

    /// Forgets media, clocks, corrections and figures, as for a new stream: what is left is as new but for
    /// settings that were changed since, and what is known of this host and the way to the peer
    /// ([`Self::set_local_clock`], [`Self::set_round_trip`]).
    pub fn reset(&mut self) {
        self.audio.reset();
        self.audio.set_least(Duration::ZERO);
        self.video.reset();
        self.video.set_hold(Duration::ZERO);
        self.audio_clock.reset();
        self.video_clock.reset();
        self.lip_sync.reset();
        self.watched = false;
        (self.manual, self.automatic) = (None, 1.0);
        (self.times, self.counts) = (Times::default(), Counts::default());
        self.decoded = Decoded::default();
    }

    /// Tells the local wall clock: at `at` it stood at `unix_us` microseconds since 1970. Until the
    /// sender's first report it stands in for the sender's.
    pub fn set_local_clock(&mut self, at: Instant, unix_us: u64) {
        self.local = Some(LocalClock { at, unix_us });
    }

    /// Tells the round-trip time to the peer, best the least of late: how far [`Self::align_with_peer`] is
    /// to be believed.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = Some(round_trip);
    }

    /// Takes a packet of audio in.
    pub fn insert_audio(&mut self, packet: Packet<A>) -> Inserted {
        let (sequence, rtp, arrived) = (packet.sequence, packet.rtp, packet.arrived);
        let arrived = self.arrived(Medium::Audio, arrived);
        let inserted = self.audio.insert(packet);
        if self.audio_clock.arrived(sequence, rtp, arrived, inserted) {
            self.correct();
        }
        inserted
    }

    /// Takes note of a packet of audio that is buffered elsewhere: for the clocks alone.
    pub fn observe_audio(&mut self, sequence: u64, rtp: u32, arrived: Instant) {
        let arrived = self.arrived(Medium::Audio, arrived);
        if self.audio_clock.arrived(sequence, rtp, arrived, Inserted::Queued) {
            self.correct();
        }
    }

    /// Takes a whole frame of video in.
    pub fn insert_video(&mut self, packet: VideoPacket<V>) -> Inserted {
        let (sequence, rtp, arrived) = (packet.sequence, packet.rtp, packet.arrived);
        let arrived = self.arrived(Medium::Video, arrived);
        let inserted = self.video.insert(packet);
        self.video_clock.arrived(sequence, rtp, arrived, inserted);
        self.watched = true;
        inserted
    }

    /// The audio that is due at `now`. Call it until it gives [`Pop::None`].
    pub fn pop_audio(&mut self, now: Instant) -> Pop<A> {
        let now = self.passed(now);
        let pop = self.audio.pop(now);
        if let Pop::Frame { packet, due, .. } = &pop {
            let (rtp, due) = (packet.rtp, *due);
            self.heard(rtp, due);
        }
        pop
    }

    /// The video that is due at `now`. Call it until there is none. [`Self::av_offset`] tells afterwards
    /// how far it is from the audio.
    pub fn pop_video(&mut self, now: Instant) -> Option<VideoPop<V>> {
        let now = self.passed(now);
        let pop = self.video.pop(now)?;
        let capture = Capture::of(self.video_clock.map(), VideoTimestamp(pop.packet.rtp));
        self.lip_sync.video(capture, (pop.planned, pop.heading), pop.due);
        self.keep_together();
        Some(pop)
    }

    /// What has that timestamp is played at `played`: [`Self::pop_audio`] says so itself, whoever takes
    /// packets out of [`Self::audio_mut`] has to.
    pub(crate) fn heard(&mut self, rtp: u32, played: Instant) {
        if self.watched
            && let Some(earliest) = self.audio.earliest(rtp)
        {
            let capture = Capture::of(self.audio_clock.map(), AudioTimestamp(rtp));
            self.lip_sync.audio(capture, earliest, played);
            self.keep_together();
        }
    }

    fn keep_together(&mut self) {
        self.video.set_hold(self.lip_sync.hold());
        self.audio.set_least(self.lip_sync.audio_least());
    }

    /// How far the last frame of video was from the audio: positive where it was ahead.
    pub fn av_offset(&self) -> AvOffset {
        self.lip_sync.offset()
    }

    /// When there is something to pop, or [`Self::handle_timeout`] has something to do, if nothing comes
    /// before. It may lie in the past.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let latest = self.times.latest;
        let expiries = [self.audio_clock.expires(), self.video_clock.expires()];
        // What expired already is no event.
        let expiries = expiries.into_iter().flatten().filter(|&at| Some(at) > latest);
        [self.audio.poll_timeout(), self.video.poll_timeout()]
            .into_iter()
            .flatten()
            .chain(expiries)
            .min()
    }

    /// Lets time pass: the sync state may change, drift is looked at anew. Does nothing else; what is due
    /// stays due until it is popped.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.passed(now);
        self.refresh(now);
    }

    fn refresh(&mut self, now: Instant) {
        self.video_clock.refresh(now);
        if self.audio_clock.refresh(now) {
            self.correct();
        }
    }

    /// Takes a sender report in: for the map to the wall clock, and where no packets come for the drift.
    ///
    /// # Errors
    ///
    /// [`ClockError::InvalidNtpTimestamp`] (nothing changed), [`ClockError::TimestampDiscontinuity`] (held
    /// until the next one tells), as [`SyncError::Clock`].
    pub fn update_rtcp_sender_report(
        &mut self,
        report: &RtcpSenderReport,
    ) -> Result<ReportUse, SyncError> {
        self.times.latest = self.times.latest.max(Some(report.received_at));
        let found = match report.medium {
            Medium::Audio => self.audio_clock.report(report),
            Medium::Video => self.video_clock.report(report),
        };
        match found {
            Ok(ReportUse::Ignored) => self.counts.ignored_reports += 1,
            Ok(_) => self.counts.reports += 1,
            Err(_) => self.counts.bad_reports += 1,
        }
        self.refresh(report.received_at);
        Ok(found?)
    }

    /// The drift of the sender's audio clock against the local one; `None` below ten observations.
    pub fn estimate_clock_drift(&self) -> Option<ClockDriftEstimate> {
        self.estimate_clock_drift_of(Medium::Audio)
    }

    /// The same of either clock.
    pub fn estimate_clock_drift_of(&self, medium: Medium) -> Option<ClockDriftEstimate> {
        match medium {
            Medium::Audio => self.audio_clock.estimate(),
            Medium::Video => self.video_clock.estimate(),
        }
    }

    /// Corrects the drift of audio by `factor` from here on, whatever the estimate says: 1.0001 is for a
    /// sender that is 100 ppm fast. It is eased to over 100 ms; to set the one in force again is fine.
    ///
    /// # Errors
    ///
    /// [`ClockError::InvalidCorrectionFactor`] outside 0.99 to 1.01; nothing is changed then.
    pub fn apply_clock_drift_correction(&mut self, factor: f64) -> Result<(), SyncError> {
        correction::check(factor)?;
        self.manual = Some(factor);
        Ok(())
    }

    /// Leaves correction to the estimate again, where the settings enable that.
    pub fn resume_automatic_correction(&mut self) {
        self.manual = None;
    }

    /// The factor by which audio is to be corrected: the one that was applied, else the automatic one,
    /// which is 1 up to a surely larger drift than the threshold, and until it is below half of it.
    pub fn correction_factor(&self) -> f64 {
        self.manual.unwrap_or(self.automatic)
    }

    /// Chooses the automatic factor anew.
    fn correct(&mut self) {
        let Some(found) = self.audio_clock.estimate() else { return };
        let enabled = self.config.enable_clock_drift_correction;
        let small = self.config.drift_correction_threshold_ppm / 2.0;
        let active = self.automatic != 1.0;
        self.automatic = match found.recommended_action {
            _ if !enabled => 1.0,
            RecommendedAction::Adjust => found.correction_factor,
            // Not to be believed: what was known before is as good.
            RecommendedAction::Investigate => self.automatic,
            _ if active && found.drift_ppm.abs() > small => found.correction_factor,
            _ => 1.0,
        };
        self.automatic = correction::nearest(self.automatic);
    }

    /// Whether the peer's wall clock is known: of the media that had reports of late, what is true of all.
    pub fn get_sync_state(&self) -> SyncState {
        let audio = self.get_sync_state_of(Medium::Audio);
        let video = self.get_sync_state_of(Medium::Video);
        match (audio, video) {
            (SyncState::Unsynced, one) | (one, SyncState::Unsynced) => one,
            (audio, video) => audio.min(video),
        }
    }

    /// Whether the wall clock behind one medium's timestamps is known.
    pub fn get_sync_state_of(&self, medium: Medium) -> SyncState {
        match medium {
            Medium::Audio => self.audio_clock.state(self.times.latest),
            Medium::Video => self.video_clock.state(self.times.latest),
        }
    }

    /// The figures.
    pub fn get_buffer_statistics(&self) -> SyncStatistics {
        let (audio, video) = (self.audio.statistics(), self.video.statistics());
        let counts = self.counts;
        SyncStatistics {
            audio: MediumStatistics::new(audio, ring::CAPACITY, self.audio.hold()),
            video: MediumStatistics::new(video, video::MAX_FRAMES, self.video.delay()),
            reports: counts.reports,
            ignored_reports: counts.ignored_reports,
            bad_reports: counts.bad_reports,
            invalid_frames: counts.invalid_frames,
            backward_instants: counts.backward,
            payload_bytes: counts.payload_bytes,
        }
    }

    /// When what has this timestamp was captured, in microseconds since 1970 by the sender's clock. Before
    /// its first report the local clock is taken: when it would have arrived by the fastest way.
    ///
    /// # Errors
    ///
    /// [`ClockError::NoNtpMapping`] while neither clock is known, [`ClockError::OutOfRange`].
    pub fn rtp_to_wall_clock<T: MediaTimestamp>(&self, timestamp: T) -> Result<u64, SyncError> {
        Ok(self.known(timestamp)?.us)
    }

    /// How sure that is: 1 by recent sender reports, 0.75 where they are old or disagree, 0.5 by the local
    /// clock, 0 where it is not known at all.
    pub fn wall_clock_confidence<T: MediaTimestamp>(&self, timestamp: T) -> f64 {
        self.known(timestamp).map_or(0.0, |known| known.confidence)
    }

    /// Both at once.
    pub(crate) fn known<T: MediaTimestamp>(&self, timestamp: T) -> Result<Known, ClockError> {
        let (rtp, local, latest) = (timestamp.rtp(), self.local, self.times.latest);
        match T::MEDIUM {
            Medium::Audio => self.audio_clock.wall_clock(AudioTimestamp(rtp), local, latest),
            Medium::Video => self.video_clock.wall_clock(VideoTimestamp(rtp), local, latest),
        }
    }

    /// The timestamp of what was captured at `us`, in microseconds since 1970; the other way round.
    ///
    /// # Errors
    ///
    /// [`ClockError::NoNtpMapping`] while no clock is known; [`ClockError::OutOfRange`] for what is farther
    /// away than half the range of timestamps.
    pub fn wall_clock_to_rtp<T: MediaTimestamp>(&self, us: u64) -> Result<T, SyncError> {
        let rtp = match T::MEDIUM {
            Medium::Audio => self.audio_clock.timestamp(us, self.local)?.rtp(),
            Medium::Video => self.video_clock.timestamp(us, self.local)?.rtp(),
        };
        Ok(T::from_rtp(rtp))
    }

    /// By how much the wall clock of another peer is ahead of this one's, as the fastest arrivals of late
    /// tell. Both must have been fed with instants of one clock.
    ///
    /// # Errors
    ///
    /// [`SyncError::NotSynced`] naming the peer that is not at least syncing.
    pub fn align_with_peer<B, W>(
        &self,
        other: &SyncManager<B, W>,
    ) -> Result<TimestampOffset, SyncError> {
        let not_synced = |peer: &PeerId| SyncError::NotSynced { peer: peer.to_string() };
        let zero = self.path_origin().ok_or_else(|| not_synced(&self.peer))?;
        let own = self.alignment(zero).ok_or_else(|| not_synced(&self.peer))?;
        let others = other.alignment(zero).ok_or_else(|| not_synced(&other.peer))?;
        Ok(align::offset(&own, &others))
    }

    fn path_origin(&self) -> Option<Instant> {
        let (audio, video) = (self.audio_clock.path(), self.video_clock.path());
        audio.origin().or(video.origin())
    }

    /// What this peer contributes, in nanoseconds after `zero`: by audio where that is known.
    fn alignment(&self, zero: Instant) -> Option<Alignment> {
        let latest = self.times.latest;
        let (now, round_trip) = (latest?, self.round_trip);
        let audio = alignment_of(&self.audio_clock, now, zero, round_trip);
        audio.or_else(|| alignment_of(&self.video_clock, now, zero, round_trip))
    }

    /// The buffer of audio, for rendering.
    pub(crate) fn audio(&self) -> &JitterBuffer<A> {
        &self.audio
    }

    /// The buffer of video.
    pub(crate) fn video(&self) -> &VideoBuffer<V> {
        &self.video
    }

    /// The buffer of audio, to take packets out.
    #[cfg(feature = "opus")]
    pub(crate) fn audio_mut(&mut self) -> &mut JitterBuffer<A> {
        &mut self.audio
    }

    /// Takes note of an arrival, and gives the instant to take it for.
    fn arrived(&mut self, medium: Medium, arrived: Instant) -> Instant {
        let last = match medium {
            Medium::Audio => &mut self.times.audio,
            Medium::Video => &mut self.times.video,
        };
        self.counts.backward += u64::from(Some(arrived) < *last);
        let arrived = last.map_or(arrived, |last| last.max(arrived));
        *last = Some(arrived);
        self.times.latest = self.times.latest.max(Some(arrived));
        arrived
    }

    /// Takes note of the time, and gives the instant to take it for.
    fn passed(&mut self, now: Instant) -> Instant {
        self.counts.backward += u64::from(Some(now) < self.times.now);
        let now = self.times.now.map_or(now, |last| last.max(now));
        self.times.now = Some(now);
        self.times.latest = self.times.latest.max(Some(now));
        now
    }
}

/// The nanoseconds from `zero` to `at`, however far apart they are: what is there and back must be zero.
fn exactly_since(zero: Instant, at: Instant) -> i128 {
    let nanos = |time: Duration| time.as_nanos() as i128;
    nanos(at.saturating_duration_since(zero)) - nanos(zero.saturating_duration_since(at))
}

fn alignment_of<T: MediaTimestamp>(
    clock: &MediumClock<T>,
    now: Instant,
    zero: Instant,
    round_trip: Option<Duration>,
) -> Option<Alignment> {
    let state = clock.state(Some(now));
    if state == SyncState::Unsynced {
        return None;
    }
    let (map, path) = (clock.map(), clock.path());
    let (rtp, drift) = (path.newest()?, clock.drift_ppm());
    let captured_us = map.rtp_to_wall_clock(T::from_rtp(rtp)).ok()?;
    let (origin, arrival) = path.arrival(rtp, drift)?;
    let spread = path.spread(drift)? as f64 / 1e6;
    let asymmetry = round_trip.map_or(ASYMMETRY_MS, |trip| trip.as_secs_f64() * 500.0);
    let stepped = clock.stepped();
    Some(Alignment {
        arrival: exactly_since(zero, origin) + arrival,
        captured_us,
        error_ms: spread + map.error_us().unwrap_or(0.0) / 1e3 + asymmetry,
        // The media clock against the local one, less against the sender's own.
        ppm: clock.estimate().map(|found| found.drift_ppm - map.media_clock_ppm()),
        synced: state == SyncState::Synced,
        steady: path.age() >= STEADY
            && stepped.is_none_or(|at| now.saturating_duration_since(at) >= STEADY),
    })
}

#[cfg(test)]
#[path = "manager_tests.rs"]
mod tests;
