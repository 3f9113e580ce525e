//! Captured traces: files of `arrival_ms rtp_timestamp`, one packet a line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::trace::{Sent, Trace};

/// The most packets of a trace, the lost ones included: two days of 20 ms.
const MOST: i64 = 10_000_000;
/// The least and the largest packet, in milliseconds: the bounds of Opus (RFC 6716, sections 2.1.4 and 3.2.5).
/// The least is a little less, since timestamps of 44.1 kHz are rounded.
const FRAMES: std::ops::RangeInclusive<f64> = 2.49..=120.0;
/// What a trace must last at least, in milliseconds: the first 5 s do not count.
const SHORTEST: f64 = 10_000.0;

/// Where timestamps and arrivals go apart by more from one line to the next, in milliseconds, another timeline
/// begins: no connection outlives such an outage (RFC 7675, section 5.1: consent expires after 30 s).
const APART: f64 = 30_000.0;
/// The pace of the arrivals is looked at over so many packets, and may differ so much from that of the
/// timestamps: clocks differ by far less, clock rates by more.
const STRETCH: usize = 50;
const PACES: std::ops::RangeInclusive<f64> = 0.8..=1.25;

/// So many packets in succession of one length, that is not the others', prove that packets have it. Fewer are
/// a coincidence of losses.
const PROOF: usize = 25;

/// Reads the trace in the file at `path`, with timestamps of `clock_rate` Hz. Its name is that of the file.
///
/// Empty lines and those that begin with `#` do not count, nor does a first line that names the columns.
/// Timestamps may wrap and come in any order; of one that is there twice the first arrival counts, and those
/// that are missing are lost packets. A single timestamp of another timeline is dropped; where more follow it, as
/// where an encoder was restarted, they go on at the pace of the arrivals. The length of a
/// packet is the most frequent step. Where it changes for good, packets count as several of a length that they
/// have in common, which arrive together. Delays count from the fastest transit in the file.
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
    let rate = f64::from(clock_rate) / 1_000.0;
    let mut arrivals: Vec<(i64, f64)> = Vec::new();
    let mut timeline = Timeline { rate, last: None, suspect: None };
    for (number, line) in (1_usize..).zip(lines.lines()) {
        let line = line.map_err(|error| format!("line {number}: {error}"))?;
        let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { &line };
        let line = line.trim();
        let names = number == 1 && line == "arrival_ms rtp_timestamp";
        if line.is_empty() || line.starts_with('#') || names {
            continue;
        }
        let (arrival, rtp) = packet(line).map_err(|what| format!("line {number}: {what}"))?;
        arrivals.extend(timeline.take(rtp, arrival).into_iter().flatten());
        if arrivals.len() as i64 > MOST {
            return Err(format!("line {number}: more than {MOST} packets"));
        }
    }
    arrivals.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    arrivals.dedup_by_key(|(ticks, _)| *ticks);
    Packets { arrivals, rate }.trace(name)
}

/// Extends timestamps.
struct Timeline {
    /// Ticks per millisecond.
    rate: f64,
    /// The line before: its timestamp, extended and as it is, and its arrival.
    last: Option<(i64, u32, f64)>,
    /// The line before, if it is of another timeline.
    suspect: Option<(u32, f64)>,
}

impl Timeline {
    /// The packets that are certain with this line: extended timestamps and arrivals.
    fn take(&mut self, rtp: u32, arrival: f64) -> [Option<(i64, f64)>; 2] {
        let Some((ticks, last, before)) = self.last else {
            return [None, Some(self.go_on(rtp.into(), rtp, arrival))];
        };
        // By the shorter way round (RFC 3550, appendix A.1, does so for sequence numbers).
        let step = |from: u32| i64::from(rtp.wrapping_sub(from) as i32);
        let apart = |step: i64, since: f64| (step as f64 / self.rate - (arrival - since)).abs();
        if apart(step(last), before) <= APART {
            return [None, Some(self.go_on(ticks + step(last), rtp, arrival))];
        }
        match self.suspect {
            Some((first, at)) if apart(step(first), at) <= APART => {
                let begin = ticks + ((at - before) * self.rate).round() as i64;
                let second = self.go_on(begin + step(first), rtp, arrival);
                [Some((begin, at)), Some(second)]
            }
            _ => {
                self.suspect = Some((rtp, arrival));
                [None, None]
            }
        }
    }

