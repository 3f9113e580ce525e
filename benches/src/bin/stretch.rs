//! Prints how speech, tones and music sound when they are played faster and slower, and what it costs.
//! `--wav FILE`: that speech instead of the project's. `--out DIR`: writes what was played as WAV files
//! for listening and for other measures. `--alternate`: each two seconds one way, two seconds back.
//! `--json`: an object a line instead of the tables.
#![allow(clippy::print_stdout)]

use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};
use rtcmesh_benches::arguments::Arguments;
use rtcmesh_benches::measure::quantile;
use rtcmesh_benches::stretch::{Played, measures, play, play_plainly, signals};
use serde_json::json;

/// By how many percent signals are made shorter, or longer where it is negative.
const CHANGES: [f64; 6] = [2.0, 5.0, 10.0, -2.0, -5.0, -10.0];

fn main() {
    if let Err(error) = run(&Arguments::of_process()) {
        println!("{error}");
        std::process::exit(1);
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let json = arguments.has("--json");
    let speech = match arguments.text("--wav") {
        Some(path) => signals::wav(Path::new(path))?,
        None => signals::speech()?,
    };
    let noisy: Vec<f32> = speech
        .iter()
        .zip(signals::noise(60.0))
        .map(|(speech, noise)| speech + noise * 0.1)
        .collect();
    let chord = signals::tones(&[220.0, 277.18, 329.63, 415.3], 5.0);
    let alternate = arguments.has("--alternate").then_some(2.0);

    if !json {
        println!(
            "{:10}{:>9}{:>9}{:>8}{:>7}{:>9}{:>9}{:>8}{:>8}",
            "signal", "asked %", "got %", "pauses", "ops", "LSD dB", "p95 dB", "clicks", "worst"
        );
    }
    let (mut busy, mut idle) = (Vec::new(), Vec::new());
    for (name, source) in [("speech", &speech), ("noisy", &noisy), ("chord", &chord)] {
        for percent in CHANGES {
            let ours = play(source, percent, false, alternate);
            line(json, name, "rtcmesh", percent, &ours, source);
            write(arguments, &format!("{name}_{percent}_rtcmesh"), &ours.samples)?;
            let plain = play_plainly(source, percent);
            line(json, name, "plain", percent, &plain, source);
            busy.extend(ours.busy);
            idle.extend(ours.idle);
        }
        let ours = play(source, 100.0, true, None);
        line(json, name, "fast", 100.0, &ours, source);
        write(arguments, &format!("{name}_fast_rtcmesh"), &ours.samples)?;
        busy.extend(ours.busy);
        write(arguments, name, source)?;
    }

    for hz in [100.0, 233.1, 440.0, 997.0, 1_000.0, 2_093.0, 3_135.9, 4_000.0] {
        let source = signals::tones(&[hz], 5.0);
        for percent in [5.0, -5.0] {
            let ours = play(&source, percent, false, None);
            let (worst, all) = measures::distortion(&ours.samples, hz);
            let got = ours.shrunk_percent();
            if json {
                let table = "stretch_tone";
                println!(
                    "{}",
                    json!({"table": table, "hz": hz, "asked_pct": percent, "got_pct": got,
                    "worst_db": worst, "thd_n_db": all})
                );
            } else {
                println!(
                    "{hz:7.1} Hz{percent:9.0}{got:9.2}  rest {all:6.1} dB, worst of 20 ms {worst:6.1} dB"
                );
            }
        }
    }
    for (name, times) in [("asked for a change", busy), ("as it comes", idle)] {
        let micros = |share| quantile(times.iter().map(|time| time.as_nanos() as f64 / 1e3), share);
        let (half, most, all) = (micros(0.5), micros(0.99), micros(1.0));
        if json {
            println!(
                "{}",
                json!({"table": "stretch_cost", "what": name, "median_us": half,
                "p99_us": most, "max_us": all})
            );
        } else {
            println!("10 ms, {name}: {half:.1} us, p99 {most:.1}, most {all:.1}");
        }
    }
    Ok(())
}

fn line(json: bool, name: &str, policy: &str, percent: f64, played: &Played, source: &[f32]) {
    let (mean, p95) = measures::spectral_distance(played, source);
    let (clicks, worst) = measures::clicks(played, source);
    let (got, figures) = (played.shrunk_percent(), played.statistics);
    let (operations, pauses) = (figures.shrunk + figures.grown, figures.in_pauses);
    if json {
        println!(
            "{}",
            json!({"table": "stretch", "signal": name, "policy": policy,
            "asked_pct": percent, "got_pct": got, "operations": operations, "in_pauses": pauses,
            "lsd_db": mean, "lsd_p95_db": p95, "clicks": clicks, "worst_click": worst})
        );
    } else {
        let name = if policy == "rtcmesh" { name } else { policy };
        println!(
            "{name:10}{percent:9.0}{got:9.2}{pauses:8}{operations:7}{mean:9.2}{p95:9.2}{clicks:8}{worst:8.2}"
        );
    }
}

fn write(arguments: &Arguments, name: &str, samples: &[f32]) -> Result<(), String> {
    let Some(folder) = arguments.text("--out") else { return Ok(()) };
    let path = Path::new(folder).join(format!("{name}.wav"));
    let spec = WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
    };
    let save = || {
        let mut writer = WavWriter::create(&path, spec)?;
        for &sample in samples {
            writer.write_sample(sample)?;
        }
        writer.finalize()
    };
    save().map_err(|error| format!("{}: {error}", path.display()))
}
