//! Mesh chat: lines of the standard input go to everybody in the room, and what the others say is printed.

use std::{io, thread};

use rtcmesh_core::config::Config;
use rtcmesh_core::media::{DataMessage, RuntimeData};
use rtcmesh_core::transport::Event;
use rtcmesh_runtime::{Runtime, TransportEvent, WebRtcTransport};

use crate::Error;

/// Chats until the standard input ends.
///
/// # Errors
/// Where the configuration is wrong, or the signaling server cannot be reached.
pub async fn chat<R: Runtime>(mut config: Config) -> Result<(), Error> {
    // Nobody speaks here: without audio no codec runs.
    config.audio.enabled = false;
    let mesh = WebRtcTransport::<R>::new(config)?;
    let mut events = mesh.events();
    mesh.start().await?;
    println!("* you are {}", mesh.peer_id());

    // Reading a terminal blocks, so that a thread does it: commands work from any, and never wait. With the
    // input the last handle ends, with it the mesh, and with that the loop below.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if let Err(error) = mesh.broadcast(&RuntimeData::Text(line.into())) {
                println!("* nobody was told: {error}");
            }
        }
    });

    while let Some(event) = events.next().await {
        let TransportEvent::Event(event) = event else { continue };
        match event {
            Event::DataChannelOpen { peer, label: "data" } => println!("* {peer} has come"),
            Event::Data { peer, message: DataMessage::Text(text), .. } => {
                // What strangers send must not command the terminal.
                let text = text.replace(|c: char| c.is_control(), " ");
                println!("{peer}: {text}");
            }
            Event::Closed { peer, by } => println!("* {peer} has gone: {by}"),
            Event::Failed { peer, fault } => println!("* {peer} is lost: {fault}"),
            Event::SignalingDown { reason, .. } => println!("* no signaling: {reason}"),
            _ => {}
        }
    }
    Ok(())
}