    fn go_on(&mut self, ticks: i64, rtp: u32, arrival: f64) -> (i64, f64) {
        (self.last, self.suspect) = (Some((ticks, rtp, arrival)), None);
        (ticks, arrival)
    }
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

/// What arrived, by extended timestamp, with the arrival in milliseconds.
struct Packets {
    arrivals: Vec<(i64, f64)>,
    /// Ticks per millisecond.
    rate: f64,
}

impl Packets {
    fn trace(self, name: String) -> Result<Trace, String> {
        let steps: Vec<i64> = self.arrivals.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        let usual =
            most_frequent(&steps).ok_or("fewer than two packets with different timestamps")?;
        let lengths = lengths(&steps, usual);
        let unit = self.unit(&lengths, usual);
        let (Some(&(first, began)), Some(&(last, _))) =
            (self.arrivals.first(), self.arrivals.last())
        else {
            return Err("no packets".to_owned());
        };
        if !FRAMES.contains(&(usual as f64 / self.rate)) {
            return Err(format!(
                "packets of {:.3} ms (most timestamps step by {usual}): expected 2.5 to 120 ms, is the clock rate right?",
                usual as f64 / self.rate
            ));
        }
        let pace = self.pace();
        if !PACES.contains(&pace) {
            return Err(format!(
                "packets arrive at {pace:.3} times the pace of their timestamps: is the clock rate right?"
            ));
        }
        if (last - first) as f64 / unit >= MOST as f64 {
            return Err(format!(
                "timestamps from {first} to {last}: more than {MOST} packets of {unit}"
            ));
        }
        if ((last - first) as f64) < SHORTEST * self.rate {
            return Err("shorter than 10 s, of which the first 5 do not count".to_owned());
        }
        let sent = |ticks: f64| (ticks - first as f64) / self.rate;
        let mut packets: Vec<Sent> = Vec::new();
        for (index, &(ticks, arrival)) in self.arrivals.iter().enumerate() {
            let length = lengths.get(index).or(lengths.last()).copied().unwrap_or(usual);
            let parts = (length as f64 / unit).round().max(1.0);
            // A step that is not a whole number of packets moves what follows.
            let step = steps.get(index).map_or(length as f64, |step| *step as f64);
            let all = (step / unit).round().max(parts);
            for n in 0..all as usize {
                let at = sent(ticks as f64 + n as f64 * step / all);
                let there = n < parts as usize;
                packets.push(Sent { sent: at, arrival: there.then_some(arrival - began) });
                if index == steps.len() && n + 1 >= parts as usize {
                    break;
                }
            }
        }
        let transits = packets.iter().filter_map(|packet| Some(packet.arrival? - packet.sent));
        let base = transits.fold(f64::INFINITY, f64::min);
        for packet in &mut packets {
            packet.arrival = packet.arrival.map(|arrival| arrival - base);
        }
        Ok(Trace { name, frame: unit / self.rate, base: 0.0, phase: 0.0, packets })
    }

    /// How many milliseconds of timestamps arrive in one: the median, so that pauses and bursts do not count.
    fn pace(&self) -> f64 {
        let far = STRETCH.min(self.arrivals.len().saturating_sub(1)).max(1);
        let ends = self.arrivals.iter().zip(self.arrivals.iter().skip(far));
        let paces = ends.map(|(from, to)| {
            let (sent, passed) = ((to.0 - from.0) as f64 / self.rate, to.1 - from.1);
            if passed > 0.0 { sent / passed } else { f64::INFINITY }
        });
        let mut paces: Vec<f64> = paces.collect();
        paces.sort_by(f64::total_cmp);
        paces.get(paces.len() / 2).copied().unwrap_or(1.0)
    }

