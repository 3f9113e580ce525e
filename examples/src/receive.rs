//! Transfer of a file, the receiving side (`send` tells what passes between the two).

use std::io::{BufWriter, Write};
use std::{fs::File, path::Path};

use rtcmesh_core::transport::Event;
use rtcmesh_core::{config::Config, media::DataMessage};
use rtcmesh_runtime::{Runtime, TransportEvent, WebRtcTransport};

use crate::progress::Progress;
use crate::{Error, about};

/// Receives a file from the first peer that says its size, and stays until that peer leaves.
///
/// # Errors
/// Where the file cannot be written, the server cannot be reached, or the peer sends something else or leaves too early.
pub async fn receive<R: Runtime>(mut config: Config, path: &Path) -> Result<(), Error> {
    config.audio.enabled = false;
    let mesh = WebRtcTransport::<R>::new(config)?;
    let mut events = mesh.events();
    mesh.start().await?;

    let mut transfer: Option<(_, Progress, BufWriter<File>)> = None;
    while let Some(event) = events.next().await {
        let TransportEvent::Event(event) = event else { continue };
        match (event, &mut transfer) {
            (Event::Data { peer, message: DataMessage::Text(size), .. }, None) => {
                let progress = Progress::announced(&size)?;
                let file = BufWriter::new(File::create(path).map_err(about(path))?);
                transfer = Some((peer, progress, file));
            }
            (
                Event::Data { peer, message: DataMessage::Binary(bytes), .. },
                Some((sender, progress, file)),
            ) if peer == *sender => {
                file.write_all(&bytes).map_err(about(path))?;
                progress.add(bytes.len());
            }
            (
                Event::Closed { peer, .. } | Event::Failed { peer, .. },
                Some((sender, progress, _)),
            ) if peer == *sender => {
                mesh.shutdown().await;
                let early = || "the sender left too early".into();
                return progress.is_complete().then_some(()).ok_or_else(early);
            }
            _ => continue,
        }
        if let Some((sender, progress, file)) = &mut transfer
            && progress.is_complete()
        {
            file.flush().map_err(about(path))?;
            mesh.send_data_channel_message(sender.as_str(), &DataMessage::text("received"))?;
        }
    }
    Err("the mesh has ended".into())
}
