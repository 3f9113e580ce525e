//! Sending: to one peer, to all, over the data channel.

use std::time::{Duration, Instant};

use super::{Phase, Transport};
use crate::codec::{EncodedFrame, opus_packet_duration};
use crate::config::DataChannelMode;
use crate::error::{BroadcastError, SendError};
use crate::id::PeerId;
use crate::media::{
    AudioBuffer, DataMessage, EncodedAudio, EncodedVideo, Reliability, RuntimeData,
};
use crate::peer::{DataRefused, MediaRefused, Prepared};
use crate::transport::demux::Slot;
use crate::transport::info::BroadcastStats;
use crate::transport::outgoing::{AudioSource, EncodeError, Stream};
use crate::transport::record::Call;
use crate::transport::remote::Connection;

/// What is handed to each receiver: encoded, prepared, shared.
enum Outgoing<'a> {
    Frames(Stream, &'a [EncodedFrame]),
    Packet(&'a EncodedAudio),
    Video(&'a EncodedVideo),
    Message(&'a Prepared, Reliability),
}

/// The largest encoded audio packet: what fits into one datagram beside RTP, SRTP and UDP headers.
const MAX_OPUS: usize = 1_150;

impl Transport {
    /// Sends media or a message to one peer: raw audio is encoded for it alone. Text, JSON and bytes go
    /// over the data channel, in the configured mode.
    ///
    /// # Errors
    /// [`SendError`]. Raw audio is taken in by the chunk: `Ok` also where its frame is not complete yet.
    pub fn send_to_peer(
        &mut self,
        now: Instant,
        peer: &str,
        data: &RuntimeData,
    ) -> Result<(), SendError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |tape| Call::send(tape, Some(peer), data),
                |t| t.send_to_peer(now, peer, data),
            );
        }
        let now = self.clock.advance(now);
        let slot = self.sendable(peer)?;
        let result = match data {
            RuntimeData::Audio(audio) => self.send_raw(now, slot, audio),
            RuntimeData::EncodedAudio(packet) => check_packet(packet)
                .map_err(SendError::InvalidData)
                .and_then(|()| self.send_slot(now, slot, &Outgoing::Packet(packet))),
            RuntimeData::Video(frame) => check_video(frame)
                .map_err(SendError::InvalidData)
                .and_then(|()| self.send_slot(now, slot, &Outgoing::Video(frame))),
            RuntimeData::Text(text) => {
                self.send_message(now, slot, DataMessage::Text(text.clone()))
            }
            RuntimeData::Json(json) => {
                self.send_message(now, slot, DataMessage::Json(json.clone()))
            }
            RuntimeData::Binary(bytes) => {
                self.send_message(now, slot, DataMessage::Binary(bytes.clone()))
            }
        };
        self.settle(now, slot);
        result
    }

    /// Sends a message over a peer's data channel; `reliability: None` is the configured mode.
    ///
    /// # Errors
    /// [`SendError`]. [`SendError::SendBufferFull`] is followed by an
    /// [`crate::transport::Event::BufferedAmountLow`] when there is room again.
    pub fn send_data_channel_message(
        &mut self,
        now: Instant,
        peer: &str,
        message: &DataMessage,
        reliability: Option<Reliability>,
    ) -> Result<(), SendError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |tape| Call::message(tape, peer, message, reliability),
                |t| t.send_data_channel_message(now, peer, message, reliability),
            );
        }
        let now = self.clock.advance(now);
        let slot = self.sendable(peer)?;
        let reliability = reliability.unwrap_or_else(|| self.default_reliability());
        let message = Prepared::new(message);
        let result = self.send_slot(now, slot, &Outgoing::Message(&message, reliability));
        self.settle(now, slot);
        result
    }

    /// Sends media or a message to every connected peer. Raw audio is encoded once, whatever their number,
    /// and nothing is copied. A peer that it cannot be sent to never keeps another from receiving.
    ///
    /// # Errors
    /// [`BroadcastError`], only where nobody at all could be sent to.
    pub fn broadcast(
        &mut self,
        now: Instant,
        data: &RuntimeData,
    ) -> Result<BroadcastStats, BroadcastError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |tape| Call::send(tape, None, data),
                |t| t.broadcast(now, data),
            );
        }
        let now = self.clock.advance(now);
        if self.phase != Phase::Running {
            return Err(BroadcastError::NotStarted);
        }
        let connected =
            self.remotes.iter().filter_map(|remote| remote.connection.as_deref()).any(Self::is_up);
        if !connected {
            return Err(BroadcastError::NoPeersConnected);
        }
        match data {
            RuntimeData::Audio(audio) => self.broadcast_raw(now, audio),
            RuntimeData::EncodedAudio(packet) => {
                check_packet(packet).map_err(BroadcastError::InvalidData)?;
                Ok(self.send_all(now, &Outgoing::Packet(packet)))
            }
            RuntimeData::Video(frame) => {
                check_video(frame).map_err(BroadcastError::InvalidData)?;
                Ok(self.send_all(now, &Outgoing::Video(frame)))
            }
            RuntimeData::Text(text) => Ok(self.tell_all(now, DataMessage::Text(text.clone()))),
            RuntimeData::Json(json) => Ok(self.tell_all(now, DataMessage::Json(json.clone()))),
            RuntimeData::Binary(bytes) => {
                Ok(self.tell_all(now, DataMessage::Binary(bytes.clone())))
            }
        }
    }

    /// Bytes of messages that a peer has not acknowledged.
    ///
    /// # Errors
    /// [`SendError`], where there is no connection to it.
    pub fn buffered_amount(&mut self, peer: &str) -> Result<usize, SendError> {
        if let Some(trace) = self.trace.take() {
            let now = self.clock.now();
            return self.traced(
                trace,
                now,
                |_| Call::Buffered(peer.into()),
                |t| t.buffered_amount(peer),
            );
        }
        let slot = self.sendable(peer)?;
        let remote = self.remotes.get_mut(slot);
        Ok(remote.and_then(|r| r.established()).map_or(0, |c| c.peer.buffered_amount()))
    }

    /// Asks a peer for a keyframe of the video that it sends. The transport does so by itself after losses.
    ///
    /// # Errors
    /// [`SendError`], where there is no connection to it.
    pub fn request_keyframe(&mut self, now: Instant, peer: &str) -> Result<(), SendError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |_| Call::Keyframe(peer.into()),
                |t| t.request_keyframe(now, peer),
            );
        }
        let now = self.clock.advance(now);
        let slot = self.sendable(peer)?;
        if let Some(connection) = self.remotes.get_mut(slot).and_then(|r| r.established()) {
            connection.peer.request_keyframe(now);
        }
        self.settle(now, slot);
        Ok(())
    }

    /// Offers a video section to a peer, beside what is negotiated already. Where there is one, nothing
    /// happens.
    ///
    /// # Errors
    /// [`SendError`], where there is no connection to it.
    pub fn offer_video(&mut self, now: Instant, peer: &str) -> Result<(), SendError> {
        if let Some(trace) = self.trace.take() {
            return self.traced(
                trace,
                now,
                |_| Call::Video(peer.into()),
                |t| t.offer_video(now, peer),
            );
        }
        let now = self.clock.advance(now);
        let slot = self.sendable(peer)?;
        if let Some(connection) = self.remotes.get_mut(slot).and_then(|r| r.established()) {
            connection.peer.wish_video(now);
        }
        self.settle(now, slot);
        Ok(())
    }

    fn default_reliability(&self) -> Reliability {
        match self.config.data_channel_mode {
            DataChannelMode::Reliable => Reliability::Reliable,
            DataChannelMode::Unreliable => Reliability::Unreliable,
        }
    }

    fn is_up(connection: &Connection) -> bool {
        connection.connected_at.is_some() && Self::can_send(connection)
    }

    /// The slot of a peer that can be sent to.
    fn sendable(&self, peer: &str) -> Result<Slot, SendError> {
        if self.phase != Phase::Running {
            return Err(SendError::NotStarted);
        }
        let not_connected = |id: PeerId| Err(SendError::PeerNotConnected(id));
        let Some((slot, remote)) =
            self.remotes.find(peer).and_then(|slot| Some((slot, self.remotes.get(slot)?)))
        else {
            return match PeerId::new(peer) {
                Ok(id) if self.remotes.was_known(peer) => not_connected(id),
                _ => Err(SendError::PeerNotFound(peer.into())),
            };
        };
        match remote.connection.as_deref() {
            Some(connection) if Self::is_up(connection) => Ok(slot),
            _ => not_connected(remote.id.clone()),
        }
    }

    fn send_message(
        &mut self,
        now: Instant,
        slot: Slot,
        message: DataMessage,
    ) -> Result<(), SendError> {
        let reliability = self.default_reliability();
        self.send_slot(now, slot, &Outgoing::Message(&Prepared::new(&message), reliability))
    }

    fn tell_all(&mut self, now: Instant, message: DataMessage) -> BroadcastStats {
        let reliability = self.default_reliability();
        self.send_all(now, &Outgoing::Message(&Prepared::new(&message), reliability))
    }

    fn send_raw(&mut self, now: Instant, slot: Slot, audio: &AudioBuffer) -> Result<(), SendError> {
        let settings = self.config.audio;
        let source = self.remotes.get_mut(slot).and_then(|r| r.established()?.source.take());
        let mut source = match source {
            Some(source) => source,
            None => Box::new(AudioSource::new(&settings).map_err(send_error)?),
        };
        source.record(self.tape.as_ref());
        let result = match source.push(now, audio) {
            Ok(frames) => {
                self.counts.audio_encodes += frames.len() as u64;
                self.send_slot(now, slot, &Outgoing::Frames(Stream::Unicast, frames))
            }
            Err(error) => Err(send_error(error)),
        };
        if let Some(connection) = self.remotes.get_mut(slot).and_then(|r| r.established()) {
            connection.source = Some(source);
        }
        result
    }

    fn broadcast_raw(
        &mut self,
        now: Instant,
        audio: &AudioBuffer,
    ) -> Result<BroadcastStats, BroadcastError> {
        let mut source = match self.broadcast.take() {
            Some(source) => source,
            None => Box::new(AudioSource::new(&self.config.audio).map_err(broadcast_error)?),
        };
        source.record(self.tape.as_ref());
        let result = match source.push(now, audio) {
            Ok(frames) => {
                self.counts.audio_encodes += frames.len() as u64;
                Ok(self.send_all(now, &Outgoing::Frames(Stream::Broadcast, frames)))
            }
            Err(error) => Err(broadcast_error(error)),
        };
        self.broadcast = Some(source);
        result
    }

    fn send_all(&mut self, now: Instant, data: &Outgoing<'_>) -> BroadcastStats {
        let mut stats = BroadcastStats {
            total_peers: 0,
            sent_count: 0,
            failed_count: 0,
            failed_peers: Vec::new(),
            duration: Duration::ZERO,
        };
        for slot in 0..self.remotes.capacity() {
            let remote = self.remotes.get(slot);
            if !remote.and_then(|r| r.connection.as_deref()).is_some_and(Self::is_up) {
                continue;
            }
            stats.total_peers += 1;
            match self.send_slot(now, slot, data) {
                Ok(()) => stats.sent_count += 1,
                Err(error) => {
                    stats.failed_count += 1;
                    if let Some(remote) = self.remotes.get(slot) {
                        stats.failed_peers.push((remote.id.clone(), error));
                    }
                }
            }
            self.settle(now, slot);
        }
        stats
    }

    fn send_slot(
        &mut self,
        now: Instant,
        slot: Slot,
        data: &Outgoing<'_>,
    ) -> Result<(), SendError> {
        let Some(remote) = self.remotes.get_mut(slot) else {
            return Err(SendError::PeerNotFound(slot.to_string()));
        };
        let Some(connection) = remote.connection.as_deref_mut() else {
            return Err(SendError::PeerNotConnected(remote.id.clone()));
        };
        let refused = match data {
            Outgoing::Frames(stream, frames) => send_frames(now, connection, *stream, frames),
            Outgoing::Packet(packet) => {
                let duration = packet.duration;
                let rtp = connection.timeline.place(now, Stream::Encoded, None, duration);
                let captured = now.checked_sub(duration).unwrap_or(now);
                connection.peer.write_audio(now, captured, rtp, &packet.opus, None)
            }
            Outgoing::Video(frame) => {
                let what = frame.codec.name();
                return connection.peer.write_video(now, frame).map_err(|refused| match refused {
                    MediaRefused::NotNegotiated => {
                        SendError::NotNegotiated { peer: remote.id.clone(), what: what.to_owned() }
                    }
                    MediaRefused::Engine => SendError::PeerNotConnected(remote.id.clone()),
                });
            }
            Outgoing::Message(message, reliability) => {
                let sent = connection.peer.send_data(now, message, *reliability);
                return sent.map_err(|refused| data_error(&remote.id, refused));
            }
        };
        refused.map_err(|refused| match refused {
            MediaRefused::NotNegotiated => {
                SendError::NotNegotiated { peer: remote.id.clone(), what: "audio".into() }
            }
            MediaRefused::Engine => SendError::PeerNotConnected(remote.id.clone()),
        })
    }
}

