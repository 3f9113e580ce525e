//! Prints what the adapters cost beside a bare loop over a socket of the same runtime.
//!
//! `--repetitions N`: of everything, each in new processes (default 11). `--rounds N`: rounds of each load in each of
//! them (default 10). `--spread`: on all processors. `--tick MS`: the echo machine has a timer, which a bare loop has not
//! (0: none, the default). `--seconds N`: of talk, by each side on each
//! runtime (default 6). `--json`: one object.
#![allow(clippy::print_stdout)]

use std::env;
use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::delay::{Bare, Engines, Socket, on_smol, on_tokio};
use rtcmesh_benches::driver::{Echo, Load, Side, cpu_of_others};
use rtcmesh_benches::measure::{median, quantile};
use rtcmesh_benches::mesh::Mesh;
use rtcmesh_benches::talk::talk;
use rtcmesh_core::config::ReceivedAudio;
use rtcmesh_core::transport::Transport;
use rtcmesh_runtime::Runtime;
use serde_json::{Map, Value, json};

/// Datagrams of a round.
const ROUND: usize = 1_000;
/// The packets of a turn of each side, a fifth of a second; through the jitter buffer, whose delay is found anew after a
/// pause, a second.
const TURN: usize = 10;
const LONG_TURN: usize = 50;
/// Who takes turns: ours, bare sockets, bare sockets with a task more, and with the engine.
const SIDES: usize = 4;
/// CPU per datagram, over the bare loop's.
const GOAL: f64 = 1.25;
/// Delay of an audio frame, over that between bare sockets: medians.
const DELAY_GOAL: f64 = 2.0;

fn loads() -> [(&'static str, Load); 4] {
    [
        ("one datagram of 80 B at a time", Load::new(1, 1, 80, false)),
        ("80 B from each of ten", Load::new(10, 1, 80, false)),
        ("10 x 1200 B from one", Load::new(1, 10, 1200, false)),
        ("10 x 1200 B from one by GSO", Load::new(1, 10, 1200, true)),
    ]
}

fn main() {
    let arguments = Arguments::of_process();
    let rounds = arguments.number("--rounds").unwrap_or(10);
    let tick = arguments.number("--tick").unwrap_or(0);
    if let Some(side) = arguments.text("--side") {
        let side = Side::named(side).expect("the name of a side");
        return println!("{}", alone(side, rounds, tick));
    }
    let json = arguments.has("--json");
    let repetitions = arguments.number("--repetitions").unwrap_or(11);
    let mut report = Map::new();
    if repetitions > 0 {
        let apart = Apart { rounds, tick, spread: arguments.has("--spread") };
        processor(&mut report, repetitions, apart, json);
    }
    let seconds = arguments.number("--seconds").unwrap_or(6);
    if seconds > 0 {
        report.insert("audio delay".into(), delays(seconds, json));
    }
    if json {
        println!("{}", Value::Object(report));
    }
}

/// The medians of one side's rounds, in nanoseconds a datagram: of CPU and of time, load by load.
fn alone(side: Side, rounds: usize, tick: usize) -> Value {
    let tick = (tick > 0).then(|| Duration::from_millis(tick as u64));
    let echo = Echo::start(side, tick);
    let found = loads().map(|(_, mut load)| {
        let bursts = ROUND / load.datagrams();
        let (mut cpu, mut wall) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let (before, start) = (cpu_of_others(), Instant::now());
            (0..bursts).for_each(|_| load.burst(&echo));
            let (took, spent) = (start.elapsed(), cpu_of_others() - before);
            // The first round warms up.
            if round > 0 {
                cpu.push(spent.as_nanos() as f64 / ROUND as f64);
                wall.push(took.as_nanos() as f64 / ROUND as f64);
            }
        }
        json!([median(cpu.into_iter()), median(wall.into_iter())])
    });
    json!(found)
}

/// How one side is measured in a process of its own.
#[derive(Clone, Copy)]
struct Apart {
    rounds: usize,
    tick: usize,
    spread: bool,
}

/// What [`alone`] finds in a process of its own, on one processor unless it is `spread`. There who is woken does not
/// interrupt (`SCHED_BATCH`): otherwise the next datagram is there before a bare loop looks for it, and it never waits.
fn in_a_process(side: Side, apart: Apart) -> Vec<(f64, f64)> {
    let Apart { rounds, tick, spread } = apart;
    let this = env::current_exe().expect("this program");
    let mut command = Command::new(if spread { this.as_os_str() } else { "chrt".as_ref() });
    if !spread {
        command.args(["--batch", "0", "taskset", "--cpu-list", "0"]).arg(&this);
    }
    command.args(["--side", side.name(), "--rounds", &rounds.to_string()]);
    let output = command.args(["--tick", &tick.to_string()]).output();
    let output = output.expect("chrt and taskset, of util-linux; without them there is --spread");
    serde_json::from_slice(&output.stdout).expect("figures of all loads")
}

