//! Prints what the adapters cost beside a bare loop over a socket of the same runtime.
//!
//! `--rounds N`: rounds of each load, both sides in turns (default 60). `--seconds N`: of talk, a round
//! (default 3). `--json`: one object.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::driver::{Echo, Load, Side};
use rtcmesh_benches::measure::{Comparison, median};
use rtcmesh_benches::mesh::Mesh;
use rtcmesh_benches::talk::{bare_talk, talk};
use rtcmesh_core::transport::Transport;
use serde_json::{Map, Value, json};

/// Datagrams of one side in a round.
const ROUND: usize = 1_000;
/// CPU per datagram, over the bare loop's.
const GOAL: f64 = 1.25;
/// Delay of an audio frame, over that between bare sockets: medians.
const DELAY_GOAL: f64 = 2.0;

fn main() {
    let arguments = Arguments::of_process();
    let json = arguments.has("--json");
    let rounds = arguments.number("--rounds").unwrap_or(60);
    let loads = [
        ("one datagram of 80 B at a time", Load::new(1, 1, 80, false)),
        ("80 B from each of ten", Load::new(10, 1, 80, false)),
        ("10 x 1200 B from one", Load::new(1, 10, 1200, false)),
        ("10 x 1200 B from one by GSO", Load::new(1, 10, 1200, true)),
    ];
    let mut report = Map::new();
    if !json {
        println!(
            "echo on tokio: CPU per datagram of the adapter and of a bare loop, ns; per second"
        );
    }
    for (name, mut load) in loads {
        let (ours, bare) = (Echo::start(Side::Tokio), Echo::start(Side::BareTokio));
        let (mut cpu, mut wall) = (Comparison::default(), Comparison::default());
        for round in 0..=rounds {
            let mut run = |echo: &Echo| {
                let (before, start) = (echo.cpu(), Instant::now());
                (0..ROUND / load.datagrams()).for_each(|_| load.burst(echo));
                (echo.cpu() - before, start.elapsed())
            };
            let (first, second) = if round % 2 == 0 { (&ours, &bare) } else { (&bare, &ours) };
            let (first, second) = (run(first), run(second));
            let (ours, bare) = if round % 2 == 0 { (first, second) } else { (second, first) };
            // The first round warms up.
            if round > 0 {
                cpu.add(ours.0, bare.0, ROUND);
                wall.add(ours.1, bare.1, ROUND);
            }
        }
        let per_second = (1e9 / wall.ours(), 1e9 / wall.other());
        if !json {
            println!(
                "{name:32}{:8.0}{:8.0}  ratio {:.2} (goal {GOAL}){:9.0}{:9.0}",
                cpu.ours(),
                cpu.other(),
                cpu.ratio(),
                per_second.0,
                per_second.1,
            );
        }
        report.insert(
            name.into(),
            json!({
                "adapter_ns": cpu.ours(), "bare_ns": cpu.other(), "ratio": cpu.ratio(), "goal": GOAL,
                "adapter_per_second": per_second.0, "bare_per_second": per_second.1,
            }),
        );
    }
    let seconds = Duration::from_secs(arguments.number("--seconds").unwrap_or(3) as u64);
    report.insert("audio delay".into(), delays(seconds, json));
    if json {
        println!("{}", Value::Object(report));
    }
}

/// The delay of audio frames between two meshes on loopback, and between two bare sockets, in turns.
fn delays(seconds: Duration, json: bool) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    Transport::warm_up(Instant::now());
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let (mut mesh, _) = Mesh::connect(2).await;
        for _ in 0..5 {
            ours.push(talk(&mut mesh, seconds).await.delay_us);
            bare.push(bare_talk(seconds).await);
        }
        mesh.shutdown().await;
    });
    let p50 = |of: &[(f64, f64)]| median(of.iter().map(|delay| delay.0));
    let p95 = |of: &[(f64, f64)]| median(of.iter().map(|delay| delay.1));
    let ratio = median(ours.iter().zip(&bare).map(|(ours, bare)| ours.0 / bare.0));
    if !json {
        println!(
            "an audio frame through two adapters, us: p50 {:.0}, bare sockets {:.0}, ratio {ratio:.2} \
             (goal {DELAY_GOAL}); p95 {:.0}, {:.0}",
            p50(&ours),
            p50(&bare),
            p95(&ours),
            p95(&bare),
        );
    }
    json!({
        "p50_us": p50(&ours), "bare_p50_us": p50(&bare), "ratio": ratio, "goal": DELAY_GOAL,
        "p95_us": p95(&ours), "bare_p95_us": p95(&bare),
    })
}