    /// What all packets are multiples of, in ticks: their usual length in the mean, which need not be whole,
    /// where they have no other.
    fn unit(&self, lengths: &[i64], usual: i64) -> f64 {
        let common = lengths.iter().fold(usual, |common, length| divisor(common, *length));
        if common < usual {
            let short = (common as f64) < FRAMES.start() * self.rate;
            return if short { usual as f64 } else { common as f64 };
        }
        let (mut sum, mut count) = (0, 0_usize);
        for pair in self.arrivals.windows(2) {
            let step = pair[1].0 - pair[0].0;
            if (step - usual).abs() * 50 <= usual {
                (sum, count) = (sum + step, count + 1);
            }
        }
        sum as f64 / count.max(1) as f64
    }
}

/// The most frequent step, the least of several.
fn most_frequent(steps: &[i64]) -> Option<i64> {
    let mut counts = BTreeMap::new();
    for step in steps {
        *counts.entry(*step).or_insert(0_usize) += 1;
    }
    counts.into_iter().max_by_key(|&(step, count)| (count, -step)).map(|(step, _)| step)
}

/// How long the packet before each step is: as the step where enough of its kind follow each other, else as the
/// packet before.
fn lengths(steps: &[i64], usual: i64) -> Vec<i64> {
    let mut lengths = Vec::with_capacity(steps.len());
    let mut length = usual;
    for run in steps.chunk_by(|a, b| a == b) {
        if run.len() >= PROOF {
            length = run[0];
        }
        lengths.extend(run.iter().map(|_| length));
    }
    lengths
}

/// The greatest common divisor.
fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { divisor(b, a % b) }
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
    fn clocks_and_packets_of_any_usual_kind_are_read() {
        for rate in [8_000_u32, 16_000, 44_100, 48_000, 90_000] {
            for millis in [2.5, 5.0, 10.0, 20.0, 40.0, 60.0] {
                // Of 44.1 kHz some are no whole number of samples: timestamps are rounded then.
                let ticks = |n: u32| (f64::from(n) * millis * f64::from(rate) / 1e3) as u32;
                let line = |n: u32| format!("{} {}\r", f64::from(n) * millis, ticks(n));
                let lines: Vec<_> = (0..6_000).filter(|n| n % 100 != 7).map(line).collect();
                let trace = parse(String::new(), lines.join("\n").as_bytes(), rate).unwrap();
                let name = format!("{millis} ms at {rate}");
                assert!((trace.frame - millis).abs() < millis * 1e-3, "{name}: {}", trace.frame);
                assert_eq!(trace.packets.len(), 6_000, "{name}");
                let lost = |n: usize| trace.packets[n].arrival.is_none();
                assert!((0..6_000).all(|n| lost(n) == (n % 100 == 7)), "{name}");
                let last = trace.packets[5_999].sent;
                assert!((last - 5_999.0 * trace.frame).abs() < 1.0, "{name}: {last}");
            }
        }
    }

