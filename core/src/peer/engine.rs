//! The border to the engine: what all peers of a transport share, and how one is configured.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert, DtlsVersion};
use str0m::crypto::dtls::{DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, ProtocolVersion};
use str0m::crypto::{CryptoError, from_feature_flags};
use str0m::{IceCreds, Rtc, RtcConfig};

use super::PeerConfig;
use super::draws::Draws;
use super::repeat::Repeating;
use crate::error::PeerFault;
use crate::media::{DataMessage, VideoCodec};
use crate::rng::Rng;

/// RTCP reports go out this often: whoever synchronises audio with video waits for the first one.
const RTCP_INTERVAL: Duration = Duration::from_secs(1);

/// How often the engine's figures are read.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// A connectivity check is repeated at most this far apart, and this often, before its path counts
/// as lost: about 5 s in all instead of the 22 s of RFC 8445's defaults (250 ms, then 500 ms, then 1 s each).
const STUN_MAX_RTO: Duration = Duration::from_secs(1);
const STUN_RETRANSMITS: usize = 5;

/// The largest plain data message that is taken, in bytes: `a=max-message-size` (RFC 8841, section 6.1).
/// Its parts are kept until it is whole, within the receive window of 1 MiB.
const MAX_MESSAGE: u32 = 512 * 1024;

/// What all peers of a transport share: the cryptographic provider, with its configuration built
/// once, and one certificate.
#[derive(Clone)]
pub(crate) struct Engine {
    provider: Arc<CryptoProvider>,
    certificate: DtlsCert,
}

impl Engine {
    /// The engine with a new self-signed ECDSA P-256 certificate.
    ///
    /// # Errors
    /// A text where the build has no cryptography, and where the operating system gives no randomness.
    pub(crate) fn new() -> Result<Self, String> {
        // The engine panics where it finds none.
        if cfg!(not(feature = "aws-lc-rs")) {
            return Err(
                "a build of rtcmesh-core without its feature aws-lc-rs connects to nobody".into()
            );
        }
        Self::of(provider())
    }

    /// The engine without what we put between it and DTLS: what everything of ours is measured by.
    #[cfg(feature = "sim")]
    pub(super) fn bare() -> Result<Self, String> {
        Self::of((*bare_provider()).clone())
    }

    fn of(provider: CryptoProvider) -> Result<Self, String> {
        let certificate = provider
            .dtls_provider
            .generate_certificate()
            .ok_or("no certificate could be generated")?;
        Ok(Self { provider: Arc::new(provider), certificate })
    }

