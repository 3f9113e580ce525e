use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::sync::{Inserted, Packet, PlayoutConfig};

const STEP: u32 = 960;
const PULL: usize = 480;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A voice of 150 Hz with overtones, at a place counted in samples.
fn voice(place: i64) -> f32 {
    let phase = (place.rem_euclid(48_000 * 2) as f32) / 48_000.0 * std::f32::consts::TAU * 150.0;
    0.2 * phase.sin() + 0.1 * (2.0 * phase).sin() + 0.05 * (5.0 * phase).sin()
}

/// Decodes the number `n` to that voice from `n * STEP` on.
#[derive(Debug, Default)]
struct Decoder {
    decoded: Vec<u64>,
    copies: Vec<u64>,
    made: usize,
    has_copies: bool,
    reach: usize,
    recovered: Vec<(u64, usize, usize)>,
    fails: bool,
}

fn say(out: &mut [f32], from: i64) {
    for (place, out) in (from..).zip(out) {
        *out = voice(place);
    }
}

impl Decode<u64> for Decoder {
    fn decode(&mut self, &n: &u64, out: &mut [f32]) -> Option<usize> {
        if self.fails {
            return None;
        }
        self.decoded.push(n);
        say(&mut out[..STEP as usize], n as i64 * i64::from(STEP));
        Some(STEP as usize)
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        if self.fails {
            return None;
        }
        self.made += frames;
        let last = self.decoded.last().map_or(0, |n| (n + 1) * u64::from(STEP)) as i64;
        say(&mut out[..frames], last);
        Some(frames)
    }

    fn covers(&self, _: &u64) -> usize {
        self.reach.max(if self.has_copies { STEP as usize } else { 0 })
    }

    fn recover(
        &mut self,
        &next: &u64,
        before: usize,
        frames: usize,
        out: &mut [f32],
    ) -> Option<usize> {
        assert!((1..=5_760).contains(&frames) && frames <= before && before.is_multiple_of(120));
        if before == STEP as usize {
            self.copies.push(next - 1);
        }
        self.recovered.push((next, before, frames));
        say(&mut out[..frames], next as i64 * i64::from(STEP) - before as i64);
        Some(frames)
    }
}

/// A stream in virtual time, and a device that asks every 10 ms.
struct World {
    buffer: JitterBuffer<u64>,
    renderer: AudioRenderer,
    decoder: Decoder,
    start: Instant,
    pulls: u64,
    heard: Vec<f32>,
    rendered: Vec<Rendered>,
}

impl World {
    fn new(config: PlayoutConfig) -> Self {
        Self {
            buffer: JitterBuffer::new(48_000, config),
            renderer: AudioRenderer::new(1, &config.tuning, 7),
            decoder: Decoder::default(),
            start: Instant::now(),
            pulls: 0,
            heard: Vec::new(),
            rendered: Vec::new(),
        }
    }

    fn adaptive() -> Self {
        Self::new(PlayoutConfig::adaptive(ms(50)))
    }

    /// Lets the device ask up to `at`.
    fn until(&mut self, at: Duration) {
        while ms(self.pulls * 10) <= at {
            let mut out = [0.0; PULL];
            let now = self.start + ms(self.pulls * 10);
            let rendered = self.renderer.render(&mut self.buffer, &mut self.decoder, now, &mut out);
            assert!(out.iter().all(|sample| sample.is_finite() && sample.abs() <= 32.0));
            self.heard.extend(out);
            self.rendered.push(rendered);
            self.pulls += 1;
        }
    }

    fn arrive(&mut self, at: Duration, n: u64) -> Inserted {
        self.packet(at, n, n as u32 * STEP, false)
    }

    fn packet(&mut self, at: Duration, n: u64, rtp: u32, dtx: bool) -> Inserted {
        // What arrives at the time of a pull arrives before it.
        self.until(at.saturating_sub(Duration::from_nanos(1)));
        let (sequence, arrived) = (70_000 + n, self.start + at);
        self.buffer.insert(Packet { sequence, rtp, duration: STEP, dtx, arrived, payload: n })
    }

