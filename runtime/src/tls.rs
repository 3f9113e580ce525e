//! TLS (RFC 8446, RFC 5246) by rustls, without I/O of its own: one session type for both sides.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct,
    RootCertStore, ServerConfig, ServerConnection, SignatureScheme,
};

/// Why certificates or keys could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// No certificate in the PEM text, or one that cannot be read.
    #[error("certificate: {0}")]
    Certificate(String),
    /// No private key in the PEM text, or one that cannot be read.
    #[error("private key: {0}")]
    PrivateKey(String),
    /// Certificate and key do not fit, or the library refuses them.
    #[error("TLS: {0}")]
    Refused(#[from] rustls::Error),
    /// The name of the server is neither a DNS name nor an address.
    #[error("{0} is no server name")]
    ServerName(String),
}

/// Whom a client (`wss:`) trusts. The default: the certificate authorities of Mozilla's program.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct TlsOptions {
    extra_roots: Vec<CertificateDer<'static>>,
    accept_any: bool,
}

impl TlsOptions {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the certificates in this PEM text too: those of a private authority, or a server's own.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] where there is none in it.
    pub fn trust_pem(mut self, pem: &str) -> Result<Self, TlsError> {
        self.extra_roots.extend(certificates(pem)?);
        Ok(self)
    }

    /// Accepts any certificate of any server. The connection is encrypted, but anybody in between can
    /// read and change it: for tests and experiments alone.
    pub fn danger_accept_any_certificate(mut self) -> Self {
        self.accept_any = true;
        self
    }

    /// The settings of rustls for it.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in &self.extra_roots {
            roots.add(root.clone())?;
        }
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let config = if self.accept_any {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| TlsError::Certificate(error.to_string()))?;
            let verifier = Arc::new(KnownCertificates { verifier, own: self.extra_roots.clone() });
            builder.dangerous().with_custom_certificate_verifier(verifier)
        };
        Ok(Arc::new(config.with_no_client_auth()))
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("extra_roots", &self.extra_roots.len())
            .field("accept_any", &self.accept_any)
            .finish()
    }
}

/// A server's certificate chain and private key.
#[derive(Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl TlsIdentity {
    /// Of PEM texts: the certificate chain, the server's own first, and its private key.
    ///
    /// # Errors
    /// [`TlsError`], where one of them cannot be read or they do not belong together.
    pub fn from_pem(certificate_chain: &str, private_key: &str) -> Result<Self, TlsError> {
        let chain = certificates(certificate_chain)?;
        let key = PrivateKeyDer::from_pem_slice(private_key.as_bytes())
            .map_err(|error| TlsError::PrivateKey(error.to_string()))?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self(Arc::new(config)))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(..)")
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    if certificates.is_empty() {
        return Err(TlsError::Certificate("the PEM text has none".into()));
    }
    Ok(certificates)
}

/// One side of a TLS connection.
pub(crate) struct Session(Connection);

impl Session {
    /// The client's side, towards the server called `host`.
    pub(crate) fn client(config: Arc<ClientConfig>, host: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::ServerName(host.to_owned()))?;
        Ok(Self(ClientConnection::new(config, name)?.into()))
    }

    /// The server's side.
    pub(crate) fn server(identity: &TlsIdentity) -> Result<Self, TlsError> {
        Ok(Self(ServerConnection::new(identity.0.clone())?.into()))
    }

    /// Reads decrypted bytes. What waits to be sent (handshake, alerts) is tried first, but a full
    /// socket never keeps us from reading: two sides that both only wrote would wait for ever.
    pub(crate) fn read(
        &mut self,
        io: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match self.push(io) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            match self.0.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            // A result of 0 is the end: the next look at the reader tells a clean one from a cut.
            self.0.read_tls(io)?;
            if let Err(error) = self.0.process_new_packets() {
                // The alert that tells the other side why, if it can still be sent.
                let _ = self.push(io);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// Encrypts bytes and sends what the socket takes; the rest goes out with the next call of anything.
    pub(crate) fn write(
        &mut self,
        io: &mut (impl Read + Write),
        bytes: &[u8],
    ) -> io::Result<usize> {
        // The session's own buffer is bounded (64 KiB): full means that the socket does not keep up.
        let mut count = self.0.writer().write(bytes)?;
        match self.push(io) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            Ok(()) if count == 0 => count = self.0.writer().write(bytes)?,
            _ => {}
        }
        if count == 0 && !bytes.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    /// Sends what is encrypted and waiting.
    pub(crate) fn push(&mut self, io: &mut impl Write) -> io::Result<()> {
        while self.0.wants_write() {
            if self.0.write_tls(io)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Queues the goodbye (close_notify); saying it twice says it once.
    pub(crate) fn close(&mut self) {
        self.0.send_close_notify();
    }
}

/// The usual verifier, except that a server may show a certificate that is trusted by itself though it
/// calls itself an authority's, as self-signed ones do (`openssl req -x509` makes them so).
#[derive(Debug)]
struct KnownCertificates {
    verifier: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for KnownCertificates {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result = self.verifier.verify_server_cert(shown, intermediates, name, ocsp, now);
        match result {
            // Its kind alone is wrong: that it is out of date, for one, is found before.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.own.iter().any(|own| own == shown) =>
            {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// The verifier behind [`TlsOptions::danger_accept_any_certificate`]: any certificate, but a holder of
/// its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
