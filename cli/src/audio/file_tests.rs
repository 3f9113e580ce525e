use std::io::Cursor;

use hound::WavWriter;
use proptest::prelude::*;

use super::*;

/// A file with these samples, 0 to 1 of full scale.
fn wav(spec: WavSpec, samples: &[f32]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
    for &sample in samples {
        match spec.sample_format {
            SampleFormat::Float => writer.write_sample(sample).unwrap(),
            SampleFormat::Int => {
                let full_scale = (1_i64 << (spec.bits_per_sample - 1)) as f32;
                writer.write_sample((sample * full_scale) as i32).unwrap();
            }
        }
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn spec(channels: u16, sample_rate: u32, bits_per_sample: u16, float: bool) -> WavSpec {
    let sample_format = if float { SampleFormat::Float } else { SampleFormat::Int };
    WavSpec { channels, sample_rate, bits_per_sample, sample_format }
}

fn read(bytes: Vec<u8>, frames: usize) -> Result<Vec<f32>, String> {
    let mut out = Vec::new();
    Wav::new(Cursor::new(bytes))?.read(frames, &mut out);
    Ok(out)
}

#[test]
fn every_format_gives_the_same_samples_over_and_over() {
    let samples = [0.25, -0.5, 0.125, 0.0];
    let round = [0.25, -0.5, 0.125, 0.0, 0.25, -0.5];
    for (bits, float) in [(8, false), (16, false), (24, false), (32, false), (32, true)] {
        for (channels, rate) in [(1, 8_000), (2, 44_100), (1, 48_000)] {
            let frames = 6 / usize::from(channels);
            let found = read(wav(spec(channels, rate, bits, float), &samples), frames).unwrap();
            assert_eq!(found, round, "{bits} bits, float {float}, {channels} channels");
        }
    }
}

#[test]
fn what_cannot_be_played_is_refused_with_the_reason() {
    let table = [
        (wav(spec(1, 16_000, 16, false), &[]), "no audio"),
        (wav(spec(6, 48_000, 16, false), &[0.0; 6]), "6 channels"),
        (wav(spec(1, 96_000, 16, false), &[0.0]), "96000 Hz"),
        (wav(spec(1, 4_000, 16, false), &[0.0]), "4000 Hz"),
        (b"RIFF".to_vec(), "WAV"),
        (b"MThd and more of a MIDI file".to_vec(), "RIFF"),
        (Vec::new(), "WAV"),
    ];
    for (bytes, word) in table {
        let error = read(bytes, 1).unwrap_err();
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    }
}

#[test]
fn errors_name_the_file() {
    let missing = Wav::open(Path::new("no/such/file.wav")).err().unwrap().to_string();
    assert!(missing.starts_with("no/such/file.wav: "), "{missing}");
    let folder = Wav::open(Path::new(env!("CARGO_MANIFEST_DIR"))).err().unwrap().to_string();
    assert!(folder.ends_with("not a regular file"), "{folder}");
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let text = Wav::open(Path::new(text)).err().unwrap().to_string();
    assert!(text.contains("Cargo.toml: "), "{text}");
}

#[test]
fn a_file_that_is_cut_off_plays_as_far_as_it_goes() {
    let mut bytes = wav(spec(2, 48_000, 16, false), &[0.5, -0.5, 0.25, -0.25]);
    bytes.truncate(bytes.len() - 2);
    assert_eq!(read(bytes, 3).unwrap(), [0.5, -0.5, 0.5, -0.5, 0.5, -0.5]);
}

#[test]
fn broken_floats_become_harmless() {
    let bytes = wav(spec(1, 48_000, 32, true), &[f32::NAN, f32::INFINITY, 7.0, -7.0]);
    assert_eq!(read(bytes, 4).unwrap(), [0.0, 0.0, 1.0, -1.0]);
}

proptest! {
    #[test]
    fn damaged_files_never_do_harm(
        at in 0_usize..48,
        value in any::<u8>(),
        second in 0_usize..48,
        other in any::<u8>(),
        cut in 0_usize..64,
    ) {
        let mut bytes = wav(spec(2, 44_100, 16, false), &[0.5; 8]);
        let length = bytes.len();
        bytes[at % length] = value;
        bytes[second % length] = other;
        bytes.truncate(length - cut % length);
        if let Ok(samples) = read(bytes, 100) {
            prop_assert!(samples.iter().all(|sample| (-1.0..=1.0).contains(sample)));
        }
    }

    #[test]
    fn any_bytes_are_a_file_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(bytes, 10);
    }
}
