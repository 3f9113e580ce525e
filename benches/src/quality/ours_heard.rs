//! What our playout lets hear: the target, the decisions and the stretcher of the core over libopus, with
//! its concealment and FEC.

use std::time::Duration;

use rtcmesh_core::codec::{
    AudioDecoder, Channels, MAX_PACKET_SAMPLES, OpusDecoder, opus_packet_has_fec,
};
use rtcmesh_core::sync::{
    ComfortNoise, Command, Control, DelayTarget, PlayoutTuning, Situation, Step, Stretcher,
};

use super::Heard;
use super::stream::{FRAME, Stream};
use crate::sync::engine::{PULL, Record};
use crate::sync::trace::Trace;

/// Samples of a pull: 10 ms.
const CALLBACK: usize = 480;
/// What the stretcher looks at beyond a pull to take something out.
const AHEAD: usize = 1_440;
/// Nanoseconds of a sample, times 3.
const THREE_SAMPLES: i64 = 62_500;
/// Concealment fades into noise from there on, for so long, in samples: 60 ms each.
const FADES: usize = 2_880;

/// Plays `stream` as `trace` brings it.
///
/// # Errors
/// What libopus refused.
pub fn play(trace: &Trace, stream: &Stream, tuning: &PlayoutTuning) -> Result<Heard, String> {
    let arrivals = trace.arrivals();
    let mut coming = arrivals.iter().copied().peekable();
    let mut player = Player::new(stream, tuning, arrivals.first().map_or(0, |first| first.0))?;
    let mut heard = Heard::default();
    let mut record = Record::new(trace);
    for pull in 0.. {
        let now = trace.phase + f64::from(pull) * PULL;
        if !record.at(now) {
            break;
        }
        while let Some((n, at)) = coming.next_if(|(_, at)| *at <= now) {
            player.take_in(n, at);
        }
        let mut out = [0.0; CALLBACK];
        let (made_up, next, moved) = (player.made_up_in_all, player.next, player.moved());
        player.pull(now, &mut out)?;
        for n in next..player.next {
            if player.there.get(n) == Some(&true) {
                record.packet(n);
            }
        }
        let made_up = (player.made_up_in_all - made_up) as f64 / 48.0;
        let media = (player.next * FRAME) as f64 - player.stretcher.waiting() as f64;
        record.make_up(made_up);
        record.stretch((player.moved() - moved) as f64 / 48.0);
        record.play(media / 48.0 - PULL, (PULL - made_up).max(0.0), 0.0);
        heard.samples.extend_from_slice(&out);
    }
    let all = heard.samples.len().max(1) as f64;
    heard.made_up_pct = 100.0 * player.made_up_in_all as f64 / all;
    heard.stretched_pct = 100.0 * player.moved() as f64 / all;
    heard.outcome = Some(record.outcome());
    let figures = player.stretcher.statistics();
    heard.operations = figures.shrunk + figures.grown;
    heard.in_pauses = figures.in_pauses;
    Ok(heard)
}

struct Player<'a> {
    stream: &'a Stream,
    target: DelayTarget,
    control: Control,
    stretcher: Stretcher,
    noise: ComfortNoise,
    decoder: OpusDecoder,
    pcm: Vec<f32>,
    there: Vec<bool>,
    next: usize,
    end: usize,
    started: bool,
    /// Since the last packet, and since the start, in samples.
    made_up: usize,
    made_up_in_all: usize,
    /// Whether what was made up was given up rather than filled: the next packet does not follow it.
    broken: bool,
}

impl<'a> Player<'a> {
    fn new(stream: &'a Stream, tuning: &PlayoutTuning, first: usize) -> Result<Self, String> {
        let (start, max) = (Duration::from_millis(50), Duration::from_millis(500));
        Ok(Self {
            stream,
            target: DelayTarget::new(tuning, start, max),
            control: Control::new(tuning),
            stretcher: Stretcher::new(1),
            noise: ComfortNoise::new(1, 1),
            decoder: OpusDecoder::new(Channels::Mono).map_err(|error| error.to_string())?,
            pcm: vec![0.0; MAX_PACKET_SAMPLES],
            there: vec![false; stream.packets.len()],
            next: first,
            end: 0,
            started: false,
            made_up: 0,
            made_up_in_all: 0,
            broken: false,
        })
    }

    /// Samples inserted and taken out.
    fn moved(&self) -> u64 {
        let figures = self.stretcher.statistics();
        figures.inserted + figures.removed
    }

    fn take_in(&mut self, n: usize, at: f64) {
        self.target.observe((at * 1e6) as i64, n as i64 * 20_000_000);
        if !self.started {
            self.next = self.next.min(n);
        }
        if let Some(there) = self.there.get_mut(n) {
            *there = n >= self.next;
            self.end = self.end.max(n + 1);
        }
    }

