//! Prints what the adapters cost beside a bare loop over a socket of the same runtime.
//!
//! `--rounds N`: rounds of each load, both sides in turns (default 60). `--seconds N`: of talk, a round
//! (default 3). `--json`: one object.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::driver::{Echo, Load, Side, cpu_of_others};
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
            "CPU per datagram of the adapter and of a bare loop, ns; datagrams per second of both"
        );
    }
    let runtimes = [("tokio", Side::Tokio, Side::BareTokio), ("smol", Side::Smol, Side::BareSmol)];
    let echoes = runtimes.map(|(name, ours, bare)| (name, Echo::start(ours), Echo::start(bare)));
    for (name, mut load) in loads {
        for (runtime, ours, bare) in &echoes {
            let found = side_by_side(&mut load, ours, bare, rounds);
            if !json {
                let at = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
                println!(
                    "{runtime:6}{name:32}{:8.0}{:8.0}  ratio {:.2} (goal {GOAL}){:9.0}{:9.0}",
                    at("adapter_ns"),
                    at("bare_ns"),
                    at("ratio"),
                    at("adapter_per_second"),
                    at("bare_per_second"),
                );
            }
            report.insert(format!("{runtime}: {name}"), found);
        }
    }
    let seconds = Duration::from_secs(arguments.number("--seconds").unwrap_or(3) as u64);
    report.insert("audio delay".into(), delays(seconds, json));
    if json {
        println!("{}", Value::Object(report));
    }
}

/// One load for two echoes, in turns.
fn side_by_side(load: &mut Load, ours: &Echo, bare: &Echo, rounds: usize) -> Value {
    let (mut cpu, mut wall) = (Comparison::default(), Comparison::default());
    let bursts = ROUND / load.datagrams();
    for round in 0..=rounds {
        let mut run = |echo: &Echo| {
            let (before, start) = (cpu_of_others(), Instant::now());
            (0..bursts).for_each(|_| load.burst(echo));
            let took = start.elapsed();
            (cpu_of_others() - before, took)
        };
        let (ours, bare) = if round % 2 == 0 {
            let ours = run(ours);
            (ours, run(bare))
        } else {
            let bare = run(bare);
            (run(ours), bare)
        };
        // The first round warms up.
        if round > 0 {
            cpu.add(ours.0, bare.0, ROUND);
            wall.add(ours.1, bare.1, ROUND);
        }
    }
    json!({
        "adapter_ns": cpu.ours(), "bare_ns": cpu.other(), "ratio": cpu.ratio(), "goal": GOAL,
        "adapter_per_second": 1e9 / wall.ours(), "bare_per_second": 1e9 / wall.other(),
    })
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
