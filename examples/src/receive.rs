//! Transfer of a file, the receiving side (`send` tells what passes between the two).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rtcmesh_core::transport::Event;
use rtcmesh_core::{config::Config, media::DataMessage};
use rtcmesh_runtime::{Runtime, TransportEvent, WebRtcTransport};

use crate::progress::Progress;
use crate::{Error, about};

/// Receives a file from the first peer that sends one, and stays until that peer leaves.
///
/// # Errors
/// Where the file cannot be written, the server cannot be reached, or the peer sends something else or leaves too early.
pub async fn receive<R: Runtime>(mut config: Config, path: &Path) -> Result<(), Error> {
    let mut file = BufWriter::new(File::create(path).map_err(about(path))?);
    config.audio.enabled = false;
    let mesh = WebRtcTransport::<R>::new(config)?;
    let mut events = mesh.events();
    mesh.start().await?;

    let mut transfer: Option<(_, Progress)> = None;
    while let Some(event) = events.next().await {
        let TransportEvent::Event(event) = event else { continue };
        match (event, &mut transfer) {
            (Event::Data { peer, message: DataMessage::Text(size), .. }, None) => {
                transfer = Some((peer, Progress::announced(&size)?));
            }
            (
                Event::Data { peer, message: DataMessage::Binary(bytes), .. },
                Some((sender, progress)),
            ) if peer == *sender => {
                file.write_all(&bytes).map_err(about(path))?;
                progress.add(bytes.len());
            }
            (Event::Closed { peer, .. } | Event::Failed { peer, .. }, Some((sender, progress)))
                if peer == *sender =>
            {
                mesh.shutdown().await;
                return if progress.is_complete() {
                    Ok(())
                } else {
                    Err("the sender left too early".into())
                };
            }
            _ => continue,
        }
        if let Some((sender, progress)) = &transfer
            && progress.is_complete()
        {
            file.flush().map_err(about(path))?;
            mesh.send_data_channel_message(sender.as_str(), &DataMessage::text("received"))?;
        }
    }
    Err("the mesh has ended".into())
}
