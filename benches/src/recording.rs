//! What recording costs while it is on: a packet through two recorded transports and through two others, in turns.

use std::hint::black_box;
use std::time::Duration;

use rtcmesh_core::trace::{RecordOptions, Recorder};

use crate::frames::Kind;
use crate::measure::{Comparison, median, timed};
use crate::ours::Star;
use crate::packet::{BATCH, Link};

/// What [`recorded`] has found.
#[derive(Debug, Default)]
pub struct Recorded {
    /// From the command to the datagram: recorded, and not.
    pub tx: Comparison,
    /// From the datagram to the event, through the jitter buffer.
    pub rx: Comparison,
    /// Nanoseconds for each packet that whoever writes the file needs to fetch what one transport recorded, on a thread
    /// of its own; what the disk takes comes on top.
    pub fetch_ns: f64,
    /// Bytes of a recording for each packet, sent or received.
    pub bytes: f64,
}

/// Compares recorded transports with others. `ring`: the latest entries are kept; otherwise they are fetched as for a file.
///
/// # Panics
/// Where a transport cannot be recorded.
pub fn recorded(ring: bool, rounds: usize) -> Recorded {
    let mut options = RecordOptions::default();
    options.ring = ring;
    if ring {
        // Full soon, as it is nearly always.
        options.max_bytes = 1024 * 1024;
    }
    let mut recorders: Vec<Recorder> = Vec::new();
    let star = Star::prepared(1, false, |transport| {
        recorders.push(transport.record(&options).expect("it was not started"));
    });
    let mut with = Link::with(Kind::Audio, true, star);
    let mut without = Link::new(Kind::Audio, true);
    let mut run = |act: &mut dyn FnMut()| timed(act);
    let mut found = Recorded::default();
    let mut fetches = Vec::new();
    for round in 0..rounds + rounds / 10 {
        let (ours, other);
        if round % 2 == 0 {
            ours = with.ours(&mut run);
            other = without.ours(&mut run);
        } else {
            other = without.ours(&mut run);
            ours = with.ours(&mut run);
        }
        let mut fetched = (Duration::ZERO, 0);
        if !ring {
            for recorder in &recorders {
                fetched.0 += timed(|| fetched.1 += black_box(recorder.take()).len());
            }
        }
        // The first tenth warms up.
        if round >= rounds / 10 {
            found.tx.add(ours.0, other.0, BATCH);
            found.rx.add(ours.1, other.1, BATCH);
            let packets = (2 * BATCH) as f64;
            fetches.push((fetched.0.as_nanos() as f64 / packets, fetched.1 as f64 / packets));
        }
    }
    found.fetch_ns = median(fetches.iter().map(|fetch| fetch.0));
    found.bytes = median(fetches.iter().map(|fetch| fetch.1));
    found
}
