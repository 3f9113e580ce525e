//! Captured traces: files of `arrival_ms rtp_timestamp`, one packet a line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::trace::{Sent, Trace};

/// The most packets of a trace, the lost ones included: two days of 20 ms.
const MOST: i64 = 10_000_000;
/// The least and the largest packet, in milliseconds: the bounds of Opus (RFC 6716, sections 2.1.4 and 3.2.5).
const FRAMES: std::ops::RangeInclusive<f64> = 2.5..=120.0;
/// What a trace must last at least, in milliseconds: the first 5 s do not count.
const SHORTEST: f64 = 10_000.0;

/// Reads the trace in the file at `path`, with timestamps of `clock_rate` Hz. Its name is that of the file.
///
/// Empty lines and those that begin with `#` do not count. Timestamps may wrap and come in any order; of one
/// that is there twice the first counts, and those that are missing are lost packets. The length of a
/// packet is the most frequent step, and delays count from the fastest transit in the file.
///
/// # Errors
/// A message that names the file, the line where there is one, and what is wrong with it.
pub fn read(path: &Path, clock_rate: u32) -> Result<Trace, String> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let wrong = |what: String| format!("{}: {what}", path.display());
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    parse(name, BufReader::new(file), clock_rate).map_err(wrong)
}

fn parse(name: String, lines: impl BufRead, clock_rate: u32) -> Result<Trace, String> {
    if clock_rate == 0 {
        return Err("the clock rate is 0 Hz".to_owned());
    }
    let mut arrivals = BTreeMap::new();
    let mut last: Option<i64> = None;
    for (number, line) in (1_usize..).zip(lines.lines()) {
        let line = line.map_err(|error| format!("line {number}: {error}"))?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (arrival, rtp) = packet(line).map_err(|what| format!("line {number}: {what}"))?;
        // Extended by the shorter way round (RFC 3550, appendix A.1, does so for sequence numbers).
        let ticks = last
            .map_or(i64::from(rtp), |last| last + i64::from(rtp.wrapping_sub(last as u32) as i32));
        last = Some(ticks);
        arrivals.entry(ticks).or_insert(arrival);
        if arrivals.len() as i64 > MOST {
            return Err(format!("line {number}: more than {MOST} packets"));
        }
    }
    Packets { arrivals, rate: f64::from(clock_rate) / 1_000.0 }.trace(name)
}

fn packet(line: &str) -> Result<(f64, u32), String> {
    let mut words = line.split_ascii_whitespace();
    let (Some(arrival), Some(rtp), None) = (words.next(), words.next(), words.next()) else {
        return Err(format!("expected `arrival_ms rtp_timestamp`, got {}", shown(line)));
    };
    let arrival = arrival
        .parse()
        .ok()
        .filter(|at: &f64| at.abs() < 1e15)
        .ok_or_else(|| format!("{} is no arrival in milliseconds", shown(arrival)))?;
    let rtp = rtp.parse().map_err(|_| format!("{} is no 32-bit timestamp", shown(rtp)))?;
    Ok((arrival, rtp))
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}

/// The arrivals in milliseconds by their extended timestamp.
struct Packets {
    arrivals: BTreeMap<i64, f64>,
    /// Ticks per millisecond.
    rate: f64,
}

impl Packets {
    fn trace(self, name: String) -> Result<Trace, String> {
        let step = self.step().ok_or("fewer than two packets with different timestamps")?;
        let frame = step as f64 / self.rate;
        if !FRAMES.contains(&frame) {
            return Err(format!(
                "packets of {frame:.3} ms (most timestamps step by {step}): expected 2.5 to 120 ms, is the clock rate right?"
            ));
        }
        let (Some((&first, &began)), Some((&last, _))) =
            (self.arrivals.first_key_value(), self.arrivals.last_key_value())
        else {
            return Err("no packets".to_owned());
        };
        if (last - first) / step >= MOST {
            return Err(format!(
                "timestamps from {first} to {last}: more than {MOST} packets of {step}"
            ));
        }
        if ((last - first) as f64) < SHORTEST * self.rate {
            return Err("shorter than 10 s, of which the first 5 do not count".to_owned());
        }
        let sent = |ticks: i64| (ticks - first) as f64 / self.rate;
        let transit = |(ticks, arrival): (&i64, &f64)| arrival - began - sent(*ticks);
        let base = self.arrivals.iter().map(transit).fold(f64::INFINITY, f64::min);
        let mut packets: Vec<Sent> = Vec::new();
        let mut before = first;
        for (&ticks, &arrival) in &self.arrivals {
            // A step that is not a whole number of packets moves what follows.
            let steps = ((ticks - before) as f64 / step as f64).round().max(1.0) as i64;
            let missing = if packets.is_empty() { 0 } else { steps - 1 };
            let pace = (ticks - before) as f64 / steps as f64;
            for n in 1..=missing {
                packets
                    .push(Sent { sent: sent(before) + n as f64 * pace / self.rate, arrival: None });
            }
            packets.push(Sent { sent: sent(ticks), arrival: Some(arrival - began - base) });
            before = ticks;
        }
        Ok(Trace { name, frame, base: 0.0, phase: 0.0, packets })
    }

    /// The most frequent step of the timestamps, the least of several.
    fn step(&self) -> Option<i64> {
        let mut steps = BTreeMap::new();
        for (before, after) in self.arrivals.keys().zip(self.arrivals.keys().skip(1)) {
            *steps.entry(after - before).or_insert(0_usize) += 1;
        }
        steps.into_iter().max_by_key(|&(step, count)| (count, -step)).map(|(step, _)| step)
    }
}
