//! A mesh of webrtc-rs over UDP on loopback, without signaling: `PROGRAM PEERS` prints how many milliseconds
//! it took until all were connected with all, both ways, every channel open. One cold process a figure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState,
};

/// The channels that two peers of rtcmesh open.
const CHANNELS: [&str; 3] = ["data", "data-unreliable", "rtcmesh/1"];

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Gathered,
    Connected,
    Open,
}

struct Handler(UnboundedSender<Step>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(Step::Gathered);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.0.send(Step::Connected);
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        watch(channel, self.0.clone());
    }
}

/// Tells when a channel opens.
fn watch(channel: Arc<dyn DataChannel>, steps: UnboundedSender<Step>) {
    tokio::spawn(async move {
        while let Some(event) = channel.poll().await {
            if matches!(event, DataChannelEvent::OnOpen) {
                let _ = steps.send(Step::Open);
            }
        }
    });
}

struct End<P> {
    connection: P,
    steps: UnboundedReceiver<Step>,
    gathered: bool,
    connected: bool,
    open: usize,
}

impl<P> End<P> {
    async fn until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        while !done(self) {
            match self.steps.recv().await.ok_or("the connection has ended")? {
                Step::Gathered => self.gathered = true,
                Step::Connected => self.connected = true,
                Step::Open => self.open += 1,
            }
        }
        Ok(())
    }
}

async fn end() -> Result<(End<impl PeerConnection>, UnboundedSender<Step>), Failure> {
    let (sender, steps) = unbounded_channel();
    let mut media = MediaEngine::default();
    media.register_default_codecs()?;
    let connection = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_handler(Arc::new(Handler(sender.clone())))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .build()
        .await?;
    let end = End { connection, steps, gathered: false, connected: false, open: 0 };
    Ok((end, sender))
}

/// Connects a pair, and gives when it was.
async fn pair() -> Result<Instant, Failure> {
    let (mut a, steps) = end().await?;
    let (mut b, _) = end().await?;
    a.connection.add_transceiver_from_kind(RtpCodecKind::Audio, None).await?;
    for label in CHANNELS {
        watch(a.connection.create_data_channel(label, None).await?, steps.clone());
    }
    let offer = a.connection.create_offer(None).await?;
    a.connection.set_local_description(offer).await?;
    a.until(|end| end.gathered).await?;
    let offer = a.connection.local_description().await.ok_or("no offer")?;
    b.connection.set_remote_description(offer).await?;
    let answer = b.connection.create_answer(None).await?;
    b.connection.set_local_description(answer).await?;
    b.until(|end| end.gathered).await?;
    let answer = b.connection.local_description().await.ok_or("no answer")?;
    a.connection.set_remote_description(answer).await?;
    a.until(|end| end.connected && end.open >= CHANNELS.len()).await?;
    b.until(|end| end.connected && end.open >= CHANNELS.len()).await?;
    let done = Instant::now();
    // They live until all others are connected too.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop((a, b));
    });
    Ok(done)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let count: usize = std::env::args().nth(1).ok_or("usage: PROGRAM PEERS")?.parse()?;
    let start = Instant::now();
    let pairs: Vec<_> = (0..count * (count - 1) / 2).map(|_| tokio::spawn(pair())).collect();
    let mut end = start;
    for pair in pairs {
        end = end.max(tokio::time::timeout(Duration::from_secs(20), pair).await???);
    }
    println!("{:.1}", (end - start).as_secs_f64() * 1e3);
    std::process::exit(0);
}
