use proptest::prelude::*;

use super::*;

const RATE: u32 = 90_000;
const STEP: u32 = 3_000;
const SIZE: Duration = Duration::from_millis(50);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// When frame `n` of 30 a second is captured.
fn captured(n: u64) -> Duration {
    Duration::from_nanos(n * u64::from(STEP) * 1_000_000_000 / u64::from(RATE))
}

/// A buffer in virtual time, polled exactly when it asks for it.
struct World {
    buffer: VideoBuffer<u64>,
    start: Instant,
    now: Instant,
    out: Vec<VideoPop<u64>>,
}

impl World {
    fn new(config: PlayoutConfig) -> Self {
        let start = Instant::now();
        Self { buffer: VideoBuffer::new(RATE, config), start, now: start, out: Vec::new() }
    }

    fn fixed() -> Self {
        Self::new(PlayoutConfig::fixed(SIZE))
    }

    /// Lets time pass up to `at`, and takes what is due before it.
    fn until(&mut self, at: Duration) {
        let at = self.start + at;
        while let Some(due) = self.buffer.poll_timeout().filter(|due| *due < at) {
            self.now = self.now.max(due);
            let before = self.out.len();
            while let Some(pop) = self.buffer.pop(self.now) {
                self.out.push(pop);
            }
            assert!(self.out.len() > before, "nothing at the time that it asked for");
            assert!(self.buffer.poll_timeout().is_none_or(|next| next > self.now), "it spins");
        }
        self.now = self.now.max(at);
    }

    /// Lets a packet arrive at `at`, changed by `with`.
    fn arrive_with(
        &mut self,
        at: Duration,
        sequence: u64,
        rtp: u32,
        with: impl FnOnce(&mut VideoPacket<u64>),
    ) -> Inserted {
        self.until(at);
        let mut packet = VideoPacket {
            sequence,
            rtp,
            keyframe: false,
            contiguous: true,
            size: 4_000,
            arrived: self.now,
            payload: sequence,
        };
        with(&mut packet);
        self.buffer.insert(packet)
    }

    fn arrive(&mut self, at: Duration, sequence: u64, rtp: u32) -> Inserted {
        self.arrive_with(at, sequence, rtp, |_| {})
    }

    /// The frame number `n`, of three packets, `late` after it was captured.
    fn number(&mut self, n: u64, late: Duration) -> Inserted {
        self.arrive(captured(n) + late, 1_000 + n * 3, STEP * n as u32)
    }

    /// Numbers and times in milliseconds of what came out.
    fn story(&mut self) -> String {
        let start = self.start;
        let tell = |pop: VideoPop<u64>| {
            let at = pop.due.duration_since(start).as_secs_f64() * 1e3;
            format!("{}@{}", (pop.packet.sequence - 1_000) / 3, at.round())
        };
        self.out.drain(..).map(tell).collect::<Vec<_>>().join(" ")
    }

    fn sequences(&self) -> Vec<u64> {
        self.out.iter().map(|pop| pop.packet.sequence).collect()
    }

    /// The distances between the frames that came out, in milliseconds.
    fn distances(&self) -> Vec<f64> {
        let apart = |pair: &[VideoPop<u64>]| (pair[1].due - pair[0].due).as_secs_f64() * 1e3;
        self.out.windows(2).map(apart).collect()
    }

    fn conserved(&self) {
        let s = self.buffer.statistics();
        let fates = s.frames + s.late + s.duplicates + s.overruns + s.strays + s.flushed;
        assert_eq!(s.inserted, fates + s.current as u64, "{s:?}");
    }
}

#[test]
fn a_fixed_delay_is_held_above_the_fastest_transit() {
    let mut world = World::fixed();
    // Frames 1 and 3 are overtaken.
    for (n, late) in [(0, 0), (2, 0), (1, 45), (4, 0), (3, 49)] {
        assert_eq!(world.number(n, ms(late)), Inserted::Queued);
    }
    assert_eq!(world.buffer.delay(), SIZE);
    let planned = world.buffer.planned(STEP * 9).unwrap();
    assert_eq!(planned, world.start + ms(350));
    world.until(ms(200));
    assert_eq!(world.story(), "0@50 1@83 2@117 3@150 4@183");
    let statistics = world.buffer.statistics();
    assert_eq!((statistics.frames, statistics.late, statistics.current), (5, 0, 0));
}