fn send_frames(
    now: Instant,
    connection: &mut Connection,
    stream: Stream,
    frames: &[EncodedFrame],
) -> Result<(), MediaRefused> {
    if frames.is_empty() && !connection.peer.audio_negotiated() {
        return Err(MediaRefused::NotNegotiated);
    }
    for (n, frame) in frames.iter().enumerate() {
        if frame.dtx {
            continue;
        }
        let EncodedFrame { rtp_offset, duration, .. } = *frame;
        let rtp = connection.timeline.place(now, stream, Some(rtp_offset), duration);
        // The last frame of a chunk has just ended.
        let since = duration * (frames.len() - n) as u32;
        let captured = now.checked_sub(since).unwrap_or(now);
        let level = i8::try_from(frame.level).ok().map(|level| -level);
        connection.peer.write_audio(now, captured, rtp, &frame.opus, level)?;
    }
    Ok(())
}

fn check_packet(packet: &EncodedAudio) -> Result<(), String> {
    let size = packet.opus.len();
    if size > MAX_OPUS {
        return Err(format!("opus: {size} bytes, at most {MAX_OPUS} fit into a datagram"));
    }
    let inside = opus_packet_duration(&packet.opus).ok_or("opus: no valid packet header")?;
    if inside != packet.duration {
        return Err(format!(
            "duration: {:?}, but the packet holds {inside:?} of audio",
            packet.duration
        ));
    }
    Ok(())
}