    fn concealed(&self) -> usize {
        self.rendered.iter().map(|rendered| rendered.concealed).sum()
    }

    /// The largest step between two samples, which is 0.025 for the voice itself.
    fn roughest(&self) -> f32 {
        self.heard.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }
}

#[test]
fn a_clean_stream_is_heard_as_it_was_sent() {
    let mut world = World::new(PlayoutConfig::fixed(ms(50)));
    for n in 0..100 {
        world.arrive(ms(n * 20 + 3), n);
    }
    let (start, delay) = (world.heard.iter().position(|s| *s != 0.0).unwrap(), 16 + 48 * 53);
    assert!((start as i64 - delay).abs() < 48, "it begins at {start}, not at {delay}");
    for (place, heard) in world.heard.iter().enumerate().skip(start + 480) {
        let expected = voice(place as i64 - delay);
        assert!((heard - expected).abs() < 1e-3, "{heard} instead of {expected} at {place}");
    }
    assert_eq!((world.concealed(), world.decoder.made), (0, 0));
    let last = world.rendered.last().unwrap();
    assert_eq!(last.delay.as_millis(), 50);
    assert_eq!(last.rtp, Some(world.heard.len() as u32 - 480 - delay as u32));
}

#[test]
fn on_a_local_network_the_delay_comes_down_to_a_few_milliseconds() {
    let mut world = World::adaptive();
    for n in 0..500 {
        world.arrive(ms(n * 20) + Duration::from_micros(n * 7919 % 600), n);
    }
    let last = world.rendered.last().unwrap();
    assert!(last.delay < ms(12), "{last:?}");
    assert_eq!(world.concealed(), 0);
    assert!(world.roughest() < 0.06, "clicks of {}", world.roughest());
    let stretch = world.renderer.statistics().stretch;
    assert!(stretch.removed > 48 * 30, "{stretch:?}");
}

#[test]
fn what_is_a_little_late_every_few_seconds_is_waited_for() {
    // Frames that are made up from 10 to 50 s, wherever the device asks between two packets.
    let made_up = |tuning: PlayoutTuning| -> usize {
        let of_phase = |phase: u64| {
            let mut world = World::new(PlayoutConfig::adaptive(ms(50)).with_tuning(tuning));
            let mut before = 0;
            for n in 0..2_500 {
                let late = if n % 350 == 349 { 5 } else { 0 };
                world.arrive(ms(n * 20 + 2 * phase + late) + Duration::from_micros(500), n);
                if n == 500 {
                    before = world.concealed();
                }
            }
            assert!(world.rendered.last().unwrap().delay < ms(30));
            world.concealed() - before
        };
        (0..5).map(of_phase).sum()
    };
    let tuning = PlayoutTuning::rtcmesh();
    let (waiting, without) =
        (made_up(tuning), made_up(PlayoutTuning { keep_below: Duration::ZERO, ..tuning }));
    assert!(waiting <= PULL && without >= 3 * PULL, "{waiting} and {without}");
}

#[test]
fn a_lost_packet_is_made_up_and_what_follows_stays_in_time() {
    let mut world = World::new(PlayoutConfig::fixed(ms(50)));
    for n in (0..100).filter(|n| *n != 50) {
        world.arrive(ms(n * 20), n);
    }
    assert_eq!(world.concealed(), STEP as usize);
    let reasons: Vec<_> = world.rendered.iter().filter_map(|r| r.reason).collect();
    assert!(reasons.iter().all(|reason| *reason == ConcealReason::Lost), "{reasons:?}");
    assert_eq!(world.renderer.statistics().concealments, 1);
    assert_eq!(world.rendered.last().unwrap().delay.as_millis(), 50);
    assert!(world.roughest() < 0.06);
}

