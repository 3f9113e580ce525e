//! The command line, and what it does.

mod measure;
mod minimise;
mod yardstick;

use std::io::{IsTerminal, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rtcmesh_sim::net::Preset;
use rtcmesh_sim::scenario::{Options, Plan, Progress, Report, Scenario, input};

use measure::{Measured, measured, times};
use yardstick::Yardstick;

/// Runs whole meshes in virtual time: each seed draws a world and what happens in it, and a model checks what it does.
///
/// Exit code: 0 all passed; 1 something was wrong; 2 the command line is.
#[derive(Debug, Parser)]
#[command(name = "rtcmesh-sim", version)]
struct Arguments {
    /// The seed of the world.
    #[arg(long, default_value_t = 1, conflicts_with = "seeds")]
    seed: u64,
    /// Many seeds, the second excluded: `0..200`.
    #[arg(long, value_parser = range)]
    seeds: Option<RangeInclusive<u64>>,
    /// The world and its acts from this file, an input of the fuzzing target `mesh`, in place of a seed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "seeds", "peers", "scenario", "preset", "minutes", "decode"])]
    input: Option<PathBuf>,
    /// Many inputs as a fuzzer makes them, each from its number, in place of seeds, the second excluded: `0..1000`.
    #[arg(long, value_parser = range, value_name = "A..B", conflicts_with_all = ["seed", "seeds", "input", "peers", "scenario", "preset", "minutes", "decode"])]
    inputs: Option<RangeInclusive<u64>>,
    /// How many peers, 2 to 64; otherwise the seed draws it.
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=64))]
    peers: Option<u8>,
    /// What it is about: mixed, talk, churn, glare, network, roam, server or data.
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Where all peers but the first are, which stays at a public address since two NATs can't be crossed without servers: lan, home-wifi, bad-wifi, cellular, satellite, hotel, office-no-udp or carrier-nat.
    #[arg(long)]
    preset: Option<Preset>,
    /// How many virtual minutes the part with faults lasts, 0.01 to 1,440; otherwise the seed draws it.
    #[arg(long, value_parser = minutes)]
    minutes: Option<f64>,
    /// Only these of the acts that the seed draws, by their numbers (`3,7,12`), or `none`.
    #[arg(long, value_parser = acts)]
    acts: Option<Acts>,
    /// Decode and play received audio; needs a build with `--features opus`.
    #[arg(long)]
    decode: bool,
    /// Within how many virtual seconds everything that can connect must have connected after the last fault, 0 to 110 (the default).
    #[arg(long, value_name = "SECONDS", value_parser = healed_within)]
    healed_within: Option<f64>,
    /// Record each transport into a small ring, and replay it time and again.
    #[arg(long)]
    rings: bool,
    /// One JSON object for each seed.
    #[arg(long)]
    json: bool,
    /// Of a seed that fails, find a few acts that suffice for a failure of the same kind.
    #[arg(long)]
    minimise: bool,
    /// Write what happened to this file as text, and every datagram to FILE.pcapng, decrypted.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let parts = text.split_once("..").ok_or("a range is written as A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let (begin, end) = (number(parts.0)?, number(parts.1)?);
    if begin < end { Ok(begin..=end - 1) } else { Err(format!("{text} is empty")) }
}

/// Numbers of acts.
#[derive(Debug, Clone)]
struct Acts(Vec<usize>);

fn acts(text: &str) -> Result<Acts, String> {
    if text == "none" {
        return Ok(Acts(Vec::new()));
    }
    let number = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
    text.split(',').map(number).collect::<Result<_, _>>().map(Acts)
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.01..=1_440.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("0.01 to 1440 minutes".to_owned())
    }
}

fn healed_within(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let most = Plan::HEALED_WITHIN.as_secs_f64();
    if (0.0..=most).contains(&seconds) { Ok(seconds) } else { Err(format!("0 to {most} s")) }
}

impl Arguments {
    fn options(&self) -> Result<Options, String> {
        let mut options = Options::default();
        if let Some(name) = &self.input {
            let input =
                std::fs::read(name).map_err(|error| format!("{}: {error}", name.display()))?;
            options.input = Some(input);
        }
        options.scenario = self.scenario;
        options.peers = self.peers.map(usize::from);
        options.preset = self.preset;
        options.duration = self.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
        options.only = self.acts.as_ref().map(|acts| acts.0.clone());
        options.decode = self.decode;
        options.healed_within = self.healed_within.map(Duration::from_secs_f64);
        options.rings = self.rings;
        Ok(options)
    }