#[test]
fn a_late_frame_is_shown_at_once_and_the_plan_is_caught_up_with_smoothly() {
    let mut world = World::fixed();
    world.number(0, ms(0));
    world.number(1, ms(0));
    // Three are held up, and come together.
    for n in 2..5 {
        world.arrive(ms(200), 1_000 + n * 3, STEP * n as u32);
    }
    for n in 6..20 {
        world.number(n, ms(0));
    }
    world.until(ms(700));
    let distances = world.distances();
    assert!(distances.iter().all(|apart| *apart > 16.6), "{distances:?}");
    let story = world.story();
    assert!(story.starts_with("0@50 1@83 2@200 3@217 4@233 6@267 7@283 8@317"), "{story}");
    assert!(world.out.is_empty() && world.buffer.statistics().frames == 19);
}

#[test]
fn what_comes_after_a_later_one_was_shown_is_dropped() {
    let mut world = World::fixed();
    for n in [0, 2, 3] {
        world.number(n, ms(0));
    }
    world.until(ms(140));
    assert_eq!(world.number(1, ms(110)), Inserted::Late);
    assert_eq!(world.number(2, ms(75)), Inserted::Duplicate, "it was shown");
    assert_eq!(world.number(3, ms(42)), Inserted::Duplicate, "it waits");
    world.until(ms(200));
    assert_eq!(world.story(), "0@50 2@117 3@150");
    let statistics = world.buffer.statistics();
    assert_eq!((statistics.late, statistics.duplicates), (1, 2));
    world.conserved();
}

#[test]
fn a_frame_that_cannot_be_decoded_comes_out_and_says_so() {
    let mut world = World::fixed();
    world.number(0, ms(0));
    world.arrive_with(captured(2), 1_006, STEP * 2, |packet| packet.contiguous = false);
    world.until(ms(200));
    let told: Vec<_> = world.out.iter().map(|pop| pop.packet.contiguous).collect();
    assert_eq!(told, [true, false]);
    assert!(world.buffer.statistics().loss_rate > 0.015);
}

#[test]
fn a_hold_grows_at_half_speed_and_falls_by_a_quarter_of_the_time_that_passes() {
    let mut world = World::fixed();
    for n in 0..90 {
        if n == 30 {
            world.buffer.set_hold(ms(100));
        }
        if n == 60 {
            world.buffer.set_hold(ms(0));
        }
        world.number(n, ms(0));
    }
    world.until(ms(3_100));
    let distances = world.distances();
    assert!(distances.iter().all(|apart| (24.9..66.8).contains(apart)), "{distances:?}");
    let held = |n: usize| world.out[n].due - world.start - captured(n as u64) - SIZE;
    assert!([held(20), held(89)].iter().all(|held| *held < ms(1)));
    assert!(held(50).abs_diff(ms(100)) < ms(1), "{:?}", held(50));
    let planned = |n: usize| world.out[n].planned - world.start - captured(n as u64);
    assert!(planned(50).abs_diff(SIZE) < ms(1), "the hold is no part of the plan");
    // Before anything is shown it holds at once, and never for more than a second.
    let mut world = World::fixed();
    world.buffer.set_hold(ms(100_000));
    world.number(0, ms(0));
    world.until(ms(2_000));
    assert_eq!(world.story(), "0@1050");
}

#[test]
fn an_adaptive_delay_falls_to_nothing_where_nothing_jitters() {
    let mut world = World::new(PlayoutConfig::adaptive(SIZE));
    for n in 0..300 {
        world.number(n, ms(0));
    }
    world.until(ms(10_000));
    assert!(world.buffer.delay() <= ms(3), "{:?}", world.buffer.delay());
    let distances = world.distances();
    assert!(distances.iter().all(|apart| (29.0..37.6).contains(apart)), "{distances:?}");
}

