use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::manager::world::story;
use super::*;

const RATE: u32 = 48_000;
const STEP: u32 = 960;
const FRAME: Duration = Duration::from_millis(20);
const TARGET: Duration = Duration::from_millis(50);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A buffer in virtual time, polled exactly when it asks for it.
struct World {
    buffer: JitterBuffer<u64>,
    start: Instant,
    now: Instant,
    out: Vec<Pop<u64>>,
}

impl World {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            buffer: JitterBuffer::new(RATE, PlayoutConfig::fixed(TARGET)),
            start,
            now: start,
            out: Vec::new(),
        }
    }

    /// Lets time pass up to `at`, and takes what is due before it.
    fn until(&mut self, at: Duration) {
        let at = self.start + at;
        while let Some(due) = self.buffer.poll_timeout().filter(|due| *due < at) {
            self.now = self.now.max(due);
            self.take();
            let next = self.buffer.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "it spins");
        }
        self.now = self.now.max(at);
    }

    fn take(&mut self) {
        loop {
            match self.buffer.pop(self.now) {
                Pop::None => return,
                pop => self.out.push(pop),
            }
        }
    }

    fn packet(&self, sequence: u64, rtp: u32) -> Packet<u64> {
        let (duration, arrived) = (STEP, self.now);
        Packet { sequence, rtp, duration, dtx: false, arrived, payload: sequence }
    }

    /// Lets a packet arrive at `at`.
    fn arrive(&mut self, at: Duration, sequence: u64, rtp: u32) -> Inserted {
        self.until(at);
        self.buffer.insert(self.packet(sequence, rtp))
    }

    /// The packet number `n` of a stream that starts at 0, `late` after the time it was sent.
    fn number(&mut self, n: u64, late: Duration) -> Inserted {
        self.arrive(FRAME * n as u32 + late, 1_000 + n, STEP * n as u32)
    }

    /// What came out, as [`story`] tells it.
    fn story(&mut self) -> String {
        story(self.out.drain(..), self.start)
    }

    fn frames(&self) -> Vec<u64> {
        let sequence = |pop: &Pop<u64>| match pop {
            Pop::Frame { packet, .. } => Some(packet.sequence),
            _ => None,
        };
        self.out.iter().filter_map(sequence).collect()
    }

    fn conserved(&self) {
        let s = self.buffer.statistics();
        let fates = s.frames + s.late + s.duplicates + s.overruns + s.strays + s.flushed;
        assert_eq!(s.inserted, fates + s.current as u64, "{s:?}");
    }
}

#[test]
fn a_steady_stream_comes_out_steadily_by_the_target_later() {
    let mut world = World::new();
    for n in 0..5 {
        assert_eq!(world.number(n, ms(0)), Inserted::Queued);
    }
    world.until(ms(140));
    assert_eq!(world.story(), "f0@50 f1@70 f2@90 f3@110 f4@130 ".trim());
    let statistics = world.buffer.statistics();
    assert_eq!((statistics.frames, statistics.concealed, statistics.peak), (5, 0, 3));
    assert_eq!((statistics.current_delay, statistics.average_delay), (TARGET, TARGET));
}

#[test]
fn jitter_within_the_target_changes_nothing() {
    let mut world = World::new();
    // Packets 1 and 3 are overtaken.
    for (n, late) in [(0, 0), (2, 0), (1, 45), (4, 0), (3, 49)] {
        world.number(n, ms(late));
    }
    world.until(ms(140));
    assert_eq!(world.story(), "f0@50 f1@70 f2@90 f3@110 f4@130");
}

#[test]
fn a_lost_packet_is_concealed_while_its_successor_waits() {
    let mut world = World::new();
    for n in [0, 1, 3, 4] {
        world.number(n, ms(0));
    }
    world.until(ms(90));
    assert_eq!(world.buffer.peek_next().map(|packet| packet.sequence), Some(1_003));
    world.until(ms(140));
    assert_eq!(world.story(), "f0@50 f1@70 lost20@90 f3@110 f4@130");
    let loss = world.buffer.statistics().loss_rate;
    assert!((loss - 0.0151).abs() < 0.001, "one of about 64: {loss}");
}

