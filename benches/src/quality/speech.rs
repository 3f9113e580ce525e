//! The speech that is sent: sentences of several voices with pauses between them.

use std::path::PathBuf;
use std::process::Command;

use rtcmesh_core::rng::{Rng, Seed};

use crate::stretch::signals;

/// Voices of espeak-ng: their names, pitch and words a minute.
const VOICES: [(&str, &str, &str); 6] = [
    ("en-gb", "38", "155"),
    ("en-us+f3", "60", "170"),
    ("en-gb-scotland+m3", "45", "165"),
    ("en-us+f5", "72", "150"),
    ("en-gb-x-rp+m7", "30", "180"),
    ("en-us+f2", "55", "190"),
];

/// Harvard sentences (IEEE Recommended Practice for Speech Quality Measurements, 1969), lists 1 to 3.
const SENTENCES: [&str; 30] = [
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
    "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.",
    "A pot of tea helps to pass the evening.",
    "Smoky fires lack flame and heat.",
    "The soft cushion broke the man's fall.",
    "The salt breeze came across from the sea.",
    "The girl at the booth sold fifty bonds.",
    "The small pup gnawed a hole in the sock.",
    "The fish twisted and turned on the bent hook.",
    "Press the pants and sew a button on the vest.",
    "The swan dive was far short of perfect.",
    "The beauty of the view stunned the young boy.",
    "Two blue fish swam in the tank.",
    "Her purse was full of useless trash.",
    "The colt reared and threw the tall rider.",
    "It snowed, rained, and hailed the same morning.",
    "Read verse out loud for pleasure.",
];

/// The level of a sentence: -25 dB of full scale.
const LEVEL: f64 = 0.056;
/// The background: white noise at -65 dB of full scale.
const BACKGROUND: f32 = 0.000_56;

/// Speech of 48 kHz, and where its sentences are.
#[derive(Debug, Default)]
pub struct Speech {
    /// One channel.
    pub samples: Vec<f32>,
    /// First sample, and the one behind the last, of each sentence.
    pub sentences: Vec<(usize, usize)>,
}

impl Speech {
    /// `seconds` of speech, from these WAV files, each being one sentence, or by espeak-ng where there
    /// are none. The pauses, of 0.35 to 0.7 s and `pause` seconds more, are drawn from `seed`.
    ///
    /// # Errors
    /// What could not be read or spoken.
    pub fn make(files: &[PathBuf], seconds: f64, pause: f64, seed: u64) -> Result<Self, String> {
        let mut rng = Rng::new(Seed::from_number(seed)).fork("speech");
        let mut found = Self::default();
        let length = (seconds * 48_000.0) as usize;
        let mut spoken: Vec<Vec<f32>> = Vec::new();
        let count = if files.is_empty() { SENTENCES.len() } else { files.len() };
        for number in 0.. {
            found.pause(pause + 0.35 + 0.35 * rng.unit());
            let at = number % count;
            if spoken.len() <= at {
                let sentence = match files.get(at) {
                    Some(path) => signals::wav(path)?,
                    None => speak(at)?,
                };
                spoken.push(trimmed(&sentence));
            }
            let start = found.samples.len();
            found.samples.extend_from_slice(&spoken[at]);
            if found.samples.len() + 24_000 > length {
                found.samples.truncate(start);
                break;
            }
            found.sentences.push((start, found.samples.len()));
        }
        found.samples.resize(length, 0.0);
        for sample in &mut found.samples {
            *sample += (rng.unit() as f32 - 0.5) * BACKGROUND * 12.0_f32.sqrt();
        }
        Ok(found)
    }

    fn pause(&mut self, seconds: f64) {
        self.samples.resize(self.samples.len() + (seconds * 48_000.0) as usize, 0.0);
    }
}

/// Without silence around it, at the common level, faded within 10 ms.
fn trimmed(samples: &[f32]) -> Vec<f32> {
    const FADE: usize = 480;
    let loud = |sample: &f32| sample.abs() > 3e-3;
    let start = samples.iter().position(loud).unwrap_or(0).saturating_sub(FADE);
    let end = samples.iter().rposition(loud).map_or(0, |last| (last + FADE).min(samples.len()));
    let samples = samples.get(start..end).unwrap_or_default();
    let energy: f64 = samples.iter().map(|sample| f64::from(sample * sample)).sum();
    let gain = LEVEL / (energy / samples.len().max(1) as f64).sqrt().max(1e-9);
    let count = samples.len();
    let fade = |index: usize| (index.min(count - 1 - index) as f64 / FADE as f64).min(1.0);
    samples
        .iter()
        .enumerate()
        .map(|(index, sample)| (f64::from(*sample) * gain * fade(index)).clamp(-0.9, 0.9) as f32)
        .collect()
}

/// A sentence by espeak-ng.
fn speak(number: usize) -> Result<Vec<f32>, String> {
    let (voice, pitch, speed) = VOICES[number % VOICES.len()];
    let folder = std::env::temp_dir().join(format!("rtcmesh-quality-{}", std::process::id()));
    let fail = |error: &dyn std::fmt::Display| format!("espeak-ng: {error}");
    std::fs::create_dir_all(&folder).map_err(|error| fail(&error))?;
    let path = folder.join(format!("{number}.wav"));
    let done = Command::new("espeak-ng")
        .args(["-v", voice, "-p", pitch, "-s", speed, "-w"])
        .arg(&path)
        .arg(SENTENCES[number % SENTENCES.len()])
        .status()
        .map_err(|error| fail(&error))?;
    if !done.success() {
        return Err(fail(&done));
    }
    let samples = signals::wav(&path);
    // The folder is shared by all sentences of this process, and the last one empties it.
    let _ = std::fs::remove_file(&path);
    let _ = std::fs::remove_dir(&folder);
    samples
}
