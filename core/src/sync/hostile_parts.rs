//! The same of the parts by themselves, some beside a model or a plain way to the same result.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::changepoint::{MAX_POINTS, Point, fit};
use super::ring::{CAPACITY, Refused, Ring};
use super::{
    AudioRenderer, AudioTimestamp, Decode, DriftCorrection, JitterBuffer, Medium, NtpMap, Packet,
    PlayoutConfig, RtcpSenderReport,
};
use crate::hostile::Bytes;

/// Sender reports into a map: whatever it then says lies on one line, both ways.
///
/// # Panics
///
/// Where a promise is broken, as of the others here.
#[doc(hidden)]
pub fn hostile_map(start: Instant, bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut map =
        NtpMap::<AudioTimestamp>::new([48_000, 90_000, 8_000, 1][bytes.byte() as usize % 4]);
    let (mut ntp, mut rtp) = (bytes.number(), bytes.number() as u32);
    while !bytes.0.is_empty() {
        if bytes.byte() % 4 == 0 {
            (ntp, rtp) = (bytes.number(), bytes.number() as u32);
        } else {
            // About a second on.
            ntp = ntp.wrapping_add((1 << 32) + (bytes.number() >> 36)).wrapping_sub(1 << 26);
            rtp = rtp.wrapping_add(48_000);
        }
        let _ = map.update(&RtcpSenderReport {
            medium: if bytes.byte() == 0 { Medium::Video } else { Medium::Audio },
            ntp_timestamp: ntp,
            rtp_timestamp: rtp,
            packet_count: bytes.small() as u32,
            octet_count: 0,
            received_at: start,
        });
        let at = AudioTimestamp(rtp.wrapping_add(bytes.small() as u32));
        let Ok(us) = map.rtp_to_wall_clock(at) else { continue };
        if map.media_clock_ppm().abs() < 100_000.0
            && let Ok(back) = map.wall_clock_to_rtp(us)
        {
            let off = back.0.wrapping_sub(at.0) as i32;
            assert!(off.abs() <= 1, "{at:?} came back as {back:?}");
        }
    }
}

/// Points into the fit of a line with steps: it ends, with numbers.
#[doc(hidden)]
pub fn hostile_fit(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let also = (bytes.number() as i64 as f64) / 1e15;
    let mut points = Vec::new();
    let mut x = 0.0;
    while !bytes.0.is_empty() && points.len() < 2 * MAX_POINTS {
        x += bytes.small() as f64 / 64.0;
        let y = bytes.number() as i64 as f64 / 1e18 * 10_f64.powi(i32::from(bytes.byte() % 12) - 9);
        points.push(Point { x, y });
    }
    if let Some(fit) = fit(&points, also) {
        assert!(fit.slope.is_finite() && fit.error >= 0.0 && fit.sigma >= 0.0, "{fit:?}");
        assert!((1..=points.len()).contains(&fit.segments), "{fit:?}");
    }
}

/// A correction fed in pieces of any size, with changes of the factor, beside one that is fed at once.
#[doc(hidden)]
pub fn hostile_correction(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let channels = 1 + bytes.byte() as usize % 2;
    let mut pieces = DriftCorrection::new(48_000, channels);
    let mut whole = pieces.clone();
    let input = |from: usize, frames: usize| -> Vec<f32> {
        let places = from * channels..(from + frames) * channels;
        places.map(|place| ((place % 48_000) as f32 * 0.013).sin() * 0.5).collect()
    };
    let (mut taken, mut taken_whole, mut given_all) = (0, 0, 0);
    while !bytes.0.is_empty() && given_all < 40_000 {
        let factor = match bytes.byte() % 8 {
            0 => Some(f64::from_bits(bytes.number())),
            1 => Some(1.0 + (bytes.small() as f64 - 128.0) * 1e-4),
            _ => None,
        };
        if let Some(factor) = factor {
            let changed = pieces.set_factor(factor).is_ok();
            assert_eq!(changed, (0.99..=1.01).contains(&factor), "{factor}");
            let _ = whole.set_factor(factor);
            assert!((0.99..=1.01).contains(&pieces.factor()));
        }
        let wanted = bytes.small() as usize * 4;
        let mut out = vec![f32::NAN; wanted * channels];
        let mut given = 0;
        while given < wanted {
            let piece = input(taken, bytes.small() as usize + 1);
            let rest = out.get_mut(given * channels..).unwrap_or_default();
            let found = pieces.process(&piece, rest);
            (taken, given) = (taken + found.0, given + found.1);
        }
        let mut at_once = vec![0.0; wanted * channels];
        let found = whole.process(&input(taken_whole, wanted + 600), &mut at_once);
        assert_eq!(found.1, wanted);
        (taken_whole, given_all) = (taken_whole + found.0, given_all + wanted);
        for (a, b) in out.iter().zip(&at_once) {
            assert!((a - b).abs() < 1e-6, "{a} in pieces, {b} at once");
        }
    }
}

/// The ring of packets beside a sorted map.
#[doc(hidden)]
pub fn hostile_ring(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let (mut ring, mut model) = (Ring::new(), BTreeMap::new());
    let mut low = bytes.number();
    while !bytes.0.is_empty() {
        match bytes.byte() % 4 {
            0 => {
                assert_eq!(ring.pop_first(), model.pop_first().map(|(_, value)| value));
                low = low.saturating_add(bytes.small() % 3);
            }
            1 if bytes.byte() == 0 => {
                ring.clear();
                model.clear();
            }
            _ => {
                let number = low.saturating_add(bytes.number() >> 48 & 0x3ff);
                let first = model.keys().next().copied().unwrap_or(number).min(number);
                let last = model.keys().last().copied().unwrap_or(number).max(number);
                let expected = match model.get(&number) {
                    Some(_) => Err(Refused::Occupied),
                    None if last - first >= CAPACITY as u64 => Err(Refused::Full),
                    None => Ok(()),
                };
                if expected.is_ok() {
                    model.insert(number, number);
                }
                assert_eq!(ring.insert(number, number), expected);
            }
        }
        assert_eq!(ring.len(), model.len());
        assert_eq!(ring.first().map(|(n, _)| n), model.keys().next().copied());
        assert!(ring.iter().map(|(n, _)| n).eq(model.keys().copied()));
    }
}

