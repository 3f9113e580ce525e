//! Mesh chat: lines of the standard input go to everybody in the room, and what the others say is printed.

use std::io::{self, Write};
use std::{sync::Arc, thread};

use rtcmesh_core::media::{DataMessage, RuntimeData};
use rtcmesh_core::{config::Config, transport::Event};
use rtcmesh_runtime::{Events, Runtime, TransportEvent, WebRtcTransport};

use crate::Error;

/// Chats until the standard input ends, or nobody reads the output any more.
///
/// # Errors
/// Where the configuration is wrong, or the signaling server cannot be reached.
pub async fn chat<R: Runtime>(mut config: Config) -> Result<(), Error> {
    // Nobody speaks here: without audio no codec runs.
    config.audio.enabled = false;
    let mesh = Arc::new(WebRtcTransport::<R>::new(config)?);
    let mut events = mesh.events();
    mesh.start().await?;
    let (name, ours) = (mesh.peer_id().to_string(), Arc::downgrade(&mesh));

    // Reading a terminal blocks, so that a thread does it: commands work from any, and never wait. With the
    // input the last handle ends, with it the mesh, and with that `print` below.
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let Err(error) = mesh.broadcast(&RuntimeData::Text(line.into())) else { continue };
            let _ = writeln!(io::stdout(), "* nobody was told: {error}");
        }
    });

    // An error says that nobody reads on: the end of a chat, too.
    let _ = print(&name, &mut events).await;
    if let Some(mesh) = ours.upgrade() {
        mesh.shutdown().await;
    }
    Ok(())
}

async fn print<R: Runtime>(name: &str, events: &mut Events<R>) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "* you are {name}")?;
    while let Some(event) = events.next().await {
        let TransportEvent::Event(event) = event else { continue };
        match event {
            Event::DataChannelOpen { peer, label: "data" } => writeln!(out, "* {peer} has come")?,
            Event::Data { peer, message: DataMessage::Text(text), .. } => {
                // What strangers send must not command the terminal.
                writeln!(out, "{peer}: {}", text.replace(char::is_control, " "))?;
            }
            Event::Closed { peer, by } => writeln!(out, "* {peer} has gone: {by}")?,
            Event::Failed { peer, fault } => writeln!(out, "* {peer} is lost: {fault}")?,
            Event::SignalingDown { reason, .. } => writeln!(out, "* no signaling: {reason}")?,
            _ => {}
        }
    }
    Ok(())
}