/// All loads for both sides of both adapters, in turns.
fn processor(report: &mut Map<String, Value>, repetitions: usize, apart: Apart, json: bool) {
    let runtimes = [[Side::Tokio, Side::BareTokio], [Side::Smol, Side::BareSmol]];
    // By runtime, repetition, side and load.
    let mut found = runtimes.map(|_| Vec::new());
    for repetition in 0..repetitions {
        for (sides, found) in runtimes.iter().zip(&mut found) {
            let run = |side: usize| in_a_process(sides[side], apart);
            // Who begins alternates.
            let first = repetition % 2;
            let (one, other) = (run(first), run(1 - first));
            found.push(if first == 0 { [one, other] } else { [other, one] });
        }
    }
    if !json {
        println!(
            "CPU per datagram of the adapter and of a bare loop, ns: the medians of {repetitions} pairs of \
             processes, and the first and third quartile of the ratio; datagrams per second of both"
        );
    }
    for (load, (name, _)) in loads().iter().enumerate() {
        for (sides, found) in runtimes.iter().zip(&found) {
            let of = |side: usize, pick: fn(&(f64, f64)) -> f64| {
                median(found.iter().map(|pair| pick(&pair[side][load])))
            };
            let ratio = |share| {
                let ratios = found.iter().map(|[ours, bare]| ours[load].0 / bare[load].0);
                quantile(ratios, share)
            };
            let (ours, bare) = (of(0, |found| found.0), of(1, |found| found.0));
            let per_second = [0, 1].map(|side| 1e9 / of(side, |found| found.1));
            let runtime = sides[0].name();
            if !json {
                println!(
                    "{runtime:6}{name:32}{ours:8.0}{bare:8.0}  ratio {:.2} ({:.2} to {:.2}; goal {GOAL})\
                     {:9.0}{:9.0}",
                    ratio(0.5),
                    ratio(0.25),
                    ratio(0.75),
                    per_second[0],
                    per_second[1],
                );
            }
            let figures = json!({
                "adapter_ns": ours, "bare_ns": bare, "ratio": ratio(0.5), "goal": GOAL,
                "ratio_quartiles": [ratio(0.25), ratio(0.75)],
                "adapter_per_second": per_second[0], "bare_per_second": per_second[1],
            });
            report.insert(format!("{runtime}: {name}"), figures);
        }
    }
}

/// The delays of audio frames on both runtimes.
fn delays(seconds: usize, json: bool) -> Value {
    Transport::warm_up(Instant::now());
    let tokio = on_tokio(|runtime| async move {
        delays_on::<_, tokio::net::UdpSocket>("tokio", &runtime, seconds, json).await
    });
    let smol = on_smol(|runtime| async move {
        delays_on::<_, smol::Async<UdpSocket>>("smol", &runtime, seconds, json).await
    });
    json!({"tokio": tokio, "smol": smol})
}

/// The delay of audio frames between two meshes on loopback and between two bare sockets, in short turns: as packets come,
/// which is what bare sockets do, and by the way through the jitter buffer.
async fn delays_on<R: Runtime, S: Socket>(
    name: &str,
    runtime: &R,
    seconds: usize,
    json: bool,
) -> Value {
    let (bare, mut engine) = (Bare::<S>::new(), Engines::<S>::new());
    let ways = [
        ("packets", ReceivedAudio::Packets, TURN),
        ("through the jitter buffer", ReceivedAudio::Encoded, LONG_TURN),
    ];
    let mut report = Map::new();
    for (way, received, frames) in ways {
        let (mut mesh, _) = Mesh::connect_receiving(runtime, 2, received).await;
        // By turn: ours, the bare sockets', theirs with a task more, the engine's over them.
        let mut turns = Vec::new();
        for turn in 0..=seconds * 50 / frames {
            let mut found = [const { Vec::new() }; SIDES];
            // Who begins alternates.
            for side in [[0, 1, 2, 3], [3, 2, 1, 0]][turn % 2] {
                found[side] = match side {
                    0 => talk(runtime, &mut mesh, frames).await.delays,
                    3 => engine.talk(runtime, frames).await,
                    side => bare.talk(runtime, frames, side == 2).await,
                };
            }
            // The first turn warms up.
            if turn > 0 {
                turns.push(found);
            }
        }
        mesh.shutdown().await;
        report.insert(way.into(), delay_report(&format!("{name}, {way}"), &turns, json));
    }
    Value::Object(report)
}

/// The figures of the turns of one way: of each side the delays.
fn delay_report(way: &str, turns: &[[Vec<f64>; SIDES]], json: bool) -> Value {
    let sides = [0, 1, 2, 3];
    let of = |side: usize, share| {
        quantile(turns.iter().flat_map(|turn| turn[side].iter().copied()), share)
    };
    let [p50, p95] = [0.5, 0.95].map(|share| sides.map(|side| of(side, share)));
    let ratio = |side: usize, share| {
        let within = |turn: &[Vec<f64>; SIDES], side: usize| median(turn[side].iter().copied());
        quantile(turns.iter().map(|turn| within(turn, 0) / within(turn, side)), share)
    };
    let ratios = sides.map(|side| ratio(side, 0.5));
    let quartiles = [0.25, 0.75].map(|share| ratio(1, share));
    if !json {
        println!(
            "an audio frame through two adapters, {way}: p50 and p95 in us, and ours over theirs"
        );
        println!("{:6.1}{:6.0}  ours", p50[0], p95[0]);
        println!(
            "{:6.1}{:6.0}{:6.2}  bare sockets ({:.2} to {:.2}; goal {DELAY_GOAL})",
            p50[1], p95[1], ratios[1], quartiles[0], quartiles[1]
        );
        for (side, name) in [(2, "with a task more"), (3, "with the engine")] {
            println!("{:6.1}{:6.0}{:6.2}  bare sockets {name}", p50[side], p95[side], ratios[side]);
        }
    }
    json!({
        "p50_us": p50[0], "p95_us": p95[0], "bare_p50_us": p50[1], "bare_p95_us": p95[1],
        "ratio": ratios[1], "ratio_quartiles": quartiles, "goal": DELAY_GOAL,
        "handed_p50_us": p50[2], "handed_p95_us": p95[2], "handed_ratio": ratios[2],
        "engine_p50_us": p50[3], "engine_p95_us": p95[3], "engine_ratio": ratios[3],
    })
}
