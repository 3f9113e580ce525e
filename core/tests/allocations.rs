//! What is done for every packet allocates nothing.

use std::time::Duration;

use rtcmesh_core::sync::{Control, DelayTarget, PlayoutTuning, Situation};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[test]
fn target_and_control_allocate_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let tuning = PlayoutTuning::rtcmesh();
    let (start, max) = (Duration::from_millis(50), Duration::from_millis(500));
    let mut target = DelayTarget::new(&tuning, start, max);
    let control = Control::new(&tuning);
    let before = dhat::HeapStats::get().total_blocks;
    for n in 0..20_000_i64 {
        let media = n * 20_000_000;
        target.observe(media + n * n % 90_000_000, media);
        let (delay, target) = (n % 100 * 1_000_000, target.target());
        let situation = Situation { delay, target, ready: delay, ..Situation::default() };
        std::hint::black_box(control.decide(&situation, 10_000_000));
    }
    assert_eq!(dhat::HeapStats::get().total_blocks - before, 0);
}