#[test]
fn what_fills_a_gap_that_nobody_knew_of_needs_no_join() {
    let mut world = World::adaptive();
    // Nothing waits: that a packet is lost is seen when the next one comes, and it was made up by then.
    let mut joined = 0;
    for n in (0..1_000).filter(|n| n % 25 != 7) {
        world.arrive(ms(n * 20 + 7), n);
        if n == 250 {
            // Until now the delay came down from where it started.
            joined = world.renderer.statistics().stretch.joined;
        }
    }
    world.until(ms(20_000));
    let late = &world.rendered[500..];
    assert!(late.iter().any(|rendered| rendered.reason == Some(ConcealReason::Underrun)));
    let concealed: usize = late.iter().map(|rendered| rendered.concealed).sum();
    assert_eq!(concealed, (250..1_000).filter(|n| n % 25 == 7).count() * STEP as usize);
    assert_eq!(world.renderer.statistics().stretch.joined, joined);
    let delays = late.iter().map(|rendered| rendered.delay);
    assert!(delays.clone().all(|delay| delay < ms(40)), "{:?}", delays.max());
}

#[test]
fn a_packet_that_comes_after_it_was_made_up_is_joined() {
    let mut world = World::adaptive();
    for n in 0..500 {
        // One comes 30 ms late, those behind it in time.
        let late = if n == 400 { 30 } else { 0 };
        let at = ms(n * 20 + 7 + late);
        if n != 401 {
            world.arrive(at, n);
        }
        if n == 400 {
            world.arrive(at, 401);
        }
    }
    world.until(ms(10_000));
    assert!(world.concealed() > 0 && world.decoder.decoded.contains(&400));
    assert_eq!(world.renderer.statistics().stretch.joined, 2);
    assert!(world.roughest() < 0.06, "{}", world.roughest());
}

#[test]
fn a_lost_packet_comes_from_the_copy_in_the_next_one() {
    let mut world = World::new(PlayoutConfig::fixed(ms(60)));
    world.decoder.has_copies = true;
    for n in (0..100).filter(|n| ![50, 70, 71].contains(n)) {
        world.arrive(ms(n * 20), n);
    }
    assert_eq!(world.decoder.copies, [50, 71]);
    assert_eq!(world.concealed(), STEP as usize, "of two in succession the first is made up");
    let late = world.packet(ms(2_000), 71, 71 * STEP, false);
    assert_eq!(late, Inserted::Late);
}

/// What is recovered where these packets are lost: the packet it comes from, how long before that it begins
/// and how long it is.
fn recovered(
    size: u64,
    reach: usize,
    lost: std::ops::Range<u64>,
) -> (World, Vec<(u64, usize, usize)>) {
    let mut world = World::new(PlayoutConfig::fixed(ms(size)));
    world.decoder.reach = reach;
    for n in (0..100).filter(|n| !lost.contains(n)) {
        world.arrive(ms(n * 20), n);
    }
    let delay = world.rendered.last().unwrap().delay;
    // Where some was made up before, the recovered may begin up to 10 ms too early, which is shrunk again.
    let exact = if world.concealed().is_multiple_of(480) { ms(2) } else { ms(10) };
    assert!(delay.abs_diff(ms(size)) < exact, "{delay:?}");
    // What is made up here begins afresh with each piece.
    let rough = world.concealed() == 0 && world.roughest() > 0.06;
    assert!(!rough, "clicks of {}", world.roughest());
    let all = world.decoder.recovered.clone();
    let frames = all.iter().map(|(_, _, frames)| *frames as u64).sum::<u64>();
    assert_eq!(world.renderer.statistics().copied, frames);
    let twice = world.concealed() as i64 + frames as i64 - (lost.end - lost.start) as i64 * 960;
    assert!((0..480).contains(&twice), "{twice}");
    (world, all)
}

