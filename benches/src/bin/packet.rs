//! Prints what our layer costs per packet over the engine alone. `--json`: one object instead of a table.
//! `--rounds N`: as many rounds of 25 packets, default 400.
#![allow(clippy::print_stdout)]

use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::frames::Kind;
use rtcmesh_benches::measure::Comparison;
use rtcmesh_benches::packet::{Link, one_to_many, one_to_one};
use rtcmesh_benches::recording::recorded;
use serde_json::{Map, Value, json};

/// What our layer may cost over the engine.
const GOAL: f64 = 1.10;

/// Receivers of a broadcast.
const RECEIVERS: usize = 10;

fn main() {
    let arguments = Arguments::of_process();
    let rounds = arguments.number("--rounds").unwrap_or(400);
    let mut report = Report { json: arguments.has("--json"), lines: Map::new() };
    if !report.json {
        println!("{:34}{:>9}{:>9}{:>8}  goal", "per packet, ns", "ours", "engine", "ratio");
    }
    for kind in [Kind::Audio, Kind::Video] {
        let name = kind.name();
        let size = Link::new(kind, false).datagram();
        report.note(&format!("{name}_datagram_bytes"), json!(size));
        let found = one_to_one(kind, rounds);
        report.line(&format!("{name} tx"), &found.tx, Some(GOAL));
        report.line(&format!("{name} rx"), &found.rx, Some(GOAL));
        if kind == Kind::Audio {
            report.line("audio rx, jitter buffer included", &found.rx_with_playout, None);
        }
        let many = one_to_many(kind, RECEIVERS, rounds / 2);
        report.line(&format!("{name} frame to {RECEIVERS} peers"), &many, Some(GOAL));
    }
    for (name, ring) in [("ring", true), ("file", false)] {
        let found = recorded(ring, rounds);
        report.line(&format!("tx recorded in a {name}, over not"), &found.tx, None);
        report.line(&format!("rx recorded in a {name}, over not"), &found.rx, None);
        if !ring {
            report.note("fetched_for_the_file_ns", json!(found.fetch_ns.round()));
            report.note("recorded_bytes", json!(found.bytes.round()));
        }
    }
    if report.json {
        println!("{}", Value::Object(report.lines));
    }
}

struct Report {
    json: bool,
    lines: Map<String, Value>,
}

impl Report {
    fn line(&mut self, name: &str, found: &Comparison, goal: Option<f64>) {
        self.lines.insert(name.to_owned(), found.json(goal));
        if self.json {
            return;
        }
        let goal = match goal {
            Some(goal) if found.ratio() <= goal => format!("<= {goal:.2}"),
            Some(goal) => format!("<= {goal:.2} MISSED"),
            None => String::new(),
        };
        let (ours, engine, ratio) = (found.ours(), found.other(), found.ratio());
        println!("{name:34}{ours:9.0}{engine:9.0}{ratio:8.3}  {goal}");
    }

    fn note(&mut self, name: &str, value: Value) {
        if !self.json {
            println!("({name}: {value})");
        }
        self.lines.insert(name.to_owned(), value);
    }
}