fn check_video(frame: &EncodedVideo) -> Result<(), String> {
    /// More than any real frame has; each becomes about a packet per kilobyte at once.
    const MAX_VIDEO: usize = 4 * 1024 * 1024;
    match frame.data.len() {
        0 => Err("data: an empty frame".into()),
        size if size > MAX_VIDEO => Err(format!("data: {size} bytes, at most {MAX_VIDEO}")),
        _ => Ok(()),
    }
}

fn data_error(peer: &PeerId, refused: DataRefused) -> SendError {
    match refused {
        DataRefused::NoChannel(label) => {
            SendError::DataChannelNotAvailable { peer: peer.clone(), label }
        }
        DataRefused::TooLarge { size, limit } => SendError::MessageTooLarge { size, limit },
        DataRefused::Empty => {
            SendError::InvalidData("an empty message cannot be sent to this peer".into())
        }
        DataRefused::Full => SendError::SendBufferFull(peer.clone()),
    }
}

fn send_error(error: EncodeError) -> SendError {
    match error {
        EncodeError::Invalid(text) => SendError::InvalidData(text),
        EncodeError::Encoding(text) => SendError::Encoding(text),
    }
}

fn broadcast_error(error: EncodeError) -> BroadcastError {
    match error {
        EncodeError::Invalid(text) => BroadcastError::InvalidData(text),
        EncodeError::Encoding(text) => BroadcastError::Encoding(text),
    }
}