#[test]
fn a_late_packet_is_played_while_nothing_behind_it_was() {
    let mut world = World::new();
    world.number(0, ms(0));
    world.number(1, ms(55));
    world.until(ms(79));
    assert_eq!(world.story(), "f0@50 dry20@70");
    // The plan is caught up with at 17.5 ms for each 20 ms.
    for n in 3..20 {
        world.number(n - 1, ms(0));
    }
    world.until(ms(260));
    let story = world.story();
    assert!(story.starts_with("f1@87 f2@105 f3@122 f4@140 f5@157 f6@175"), "{story}");
    world.until(ms(400));
    let story = world.story();
    assert!(story.contains("f16@370 f17@390"), "back at 50 ms: {story}");
}

#[test]
fn a_late_packet_is_played_before_its_waiting_successor() {
    let mut world = World::new();
    for (n, late) in [(0, 0), (2, 35), (1, 56), (3, 20)] {
        world.number(n, ms(late));
    }
    world.until(ms(135));
    assert_eq!(world.story(), "f0@50 dry20@70 f1@87 f2@105 f3@122");
}

#[test]
fn a_packet_whose_gap_was_filled_from_its_successor_is_late() {
    let mut world = World::new();
    for n in [0, 2, 3] {
        world.number(n, ms(0));
    }
    world.until(ms(71));
    assert_eq!(world.number(1, ms(51)), Inserted::Late);
    world.until(ms(120));
    assert_eq!(world.story(), "f0@50 lost20@70 f2@90 f3@110");
    assert_eq!(world.buffer.statistics().late, 1);
}

#[test]
fn duplicates_and_late_packets_are_told_apart() {
    let mut world = World::new();
    for n in [0, 2] {
        world.number(n, ms(0));
    }
    assert_eq!(world.number(2, ms(1)), Inserted::Duplicate, "it waits");
    world.until(ms(95));
    assert_eq!(world.number(0, ms(95)), Inserted::Duplicate, "it was played");
    assert_eq!(world.number(1, ms(80)), Inserted::Late, "it was concealed");
    world.conserved();
}

