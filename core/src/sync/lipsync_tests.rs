use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What was captured `millis` after an hour of 2026.
fn capture(millis: u64) -> Option<Capture> {
    let wall_clock_us = 1_790_000_000_000_000 + millis * 1_000;
    Some(Capture { wall_clock_us, confidence: 1.0, settled: true })
}

#[test]
fn video_that_is_shown_early_is_ahead_by_a_positive_offset() {
    let start = Instant::now();
    for (shown, expected) in [(60, 40.0), (100, 0.0), (150, -50.0)] {
        let mut sync = LipSync::new(LipSync::PATIENCE);
        // Audio of 1000 is heard at 1100, so that of 1010 at 1110.
        sync.audio(capture(1_000), start + ms(1_020), start + ms(1_100));
        let at = start + ms(1_010 + shown);
        let offset = sync.video(capture(1_010), at, at);
        assert_eq!(offset, AvOffset { offset_ms: expected, confidence: 1.0 });
        assert_eq!(sync.offset(), offset);
        assert_eq!(sync.hold(), ms(expected as u64), "what is ahead is held");
    }
}
