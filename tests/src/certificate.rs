//! The certificates of simulated hosts: each follows from the world's seed and the host's number.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use rtcmesh_core::rng::{Rng, Seed};

/// `id-ecPublicKey` with `secp256r1` (RFC 5480, section 2.1.1), as an `AlgorithmIdentifier`'s content.
const EC_P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, // 1.2.840.10045.2.1
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, // 1.2.840.10045.3.1.7
];

/// `ecdsa-with-SHA256` (RFC 5758, section 3.2).
const ECDSA_SHA256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// The attribute `commonName` (X.520).
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// A self-signed ECDSA certificate on P-256 (RFC 5280) and its private key (RFC 5958), both DER.
pub(crate) fn certificate(seed: u64, host: usize) -> (Vec<u8>, Vec<u8>) {
    let mut rng = Rng::new(Seed::from_number(seed)).fork(&format!("certificate {host}"));
    let (scalar, key) = loop {
        let mut bytes = [0; 32];
        rng.fill(&mut bytes);
        // Fewer than one in 2^32 are no scalar of the curve.
        if let Ok(key) = SigningKey::from_slice(&bytes) {
            break (bytes, key);
        }
    };
    let public = key.verifying_key().to_sec1_point(false);
    let public = der(BIT_STRING, &[&[0], public.as_bytes()]);

    let mut serial = [0; 8];
    rng.fill(&mut serial);
    // Positive, and without a leading zero.
    serial[0] = serial[0] & 0x3f | 0x40;
    let name = der(UTF8_STRING, &[b"rtcmesh-sim"]);
    let name = der(SEQUENCE, &[&der(SET, &[&der(SEQUENCE, &[COMMON_NAME, &name])])]);
    let validity = [
        der(UTC_TIME, &[b"200101000000Z"]),
        // RFC 5280, section 4.1.2.5: no well-defined end.
        der(GENERALIZED_TIME, &[b"99991231235959Z"]),
    ];
    let algorithm = der(SEQUENCE, &[ECDSA_SHA256]);
    let body = der(
        SEQUENCE,
        &[
            &der(0xa0, &[&der(INTEGER, &[&[2]])]),
            &der(INTEGER, &[&serial]),
            &algorithm,
            &name,
            &der(SEQUENCE, &[&validity[0], &validity[1]]),
            &name,
            &der(SEQUENCE, &[&der(SEQUENCE, &[EC_P256]), &public]),
        ],
    );
    // By RFC 6979: nothing is drawn.
    let signature: Signature = key.sign(&body);
    let signature = der(BIT_STRING, &[&[0], signature.to_der().as_bytes()]);
    let certificate = der(SEQUENCE, &[&body, &algorithm, &signature]);

    let private = der(
        SEQUENCE,
        &[&der(INTEGER, &[&[1]]), &der(OCTET_STRING, &[&scalar]), &der(0xa1, &[&public])],
    );
    let private = der(
        SEQUENCE,
        &[&der(INTEGER, &[&[0]]), &der(SEQUENCE, &[EC_P256]), &der(OCTET_STRING, &[&private])],
    );
    (certificate, private)
}

/// A DER value of these parts, of at most 65,535 bytes.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = (content.len() as u16).to_be_bytes();
    let head: &[u8] = match (high, low) {
        (0, 0..0x80) => &[tag, low],
        (0, _) => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, &content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_of_each_seed_has_one_of_its_own_always_the_same() {
        let all = [certificate(1, 0), certificate(1, 1), certificate(2, 0)];
        assert_eq!(certificate(1, 0), all[0]);
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
    }
}