/// A stream of anything into a renderer, played by a device that asks whenever it likes.
#[doc(hidden)]
pub fn hostile_renderer(start: Instant, bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let config = match bytes.byte() % 2 {
        0 => PlayoutConfig::adaptive(Duration::from_millis(50)),
        _ => PlayoutConfig::fixed(Duration::from_millis(bytes.small() * 2)),
    };
    let mut channels = 1 + bytes.byte() as usize % 2;
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut renderer = AudioRenderer::new(channels, &config.tuning, bytes.number());
    let (mut now, mut next) = (start, 70_000_u64);
    while !bytes.0.is_empty() {
        match bytes.byte() % 16 {
            0..=8 => {
                next = next.saturating_add(bytes.small() % 3).saturating_sub(bytes.small() / 100);
                let rtp = (next as u32).wrapping_mul(960);
                let late = Duration::from_millis(bytes.small() / 4);
                let (duration, dtx) = (960, bytes.byte() == 0);
                let (arrived, payload) = (now + late, bytes.byte());
                buffer.insert(Packet { sequence: next, rtp, duration, dtx, arrived, payload });
                now += Duration::from_millis(bytes.small() / 8);
            }
            9 => {
                next = bytes.number();
                let rtp = bytes.number() as u32;
                let duration = bytes.number() as u32;
                let (arrived, payload) = (now, bytes.byte());
                buffer.insert(Packet {
                    sequence: next,
                    rtp,
                    duration,
                    dtx: false,
                    arrived,
                    payload,
                });
            }
            10 => now = start + bytes.duration().min(Duration::from_secs(1 << 30)),
            11 => {
                let _ = renderer.set_correction(1.0 + (bytes.small() as f64 - 128.0) * 1e-4);
                buffer.set_size(bytes.duration());
                buffer.set_least(bytes.duration());
            }
            12 if bytes.byte() < 32 => {
                channels = 1 + bytes.byte() as usize % 2;
                renderer.set_channels(channels, &config.tuning, 1);
            }
            12 if bytes.byte() == 0 => renderer.reset(),
            _ => {}
        }
        let asked = bytes.small() as usize * 5;
        let mut out = vec![f32::NAN; asked];
        let rendered = renderer.render(&mut buffer, &mut Odd { channels }, now, &mut out);
        let whole = asked / channels * channels;
        let (heard, left) = out.split_at(whole);
        assert!(heard.iter().all(|sample| sample.is_finite() && sample.abs() <= 64.0));
        assert!(left.iter().all(|sample| sample.is_nan()));
        // In haste twice what is asked for goes in.
        assert!(rendered.paused + rendered.concealed <= 2 * asked + 4 * 480, "{rendered:?}");
        let figures = buffer.statistics();
        let known = figures.frames + figures.discarded() + figures.current as u64;
        assert_eq!(figures.inserted, known, "{figures:?}");
    }
}

/// A decoder of bytes, of which some can't be decoded, some are loud and some are no numbers. Some are longer
/// or shorter than their packets say, and some give less than what was asked for, or nothing.
struct Odd {
    channels: usize,
}

impl Odd {
    fn say(&self, kind: u8, frames: usize, out: &mut [f32]) -> Option<usize> {
        let sample = match kind % 8 {
            0 => return None,
            1 => f32::NAN,
            2 => f32::MAX,
            3 => -f32::INFINITY,
            kind => f32::from(kind) * 0.1,
        };
        for (place, out) in out.get_mut(..frames * self.channels)?.iter_mut().enumerate() {
            *out = if place % 7 == 0 { sample } else { (place as f32 * 0.02).sin() };
        }
        Some(frames)
    }

    /// Half of the time what was asked for, otherwise less, of any number.
    const fn some(kind: u8, frames: usize) -> usize {
        if kind < 128 { frames } else { frames * (kind as usize % 16) / 16 }
    }
}

impl Decode<u8> for Odd {
    fn decode(&mut self, packet: &u8, out: &mut [f32]) -> Option<usize> {
        // Up to 120 ms, whole pieces and others.
        let frames = match packet / 64 {
            0 | 1 => 960,
            2 => usize::from(packet % 48 + 1) * 120,
            _ => usize::from(packet % 64) * 91,
        };
        self.say(*packet, frames, out)
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        let kind = (frames / 120) as u8;
        self.say(5, Self::some(kind.wrapping_mul(97), frames), out)
    }

    fn covers(&self, packet: &u8) -> usize {
        if packet.is_multiple_of(3) { usize::from(*packet) * 100 } else { 0 }
    }

    fn recover(&mut self, next: &u8, _: usize, frames: usize, out: &mut [f32]) -> Option<usize> {
        self.say(next.wrapping_add(1), Self::some(*next, frames), out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn no_bytes_break_a_part(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
            let start = Instant::now();
            hostile_map(start, &bytes);
            hostile_fit(&bytes);
            hostile_correction(&bytes);
            hostile_renderer(start, &bytes);
        }
    }
}