    #[test]
    fn packets_that_change_their_length_are_divided() {
        let mut lines = lines(0, 500);
        let after = |n: u32| format!("{} {}", 11_040 + 60 * n, 960 * 500 + 2_880 * n);
        lines.extend((0..200).filter(|n| *n != 50).map(after));
        let trace = parsed(&lines).unwrap();
        assert_eq!((trace.frame, trace.packets.len()), (20.0, 500 + 3 * 200));
        for (n, packet) in trace.packets.iter().enumerate() {
            assert!((packet.sent - n as f64 * 20.0).abs() < 1e-6, "{n}");
            let lost = (650..653).contains(&n);
            assert_eq!(packet.arrival.is_none(), lost, "{n}");
        }
        // They arrive together, when the last of them is due.
        assert_eq!(trace.packets[503].arrival, trace.packets[505].arrival);
        assert!((trace.packets[505].arrival.unwrap() - trace.packets[505].sent).abs() < 1.0);

        // To shorter ones.
        let mut lines = self::lines(0, 500);
        lines.extend((0..500).map(|n| format!("{} {}", 11_000 + 10 * n, 960 * 500 + 480 * n)));
        let trace = parsed(&lines).unwrap();
        assert_eq!((trace.frame, trace.packets.len()), (10.0, 1_500));
        assert!(trace.packets.iter().all(|packet| packet.arrival.is_some()));
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
        // Each step is just short of half round, 12 hours, and so it arrives.
        let step = 0x7fff_0000_u32;
        let far = |n: u32| {
            let at = 13_000.0 + f64::from(n) * f64::from(step) / 48.0;
            format!("{at} {}", (600 * 960_u32).wrapping_add(n.wrapping_mul(step)))
        };
        some.extend((1..100).map(far));
        let found = parsed(&some).unwrap_err();
        assert!(found.contains("more than 10000000 packets"), "{found}");
    }

    #[test]
    fn single_lines_of_another_timeline_are_dropped() {
        let whole = parsed(&lines(5, 1_000)).unwrap();
        let mut some = lines(5, 1_000);
        for (at, line) in [
            (700, "15000 3000000000".to_owned()),
            (600, "1e14 576005".to_owned()),
            (500, "-3600000 480005".to_owned()),
        ] {
            some.insert(at, line);
        }
        assert_eq!(parsed(&some).unwrap().packets, whole.packets);
    }

    #[test]
    fn a_restarted_encoder_goes_on_at_the_pace_of_the_arrivals() {
        for first in [0x4000_0000, 3_000_000_000, u32::MAX - 960 * 500] {
            let mut some = lines(5, 1_000);
            // A second later.
            let after = |n: u32| format!("{} {}", 22_000 + 20 * n, first.wrapping_add(960 * n));
            some.extend((0..1_000).map(after));
            let trace = parsed(&some).unwrap();
            assert_eq!(trace.packets.len(), 1_000 + 50 + 1_000, "{first}");
            for (n, packet) in trace.packets.iter().enumerate() {
                assert_eq!(packet.arrival.is_none(), (1_000..1_050).contains(&n), "{n}");
                assert!(packet.arrival.is_none_or(|at| (at - packet.sent).abs() < 1.0), "{n}");
            }
        }
    }

    #[test]
    fn of_two_arrivals_of_a_packet_the_first_counts_in_whatever_order_the_lines_are() {
        let mut some = lines(0, 1_000);
        some.insert(300, "9000 288000".to_owned());
        some.push("3200 96000".to_owned());
        let trace = parsed(&some).unwrap();
        assert_eq!(trace.packets, parsed(&lines(0, 1_000)).unwrap().packets);
    }

    #[test]
    fn names_of_columns_and_a_byte_order_mark_are_no_packets() {
        let whole = parsed(&lines(0, 1_000)).unwrap().packets;
        for first in ["arrival_ms rtp_timestamp", "\u{feff}arrival_ms rtp_timestamp", "\u{feff}"] {
            let mut some = lines(0, 1_000);
            some.insert(0, first.to_owned());
            assert_eq!(parsed(&some).unwrap().packets, whole, "{first:?}");
        }
    }

    #[test]
    fn another_clock_rate_than_that_of_the_timestamps_is_noticed() {
        for (step, rate) in [(320, 48_000), (160, 48_000), (960, 16_000), (1_800, 48_000)] {
            let lines: Vec<_> = (0..2_000).map(|n| format!("{} {}", 20 * n, step * n)).collect();
            let found = parse(String::new(), lines.join("\n").as_bytes(), rate).unwrap_err();
            let told = found.contains("is the clock rate right?");
            assert!(told, "{step} at {rate}: {found}");
        }
    }
}
