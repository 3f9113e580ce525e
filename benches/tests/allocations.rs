//! What our layer allocates: nothing per packet, and little per connection. One test, since the allocator's
//! counts are those of the whole process.

use std::time::Duration;

use rtcmesh_benches::driver::Side;
use rtcmesh_benches::frames::Kind;
use rtcmesh_benches::memory::{
    CONNECTION_GOAL, callback, connection, driver, engine_connection, per_packet, sync_manager,
};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

#[test]
fn no_allocation_of_ours_per_packet_and_an_idle_connection_is_small() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for kind in [Kind::Audio, Kind::Video] {
        let found = per_packet(kind);
        let what = kind.name();
        assert!(found.ours.0 <= found.engine.0, "sending {what}: {found:?}");
        assert!(found.ours.1 <= found.engine.1, "receiving {what}: {found:?}");
        // It does count: the engine allocates for each packet.
        assert!(found.engine.0 >= 1 && found.engine.1 >= 1, "{found:?}");
    }
    assert_eq!(sync_manager(5_000), 0, "allocations of the sync manager in 100 s");
    assert_eq!(callback(1_000), 0, "allocations of an audio callback in 20 s");
    // The echoes go on: on smol the one with a timer comes last, since all share a reactor.
    let tick = Some(Duration::from_millis(10));
    for (side, tick) in [(Side::Tokio, tick), (Side::Smol, None), (Side::Smol, tick)] {
        let found = driver(side, tick, 4_000);
        assert!(found.machines >= 4_000, "the echo machine allocates what it sends: {found:?}");
        // None on tokio. smol's reactor makes a vector for whom it wakes, each time that it looks, and with a timer splits its map
        // of those; it looks a few times more often than the driver is polled (by up to a sixth, and the bare loop's too). One of
        // ours for each poll, or for each burst, would be more.
        let looks = found.polls + found.polls / 2;
        let most = if tick.is_some() { looks + found.polls } else { looks };
        assert!(found.ours <= most, "allocations of the driver on {side:?}, {tick:?}: {found:?}");
    }
    let engine = engine_connection();
    let ours = connection(2, 5);
    assert!(engine > 10 * 1024 && ours > engine / 2, "{engine} and {ours} bytes were found");
    assert!(ours <= CONNECTION_GOAL, "{ours} bytes an end, {CONNECTION_GOAL} are the goal");
}
