//! A coded stream, and how it sounds where nothing is lost or late.

use rtcmesh_core::codec::{
    AudioDecoder, AudioEncoder, Channels, MAX_PACKET_BYTES, OpusDecoder, OpusEncoder, OpusSettings,
};

/// Samples of a packet: 20 ms.
pub const FRAME: usize = 960;

/// Opus packets of 20 ms with in-band FEC.
#[derive(Debug, Default)]
pub struct Stream {
    /// The packets.
    pub packets: Vec<Vec<u8>>,
    /// What they decode to: what an ideal network lets hear.
    pub reference: Vec<f32>,
    /// The sequence number of each packet; `None` where nothing is sent, in a pause.
    pub sequences: Vec<Option<u64>>,
}

/// A packet of no more bytes need not be sent (RFC 6716, section 2.1.9).
const SILENT: usize = 2;

impl Stream {
    /// Encodes `samples` of 48 kHz, with discontinuous transmission where `dtx`.
    ///
    /// # Errors
    /// What libopus refused.
    pub fn encode(samples: &[f32], bitrate: u32, dtx: bool) -> Result<Self, String> {
        let mut settings = OpusSettings::default();
        (settings.bitrate, settings.fec, settings.dtx) = (bitrate, true, dtx);
        let fail = |error: &dyn std::fmt::Display| format!("coding the speech: {error}");
        let mut encoder = OpusEncoder::new(settings).map_err(|error| fail(&error))?;
        let mut decoder = OpusDecoder::new(Channels::Mono).map_err(|error| fail(&error))?;
        let mut stream = Self::default();
        let mut next = 1 << 16;
        let (mut packet, mut pcm) = (vec![0; MAX_PACKET_BYTES], [0.0; FRAME]);
        for frame in samples.chunks_exact(FRAME) {
            let size = encoder.encode(frame, &mut packet).map_err(|error| fail(&error))?;
            let packet = packet.get(..size).unwrap_or_default();
            decoder.decode(packet, &mut pcm).map_err(|error| fail(&error))?;
            let sent = !dtx || packet.len() > SILENT;
            stream.sequences.push(sent.then_some(next));
            next += u64::from(sent);
            stream.packets.push(packet.to_vec());
            stream.reference.extend_from_slice(&pcm);
        }
        Ok(stream)
    }
}