    /// The engine with this certificate and private key (DER, PKCS #8): for simulations, whose
    /// runs must be equal.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    pub(crate) fn with_certificate(certificate: Vec<u8>, private_key: Vec<u8>) -> Self {
        Self { provider: Arc::new(provider()), certificate: DtlsCert { certificate, private_key } }
    }

    /// The same, with handshakes that follow from each connection's generator.
    #[cfg(feature = "sim")]
    pub(crate) fn seeded(certificate: Vec<u8>, private_key: Vec<u8>) -> Self {
        let mut provider = from_feature_flags();
        provider.dtls_provider = &super::seeded::SEEDED;
        Self { provider: Arc::new(provider), certificate: DtlsCert { certificate, private_key } }
    }

    /// The same, behind a [tap](super::tap).
    #[cfg(feature = "sim")]
    pub(crate) fn tapped(certificate: Vec<u8>, private_key: Vec<u8>) -> Self {
        let provider = super::tap::provider();
        Self { provider: Arc::new(provider), certificate: DtlsCert { certificate, private_key } }
    }

    /// A new connection with these ICE credentials.
    ///
    /// They are ours, since the engine's own come from a generator that is no cryptographic one,
    /// and the fragment travels in clear. Its random numbers that are no secrets (SSRCs, transaction ids)
    /// follow ours too: all that is done with the connection is done within its [`Draws`].
    pub(super) fn build(
        &self,
        config: &PeerConfig,
        rng: &mut Rng,
        now: Instant,
    ) -> Result<(Rtc, Draws), PeerFault> {
        // RFC 8839, section 5.4: at least 24 and 128 bits; six bits a character.
        let credentials = IceCreds { ufrag: rng.ice_chars(8), pass: rng.ice_chars(24) };
        let mut draws = Draws::new(rng.next_u64());
        let mut rtc_config = RtcConfig::new()
            .set_crypto_provider(self.provider.clone())
            .set_dtls_cert(self.certificate.clone())
            .set_local_ice_credentials(credentials)
            .set_stats_interval(Some(STATS_INTERVAL))
            .set_rtcp_report_interval_audio(RTCP_INTERVAL)
            .set_rtcp_report_interval_video(RTCP_INTERVAL)
            // Order is restored by the jitter buffer: the engine's own would hold back what follows a loss.
            .set_reordering_size_audio(0)
            .set_send_buffer_video(config.retransmission_packets)
            .set_sctp_max_message_size(MAX_MESSAGE)
            // The bound that counts is kept per channel, by us: the engine's must not refuse one
            // message of the largest size.
            .set_sctp_max_buffered_amount(DataMessage::MAX_SIZE + 1024 * 1024)
            .clear_codecs()
            .enable_opus(true, false);
        // What is offered first is wished most; the others are accepted.
        rtc_config = match config.video_codec {
            VideoCodec::Vp8 => rtc_config.enable_vp8(true).enable_vp9(true).enable_h264(true),
            VideoCodec::Vp9 => rtc_config.enable_vp9(true).enable_vp8(true).enable_h264(true),
            VideoCodec::H264 => rtc_config.enable_h264(true).enable_vp9(true).enable_vp8(true),
        };
        if config.remote_is_rtcmesh {
            rtc_config = rtc_config.set_dtls_version(DtlsVersion::Auto).set_snap_enabled(true);
        }
        rtc_config.set_max_stun_rto(STUN_MAX_RTO);
        rtc_config.set_max_stun_retransmits(STUN_RETRANSMITS);
        // It panics where its parts do not fit: that must not end the mesh.
        let others = draws.enter();
        let built = std::panic::catch_unwind(|| rtc_config.build(now));
        draws.leave(others);
        let rtc = built.map_err(|_| PeerFault::Internal("the engine could not be built".into()))?;
        Ok((rtc, draws))
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

fn provider() -> CryptoProvider {
    static CACHED: CachedDtls = CachedDtls { repeats: true, configs: Mutex::new(BTreeMap::new()) };
    let mut provider = from_feature_flags();
    provider.dtls_provider = &CACHED;
    provider
}

/// The engine's cryptography with DTLS's configuration kept and nothing else of ours. Simulations and benches only: they
/// measure the layer above, not who validates the cryptography anew for each connection.
#[cfg(feature = "sim")]
#[doc(hidden)]
#[must_use]
pub fn bare_provider() -> Arc<CryptoProvider> {
    static CACHED: CachedDtls = CachedDtls { repeats: false, configs: Mutex::new(BTreeMap::new()) };
    let mut provider = from_feature_flags();
    provider.dtls_provider = &CACHED;
    Arc::new(provider)
}

/// The engine's DTLS with its configuration kept: building one validates the whole provider by
/// sample key exchanges and signatures, which costs twice what the rest of a connection does.
#[derive(Debug)]
struct CachedDtls {
    /// Whether [`Repeating`] stands in front of it.
    repeats: bool,
    configs: Mutex<BTreeMap<Option<usize>, Arc<dimpl::Config>>>,
}

impl CachedDtls {
    fn config(&self, mtu: Option<usize>) -> Result<Arc<dimpl::Config>, CryptoError> {
        // A panic while the lock was held leaves a map that is whole all the same.
        let mut configs = self.configs.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(config) = configs.get(&mtu) {
            return Ok(config.clone());
        }
        // ICE has verified the path before DTLS begins: the cookie would only cost a round trip.
        let mut builder = dimpl::Config::builder().use_server_cookie(false);
        #[cfg(feature = "aws-lc-rs")]
        {
            builder = builder.with_crypto_provider(str0m_aws_lc_rs::dimpl_crypto_provider());
        }
        if let Some(mtu) = mtu {
            builder = builder.mtu(mtu);
        }
        let config = builder.build().map_err(|e| CryptoError::Other(e.to_string()))?;
        let config = Arc::new(config);
        // Few MTUs exist: the map cannot grow beyond the engine's range of them.
        configs.insert(mtu, config.clone());
        Ok(config)
    }
}

impl DtlsProvider for CachedDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let instance = instance(self.config(mtu)?, certificate, now, version);
        Ok(if self.repeats { Repeating::around(instance, now) } else { Box::new(instance) })
    }
}

/// One end of a DTLS connection.
pub(super) fn instance(
    config: Arc<dimpl::Config>,
    certificate: &DtlsCert,
    now: Instant,
    version: DtlsVersion,
) -> Instance {
    let certificate = certificate.clone();
    Instance(match version {
        DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, certificate, now),
        DtlsVersion::Auto => dimpl::Dtls::new_auto(config, certificate, now),
        _ => dimpl::Dtls::new_12(config, certificate, now),
    })
}

/// The methods of [`DtlsInstance`] that every layer passes on to the one below.
macro_rules! passed_on {
    ($below:tt) => {
        fn set_active(&mut self, active: bool) {
            self.$below.set_active(active);
        }

        fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
            self.$below.handle_packet(packet)
        }

        fn is_active(&self) -> bool {
            self.$below.is_active()
        }

        fn protocol_version(&self) -> Option<ProtocolVersion> {
            self.$below.protocol_version()
        }

        fn is_closing(&self) -> bool {
            self.$below.is_closing()
        }

        fn is_closed(&self) -> bool {
            self.$below.is_closed()
        }
    };
}
pub(super) use passed_on;

/// See [`instance`].
pub(super) struct Instance(dimpl::Dtls);

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dtls")
    }
}

impl DtlsInstance for Instance {
    passed_on!(0);

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buffer)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
