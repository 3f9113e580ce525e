//! Voice into a WAV file: what one peer says, as it is heard.

use std::io::{self, Write};
use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};
use rtcmesh_core::config::Config;
use rtcmesh_core::transport::{AudioData, Event, Media};
use rtcmesh_runtime::{Runtime, TransportEvent, WebRtcTransport};

use crate::{Error, about};

/// Received audio comes at this rate, in Hz, 10 ms at a time. The file has one channel.
const RATE: u32 = 48_000;

/// Writes what the first peer says into a WAV file, until that peer leaves.
///
/// # Errors
/// Where the file cannot be written, the server cannot be reached, the peer is lost, or one leaves before anybody
/// has said anything.
pub async fn listen<R: Runtime>(config: Config, wav: &Path) -> Result<(), Error> {
    let int = SampleFormat::Int;
    let spec = WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: int };
    let mut writer = WavWriter::create(wav, spec).map_err(about(wav))?;
    let mesh = WebRtcTransport::<R>::new(config)?;
    let mut events = mesh.events();
    mesh.start().await?;

    let mut speaker = None;
    while let Some(event) = events.next().await {
        match event {
            TransportEvent::Media(Media::Audio { peer, frame }) => {
                let AudioData::Decoded(audio) = frame.data else { continue };
                if *speaker.get_or_insert(peer.clone()) != peer {
                    continue;
                }
                for instant in audio.samples.chunks_exact(usize::from(audio.channels)) {
                    let mean = instant.iter().sum::<f32>() / f32::from(audio.channels);
                    writer.write_sample((mean * 32_767.0) as i16).map_err(about(wav))?;
                }
            }
            TransportEvent::Event(Event::Closed { peer, by }) => match &speaker {
                None => return Err(format!("{peer} left before anything was heard: {by}").into()),
                Some(speaker) if *speaker == peer => break,
                Some(_) => {}
            },
            TransportEvent::Event(Event::Failed { peer, fault })
                if speaker.as_ref().is_none_or(|speaker| *speaker == peer) =>
            {
                return Err(format!("{peer} is lost: {fault}").into());
            }
            _ => {}
        }
    }
    mesh.shutdown().await;
    let seconds = f64::from(writer.duration()) / f64::from(RATE);
    let _ = writeln!(io::stdout(), "heard: {seconds:.1} s");
    writer.finalize().map_err(about(wav))
}
