//! What only simulators and benches may do. Not a stable interface.

use std::sync::Arc;
use std::time::Instant;

use super::Transport;
use crate::codec::opus_packet_duration;
use crate::id::PeerId;
use crate::media::{EncodedAudio, EncodedVideo};
use crate::net::Datagram;
use crate::peer::{Engine, forget_plain, plain_of};
use crate::transport::demux::Slot;
use crate::transport::event::{AudioData, AudioFrame, Media, VideoTiming};

impl Transport {
    /// Uses this certificate and private key (DER, PKCS #8) instead of new ones. Before `start`.
    #[doc(hidden)]
    pub fn use_certificate(&mut self, certificate: Vec<u8>, private_key: Vec<u8>) {
        self.engine = Some(Engine::with_certificate(certificate, private_key));
    }

    /// Uses this certificate and private key (DER, PKCS #8; ECDSA with P-256), and handshakes that follow from the
    /// transport's seed instead of the operating system's randomness: anyone can decrypt them. Before `start`.
    #[doc(hidden)]
    pub fn use_seeded_engine(&mut self, certificate: Vec<u8>, private_key: Vec<u8>) {
        self.engine = Some(Engine::seeded(certificate, private_key));
    }

    /// The same, which also keeps what it encrypts, for [`Transport::plain_of`]. Before `start`.
    #[doc(hidden)]
    pub fn use_tapped_engine(&mut self, certificate: Vec<u8>, private_key: Vec<u8>) {
        self.engine = Some(Engine::tapped(certificate, private_key));
    }

    /// Takes what a tapped engine of this thread encrypted into a datagram: one RTP packet or one compound RTCP
    /// packet, or the SCTP packets of its DTLS records. Nothing, where none of them did.
    #[doc(hidden)]
    #[must_use]
    pub fn plain_of(datagram: &[u8]) -> Vec<Vec<u8>> {
        plain_of(datagram)
    }

    /// Lets go of what tapped engines of this thread have encrypted and nobody has asked for.
    #[doc(hidden)]
    pub fn forget_plain() {
        forget_plain();
    }

    /// Hands received audio over as it comes, without jitter buffer: for measuring what is around it.
    #[doc(hidden)]
    pub fn bypass_playout(&mut self) {
        self.bypass_playout = true;
    }

    /// Makes the engine of the connection to a peer panic.
    #[doc(hidden)]
    pub fn break_engine(&mut self, now: Instant, peer: &str) {
        let now = self.clock.advance(now);
        let Some(slot) = self.remotes.find(peer) else { return };
        let connection = self.remotes.get_mut(slot).and_then(|r| r.connection.as_deref_mut());
        if let Some(connection) = connection {
            connection.peer.break_engine(now);
            self.settle(now, slot);
            self.pump_signaling(now);
        }
    }

    /// Audio as it came.
    pub(super) fn pass_audio(&mut self, slot: Slot, arrived: Instant, rtp: u32, opus: Arc<[u8]>) {
        let Some(remote) = self.remotes.get(slot) else { return };
        let Some(duration) = opus_packet_duration(&opus) else { return };
        let frame =
            AudioFrame::new(rtp, arrived, AudioData::Encoded(EncodedAudio { opus, duration }));
        self.queues.media(Media::Audio { peer: remote.id.clone(), frame });
    }

    pub(super) fn pass_video(
        &mut self,
        now: Instant,
        slot: Slot,
        rtp: u32,
        frame: EncodedVideo,
        contiguous: bool,
    ) {
        let Some(remote) = self.remotes.get(slot) else { return };
        let (peer, timing) = (remote.id.clone(), VideoTiming::new(rtp, now));
        self.queues.media(Media::Video { peer, frame, contiguous, timing });
    }

    /// The peer that the index gives a datagram to, and those whose engines would take it.
    #[doc(hidden)]
    pub fn owners(
        &mut self,
        now: Instant,
        datagram: Datagram<'_>,
    ) -> (Option<PeerId>, Vec<PeerId>) {
        let Datagram { socket, remote, payload } = datagram;
        let Some(local) = self.sockets.local(socket) else { return (None, Vec::new()) };
        let slot = self.demux.find(socket, remote, payload);
        let indexed = slot.and_then(|slot| self.remotes.get(slot)).map(|remote| remote.id.clone());
        let takes = |peer: &&crate::transport::remote::Remote| {
            let connection = peer.connection.as_deref();
            connection.is_some_and(|c| c.peer.accepts(now, local, remote, payload))
        };
        (indexed, self.remotes.iter().filter(takes).map(|remote| remote.id.clone()).collect())
    }
}
