//! The crate `neteq`, the code itself, by a virtual clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use neteq::codec::AudioDecoder;
use neteq::neteq::SpeechType;
use neteq::{AudioPacket, NetEq, NetEqConfig, RtpHeader};
use web_time::virtual_clock;

use super::engine::{Outcome, PULL, Record};
use super::trace::Trace;

/// The sample rates that it may run at, the quickest first: what it decides does not depend on it.
const RATES: [u32; 4] = [16_000, 48_000, 44_100, 8_000];

/// Plays `trace`.
///
/// The media that a pull consumed is what was decoded, less what the crate still holds: so its
/// cross-fades count as played, which helps it.
pub fn play(trace: &Trace) -> Outcome {
    virtual_clock::set(Duration::ZERO);
    let outcome = run(trace);
    virtual_clock::clear();
    outcome
}

fn run(trace: &Trace) -> Outcome {
    let decoded = Arc::new(Mutex::new(Vec::new()));
    // The first rate in which a packet is a whole number of samples.
    let whole = |rate: &u32| (trace.frame * f64::from(*rate) / 1_000.0).fract() < 1e-6;
    let rate = RATES.into_iter().find(whole).unwrap_or(RATES[0]);
    let per_ms = f64::from(rate) / 1_000.0;
    let samples = (trace.frame * per_ms) as usize;
    let config = NetEqConfig { sample_rate: rate, channels: 1, ..NetEqConfig::default() };
    let mut neteq = NetEq::new(config).expect("mono at a usual rate is a valid configuration");
    let decoder = Decoder { decoded: Arc::clone(&decoded), samples, rate };
    neteq.register_decoder(96, Box::new(decoder));
    let arrivals = trace.arrivals();
    let mut coming = arrivals.iter().copied().peekable();
    let mut record = Record::new(trace);
    let mut media = Media { frame: trace.frame, ..Media::default() };
    for pull in 0.. {
        let now = trace.phase + f64::from(pull) * PULL;
        if !record.at(now) {
            break;
        }
        while let Some((n, at)) = coming.next_if(|(_, at)| *at <= now) {
            virtual_clock::set(Duration::from_secs_f64(at.max(0.0) / 1_000.0));
            let header = RtpHeader::new(n as u16, (n * samples) as u32, 1, 96, false);
            let payload = (n as u64).to_le_bytes().to_vec();
            let packet = AudioPacket::new(header, payload, rate, 1, trace.frame as u32);
            // A refused packet is never played, which the record notices.
            let _ = neteq.insert_packet(packet);
        }
        virtual_clock::set(Duration::from_secs_f64(now.max(0.0) / 1_000.0));
        let Ok(frame) = neteq.get_audio() else { continue };
        let held = neteq.current_buffer_size_samples() as f64 / per_ms
            - neteq.get_statistics().packets_awaiting_decode as f64 * trace.frame;
        for n in decoded.lock().expect("nobody panics with it").drain(..) {
            media.decoded(n, trace, &mut record);
        }
        media.pulled(held.max(0.0), frame.speech_type == SpeechType::Expand, &mut record);
    }
    record.outcome()
}

/// Which media was decoded and is not yet played.
#[derive(Debug, Default)]
struct Media {
    frame: f64,
    /// RTP time and length of the pieces, in milliseconds.
    pieces: std::collections::VecDeque<(f64, f64)>,
    next: Option<usize>,
    made_up: f64,
    /// What was made up before the packets that follow, less what the network lost of it.
    late: bool,
    lost: f64,
}

impl Media {
    fn decoded(&mut self, n: usize, trace: &Trace, record: &mut Record<'_>) {
        if let Some(next) = self.next {
            for packet in trace.packets.get(next..n).unwrap_or_default() {
                match packet.arrival {
                    Some(_) => self.late = true,
                    None => self.lost += self.frame,
                }
            }
            if n < next || self.late || self.made_up - self.lost > 1.0 {
                record.glitch();
            }
        }
        (self.late, self.made_up, self.lost) = (false, 0.0, 0.0);
        self.next = Some(self.next.map_or(n + 1, |next| next.max(n + 1)));
        record.packet(n);
        self.pieces.push_back((n as f64 * self.frame, self.frame));
    }

    /// A pull left `held` milliseconds of what was decoded.
    fn pulled(&mut self, held: f64, expanded: bool, record: &mut Record<'_>) {
        let all: f64 = self.pieces.iter().map(|(_, length)| length).sum();
        let mut out = (all - held).max(0.0);
        let consumed = out;
        while out > 1e-9 {
            let Some((at, length)) = self.pieces.front_mut() else { break };
            let part = length.min(out);
            if !expanded {
                record.play(*at, part, consumed - out);
            }
            *at += part;
            *length -= part;
            out -= part;
            if *length <= 1e-9 {
                self.pieces.pop_front();
            }
        }
        if expanded {
            let made_up = (PULL - consumed).max(0.0);
            record.make_up(made_up);
            self.made_up += made_up;
        } else {
            record.stretch((consumed - PULL).abs());
        }
    }
}

/// Decodes a number to silence with some sound in it.
struct Decoder {
    decoded: Arc<Mutex<Vec<usize>>>,
    samples: usize,
    rate: u32,
}

impl AudioDecoder for Decoder {
    fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn channels(&self) -> u8 {
        1
    }

    fn decode(&mut self, encoded: &[u8]) -> neteq::Result<Vec<f32>> {
        let n = encoded.try_into().map_or(0, u64::from_le_bytes) as usize;
        self.decoded.lock().expect("nobody panics with it").push(n);
        let start = n * self.samples;
        // 200 Hz, four syllables a second.
        Ok((start..start + self.samples)
            .map(|at| {
                let t = at as f32 / self.rate as f32;
                let turn = std::f32::consts::TAU;
                0.2 * (t * 200.0 * turn).sin() * (0.5 - 0.5 * (t * 4.0 * turn).cos())
            })
            .collect())
    }
}