#[test]
fn a_hole_of_several_packets_is_recovered_from_the_one_behind_it() {
    let (world, pieces) = recovered(120, 4_000, 50..53);
    assert_eq!(pieces, [(53, 2_880, 1_920), (53, 960, 960)]);
    assert_eq!(world.concealed(), 0);
}

#[test]
fn a_long_hole_is_recovered_in_pieces() {
    let (_, pieces) = recovered(300, 11_040, 50..60);
    assert_eq!(pieces, [(60, 9_600, 5_760), (60, 3_840, 2_880), (60, 960, 960)]);
}

#[test]
fn what_redundancy_does_not_reach_is_made_up() {
    let (world, pieces) = recovered(120, 2_000, 50..54);
    assert_eq!(pieces, [(54, 1_920, 960), (54, 960, 960)]);
    assert_eq!(world.concealed(), 2 * 960);
}

#[test]
fn what_was_made_up_before_the_redundancy_came_is_not_recovered_as_well() {
    let (world, pieces) = recovered(40, 11_040, 50..54);
    assert!((960..=2_400).contains(&world.concealed()), "{}", world.concealed());
    assert_eq!(pieces, [(54, 2_880, 1_920), (54, 960, 960)]);
}

#[test]
fn redundancy_shorter_than_its_packet_is_of_no_use() {
    let (world, pieces) = recovered(120, 480, 50..52);
    assert_eq!((world.concealed(), pieces.len()), (2 * 960, 0));
}

#[test]
fn a_packet_that_comes_late_but_before_others_is_played_once_it_is_there() {
    let mut world = World::adaptive();
    for n in 0..400 {
        let late = if n == 300 { 60 } else { 0 };
        world.arrive(ms(n * 20 + late), n);
    }
    assert!(world.decoder.decoded.windows(2).all(|pair| pair[1] == pair[0] + 1));
    let made = world.concealed() / 48;
    assert!((20..=60).contains(&made), "{made} ms");
    assert!(world.roughest() < 0.1, "clicks of {}", world.roughest());
}

#[test]
fn pauses_of_the_sender_are_no_concealment_and_end_in_silence() {
    let mut world = World::adaptive();
    for n in 0..200 {
        world.packet(ms(n * 20), n, n as u32 * STEP, n == 199);
    }
    world.until(ms(4_300));
    assert!(!world.renderer.is_silent());
    world.until(ms(6_000));
    assert!(world.renderer.is_silent());
    assert_eq!(world.concealed(), 0);
    assert!(world.heard[world.heard.len() - 4_800..].iter().all(|sample| *sample == 0.0));
    // It goes on in sequence, 3 s later.
    for n in 200..300 {
        world.packet(ms(n * 20 + 3_000), n, n as u32 * STEP + 144_000, false);
    }
    assert_eq!(world.concealed(), 0);
    assert!(!world.renderer.is_silent());
    assert!(world.rendered.last().unwrap().rtp.is_some());
}

#[test]
fn after_a_second_of_nothing_there_is_a_pause() {
    let mut world = World::adaptive();
    for n in 0..200 {
        world.arrive(ms(n * 20), n);
    }
    world.until(ms(8_000));
    let seconds = world.concealed() as f64 / 48_000.0;
    assert!((0.95..=1.05).contains(&seconds), "{seconds}");
    assert!(world.renderer.is_silent());
    // What was made up fades: 300 ms after the last packet nothing is left of the voice.
    let quiet = &world.heard[48 * 4_400..];
    assert!(quiet.iter().all(|sample| sample.abs() < 0.01));
}

#[test]
fn what_nobody_fetched_in_time_is_dropped_to_the_target() {
    let mut world = World::adaptive();
    for n in 0..200 {
        world.arrive(ms(n * 20), n);
    }
    // The device was asleep for 2 s.
    let start = world.start;
    for n in 200..300 {
        world.buffer.insert(Packet {
            sequence: 70_000 + n,
            rtp: n as u32 * STEP,
            duration: STEP,
            dtx: false,
            arrived: start + ms(n * 20),
            payload: n,
        });
    }
    world.pulls += 200;
    world.until(ms(6_100));
    let figures = world.buffer.statistics();
    assert!((90..=101).contains(&figures.overruns), "{figures:?}");
    assert!(world.rendered[world.rendered.len() - 5].delay < ms(150));
}

