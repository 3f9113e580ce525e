//! One native peer of the demo: speaks, listens, and keeps its part of the board.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rtcmesh_core::config::Config;
use rtcmesh_core::error::BroadcastError;
use rtcmesh_core::media::RuntimeData;
use rtcmesh_core::transport::{AudioData, Event, Media};
use rtcmesh_tokio::{Events, TlsOptions, TransportEvent, WebRtcTransport};
use tokio::task::JoinHandle;

use super::board::{Listener, Voice};
use crate::audio::{Pacer, Source};
use crate::page::{figures, shows_figures};
use crate::reception::Age;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A running native peer.
#[derive(Debug)]
pub(super) struct NativePeer {
    transport: WebRtcTransport,
    listener: Arc<Mutex<Listener>>,
    tasks: [JoinHandle<()>; 2],
}

impl NativePeer {
    /// Starts the peer with the given index and returns once it is announced.
    pub(super) async fn start(
        config: Config,
        tls: TlsOptions,
        voices: Vec<Voice>,
        index: usize,
    ) -> Result<Self, Error> {
        let voice = voices.get(index).ok_or("there is no such voice")?;
        // Each begins elsewhere in the recording: a choir in unison would be hard to tell apart.
        let source = Source::voice_with_tone(voice.tone, index as f64 / voices.len() as f64)?;
        let transport = WebRtcTransport::new(config.peer_id(voice.id.as_str()))?.tls(tls);
        let listener = Arc::new(Mutex::new(Listener::new(voices)));
        let listening = tokio::spawn(listen(transport.events(), listener.clone()));
        let speaking = tokio::spawn(speak(transport.clone(), source));
        let peer = Self { transport, listener, tasks: [listening, speaking] };
        peer.transport.start().await?;
        Ok(peer)
    }

    /// What it knows.
    pub(super) fn listener(&self) -> MutexGuard<'_, Listener> {
        lock(&self.listener)
    }

    /// Takes over the figures of its connections; with `tell`, pages are told how they are received.
    pub(super) fn look(&self, tell: bool) {
        let peers = self.transport.list_peers().unwrap_or_default();
        let mut listener = self.listener();
        for info in peers {
            listener.figures(&info.peer, info.quality, info.counters);
            if tell
                && shows_figures(&info.user_data)
                && let Some(reception) = listener.reception(&info.peer)
            {
                // Its channel may not be open yet, or be full: there will be later figures.
                let _ = self
                    .transport
                    .send_data_channel_message(info.peer.as_str(), &figures(reception));
            }
        }
    }

    /// Says goodbye to everybody.
    pub(super) async fn shutdown(&self) {
        self.transport.shutdown().await;
    }
}

impl Drop for NativePeer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A listener that panicked has shown a bad figure at worst.
fn lock(listener: &Mutex<Listener>) -> MutexGuard<'_, Listener> {
    listener.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn listen(mut events: Events, listener: Arc<Mutex<Listener>>) {
    while let Some(event) = events.next().await {
        match event {
            TransportEvent::Event(event) => {
                if let Event::Failed { peer, fault } = &event {
                    tracing::warn!("{peer}: {fault}");
                }
                lock(&listener).happened(&event);
            }
            TransportEvent::Media(Media::Audio { peer, frame }) => {
                if let AudioData::Decoded(audio) = &frame.data {
                    let mut listener = lock(&listener);
                    listener.hear(&peer, audio, frame.concealed, Instant::now());
                    listener.audio_age(&peer, Age::of(frame.capture));
                }
            }
            TransportEvent::Media(Media::Video { peer, timing, .. }) => {
                lock(&listener).video_age(&peer, Age::of(timing.capture));
            }
            _ => {}
        }
    }
}

async fn speak(transport: WebRtcTransport, mut source: Source) {
    let mut pacer = Pacer::new();
    loop {
        pacer.next().await;
        match transport.broadcast(&RuntimeData::Audio(source.chunk())) {
            // Before the start and without anybody to hear it, time passes all the same.
            Ok(_) | Err(BroadcastError::NoPeersConnected | BroadcastError::NotStarted) => {}
            Err(error) => {
                tracing::error!("the audio cannot be sent: {error}");
                return;
            }
        }
    }
}
