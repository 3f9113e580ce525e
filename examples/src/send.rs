//! Transfer of a file, the sending side: as fast as the data channel takes it, with its progress.
//!
//! A text message tells the size, binary ones follow, and the receiver answers with a text message once it has
//! everything. All are of a size that needs no fragments: such messages keep their order.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rtcmesh_core::config::Config;
use rtcmesh_core::error::SendError;
use rtcmesh_core::media::DataMessage;
use rtcmesh_core::transport::Event;
use rtcmesh_runtime::{Runtime, WebRtcTransport};

use crate::progress::Progress;
use crate::{Error, about, wait};

/// Sends a file to the first peer whose data channel opens.
///
/// # Errors
/// Where the file cannot be read, the server cannot be reached, or the peer leaves before it has everything.
pub async fn send<R: Runtime>(mut config: Config, path: &Path) -> Result<(), Error> {
    let mut file = File::open(path).map_err(about(path))?;
    let size = file.metadata().map_err(about(path))?.len();
    config.audio.enabled = false;
    let mesh = WebRtcTransport::<R>::new(config)?;
    let mut events = mesh.events();
    mesh.start().await?;

    let mut receiver = None;
    wait(&mut events, |event| {
        let Event::DataChannelOpen { peer, label: "data" } = event else { return false };
        receiver = Some(peer.clone());
        true
    })
    .await?;
    let peer = receiver.as_ref().map_or("", |peer| peer.as_str());
    mesh.send_data_channel_message(peer, &DataMessage::text(size.to_string()))?;

    let mut progress = Progress::new(size);
    let mut piece = [0; DataMessage::MAX_UNFRAGMENTED];
    while !progress.is_complete() {
        let count = file.read(&mut piece).map_err(about(path))?;
        if count == 0 {
            return Err(format!("{}: became shorter", path.display()).into());
        }
        let message = DataMessage::binary(&piece[..count]);
        while let Err(error) = mesh.send_data_channel_message(peer, &message) {
            let SendError::SendBufferFull(_) = error else { return Err(error.into()) };
            wait(&mut events, |event| matches!(event, Event::BufferedAmountLow { .. })).await?;
        }
        progress.add(count);
    }
    wait(&mut events, |event| matches!(event, Event::Data { .. })).await?;
    mesh.shutdown().await;
    Ok(())
}
