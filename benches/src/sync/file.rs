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

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of 20 ms packets at 48 kHz, each 5 ms after it was sent, from this timestamp on.
    fn lines(first: u32, count: u32) -> Vec<String> {
        let line = |n: u32| format!("{}.5 {}", 1_000 + 20 * n, first.wrapping_add(960 * n));
        (0..count).map(line).collect()
    }

    fn parsed(lines: &[String]) -> Result<Trace, String> {
        parse("test".to_owned(), lines.join("\n").as_bytes(), 48_000)
    }

    #[test]
    fn missing_timestamps_are_lost_packets_and_the_order_of_lines_is_free() {
        // Over the wrap of timestamps.
        let whole = lines(u32::MAX - 5_000, 1_000);
        let mut some = whole.clone();
        some.swap(100, 101);
        some.drain(200..203);
        some.insert(0, "# a comment".to_owned());
        some.push(format!("30000 {}", u32::MAX - 5_000));
        let (whole, trace) = (parsed(&whole).unwrap(), parsed(&some).unwrap());
        assert_eq!((trace.frame, trace.base, trace.packets.len()), (20.0, 0.0, 1_000));
        for (n, (packet, expected)) in trace.packets.iter().zip(&whole.packets).enumerate() {
            assert!((packet.sent - expected.sent).abs() < 1e-6, "{n}");
            let lost = (200..203).contains(&n);
            assert_eq!(packet.arrival, expected.arrival.filter(|_| !lost), "{n}");
            assert_eq!(expected.arrival, Some(expected.sent), "the fastest transit counts as 0");
        }
    }

    #[test]
    fn a_step_that_is_no_whole_packet_moves_the_rest() {
        let mut some = lines(0, 600);
        some.extend((0..600).map(|n| format!("{} {}", 13_010 + 20 * n, 960 * 600 + 480 + 960 * n)));
        let trace = parsed(&some).unwrap();
        assert_eq!(trace.packets.len(), 1_200 + 1);
        assert!((trace.captured(601.0 * 20.0) - 12_010.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        let at_3 = |text: &str| {
            let mut lines = lines(0, 1_000);
            lines[2] = text.to_owned();
            parsed(&lines).unwrap_err()
        };
        let table = [
            (at_3("17"), "line 3: expected `arrival_ms rtp_timestamp`, got \"17\""),
            (at_3("1 2 3"), "line 3: expected `arrival_ms rtp_timestamp`, got \"1 2 3\""),
            (at_3("soon 960"), "line 3: \"soon\" is no arrival in milliseconds"),
            (at_3("NaN 960"), "line 3: \"NaN\" is no arrival in milliseconds"),
            (at_3("inf 960"), "line 3: \"inf\" is no arrival in milliseconds"),
            (at_3("40 -1"), "line 3: \"-1\" is no 32-bit timestamp"),
            (at_3("40 4294967296"), "line 3: \"4294967296\" is no 32-bit timestamp"),
            (parsed(&[]).unwrap_err(), "fewer than two packets with different timestamps"),
            (parsed(&lines(0, 1)).unwrap_err(), "fewer than two packets with different timestamps"),
            (parsed(&lines(0, 400)).unwrap_err(), "shorter than 10 s"),
            (parse(String::new(), &b"\xff 1"[..], 8_000).unwrap_err(), "line 1: "),
            (parse(String::new(), &b"1 1"[..], 0).unwrap_err(), "the clock rate is 0 Hz"),
            (
                parse(String::new(), lines(0, 1_000).join("\n").as_bytes(), 1_000_000).unwrap_err(),
                "packets of 0.960 ms (most timestamps step by 960): expected 2.5 to 120 ms",
            ),
        ];
        for (found, expected) in table {
            assert!(found.starts_with(expected), "{found:?} for {expected:?}");
        }
        let missing = read(Path::new("/no/such/trace"), 48_000).unwrap_err();
        assert!(missing.starts_with("/no/such/trace: "), "{missing}");
    }

    #[test]
    fn a_gap_of_years_takes_no_memory() {
        let mut some = lines(0, 600);
        // Each step is just short of half round, 12 hours.
        let far =
            |n: u32| format!("{} {}", 13_000 + n, n.wrapping_mul(0x7fff_0000).wrapping_add(7));
        some.extend((1..100).map(far));
        let found = parsed(&some).unwrap_err();
        assert!(found.contains("more than 10000000 packets"), "{found}");
    }
}
