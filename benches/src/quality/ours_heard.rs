//! What our playout lets hear: the jitter buffer and the renderer of the core over libopus, with its
//! concealment and its in-band FEC.

use std::time::{Duration, Instant};

use rtcmesh_core::codec::{AudioDecoder, Channels, OpusDecoder};
use rtcmesh_core::sync::{
    AudioRenderer, Decode, JitterBuffer, Packet, PlayoutConfig, PlayoutTuning,
};

use super::Heard;
use super::stream::{FRAME, Stream};
use crate::sync::engine::PULL;
use crate::sync::trace::Trace;

/// Samples of a pull: 10 ms.
const CALLBACK: usize = 480;

/// Plays `stream` as `trace` brings it.
///
/// # Errors
/// What libopus refused.
pub fn play(trace: &Trace, stream: &Stream, tuning: &PlayoutTuning) -> Result<Heard, String> {
    let config = PlayoutConfig::adaptive(Duration::from_millis(50)).with_tuning(*tuning);
    let mut buffer = JitterBuffer::new(48_000, config);
    let mut renderer = AudioRenderer::new(1, tuning, 1);
    let decoder = OpusDecoder::new(Channels::Mono).map_err(|error| error.to_string())?;
    let mut decoder = Decoder { decoder, stream };
    let arrivals = trace.arrivals();
    let mut coming = arrivals.iter().copied().peekable();
    let end = trace.packets.last().map_or(0.0, |packet| packet.sent);
    let origin = Instant::now();
    let at = |millis: f64| origin + Duration::from_nanos((millis.max(0.0) * 1e6) as u64);
    let mut heard = Heard::default();
    let mut pulls = 0_u32;
    loop {
        let now = trace.phase + f64::from(pulls) * PULL;
        if now >= end {
            break;
        }
        pulls += 1;
        while let Some((n, arrived)) = coming.next_if(|(_, at)| *at <= now) {
            let Some(&Some(sequence)) = stream.sequences.get(n) else { continue };
            buffer.insert(Packet {
                sequence,
                rtp: (n * FRAME) as u32,
                duration: FRAME as u32,
                dtx: false,
                arrived: at(arrived),
                payload: n,
            });
        }
        let mut out = [0.0; CALLBACK];
        renderer.render(&mut buffer, &mut decoder, at(now), &mut out);
        heard.samples.extend_from_slice(&out);
    }
    let all = heard.samples.len().max(1) as f64;
    let figures = renderer.statistics();
    let stretch = figures.stretch;
    // A copy is not what was sent, but it is no guess either: both policies' guesses are counted.
    heard.made_up_pct = 100.0 * figures.concealed as f64 / all;
    heard.stretched_pct = 100.0 * (stretch.inserted + stretch.removed) as f64 / all;
    heard.operations = stretch.shrunk + stretch.grown;
    heard.in_pauses = stretch.in_pauses;
    Ok(heard)
}

/// libopus over the packets of a stream, by their numbers.
struct Decoder<'a> {
    decoder: OpusDecoder,
    stream: &'a Stream,
}

impl Decode<usize> for Decoder<'_> {
    fn decode(&mut self, &n: &usize, out: &mut [f32]) -> Option<usize> {
        self.decoder.decode(self.stream.packets.get(n)?, out).ok()
    }

    fn conceal(&mut self, frames: usize, out: &mut [f32]) -> Option<usize> {
        self.decoder.conceal(duration(frames), out).ok()
    }

    fn covers(&self, &n: &usize) -> usize {
        let covered = self.stream.packets.get(n).map(|packet| self.decoder.recoverable(packet));
        covered.map_or(0, |covered| covered.as_micros() as usize * 48 / 1_000)
    }

    fn recover(
        &mut self,
        &next: &usize,
        before: usize,
        frames: usize,
        out: &mut [f32],
    ) -> Option<usize> {
        let next = self.stream.packets.get(next)?;
        self.decoder.recover(next, duration(before), duration(frames), out).ok()
    }
}

fn duration(frames: usize) -> Duration {
    Duration::from_micros(frames as u64 * 1_000 / 48)
}