#[test]
fn key_frames_ten_times_as_large_do_not_raise_the_delay() {
    let mut world = World::new(PlayoutConfig::adaptive(SIZE));
    for n in 0..900 {
        // 2 Mbit/s: 40,000 bytes need 144 ms more than 4,000.
        let keyframe = n % 90 == 89;
        let late = ms(n % 5) + if keyframe { ms(144) } else { ms(0) };
        world.arrive_with(captured(n) + late, 1_000 + n * 3, STEP * n as u32, |packet| {
            packet.keyframe = keyframe;
            packet.size = if keyframe { 40_000 } else { 4_000 };
        });
    }
    world.until(ms(30_200));
    assert!(world.buffer.delay() <= ms(10), "{:?}", world.buffer.delay());
    assert_eq!(world.buffer.statistics().frames, 900 - world.buffer.statistics().late);
}

#[test]
fn a_longer_route_is_followed_without_a_lost_frame() {
    for playout in [PlayoutConfig::fixed(SIZE), PlayoutConfig::adaptive(SIZE)] {
        let mut world = World::new(playout);
        for n in 0..900 {
            world.number(n, if (300..600).contains(&n) { ms(300) } else { ms(0) });
        }
        world.until(ms(31_000));
        let statistics = world.buffer.statistics();
        // Back on the short way the first ones overtake nine of those on the long one, which still wait.
        assert_eq!((statistics.frames, statistics.late), (900, 0), "{statistics:?}");
        let distances = world.distances();
        let bunched = distances.iter().filter(|apart| **apart < 16.6).count();
        assert_eq!(bunched, 0, "{distances:?}");
        let settled = world.out[599].due - world.start - captured(599);
        assert!(settled >= ms(300) && settled <= ms(360), "{settled:?}");
        let back = world.out[800].due - world.start - captured(800);
        assert!(back <= ms(60), "{back:?}");
    }
}

#[test]
fn an_outage_is_made_up_for_in_fast_motion() {
    let mut world = World::fixed();
    for n in 0..30 {
        world.number(n, ms(0));
    }
    for n in 30..75 {
        world.arrive(ms(2_500), 1_000 + n * 3, STEP * n as u32);
    }
    for n in 76..150 {
        world.number(n, ms(0));
    }
    world.until(ms(5_100));
    assert_eq!(world.buffer.statistics().frames, 149);
    let behind = |n: usize| {
        world.out[n].due - world.start - world.out[n].planned.duration_since(world.start)
    };
    assert!(behind(30) > ms(1_400), "{:?}", behind(30));
    assert!(behind(100) < ms(250), "{:?}", behind(100));
    assert!(behind(148) < ms(1), "{:?}", behind(148));
}

#[test]
fn a_sender_whose_clock_stopped_is_not_late_for_long() {
    let mut world = World::fixed();
    for n in 0..30 {
        world.number(n, ms(0));
    }
    for n in 30..120 {
        world.number(n, ms(30_000));
    }
    world.until(ms(40_000));
    assert_eq!(world.buffer.statistics().frames, 120);
    let delay = world.buffer.statistics().current_delay;
    assert!(delay.abs_diff(SIZE) < ms(1), "{delay:?}");
}

