//! What the crate `neteq` lets hear, with a real decoder registered: it neither asks it for concealment
//! nor for FEC, so that what it makes up is its own.

use std::time::Duration;

use neteq::codec::AudioDecoder as CrateDecoder;
use neteq::neteq::SpeechType;
use neteq::{AudioPacket, NetEq, NetEqConfig, RtpHeader};
use rtcmesh_core::codec::{AudioDecoder, Channels, MAX_PACKET_SAMPLES, OpusDecoder};
use web_time::virtual_clock;

use super::Heard;
use super::stream::{FRAME, Stream};
use crate::sync::engine::PULL;
use crate::sync::trace::Trace;

/// Plays `stream` as `trace` brings it.
///
/// # Errors
/// What the crate or libopus refused.
pub fn play(trace: &Trace, stream: &Stream) -> Result<Heard, String> {
    virtual_clock::set(Duration::ZERO);
    let heard = run(trace, stream);
    virtual_clock::clear();
    heard
}

fn run(trace: &Trace, stream: &Stream) -> Result<Heard, String> {
    let config = NetEqConfig { sample_rate: 48_000, channels: 1, ..NetEqConfig::default() };
    let mut neteq = NetEq::new(config).map_err(|error| format!("neteq: {error}"))?;
    let decoder = OpusDecoder::new(Channels::Mono).map_err(|error| error.to_string())?;
    neteq.register_decoder(96, Box::new(Decoder { decoder, pcm: vec![0.0; MAX_PACKET_SAMPLES] }));
    let arrivals = trace.arrivals();
    let mut coming = arrivals.iter().copied().peekable();
    let end = trace.packets.last().map_or(0.0, |packet| packet.sent);
    let mut heard = Heard::default();
    let (mut expanded, mut pulls) = (0_u32, 0_u32);
    loop {
        let now = trace.phase + f64::from(pulls) * PULL;
        if now >= end {
            break;
        }
        pulls += 1;
        while let Some((n, at)) = coming.next_if(|(_, at)| *at <= now) {
            let Some(packet) = stream.packets.get(n) else { continue };
            let Some(&Some(sequence)) = stream.sequences.get(n) else { continue };
            virtual_clock::set(Duration::from_secs_f64(at.max(0.0) / 1_000.0));
            let header = RtpHeader::new(sequence as u16, (n * FRAME) as u32, 1, 96, false);
            let packet = AudioPacket::new(header, packet.clone(), 48_000, 1, 20);
            // A refused packet is one that is not heard.
            let _ = neteq.insert_packet(packet);
        }
        virtual_clock::set(Duration::from_secs_f64(now.max(0.0) / 1_000.0));
        let frame = neteq.get_audio().map_err(|error| format!("neteq: {error}"))?;
        expanded += u32::from(frame.speech_type == SpeechType::Expand);
        heard.samples.extend_from_slice(&frame.samples);
    }
    heard.made_up_pct = 100.0 * f64::from(expanded) / f64::from(pulls.max(1));
    let figures = neteq.get_statistics().lifetime;
    let moved =
        figures.inserted_samples_for_deceleration + figures.removed_samples_for_acceleration;
    heard.stretched_pct = 100.0 * moved as f64 / heard.samples.len().max(1) as f64;
    Ok(heard)
}

struct Decoder {
    decoder: OpusDecoder,
    pcm: Vec<f32>,
}

impl CrateDecoder for Decoder {
    fn sample_rate(&self) -> u32 {
        48_000
    }

    fn channels(&self) -> u8 {
        1
    }

    fn decode(&mut self, encoded: &[u8]) -> neteq::Result<Vec<f32>> {
        let decoded = self.decoder.decode(encoded, &mut self.pcm).unwrap_or(0);
        Ok(self.pcm.get(..decoded).unwrap_or_default().to_vec())
    }
}