    /// The line that runs a seed again.
    fn again(&self, number: u64, only: Option<&[usize]>) -> String {
        let features = if self.decode { " --features opus" } else { "" };
        let mut line = format!("cargo run --release -p rtcmesh-sim{features} --");
        let mut add = |name: &str, value: String| line.push_str(&format!(" --{name} {value}"));
        match &self.input {
            Some(name) => add("input", name.display().to_string()),
            None if self.inputs.is_some() => {
                add("inputs", format!("{number}..{}", number.saturating_add(1)))
            }
            None => add("seed", number.to_string()),
        }
        if let Some(scenario) = self.scenario {
            add("scenario", scenario.to_string());
        }
        if let Some(peers) = self.peers {
            add("peers", peers.to_string());
        }
        if let Some(preset) = self.preset {
            add("preset", preset.to_string());
        }
        if let Some(minutes) = self.minutes {
            add("minutes", minutes.to_string());
        }
        if let Some(seconds) = self.healed_within {
            add("healed-within", seconds.to_string());
        }
        if let Some(only) = only.or(self.acts.as_ref().map(|acts| acts.0.as_slice())) {
            let numbers: Vec<String> = only.iter().map(ToString::to_string).collect();
            add("acts", if only.is_empty() { "none".to_owned() } else { numbers.join(",") });
        }
        if self.decode {
            line.push_str(" --decode");
        }
        if self.rings {
            line.push_str(" --rings");
        }
        line
    }
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.decode && !rtcmesh_sim::scenario::can_decode() {
        say_error("--decode needs a build with `--features opus`");
        return ExitCode::from(2);
    }
    match all(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say_error(&error);
            ExitCode::from(2)
        }
    }
}

/// Whether all seeds passed.
fn all(arguments: &Arguments) -> Result<bool, String> {
    let many = arguments.inputs.clone().or(arguments.seeds.clone());
    let numbers = many.unwrap_or(arguments.seed..=arguments.seed);
    let count = (numbers.end() - numbers.start()).saturating_add(1);
    if count > 1 && arguments.trace.is_some() {
        return Err("--trace takes one seed".to_owned());
    }
    let mut options = arguments.options()?;
    // What cannot be written is better known before than after.
    let mut trace = arguments.trace.as_deref().map(Trace::create).transpose()?;
    let bar = bar(count, arguments.json);
    let mut failed = Vec::new();
    let (mut elapsed, mut cpu) = (0.0, 0.0);
    for number in numbers {
        if arguments.inputs.is_some() {
            options.input = Some(input(number));
        }
        let plan = Plan::draw(number, &options);
        if let Some(act) = plan.unknown_act(&options) {
            return Err(format!("seed {number} draws no act {act}"));
        }
        if count == 1 && !arguments.json {
            say(&plan.to_string());
        }
        let watch = |progress: Progress| {
            if count == 1 {
                bar.set_length(progress.total.as_millis() as u64);
                bar.set_position(progress.elapsed.as_millis() as u64);
            }
        };
        let Measured { report, cpu_seconds, engine, tap } =
            measured(&plan, arguments.trace.is_some(), watch);
        if count > 1 {
            bar.inc(1);
        }
        elapsed += report.elapsed.as_secs_f64();
        cpu += cpu_seconds;
        bar.suspend(|| tell(arguments, number, &report, (cpu_seconds, engine), count));
        if !report.passed() {
            failed.push(number);
            let only = arguments.minimise.then(|| minimised(arguments, &options, &plan, &report));
            bar.suspend(|| say_again(arguments, number, only.as_deref()));
        }
        if let Some(trace) = &mut trace {
            trace.write(&plan, &report, tap.as_deref())?;
        }
    }
    bar.finish_and_clear();
    if count > 1 && !arguments.json {
        let passed = count - failed.len() as u64;
        let speed = speed(times(elapsed, cpu));
        say(&format!(
            "{passed} passed, {} failed; {elapsed:.0} virtual seconds in {cpu:.1} s of CPU{speed}",
            failed.len()
        ));
    }
    Ok(failed.is_empty())
}