#[test]
fn one_stray_is_dropped_and_a_second_restarts_the_stream_with_both() {
    let other = |n: u64| (7_000_000 + n * 3, 0x9000_0000_u32.wrapping_add(n as u32 * STEP));
    let mut world = World::fixed();
    for n in 0..3 {
        world.number(n, ms(0));
    }
    for stray in [
        (1_009, 0x9000_0000),
        (1_009, (3 * STEP).wrapping_sub(RATE / 2)),
        (1_009 + 3_000, 3 * STEP),
        (u64::MAX, 3 * STEP),
    ] {
        assert_eq!(world.arrive(ms(80), stray.0, stray.1), Inserted::Stray, "{stray:?}");
    }
    assert_eq!(world.number(3, ms(0)), Inserted::Queued);
    assert_eq!(world.buffer.statistics().strays, 4);
    let (sequence, rtp) = other(0);
    assert_eq!(world.arrive(ms(110), sequence, rtp), Inserted::Stray);
    assert_eq!(world.arrive(ms(110), sequence, rtp), Inserted::Duplicate);
    let (sequence, rtp) = other(1);
    assert_eq!(world.arrive(ms(145), sequence, rtp), Inserted::Restarted);
    assert_eq!(world.arrive(ms(150), 1_012, 4 * STEP), Inserted::Stray, "of the old stream");
    let (sequence, rtp) = other(2);
    assert_eq!(world.arrive(ms(178), sequence, rtp), Inserted::Queued);
    world.until(ms(400));
    assert_eq!(world.sequences(), [1_000, 1_003, 1_006, 7_000_000, 7_000_003, 7_000_006]);
    let statistics = world.buffer.statistics();
    assert_eq!((statistics.strays, statistics.flushed, statistics.restarts), (5, 1, 1));
    world.conserved();
}

#[test]
fn too_much_costs_the_oldest_up_to_a_key_frame() {
    let mut world = World::fixed();
    for n in 0..300 {
        world.arrive_with(ms(0), 1_000 + n, STEP * n as u32 / 10, |packet| {
            packet.keyframe = n % 40 == 0;
        });
        assert!(world.buffer.statistics().current <= 256);
    }
    world.now += ms(100_000);
    let first = world.buffer.pop(world.now).unwrap().packet;
    assert_eq!((first.sequence, first.keyframe, first.contiguous), (1_080, true, true));
    assert_eq!(world.buffer.statistics().overruns, 80);
    world.conserved();

    // By their size, and with no key frame: what follows says that something is missing.
    let mut world = World::fixed();
    for n in 0..4 {
        let inserted = world.arrive_with(ms(0), n, 0, |packet| packet.size = 10 << 20);
        assert_eq!(inserted, Inserted::Queued);
    }
    assert_eq!(world.buffer.statistics().overruns, 3);
    world.now += ms(1_000);
    let last = world.buffer.pop(world.now).unwrap().packet;
    assert_eq!((last.sequence, last.contiguous), (3, false));
    let inserted = world.arrive_with(ms(0), 4, 0, |packet| packet.size = usize::MAX);
    assert_eq!(inserted, Inserted::Overflow);
    world.conserved();
}

#[test]
fn instants_that_go_back_do_no_harm() {
    let mut world = World::fixed();
    world.until(ms(100));
    assert_eq!(world.arrive(ms(100), 1_000, 0), Inserted::Queued);
    world.now = world.start;
    assert_eq!(world.arrive(ms(0), 1_003, STEP), Inserted::Queued);
    assert_eq!(world.buffer.pop(world.start), None);
    world.until(ms(300));
    assert_eq!(world.sequences(), [1_000, 1_003]);
}

#[test]
fn a_reset_buffer_is_a_new_one() {
    let mut world = World::fixed();
    for n in 0..10 {
        world.number(n, ms(0));
    }
    assert_eq!(world.buffer.framerate(), Some(30.0));
    world.buffer.reset();
    assert_eq!(world.buffer.statistics(), BufferStatistics::default());
    assert_eq!((world.buffer.poll_timeout(), world.buffer.framerate()), (None, None));
    assert_eq!((world.buffer.planned(0), world.buffer.delay()), (None, ms(0)));
    world.out.clear();
    world.arrive(ms(400), 5, 77);
    world.until(ms(500));
    assert_eq!(world.out[0].due, world.start + ms(450));
}

