//! Voice out of a WAV file: spoken to everybody in the room, in its own time.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use hound::{SampleFormat, WavReader, WavSpec};
use rtcmesh_core::config::Config;
use rtcmesh_core::media::{AudioBuffer, RuntimeData};
use rtcmesh_core::transport::Event;
use rtcmesh_runtime::{Runtime, WebRtcTransport};

use crate::{Error, about, wait};

/// How long to stay after the last word: no receiver holds audio back for longer (`max_jitter_buffer_ms`).
const FAREWELL: Duration = Duration::from_millis(600);

/// Speaks a WAV file, from when the first peer is connected.
///
/// # Errors
/// Where the file is none that can be spoken, the server cannot be reached, or nobody is left to listen.
pub async fn speak<R: Runtime>(config: Config, wav: &Path) -> Result<(), Error> {
    let mut reader = WavReader::open(wav).map_err(about(wav))?;
    let WavSpec { channels, sample_rate, bits_per_sample, sample_format } = reader.spec();
    let scale = 2_f32.powi(1 - i32::from(bits_per_sample));
    let samples: Result<Vec<f32>, _> = match sample_format {
        SampleFormat::Float => reader.samples().collect(),
        SampleFormat::Int => reader.samples::<i32>().map(|s| Ok(s? as f32 * scale)).collect(),
    };
    let samples = samples.map_err(about::<hound::Error>(wav))?;

    let runtime = R::current()?;
    let mesh = WebRtcTransport::with_runtime(runtime.clone(), config)?;
    let mut events = mesh.events();
    mesh.start().await?;
    wait(&mut events, |event| matches!(event, Event::Connected { .. })).await?;

    // 20 ms at a time, a frame of Opus.
    let mut due = runtime.now();
    let piece = usize::from(channels) * (sample_rate / 50) as usize;
    for samples in samples.chunks(piece.max(1)) {
        runtime.sleep_until(due).await;
        let length = samples.len() as f64 / f64::from(channels);
        let audio = AudioBuffer { samples: samples.into(), sample_rate, channels };
        mesh.broadcast(&RuntimeData::Audio(audio))?;
        due += Duration::from_secs_f64(length / f64::from(sample_rate));
    }
    runtime.sleep_until(due + FAREWELL).await;
    mesh.shutdown().await;
    let seconds = f64::from(reader.duration()) / f64::from(sample_rate);
    let _ = writeln!(io::stdout(), "spoken: {seconds:.1} s");
    Ok(())
}