    /// Packets that follow without a gap, and then how many are missing, if there are more.
    fn view(&self) -> (usize, Option<usize>) {
        let waiting = self.there.get(self.next..self.end.max(self.next)).unwrap_or_default();
        let ready = waiting.iter().take_while(|there| **there).count();
        let missing = waiting.iter().skip(ready).position(|there| *there);
        (ready, missing)
    }

    fn situation(&self, now: f64) -> Situation {
        let (ready, missing) = self.view();
        let waiting = self.stretcher.waiting();
        let media = (self.next * FRAME) as i64 - waiting as i64;
        Situation {
            delay: (now * 1e6) as i64 - nanos(media) - self.target.fastest().unwrap_or(0),
            target: self.target.target(),
            ready: nanos((waiting + ready * FRAME) as i64),
            gap: missing.map(|missing| nanos((missing * FRAME) as i64)),
            concealed: nanos(self.made_up as i64),
        }
    }

    fn pull(&mut self, now: f64, out: &mut [f32]) -> Result<(), String> {
        if !self.started {
            if self.view().0 == 0 {
                return Ok(());
            }
            self.started = true;
        }
        let wanted = nanos(CALLBACK as i64);
        let mut step = self.control.decide(&self.situation(now), wanted);
        while step == Step::Skip {
            self.skip();
            step = self.control.decide(&self.situation(now), wanted);
        }
        let frames = |nanos: i64| (nanos * 3 / THREE_SAMPLES) as usize;
        let (command, shift) = match step {
            Step::Grow { least } => (Command::Grow, (frames(least), usize::MAX)),
            Step::Shrink { most, hurry: true } => (Command::ShrinkFast, (0, frames(most))),
            Step::Shrink { most, .. } => (Command::Shrink, (0, frames(most))),
            _ => (Command::Normal, (0, usize::MAX)),
        };
        self.stretcher.set_shift(shift.0, shift.1);
        let ahead = if command == Command::Normal { CALLBACK } else { CALLBACK + AHEAD };
        while self.stretcher.waiting() < ahead && self.decode()? {}
        while self.stretcher.waiting() < CALLBACK && self.made_up < 48_000 {
            let missing = self.view().1.map_or(usize::MAX, |missing| missing * FRAME);
            if self.made_up >= missing {
                self.skip();
                if !self.decode()? {
                    break;
                }
                continue;
            }
            self.make_up(missing - self.made_up)?;
        }
        self.stretcher.pull(out, command);
        Ok(())
    }

    fn skip(&mut self) {
        let before = self.next;
        while self.next < self.end && !self.there.get(self.next).copied().unwrap_or(true) {
            self.next += 1;
        }
        self.broken |= self.made_up != (self.next - before) * FRAME;
        self.made_up = 0;
    }

    fn decode(&mut self) -> Result<bool, String> {
        if self.there.get(self.next) != Some(&true) {
            return Ok(false);
        }
        let Some(packet) = self.stream.packets.get(self.next) else { return Ok(false) };
        let count = self.decoder.decode(packet, &mut self.pcm).map_err(|e| e.to_string())?;
        let pcm = self.pcm.get(..count).unwrap_or_default();
        self.noise.observe(pcm);
        if self.broken || self.made_up > 0 {
            self.stretcher.join(pcm);
        } else {
            self.stretcher.push(pcm);
        }
        (self.made_up, self.broken) = (0, false);
        self.next += 1;
        Ok(true)
    }

    /// Makes up 10 ms, or the packet before the one that is there from its copy of it.
    fn make_up(&mut self, left: usize) -> Result<(), String> {
        let behind = self.view().1.and_then(|missing| self.stream.packets.get(self.next + missing));
        let (length, copy) = match behind {
            Some(packet) if left == FRAME && opus_packet_has_fec(packet) => (FRAME, Some(packet)),
            _ => (CALLBACK.min(left), None),
        };
        let duration = Duration::from_micros(length as u64 * 1_000 / 48);
        let count = match copy {
            Some(packet) => self.decoder.decode_fec(packet, duration, &mut self.pcm),
            None => self.decoder.conceal(duration, &mut self.pcm),
        };
        let count = count.map_err(|error| error.to_string())?;
        let pcm = self.pcm.get_mut(..count).unwrap_or_default();
        if copy.is_none() {
            let share = |made_up: usize| made_up.saturating_sub(FADES) as f32 / FADES as f32;
            self.noise.blend(pcm, share(self.made_up), share(self.made_up + count));
        }
        self.stretcher.push(pcm);
        self.made_up += count;
        self.made_up_in_all += count;
        Ok(())
    }
}

fn nanos(samples: i64) -> i64 {
    samples * THREE_SAMPLES / 3
}
