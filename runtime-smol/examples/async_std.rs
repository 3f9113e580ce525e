//! Two peers under async-std: `cargo run -p rtcmesh-smol --example async_std`.
//!
//! async-std's reactor is smol's. Here the tasks run on its executor too.

use std::error::Error;
use std::io::{self, Write};

use rtcmesh_smol::config::Config;
use rtcmesh_smol::media::DataMessage;
use rtcmesh_smol::{
    Event, SignalingServer, SignalingServerOptions, SmolRuntime, TransportEvent, WebRtcTransport,
};

/// A peer that has said hello, and what it heard.
type Greeted = (WebRtcTransport, String);

/// Joins, says hello to whoever comes, and waits for what the other one says.
async fn greet(
    runtime: SmolRuntime,
    url: String,
    name: &'static str,
) -> Result<Greeted, Box<dyn Error + Send + Sync>> {
    let transport = WebRtcTransport::with_runtime(runtime, Config::new(url).peer_id(name))?;
    let mut events = transport.events();
    transport.start().await?;
    let (mut said, mut heard) = (false, None);
    while let Some(event) = events.next().await {
        match event {
            TransportEvent::Event(Event::DataChannelOpen { peer, label: "data" }) => {
                let hello = DataMessage::text(format!("hello from {name}"));
                transport.send_data_channel_message(peer.as_str(), &hello)?;
                said = true;
            }
            TransportEvent::Event(Event::Data { message: DataMessage::Text(text), .. }) => {
                heard = Some(text.to_string());
            }
            _ => {}
        }
        if let Some(heard) = heard.take_if(|_| said) {
            return Ok((transport, heard));
        }
    }
    Err("the mesh has ended".into())
}

/// Two peers and their server: what each peer hears.
pub(crate) async fn meet() -> Result<[String; 2], Box<dyn Error + Send + Sync>> {
    let runtime = SmolRuntime::spawning(|task| drop(async_std::task::spawn(task)));
    let listen = ([127, 0, 0, 1], 0).into();
    let options = SignalingServerOptions::new();
    let server = SignalingServer::bind_in(runtime.clone(), [listen], options)?;
    let url = format!("ws://{}/", server.local_addr().ok_or("no address")?);
    let bob = async_std::task::spawn(greet(runtime.clone(), url.clone(), "bob"));
    let (alice, at_alice) = greet(runtime, url, "alice").await?;
    let (bob, at_bob) = bob.await?;
    alice.shutdown().await;
    bob.shutdown().await;
    server.shutdown().await;
    Ok([at_alice, at_bob])
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let [alice, bob] = async_std::task::block_on(meet())?;
    writeln!(io::stdout(), "alice heard: {alice}\nbob heard: {bob}")?;
    Ok(())
}