#[test]
fn sequence_numbers_and_timestamps_wrap() {
    let mut world = World::new();
    let mut unwrapper = super::super::Unwrapper::new();
    for n in 0..140_000_u32 {
        let sequence = unwrapper.unwrap((n as u16).wrapping_sub(2));
        let rtp = 0xffff_fc40_u32.wrapping_sub(STEP).wrapping_add(n * STEP);
        assert_eq!(world.arrive(FRAME * n, sequence, rtp), Inserted::Queued);
    }
    world.until(FRAME * 140_003);
    let frames = world.frames();
    assert_eq!(frames.len(), 140_000);
    assert!(frames.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(world.buffer.statistics().current_delay, TARGET);
}

#[test]
fn a_sender_that_pauses_makes_silence_and_no_concealment() {
    let mut world = World::new();
    for (n, at) in [(0, 0), (1, 20), (2, 5_000), (3, 5_020)] {
        world.until(ms(at));
        let dtx = n == 1;
        let packet = world.packet(1_000 + n, at as u32 * 48);
        world.buffer.insert(Packet { dtx, ..packet });
    }
    world.until(ms(5_080));
    assert_eq!(world.story(), "f0@50 f1@70 silence f2@5050 f3@5070");
    assert_eq!(world.buffer.statistics().loss_rate, 0.0);
}

#[test]
fn a_gap_in_time_without_one_in_sequence_is_silence() {
    let mut world = World::new();
    world.number(0, ms(0));
    world.arrive(ms(60), 1_001, 60 * 48);
    world.until(ms(160));
    assert_eq!(world.story(), "f0@50 silence f1@110 dry20@130 dry20@150");
}

#[test]
fn concealment_ends_after_a_second_and_a_resumed_stream_starts_anew() {
    let mut world = World::new();
    world.number(0, ms(0));
    world.until(ms(1_100));
    assert_eq!(world.buffer.poll_timeout(), None);
    let out = world.story();
    assert_eq!(out.matches("dry20").count(), 50, "{out}");
    assert!(out.ends_with("dry20@1050 silence"), "{out}");
    // The sender's clock had stopped: what comes is not late.
    world.arrive(ms(30_000), 1_001, STEP);
    world.arrive(ms(30_020), 1_002, STEP * 2);
    world.until(ms(30_080));
    assert_eq!(world.story(), "f1@30050 f2@30070");
    // The process slept for an hour: a second is concealed, not an hour.
    world.now += ms(3_600_000);
    world.take();
    assert_eq!(world.out.len(), 51);
}

#[test]
fn after_a_stall_the_delay_comes_down_again() {
    let mut world = World::new();
    for n in 0..10 {
        world.number(n, ms(0));
    }
    // 560 ms arrive at once.
    for n in 10..38 {
        world.arrive(ms(760), 1_000 + n, STEP * n as u32);
    }
    for n in 39..200 {
        world.number(n - 1, ms(0));
    }
    for n in 200..300 {
        world.number(n - 1, ms(0));
    }
    world.until(ms(6_015));
    let statistics = world.buffer.statistics();
    assert_eq!(statistics.frames + statistics.late, 299);
    assert_eq!(statistics.late, 3, "with what is over 500 ms late: {statistics:?}");
    assert_eq!(statistics.concealed, 26, "510 ms: {statistics:?}");
    assert_eq!(statistics.current_delay, TARGET);
}

#[test]
fn single_packets_of_long_ago_are_strays_and_held_up_streams_are_not() {
    let mut world = World::new();
    (0..10).for_each(|n| assert_eq!(world.number(n, ms(0)), Inserted::Queued));
    // The path stalls for 10 s. What was held up comes at once, some of it overtaken.
    for n in (10..510).map(|n| n ^ 1) {
        assert_eq!(world.arrive(ms(10_200), 1_000 + n, STEP * n as u32), Inserted::Queued, "{n}");
    }
    (510..600).for_each(|n| assert_eq!(world.number(n, ms(0)), Inserted::Queued));
    assert_eq!(world.number(505, ms(6_000)), Inserted::Stray);
    assert_eq!(world.number(900, ms(0)), Inserted::Queued);
    assert_eq!(world.buffer.statistics().restarts, 0);
    world.conserved();
}

#[test]
fn a_late_first_packet_does_not_make_the_delay_large() {
    let mut world = World::new();
    // The first 25 packets arrive at once, 500 ms after the first was sent.
    for n in 0..25 {
        world.arrive(ms(500), 1_000 + n, STEP * n as u32);
    }
    for n in 25..150 {
        world.number(n, ms(0));
    }
    world.until(ms(2_990));
    assert_eq!(world.buffer.statistics().concealed, 0);
    let delay = world.buffer.statistics().current_delay;
    assert!(delay.abs_diff(TARGET) < ms(1), "{delay:?}");
}

#[test]
fn a_change_of_route_or_of_target_is_followed() {
    for (route, target) in [(30, 50), (0, 150), (30, 150)] {
        let mut world = World::new();
        for n in 0..500 {
            if n == 100 {
                world.buffer.set_size(ms(target));
            }
            world.number(n, if n < 100 { ms(0) } else { ms(route) });
        }
        world.until(FRAME * 500);
        let statistics = world.buffer.statistics();
        assert_eq!((statistics.concealed, statistics.late), (0, 0));
        let delay = statistics.current_delay;
        assert!(delay.abs_diff(ms(target)) < ms(1), "{delay:?} of {target} ms");
        // And back.
        world.buffer.set_size(TARGET);
        for n in 500..900 {
            world.number(n, ms(0));
        }
        world.until(FRAME * 900);
        let statistics = world.buffer.statistics();
        assert_eq!((statistics.concealed, statistics.late), (0, 0));
        assert!(statistics.current_delay.abs_diff(TARGET) < ms(1), "{statistics:?}");
    }
}

#[test]
fn an_hour_of_any_clock_loses_and_conceals_nothing() {
    for ppm in [-500_i64, 0, 500] {
        for millis in [20_u32, 5] {
            let mut world = World::new();
            let packets = 3_600_000 / millis;
            let ticks = millis * 48;
            for n in 0..packets {
                let sent = i64::from(n) * i64::from(millis) * (1_000_000 + ppm);
                world.until(Duration::from_nanos(sent as u64));
                let packet = world.packet(u64::from(n), n.wrapping_mul(ticks));
                let packet = Packet { duration: ticks, ..packet };
                assert_eq!(world.buffer.insert(packet), Inserted::Queued);
                if n > 1_000 && n % 64 == 0 {
                    let delay = world.buffer.statistics().current_delay;
                    assert!(delay.abs_diff(TARGET) < ms(3), "{ppm} ppm: {delay:?}");
                }
            }
            world.until(ms(3_602_000 + 50));
            let frames = world.frames();
            assert_eq!(frames.len(), packets as usize, "{ppm} ppm");
            assert!(frames.windows(2).all(|pair| pair[1] == pair[0] + 1));
            let concealed = world.buffer.statistics().concealed;
            assert!(concealed <= 1_000 / u64::from(millis), "only after the end: {concealed}");
            let last = world.out.iter().rposition(|pop| matches!(pop, Pop::Frame { .. })).unwrap();
            assert_eq!(last + 1, packets as usize, "nothing between the frames at {ppm} ppm");
        }
    }
}

#[test]
fn one_stray_is_dropped_and_a_second_restarts_the_stream() {
    let other = |n: u32| (7_000_000 + u64::from(n), 0x9000_0000_u32.wrapping_add(n * STEP));
    let mut world = World::new();
    for n in 0..3 {
        world.number(n, ms(0));
    }
    for stray in [
        (1_003, 0x9000_0000),
        (1_003, (3 * STEP).wrapping_sub(RATE / 2)),
        (1_003 + 3_000, 3 * STEP),
        (1_002 - 101, 3 * STEP),
        (u64::MAX, 3 * STEP),
    ] {
        assert_eq!(world.arrive(ms(50), stray.0, stray.1), Inserted::Stray, "{stray:?}");
    }
    assert_eq!(world.number(3, ms(0)), Inserted::Queued);
    let (sequence, rtp) = other(0);
    assert_eq!(world.arrive(ms(80), sequence, rtp), Inserted::Stray);
    let (sequence, rtp) = other(1);
    assert_eq!(world.arrive(ms(100), sequence, rtp), Inserted::Restarted);
    let (sequence, rtp) = other(2);
    assert_eq!(world.arrive(ms(120), sequence, rtp), Inserted::Queued);
    world.until(ms(175));
    assert_eq!(world.frames(), [1_000, 1_001, 1_002, 7_000_001, 7_000_002]);
    let statistics = world.buffer.statistics();
    assert_eq!((statistics.strays, statistics.flushed, statistics.restarts), (6, 1, 1));
    world.conserved();
}

#[test]
fn a_flood_is_bounded_and_old_packets_stay_in_order() {
    let mut world = World::new();
    for n in 0..10_000 {
        let expected = if n < 512 { Inserted::Queued } else { Inserted::Overflow };
        let packet = Packet { duration: 120, ..world.packet(n, n as u32 * 120) };
        let inserted = world.buffer.insert(packet);
        if n < 400 {
            assert_eq!(inserted, expected, "{n}");
        }
        assert!(world.buffer.statistics().current <= 512);
    }
    world.until(ms(2_000));
    assert!(world.frames().windows(2).all(|pair| pair[0] < pair[1]));
    world.conserved();
}

#[test]
fn frame_durations_may_change_and_absurd_ones_are_bounded() {
    let mut world = World::new();
    let mut sent = 0;
    for (n, millis) in [20, 60, 120, 5, 10, 40, 20].into_iter().enumerate() {
        world.until(ms(sent));
        let packet = world.packet(1_000 + n as u64, sent as u32 * 48);
        world.buffer.insert(Packet { duration: millis * 48, ..packet });
        sent += u64::from(millis);
    }
    world.until(ms(325));
    assert_eq!(world.story(), "f0@50 f1@70 f2@130 f3@250 f4@255 f5@265 f6@305");

    for (duration, expected) in [(0, 120), (u32::MAX, 5_760)] {
        let mut world = World::new();
        let packet = world.packet(0, 0);
        world.buffer.insert(Packet { duration, ..packet });
        assert_eq!(world.buffer.peek_next().map(|packet| packet.duration), Some(expected));
    }
}

#[test]
fn instants_that_go_back_do_no_harm() {
    let mut world = World::new();
    world.now += ms(100);
    world.number(5, ms(0));
    world.now = world.start;
    assert_eq!(world.buffer.insert(world.packet(1_006, 6 * STEP)), Inserted::Queued);
    assert_eq!(world.buffer.pop(world.start), Pop::None);
    world.until(ms(200));
    assert_eq!(world.frames(), [1_005, 1_006]);
}

#[test]
fn a_reset_buffer_is_a_new_one() {
    let mut world = World::new();
    for n in 0..5 {
        world.number(n, ms(0));
    }
    world.buffer.reset();
    assert_eq!(world.buffer.statistics(), BufferStatistics::default());
    assert_eq!((world.buffer.poll_timeout(), world.buffer.pop(world.now)), (None, Pop::None));
    world.out.clear();
    world.number(5, ms(100));
    world.until(ms(260));
    assert!(world.story().starts_with("f5@250"));
}

/// One step of an arbitrary history.
#[derive(Debug, Clone)]
enum Step {
    Insert { sequence: u64, rtp: u32, duration: u32, dtx: bool, arrived: u64 },
    Pop { at: u64 },
    Target { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let near = (0_u64..60, any::<bool>(), 0_u64..2_000).prop_map(|(n, dtx, arrived)| {
        Step::Insert { sequence: n, rtp: n as u32 * STEP, duration: STEP, dtx, arrived }
    });
    let wild = (any::<u64>(), any::<u32>(), any::<u32>(), any::<bool>(), 0_u64..20_000).prop_map(
        |(sequence, rtp, duration, dtx, arrived)| Step::Insert {
            sequence: sequence >> (sequence % 64),
            rtp,
            duration,
            dtx,
            arrived,
        },
    );
    prop_oneof![
        8 => near,
        4 => wild,
        4 => (0_u64..20_000).prop_map(|at| Step::Pop { at }),
        1 => (0_u64..1_000).prop_map(|millis| Step::Target { millis }),
    ]
}

proptest! {
    /// Whatever comes in: in order, nothing twice, nothing before it is due, every packet has one
    /// fate, and the machine rests.
    #[test]
    fn arbitrary_histories_keep_every_promise(
        rate in prop_oneof![Just(RATE), any::<u32>()],
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let start = Instant::now();
        let mut buffer = JitterBuffer::new(rate, PlayoutConfig::fixed(TARGET));
        let mut last = None;
        let mut latest = start;
        for step in steps {
            match step {
                Step::Insert { sequence, rtp, duration, dtx, arrived } => {
                    let arrived = start + ms(arrived);
                    let payload = (sequence, rtp);
                    let packet = Packet { sequence, rtp, duration, dtx, arrived, payload };
                    if buffer.insert(packet) == Inserted::Restarted {
                        last = None;
                    }
                }
                Step::Target { millis } => buffer.set_size(ms(millis)),
                Step::Pop { at } => {
                    latest = latest.max(start + ms(at));
                    for turn in 0.. {
                        prop_assert!(turn < 2_000, "it never rests");
                        let timeout = buffer.poll_timeout();
                        match buffer.pop(latest) {
                            Pop::None => {
                                let timeout = buffer.poll_timeout();
                                prop_assert!(timeout.is_none_or(|timeout| timeout > latest));
                                break;
                            }
                            Pop::Frame { packet, due, .. } => {
                                prop_assert!(due <= latest && timeout.is_some());
                                prop_assert_eq!((packet.sequence, packet.rtp), packet.payload);
                                prop_assert!(last.is_none_or(|last| last < packet.sequence));
                                last = Some(packet.sequence);
                            }
                            Pop::Conceal { due, duration, .. } => {
                                prop_assert!(due <= latest && timeout.is_some());
                                prop_assert!(u64::from(duration) <= (u64::from(rate) / 8).max(1));
                            }
                            Pop::Silence { .. } => prop_assert!(timeout.is_some()),
                        }
                    }
                }
            }
            let s = buffer.statistics();
            prop_assert!(s.current <= 512 && (0.0..=1.0).contains(&s.loss_rate));
            let fates = s.frames + s.late + s.duplicates + s.overruns + s.strays + s.flushed;
            prop_assert_eq!(s.inserted, fates + s.current as u64);
        }
    }

    /// Jitter below the target, reordering and duplicates leave no trace; random losses are concealed
    /// one by one.
    #[test]
    fn a_network_within_the_target_is_not_heard(
        fates in prop::collection::vec((0_u64..50, 0_u8..20), 50..300),
        first_sequence in 0_u64..1_000_000,
        first_rtp: u32,
    ) {
        let mut arrivals = Vec::new();
        let mut sent = Vec::new();
        for (n, (late, fate)) in (0_u32..).zip(&fates) {
            // The first and the last arrive.
            let lost = *fate == 0 && n > 0 && n as usize + 1 < fates.len();
            let late = if n == 0 { 0 } else { *late };
            if !lost {
                sent.push(first_sequence + u64::from(n));
                arrivals.push((FRAME * n + ms(late), n));
            }
            if *fate == 1 && !lost {
                arrivals.push((FRAME * n + ms(late), n));
            }
        }
        arrivals.sort();
        let mut world = World::new();
        for (at, n) in arrivals {
            world.arrive(at, first_sequence + u64::from(n), first_rtp.wrapping_add(n * STEP));
        }
        world.until(FRAME * fates.len() as u32 + ms(49));
        prop_assert_eq!(world.frames(), sent);
        let statistics = world.buffer.statistics();
        prop_assert_eq!(statistics.late, 0);
        let lost = fates.len() as u64 - statistics.frames;
        prop_assert_eq!(statistics.concealed, lost);
        world.conserved();
    }

    /// Adding a constant to all sequence numbers and timestamps changes nothing but the labels.
    #[test]
    fn only_differences_matter(
        packets in prop::collection::vec((0_u64..100, 0_u64..400), 1..100),
        sequence in 0_u64..u64::MAX - 2_000,
        rtp: u32,
    ) {
        let tell = |sequence: u64, rtp: u32| {
            let mut world = World::new();
            let inserted: Vec<_> = packets.iter().map(|&(n, late)| {
                world.arrive(FRAME * n as u32 + ms(late), sequence + n, rtp.wrapping_add(STEP * n as u32))
            }).collect();
            world.until(ms(4_000));
            let start = world.start;
            let out: Vec<_> = world.out.into_iter().map(|pop| match pop {
                Pop::Frame { packet, due, .. } => (packet.sequence - sequence, due - start),
                Pop::Conceal { rtp: at, due, .. } => (u64::from(at.wrapping_sub(rtp)), due - start),
                _ => (0, ms(0)),
            }).collect();
            (inserted, out)
        };
        prop_assert_eq!(tell(1, 0), tell(sequence.max(1), rtp));
    }
}
