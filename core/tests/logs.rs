//! What follows a ring of a recording is not heard in the application's log, and changes nothing in it.

// A transport needs an instant to count from.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rtcmesh_core::config::Config;
use rtcmesh_core::id::SocketId;
use rtcmesh_core::net::IoEvent;
use rtcmesh_core::rng::Seed;
use rtcmesh_core::trace::RecordOptions;
use rtcmesh_core::transport::Transport;
use tracing::{Event, Metadata, Subscriber, span};

/// The events that were logged.
static LOGGED: AtomicUsize = AtomicUsize::new(0);

/// Counts them.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        LOGGED.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// One test, since the log is that of the whole process.
#[test]
fn what_follows_a_ring_leaves_the_log_alone() {
    let now = Instant::now();
    let seed = Seed::from_bytes([1; 32]);
    let config = Config::new("ws://127.0.0.1:9/").peer_id("me");
    let mut transport = Transport::new(config, seed, now, Duration::ZERO).unwrap();
    let mut options = RecordOptions::default();
    (options.ring, options.max_bytes) = (true, 64 * 1024);
    let ring = transport.record(&options).unwrap();
    transport.start(now).unwrap();
    let warn = |transport: &mut Transport| {
        transport.handle_io(now, IoEvent::UdpFailed { socket: SocketId(7), error: "broken" });
    };
    let forget = |transport: &mut Transport| {
        let before = ring.dropped();
        while ring.dropped() < before + 2_000 {
            assert!(transport.buffered_amount("nobody").is_err());
        }
    };
    // Before there is anybody to hear it.
    forget(&mut transport);
    warn(&mut transport);
    // What a scope alone had set would silence what the `log` crate gets.
    assert!(!tracing::dispatcher::has_been_set());
    tracing::subscriber::set_global_default(Counter).unwrap();
    // It is followed when somebody does, and must not be heard: nor be switched off by that for good.
    forget(&mut transport);
    assert_eq!(LOGGED.load(Ordering::Relaxed), 0);
    warn(&mut transport);
    assert_eq!(LOGGED.load(Ordering::Relaxed), 1);
    forget(&mut transport);
    assert_eq!(LOGGED.load(Ordering::Relaxed), 1);
}
