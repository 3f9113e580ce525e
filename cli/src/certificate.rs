//! Self-signed certificates: a page may use the microphone only in a secure context, so a mesh that is
//! shown to other devices needs TLS at once.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair};

/// How long such a certificate is valid: for a season of experiments.
const VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);
/// How far its beginning lies back, for devices whose clocks are slow.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// A certificate that vouches for itself, for these DNS names and addresses, and its private key: both
/// as PEM texts.
///
/// # Errors
/// A name that can stand in no certificate, or the generator's own failure.
pub(crate) fn self_signed(
    names: impl IntoIterator<Item = String>,
) -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::new(names.into_iter().collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, "rtcmesh, self-signed");
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_TOLERANCE).into();
    params.not_after = (now + VALIDITY).into();
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_and_key_fit_together() {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let (certificate, key) = self_signed(names).unwrap();
        rtcmesh_runtime::TlsIdentity::from_pem(&certificate, &key).unwrap();
    }

    #[test]
    fn a_name_outside_of_ascii_is_refused() {
        assert!(self_signed(["é".to_owned()]).is_err());
    }
}