#[test]
fn a_second_packet_of_one_timestamp_is_dropped() {
    let mut world = World::new(PlayoutConfig::fixed(ms(50)));
    for n in 0..100 {
        let rtp = if n >= 50 { n - 1 } else { n } as u32 * STEP;
        world.packet(ms(n * 20), n, rtp, false);
    }
    world.until(ms(2_200));
    assert!(!world.decoder.decoded.contains(&50));
    assert_eq!(world.decoder.decoded.len(), 99);
    assert_eq!(world.buffer.statistics().duplicates, 1);
}

#[test]
fn what_cannot_be_decoded_is_made_up_or_silent_and_counted() {
    let mut world = World::adaptive();
    for n in 0..200 {
        world.decoder.fails = (100..110).contains(&n);
        world.arrive(ms(n * 20), n);
    }
    assert_eq!(world.renderer.statistics().undecodable, 10);
    world.decoder.fails = true;
    world.until(ms(5_000));
}

#[test]
fn a_minute_of_any_clock_lose_and_conceal_nothing() {
    for ppm in [-500_i64, 0, 500] {
        let mut world = World::adaptive();
        for n in 0..3_000_u64 {
            let sent = n as i64 * 20_000_000 - n as i64 * 20 * ppm;
            assert_eq!(world.arrive(Duration::from_nanos(sent as u64), n), Inserted::Queued);
            world.decoder.decoded.drain(..world.decoder.decoded.len().saturating_sub(2));
            world.heard.clear();
            let stray = world.rendered.iter().any(|r| r.concealed > 0);
            assert!(!stray, "{ppm} ppm, packet {n}");
            world.rendered.clear();
        }
        let figures = world.buffer.statistics();
        assert_eq!((figures.late, figures.duplicates, figures.strays), (0, 0, 0));
        assert!(figures.frames > 2_980, "{figures:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever comes, in whatever order, and however the device asks.
    #[test]
    fn arbitrary_histories_keep_every_promise(
        steps in prop::collection::vec(
            (0_u64..60, any::<i16>(), prop_oneof![3 => Just(0_i32), 1 => any::<i32>()], any::<bool>(),
             0_usize..3_000, prop_oneof![9 => Just(0_i64), 1 => -2_000_i64..5_000]),
            0..150,
        ),
        stereo: bool,
        has_copies: bool,
        reach in prop_oneof![Just(0), 0_usize..11_041],
    ) {
        let channels = if stereo { 2 } else { 1 };
        let config = PlayoutConfig::adaptive(ms(50));
        let mut buffer = JitterBuffer::new(48_000, config);
        let mut renderer = AudioRenderer::new(channels, &config.tuning, 3);
        let mut decoder = Decoder { has_copies, reach, ..Decoder::default() };
        let start = Instant::now() + Duration::from_secs(10);
        let (mut now, mut next) = (start, 100_000_u64);
        for (wait, jump, ticks, dtx, asked, back) in steps {
            now += ms(wait);
            let at = if back < 0 { now - ms(back.unsigned_abs()) } else { now + ms(back as u64) };
            next = if ticks == 0 { next + 1 } else { next.saturating_add_signed(jump.into()) };
            let rtp = (next as u32).wrapping_mul(STEP).wrapping_add(ticks as u32);
            buffer.insert(Packet {
                sequence: next, rtp, duration: STEP, dtx, arrived: at, payload: next,
            });
            let mut out = vec![f32::NAN; asked];
            let rendered = renderer.render(&mut buffer, &mut decoder, at, &mut out);
            let whole = asked / channels * channels;
            prop_assert!(out[..whole].iter().all(|sample| sample.is_finite()));
            prop_assert!(out[whole..].iter().all(|sample| sample.is_nan()));
            prop_assert!(rendered.concealed + rendered.paused <= asked + 4 * PULL);
        }
        let figures = buffer.statistics();
        prop_assert_eq!(
            figures.inserted,
            figures.frames + figures.late + figures.duplicates + figures.overruns
                + figures.strays + figures.flushed + figures.current as u64
        );
        let mut seen = decoder.decoded.clone();
        seen.sort_unstable();
        seen.dedup();
        if figures.restarts == 0 {
            prop_assert_eq!(&seen, &decoder.decoded, "in order, and each once");
        }
    }
}

/// Decodes packets of so many frames to the voice.
struct Long(usize);

impl Decode<u64> for Long {
    fn decode(&mut self, &n: &u64, out: &mut [f32]) -> Option<usize> {
        say(&mut out[..self.0], (n as usize * self.0) as i64);
        Some(self.0)
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        out[..frames].fill(0.0);
        Some(frames)
    }

    fn covers(&self, _: &u64) -> usize {
        0
    }

    fn recover(&mut self, _: &u64, _: usize, _: usize, _: &mut [f32]) -> Option<usize> {
        None
    }
}

/// Plays 10 s of packets of `millis`, of which the device sleeps through `asleep`, and gives the buffer's
/// figures and how much was made up.
fn long_packets(
    config: PlayoutConfig,
    millis: u64,
    asleep: std::ops::Range<u64>,
) -> (crate::sync::BufferStatistics, usize) {
    let frames = millis as usize * 48;
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut renderer = AudioRenderer::new(1, &config.tuning, 7);
    let start = Instant::now();
    let mut concealed = 0;
    for time in (0..10_000).step_by(10) {
        let now = start + ms(time);
        if time % millis == 0 {
            let n = time / millis;
            buffer.insert(Packet {
                sequence: 70_000 + n,
                rtp: n as u32 * frames as u32,
                duration: frames as u32,
                dtx: false,
                arrived: now,
                payload: n,
            });
        }
        if !asleep.contains(&time) {
            let mut out = [0.0; PULL];
            let rendered = renderer.render(&mut buffer, &mut Long(frames), now, &mut out);
            concealed += rendered.concealed;
        }
    }
    (buffer.statistics(), concealed)
}

#[test]
fn a_device_that_slept_drops_long_packets_and_goes_on() {
    for millis in [10, 20, 40, 60, 120] {
        let config = PlayoutConfig::adaptive(ms(50));
        let (figures, _) = long_packets(config, millis, 5_010..6_200);
        assert!(figures.current < 20, "{millis} ms: {figures:?}");
    }
}

#[test]
fn with_the_largest_delay_nothing_of_a_clean_stream_is_dropped() {
    for millis in [10, 20, 40, 60, 120] {
        for size in [50, 100, 200] {
            let config = PlayoutConfig::fixed(ms(size)).with_max(ms(size));
            let (figures, concealed) = long_packets(config, millis, 0..0);
            assert_eq!((figures.overruns, concealed), (0, 0), "{millis} of {size} ms: {figures:?}");
        }
    }
}

/// Where the delay has to come down by far, a hole is given up: but not what can be recovered of it.
#[test]
fn what_redundancy_covers_of_a_hole_is_played_though_the_rest_is_given_up() {
    let mut world = World::new(PlayoutConfig::fixed(ms(300)));
    world.decoder.reach = 2_000;
    for n in (0..100).filter(|n| !(50..54).contains(n)) {
        if n == 64 {
            // The hole is next, at 1,300 ms.
            world.buffer.set_size(ms(40));
        }
        world.arrive(ms(n * 20), n);
    }
    assert_eq!(world.decoder.recovered, [(54, 1_920, 960), (54, 960, 960)]);
}