/// One step of an arbitrary history.
#[derive(Debug, Clone)]
enum Step {
    Insert { sequence: u64, rtp: u32, flags: u8, size: usize, arrived: u64 },
    Pop { at: u64 },
    Hold { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let near = (0_u64..90, any::<u8>(), 0_u64..4_000).prop_map(|(n, flags, arrived)| {
        Step::Insert { sequence: n * 3, rtp: n as u32 * STEP, flags, size: 4_000, arrived }
    });
    let wild = (any::<u64>(), any::<u32>(), any::<u8>(), any::<usize>(), 0_u64..20_000).prop_map(
        |(sequence, rtp, flags, size, arrived)| Step::Insert {
            sequence: sequence >> (sequence % 64),
            rtp,
            flags,
            size: size >> (size % 64),
            arrived,
        },
    );
    prop_oneof![
        8 => near,
        4 => wild,
        4 => (0_u64..20_000).prop_map(|at| Step::Pop { at }),
        1 => (0_u64..2_000).prop_map(|millis| Step::Hold { millis }),
    ]
}

proptest! {
    /// Whatever comes in: in order, nothing twice, nothing before it is due, every frame has one fate,
    /// and the machine rests.
    #[test]
    fn arbitrary_histories_keep_every_promise(
        rate in prop_oneof![Just(RATE), any::<u32>()],
        fixed: bool,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let start = Instant::now();
        let config = if fixed { PlayoutConfig::fixed(SIZE) } else { PlayoutConfig::adaptive(SIZE) };
        let mut buffer = VideoBuffer::new(rate, config);
        let (mut last, mut last_due) = (None, None);
        let mut latest = start;
        for step in steps {
            match step {
                Step::Insert { sequence, rtp, flags, size, arrived } => {
                    let packet = VideoPacket {
                        sequence,
                        rtp,
                        keyframe: flags & 3 == 0,
                        contiguous: flags & 12 != 0,
                        size,
                        arrived: start + ms(arrived),
                        payload: (sequence, rtp),
                    };
                    if buffer.insert(packet) == Inserted::Restarted {
                        (last, last_due) = (None, None);
                    }
                }
                Step::Hold { millis } => buffer.set_hold(ms(millis)),
                Step::Pop { at } => {
                    latest = latest.max(start + ms(at));
                    while let Some(pop) = buffer.pop(latest) {
                        prop_assert!(pop.due <= latest);
                        prop_assert_eq!((pop.packet.sequence, pop.packet.rtp), pop.packet.payload);
                        prop_assert!(last.is_none_or(|last| last < pop.packet.sequence));
                        prop_assert!(last_due.is_none_or(|last| last <= pop.due));
                        (last, last_due) = (Some(pop.packet.sequence), Some(pop.due));
                    }
                    prop_assert!(buffer.poll_timeout().is_none_or(|timeout| timeout > latest));
                }
            }
            let s = buffer.statistics();
            prop_assert!(s.current <= 257 && (0.0..=1.0).contains(&s.loss_rate));
            prop_assert!(buffer.bytes <= MAX_BYTES);
            let bytes: usize = buffer.waiting.iter().map(|held| held.packet.size).sum();
            prop_assert_eq!(buffer.bytes, bytes);
            let fates = s.frames + s.late + s.duplicates + s.overruns + s.strays + s.flushed;
            prop_assert_eq!(s.inserted, fates + s.current as u64);
        }
    }

    /// Adding a constant to all sequence numbers, timestamps and instants changes nothing but the labels.
    #[test]
    fn only_differences_matter(
        frames in prop::collection::vec((0_u64..100, 0_u64..400), 1..100),
        sequence in 0_u64..u64::MAX - 2_000,
        rtp: u32,
        later in 0_u64..1_000_000,
    ) {
        let tell = |sequence: u64, rtp: u32, later: u64| {
            let mut world = World::new(PlayoutConfig::adaptive(SIZE));
            world.start += ms(later);
            world.now = world.start;
            let inserted: Vec<_> = frames.iter().map(|&(n, late)| {
                let rtp = rtp.wrapping_add(STEP * n as u32);
                world.arrive(captured(n) + ms(late), sequence + n, rtp)
            }).collect();
            world.until(ms(9_000));
            let start = world.start;
            let out: Vec<_> = world.out.iter().map(|pop| {
                (pop.packet.sequence - sequence, pop.due - start, pop.delay)
            }).collect();
            (inserted, out, world.buffer.statistics())
        };
        prop_assert_eq!(tell(0, 0, 0), tell(sequence, rtp, later));
    }
}
