//! What simulations see of a connection's insides: each packet as it was before it was encrypted.
//!
//! A tapped engine ([`Engine::tapped`](super::Engine::tapped)) keeps what it encrypts in a list of its thread, with the
//! authentication tag that it got. Whoever carries the datagrams asks for the plain packets by the datagram ([`plain_of`]), and so
//! has addresses and time for them too. What is received needs no tap: its sender had one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Instant;

use str0m::config::{DtlsCert, DtlsVersion};
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};
use str0m::crypto::{AeadAes128GcmCipher, AeadAes256GcmCipher, CryptoError, SrtpProvider};
use str0m::crypto::{CryptoProvider, from_feature_flags};
use str0m::crypto::{SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80};

use super::engine::{Instance, passed_on};
use super::repeat::Repeating;
use super::seeded::SEEDED;

/// Length of the authentication tags of AES-GCM, in bytes (RFC 5116, section 5.1).
const TAG: usize = 16;

/// An SRTCP packet ends with its index after the tag (RFC 7714, section 9.2), in bytes.
const SRTCP_INDEX: usize = 4;

/// How many packets wait for their datagrams at most: those of a few videos' keyframes at once.
const MAX_SEALED: usize = 4_096;

/// How much data waits for a handshake's end at most, in packets.
const MAX_PENDING: usize = 1_024;

/// A datagram's plain packets, by the tag at its end.
struct Sealed {
    tag: [u8; TAG],
    plain: Vec<Vec<u8>>,
}

thread_local! {
    static SEALED: RefCell<VecDeque<Sealed>> = const { RefCell::new(VecDeque::new()) };
}

/// Takes what a tapped engine of this thread encrypted into a datagram: one RTP packet or one compound RTCP packet, or the
/// SCTP packets of its DTLS records. Nothing, where none of them did.
pub(crate) fn plain_of(datagram: &[u8]) -> Vec<Vec<u8>> {
    let end = datagram.len() - if is_rtcp(datagram) { SRTCP_INDEX.min(datagram.len()) } else { 0 };
    let Some(tag) = datagram[..end].last_chunk::<TAG>() else { return Vec::new() };
    SEALED.with_borrow_mut(|sealed| {
        let found = sealed.iter().position(|of| of.tag == *tag);
        found.and_then(|at| sealed.remove(at)).map_or_else(Vec::new, |of| of.plain)
    })
}

/// Lets go of what has no datagram yet on this thread: it was never sent, and would stay as long as the thread does.
pub(crate) fn forget_plain() {
    SEALED.set(VecDeque::new());
}

fn keep(tag: Option<&[u8; TAG]>, plain: Vec<Vec<u8>>) {
    let Some(tag) = tag else { return };
    SEALED.with_borrow_mut(|sealed| {
        // What has no datagram by now was never sent.
        if sealed.len() >= MAX_SEALED {
            sealed.pop_front();
        }
        sealed.push_back(Sealed { tag: *tag, plain });
    });
}

/// RTCP among RTP by its packet type (RFC 5761, section 4).
fn is_rtcp(packet: &[u8]) -> bool {
    matches!(packet, [128..=191, 192..=223, ..])
}

/// A tapped provider: the seeded one, behind a tap.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = from_feature_flags();
    provider.srtp_provider = &TAPPED;
    provider.dtls_provider = &TAPPED;
    provider
}

static TAPPED: Tapped = Tapped;

/// The tap around a provider's ciphers and DTLS.
#[derive(Debug)]
struct Tapped;

impl SrtpProvider for Tapped {
    // Between two of us AES-GCM is agreed upon: this profile is for others, and has no tap.
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        from_feature_flags().srtp_provider.aes_128_cm_sha1_80()
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &TAPPED
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &TAPPED
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        from_feature_flags().srtp_provider.srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        from_feature_flags().srtp_provider.srtp_aes_256_ecb_round(key, input, output);
    }
}

/// A cipher behind the tap.
#[derive(Debug)]
struct TappedCipher<C>(C);

/// What was encrypted: `aad` is the header, and with RTCP the index too (RFC 7714, sections 8.2 and 9.2).
fn sealed(aad: &[u8], input: &[u8], output: &[u8]) {
    let index = if is_rtcp(aad) { SRTCP_INDEX.min(aad.len()) } else { 0 };
    let packet = [&aad[..aad.len() - index], input].concat();
    keep(output.get(input.len()..).and_then(<[u8]>::first_chunk), vec![packet]);
}

macro_rules! tapped_gcm {
    ($factory:ident, $cipher:ident, $get:ident, $key:literal) => {
        impl $factory for Tapped {
            fn create_cipher(&self, key: [u8; $key], encrypt: bool) -> Box<dyn $cipher> {
                let cipher = from_feature_flags().srtp_provider.$get().create_cipher(key, encrypt);
                if encrypt { Box::new(TappedCipher(cipher)) } else { cipher }
            }
        }

        impl $cipher for TappedCipher<Box<dyn $cipher>> {
            fn encrypt(
                &mut self,
                iv: &[u8; 12],
                aad: &[u8],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<(), CryptoError> {
                self.0.encrypt(iv, aad, input, output)?;
                sealed(aad, input, output);
                Ok(())
            }

            fn decrypt(
                &mut self,
                iv: &[u8; 12],
                aads: &[&[u8]],
                input: &[u8],
                output: &mut [u8],
            ) -> Result<usize, CryptoError> {
                self.0.decrypt(iv, aads, input, output)
            }
        }
    };
}

tapped_gcm!(SupportedAeadAes128Gcm, AeadAes128GcmCipher, aead_aes_128_gcm, 16);
tapped_gcm!(SupportedAeadAes256Gcm, AeadAes256GcmCipher, aead_aes_256_gcm, 32);

impl DtlsProvider for Tapped {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        SEEDED.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = SEEDED.bare(certificate, now, version, mtu)?;
        // Whoever repeats packets does it in front of the tap, which is to know of all records.
        Ok(Repeating::around(TappedDtls { inner, pending: VecDeque::new() }, now))
    }
}