fn tell(
    arguments: &Arguments,
    number: u64,
    report: &Report,
    (cpu_seconds, engine): (f64, Option<Yardstick>),
    count: u64,
) {
    let times_real_time = times(report.elapsed.as_secs_f64(), cpu_seconds);
    if arguments.json {
        let mut object = report.json(cpu_seconds);
        object["times_real_time"] = times_real_time.into();
        if arguments.inputs.is_some() {
            object["input"] = number.into();
        }
        if let Some(engine) = engine {
            object["engine_cpu_seconds"] = engine.cpu_seconds.into();
            object["engine_datagrams"] = engine.datagrams.into();
            object["over_engine"] = engine.over(cpu_seconds).into();
        }
        say(&object.to_string());
    } else if count == 1 || !report.passed() {
        let sent = report.network.sent;
        let speed = speed(times_real_time);
        let each = cpu_seconds * 1e6 / sent.max(1) as f64;
        say(&format!(
            "{report}\n{cpu_seconds:.2} s of CPU{speed}; {sent} datagrams, {each:.1} us each"
        ));
        if let Some(engine) = engine {
            let Yardstick { cpu_seconds: own, datagrams, audio } = engine;
            let (out, back) = audio;
            let over = engine.over(cpu_seconds);
            let over = over.map(|over| format!("; all of it takes {over:.2} times as long"));
            let over = over.unwrap_or_default();
            say(&format!(
                "the engine alone: {own:.2} s for {datagrams} datagrams, {back} of {out} packets of audio{over}"
            ));
        }
    }
}

/// A speed as it follows the CPU time: nothing where it could not be measured.
fn speed(times_real_time: Option<f64>) -> String {
    times_real_time.map_or_else(String::new, |times| format!(": {times:.0} times real time"))
}

/// How to see a failure again.
fn say_again(arguments: &Arguments, number: u64, only: Option<&[usize]>) {
    let line = arguments.again(number, only);
    if arguments.json {
        say_error(&line);
    } else {
        say(&format!("again: {line}"));
    }
}

/// A few acts that suffice, with a bar while they are sought.
fn minimised(arguments: &Arguments, options: &Options, plan: &Plan, report: &Report) -> Vec<usize> {
    let bar = bar(minimise::MAX_TRIES as u64, arguments.json);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} tries of at most {len}, {msg}")
    {
        bar.set_style(style);
    }
    let watch = |tries: usize, left: usize| {
        bar.set_position(tries as u64);
        bar.set_message(format!("{left} acts are left"));
    };
    let found = minimise::minimise(plan, options, report, watch);
    bar.finish_and_clear();
    found
}

fn bar(count: u64, quiet: bool) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
    let style = if count > 1 { "{bar:40} {pos} of {len}" } else { "{bar:40} {percent} %" };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// The files of `--trace`.
struct Trace<'a> {
    name: &'a Path,
    text: std::fs::File,
    capture: std::fs::File,
}

impl<'a> Trace<'a> {
    fn create(name: &'a Path) -> Result<Self, String> {
        let create = |name: &Path| {
            std::fs::File::create(name).map_err(|error| format!("{}: {error}", name.display()))
        };
        let text = create(name)?;
        let mut capture = name.as_os_str().to_owned();
        capture.push(".pcapng");
        Ok(Self { name, text, capture: create(Path::new(&capture))? })
    }

    fn write(&mut self, plan: &Plan, report: &Report, tap: Option<&[u8]>) -> Result<(), String> {
        self.try_write(plan, report, tap)
            .map_err(|error| format!("{}: {error}", self.name.display()))
    }

    fn try_write(
        &mut self,
        plan: &Plan,
        report: &Report,
        tap: Option<&[u8]>,
    ) -> std::io::Result<()> {
        let mut out = std::io::BufWriter::new(&mut self.text);
        writeln!(out, "{plan}")?;
        for (at, what) in &report.timeline {
            writeln!(out, "{:>10.3} {what}", at.as_secs_f64())?;
        }
        writeln!(out, "{report}")?;
        out.flush()?;
        self.capture.write_all(tap.unwrap_or_default())
    }
}

/// A line on standard output. Nothing more is done for somebody who has closed it, or whose disk is full.
fn say(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            say_error(&format!("standard output: {error}"));
        }
        std::process::exit(2);
    }
}

fn say_error(text: &str) {
    let _ = writeln!(std::io::stderr(), "rtcmesh-sim: {text}");
}
