//! Prints how long whole meshes take to connect, and what a talking one costs.
//!
//! `--rounds N`: rounds of each size (default 7). `--seconds N`: how long the mesh talks (default 5).
//! `--beside PROGRAM`: another implementation's program, see README.md. `--json`: one object.
#![allow(clippy::print_stdout)]

use std::process::Command;
use std::time::Duration;

use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::measure::median;
use rtcmesh_benches::mesh::{Mesh, engine_in_memory, in_memory};
use rtcmesh_benches::talk::{cpu, talk};
use rtcmesh_core::transport::Transport;
use rtcmesh_tokio::TokioRuntime;
use serde_json::{Value, json};

/// Sizes of meshes.
const SIZES: [usize; 3] = [2, 5, 10];

/// From the last announce, warmed, over the in-memory figure of the same run.
const GOAL: f64 = 6.0;

fn main() {
    let arguments = Arguments::of_process();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let ours = &TokioRuntime::new(runtime.handle().clone());
    if let Some(count) = arguments.number("--once") {
        let whole = runtime.block_on(async { Mesh::connect(ours, count).await.1.whole });
        println!("{}", millis(whole));
        return;
    }
    let rounds = arguments.number("--rounds").unwrap_or(7);
    let json = arguments.has("--json");
    let mut report = serde_json::Map::new();
    Transport::warm_up(std::time::Instant::now());
    if !json {
        println!("all with all, channels open both ways, ms (medians of {rounds} rounds)");
        println!(
            "{:4}{:>10}{:>10}{:>10}{:>8}{:>8}{:>22}{:>9}{:>9}",
            "N",
            "announced",
            "started",
            "memory",
            "ratio",
            "goal",
            "CPU: UDP mem. engine",
            "cold",
            "beside"
        );
    }
    for count in SIZES {
        let found = size(&arguments, &runtime, count, rounds);
        if !json {
            let at = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
            println!(
                "{count:<4}{:10.1}{:10.1}{:10.1}{:8.2}{:>8}{:8.1}{:7.1}{:7.1}{:9.1}{:9.1}",
                at("from_last_announce_ms"),
                at("from_first_start_ms"),
                at("in_memory_ms"),
                at("ratio"),
                if count == 10 { format!("<= {GOAL}") } else { String::new() },
                at("cpu_ms"),
                at("in_memory_cpu_ms"),
                at("engine_cpu_ms"),
                at("cold_ms"),
                at("beside_ms"),
            );
        }
        report.insert(count.to_string(), found);
    }
    let seconds = arguments.number("--seconds").unwrap_or(5);
    let spoken = runtime.block_on(async {
        let (mut mesh, _) = Mesh::connect(ours, 10).await;
        let found = talk(ours, &mut mesh, seconds * 50).await;
        mesh.shutdown().await;
        found
    });
    if json {
        let talk = json!({
            "cores": spoken.cores,
            "delay_p50_us": spoken.delay(0.5),
            "delay_p95_us": spoken.delay(0.95),
            "packets": spoken.delays.len(),
            "packets_expected": spoken.expected,
        });
        report.insert("talk".into(), talk);
        println!("{}", Value::Object(report));
    } else {
        println!(
            "10 peers, 50 packets/s to each other: {:.1} % of a core; one way p50 {:.0}, p95 {:.0} us; \
             {} of {} packets",
            spoken.cores * 100.0,
            spoken.delay(0.5),
            spoken.delay(0.95),
            spoken.delays.len(),
            spoken.expected,
        );
    }
}

/// All figures of one size, in turns.
fn size(
    arguments: &Arguments,
    runtime: &tokio::runtime::Runtime,
    count: usize,
    rounds: usize,
) -> Value {
    let ours = TokioRuntime::new(runtime.handle().clone());
    let (mut announced, mut whole, mut cpus) = (Vec::new(), Vec::new(), Vec::new());
    let (mut memory, mut memory_cpu, mut engine_cpu) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cold, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let before = cpu();
        let (mesh, took) = runtime.block_on(Mesh::connect(&ours, count));
        let spent = cpu() - before;
        runtime.block_on(mesh.shutdown());
        let before = cpu();
        let in_memory = in_memory(count);
        let between = cpu();
        engine_in_memory(count);
        let (memory_spent, engine_spent) = (between - before, cpu() - between);
        // The first round warms up.
        if round == 0 {
            continue;
        }
        announced.push(millis(took.from_last_announce));
        whole.push(millis(took.whole));
        cpus.push(millis(spent));
        memory.push(millis(in_memory));
        memory_cpu.push(millis(memory_spent));
        engine_cpu.push(millis(engine_spent));
        ratios.push(millis(took.from_last_announce) / millis(in_memory));
        let this = std::env::current_exe().expect("this program");
        cold.extend(run(&this, &["--once", &count.to_string()]));
        if let Some(program) = arguments.text("--beside") {
            beside.extend(run(program.as_ref(), &[&count.to_string()]));
        }
    }
    let at = |values: &[f64]| median(values.iter().copied());
    json!({
        "from_last_announce_ms": at(&announced),
        "from_first_start_ms": at(&whole),
        "cpu_ms": at(&cpus),
        "in_memory_ms": at(&memory),
        "in_memory_cpu_ms": at(&memory_cpu),
        "engine_cpu_ms": at(&engine_cpu),
        "ratio": at(&ratios),
        "goal": if count == 10 { json!(GOAL) } else { Value::Null },
        "cold_ms": at(&cold),
        "beside_ms": if beside.is_empty() { Value::Null } else { json!(at(&beside)) },
    })
}

/// Runs a program and gives the number that it prints.
fn run(program: &std::path::Path, arguments: &[&str]) -> Option<f64> {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