/// One end of a DTLS connection behind the tap.
#[derive(Debug)]
struct TappedDtls {
    inner: Instance,
    /// Data that was handed over, and whose record has not come out.
    pending: VecDeque<Vec<u8>>,
}

impl TappedDtls {
    /// What of the pending data is in a datagram's records. Each is one record of its own, in their order; which of the
    /// records have data shows in their lengths: SCTP's are multiples of four (RFC 9260, section 3.2), those of ACKs,
    /// alerts and key updates are not.
    fn packed(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for lengths in data_lengths(datagram) {
            let at = self.pending.iter().position(|data| lengths.contains(&Some(data.len())));
            if let Some(at) = at {
                self.pending.drain(..at);
                found.extend(self.pending.pop_front());
            }
        }
        found
    }
}

/// How long the plain data of a datagram's records would be: of each that may have any.
///
/// DTLS 1.2: RFC 6347, section 4.1, with the overhead of AES-GCM (RFC 5288, section 3) or ChaCha20-Poly1305 (RFC 7905,
/// section 2); DTLS 1.3: RFC 9147, section 4, figures 2 and 3, with the type of the content and the tag.
fn data_lengths(mut rest: &[u8]) -> Vec<[Option<usize>; 2]> {
    const APPLICATION_DATA: u8 = 23;
    /// The epoch of handshakes (RFC 9147, section 6.1), by its low bits.
    const HANDSHAKE_EPOCH: u8 = 2;
    let mut lengths = Vec::new();
    while let [first, tail @ ..] = rest {
        let unified = first >> 5 == 0b001;
        let (header, stated) = if unified {
            let sequence = if first & 0b1000 == 0 { 1 } else { 2 };
            (sequence, first & 0b100 != 0)
        } else {
            (10, true)
        };
        let Some(tail) = tail.get(header..) else { break };
        let (length, tail) = match tail {
            [high, low, tail @ ..] if stated => {
                (usize::from(u16::from_be_bytes([*high, *low])), tail)
            }
            _ => (tail.len(), tail),
        };
        if unified && first & 0b11 != HANDSHAKE_EPOCH {
            lengths.push([length.checked_sub(1 + TAG), None]);
        } else if *first == APPLICATION_DATA {
            lengths.push([length.checked_sub(8 + TAG), length.checked_sub(TAG)]);
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    lengths
}

impl DtlsInstance for TappedDtls {
    passed_on!(inner);

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.inner.poll_output(buffer);
        if let DtlsOutput::Packet(datagram) = &output {
            let plain = self.packed(datagram);
            if !plain.is_empty() {
                keep(datagram.last_chunk(), plain);
            }
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        let taken = self.inner.send_application_data(data)?;
        if taken > 0 && self.pending.len() < MAX_PENDING {
            self.pending.push_back(data.to_vec());
        }
        Ok(taken)
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_show_how_long_their_data_is() {
        // DTLS 1.3: epoch 3 with a sequence number of 16 bits and a length; then epoch 2; then a short one to the end.
        let mut datagram = vec![0b0010_1111, 0, 1, 0, 17 + 28];
        datagram.extend([0; 17 + 28]);
        datagram.extend([0b0010_1110, 0, 2, 0, 20]);
        datagram.extend([0; 20]);
        datagram.extend([0b0010_0011, 3]);
        datagram.extend([0; 17 + 12]);
        assert_eq!(data_lengths(&datagram), [[Some(28), None], [Some(12), None]]);
        // DTLS 1.2: a handshake record, then data.
        let mut datagram = vec![22, 254, 253, 0, 1, 0, 0, 0, 0, 0, 5, 0, 2, 9, 9];
        datagram.extend([23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 6, 0, 24 + 16]);
        datagram.extend([0; 24 + 16]);
        assert_eq!(data_lengths(&datagram), [[Some(16), Some(24)]]);
        for short in 0..datagram.len() {
            assert!(data_lengths(&datagram[..short]).len() <= 1, "cut at {short}");
        }
    }

    #[test]
    fn plain_packets_are_found_by_the_ends_of_their_datagrams_once() {
        let tag = [7; TAG];
        let (rtp, rtcp) = ([128, 111, 0, 1], [128, 200, 0, 1]);
        sealed(&[&rtcp[..], &[128, 0, 0, 1]].concat(), b"plain", &[&[0; 5][..], &tag].concat());
        let datagram = [&rtcp[..], &[0; 5], &tag, &[128, 0, 0, 1]].concat();
        assert_eq!(plain_of(&datagram), [[&rtcp[..], b"plain"].concat()]);
        assert!(plain_of(&datagram).is_empty());
        sealed(&rtp, b"plain", &[&[0; 5][..], &tag].concat());
        let datagram = [&rtp[..], &[0; 5], &tag].concat();
        assert!(plain_of(&datagram[1..6]).is_empty());
        assert_eq!(plain_of(&datagram), [[&rtp[..], b"plain"].concat()]);
    }

    #[test]
    fn what_is_never_sent_is_forgotten() {
        for _ in 0..2 * MAX_SEALED {
            keep(Some(&[1; TAG]), Vec::new());
        }
        assert_eq!(SEALED.with_borrow(VecDeque::len), MAX_SEALED);
        forget_plain();
        assert_eq!(SEALED.with_borrow(VecDeque::capacity), 0);
    }
}
