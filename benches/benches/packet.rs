//! Criterion's view of a packet through our transport and through the engine alone: the same work as the
//! program `packet`, which prints the ratios.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use rtcmesh_benches::frames::Kind;
use rtcmesh_benches::packet::{BATCH, Link};

/// Which half of a packet's way.
#[derive(Clone, Copy)]
enum Way {
    Sending,
    Receiving,
}

/// Runs whole batches until `iterations` packets have passed, and gives the time of that many.
fn time(iterations: u64, way: Way, mut batch: impl FnMut() -> (Duration, Duration)) -> Duration {
    let batches = iterations.div_ceil(BATCH as u64);
    let mut total = Duration::ZERO;
    for _ in 0..batches {
        let (tx, rx) = batch();
        total += match way {
            Way::Sending => tx,
            Way::Receiving => rx,
        };
    }
    total.mul_f64(iterations as f64 / (batches * BATCH as u64) as f64)
}

fn timed(act: &mut dyn FnMut()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

fn both(group: &mut BenchmarkGroup<'_, WallTime>, kind: Kind, way: Way) {
    let mut link = Link::new(kind, false);
    group.throughput(Throughput::Elements(1));
    group.bench_function("ours", |bencher| {
        bencher.iter_custom(|iterations| time(iterations, way, || link.ours(timed)));
    });
    let mut link = Link::new(kind, false);
    group.bench_function("engine", |bencher| {
        bencher.iter_custom(|iterations| time(iterations, way, || link.engine(timed)));
    });
}

fn packets(criterion: &mut Criterion) {
    for kind in [Kind::Audio, Kind::Video] {
        for (name, way) in [("sending", Way::Sending), ("receiving", Way::Receiving)] {
            let mut group = criterion.benchmark_group(format!("{} {name}", kind.name()));
            both(&mut group, kind, way);
            group.finish();
        }
    }
}

criterion_group!(benches, packets);
criterion_main!(benches);
