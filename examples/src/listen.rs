//! Voice into a WAV file: what one peer says, as it is heard.

use std::{io, io::Write, path::Path};

use hound::{SampleFormat::Int, WavSpec, WavWriter};
use rtcmesh_core::config::Config;
use rtcmesh_core::transport::{AudioData, Event, Media};
use rtcmesh_runtime::{Runtime, TransportEvent, WebRtcTransport};

use crate::{Error, about};

/// Received audio comes at this rate, in Hz, 10 ms at a time. The file has one channel.
const RATE: u32 = 48_000;

/// Writes what the first peer says into a WAV file, from the first sound until that peer leaves.
///
/// # Errors
/// Where the file cannot be written, the server cannot be reached, the peer is lost, or leaves before anything is heard.
pub async fn listen<R: Runtime>(config: Config, wav: &Path) -> Result<(), Error> {
    let spec = WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: Int };
    let mesh = WebRtcTransport::<R>::new(config)?;
    let mut events = mesh.events();
    mesh.start().await?;

    let mut heard: Option<(_, WavWriter<_>)> = None;
    while let Some(event) = events.next().await {
        match event {
            TransportEvent::Media(Media::Audio { peer, frame }) => {
                let AudioData::Decoded(audio) = frame.data else { continue };
                if heard.is_none() {
                    heard = Some((peer.clone(), WavWriter::create(wav, spec).map_err(about(wav))?));
                }
                let Some((_, writer)) = heard.as_mut().filter(|heard| heard.0 == peer) else {
                    continue;
                };
                for instant in audio.samples.chunks_exact(usize::from(audio.channels)) {
                    let mean = instant.iter().sum::<f32>() / f32::from(audio.channels);
                    writer.write_sample((mean * 32_767.0) as i16).map_err(about(wav))?;
                }
            }
            TransportEvent::Event(Event::Closed { peer, by }) => match &heard {
                None => return Err(format!("{peer} left before anything was heard: {by}").into()),
                Some((speaker, _)) if *speaker == peer => break,
                Some(_) => {}
            },
            TransportEvent::Event(Event::Failed { peer, fault })
                if heard.as_ref().is_none_or(|(speaker, _)| *speaker == peer) =>
            {
                return Err(format!("{peer} is lost: {fault}").into());
            }
            _ => {}
        }
    }
    mesh.shutdown().await;
    let Some((_, writer)) = heard else { return Err("the mesh has ended".into()) };
    let seconds = f64::from(writer.duration()) / f64::from(RATE);
    let _ = writeln!(io::stdout(), "heard: {seconds:.1} s");
    writer.finalize().map_err(about(wav))
}
