//! DTLS for simulations, whose handshakes are equal byte for byte where their seeds are. Never for production.
//!
//! Everything that a handshake draws comes from the thread's `fastrand`, which each connection seeds
//! ([`super::draws`]): the randoms of the hellos and the jitter of repetitions through the engine's own seed, and
//! X25519's ephemeral key directly. Signatures are those of RFC 6979, which draw nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use dimpl::crypto::{ActiveKeyExchange, Buf, CryptoProvider, NamedGroup, SupportedKxGroup};
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::crypto::dtls::{DtlsInstance, DtlsProvider};
use str0m::crypto::{CryptoError, from_feature_flags};
use x25519_dalek::{PublicKey, StaticSecret};

use super::engine::{Instance, instance};
use super::repeat::Repeating;

/// How many seeds the connections share: a configuration per seed is kept, since it takes some milliseconds
/// to check one. What has to differ between all connections are the ephemeral keys, and they do.
const SEEDS: u64 = 16;

/// The only group: both sides of a simulation have it.
static GROUPS: &[&dyn SupportedKxGroup] = &[&SeededX25519];

/// By MTU and seed.
type Configs = BTreeMap<(Option<usize>, u64), Arc<dimpl::Config>>;

pub(super) static SEEDED: SeededDtls = SeededDtls { configs: Mutex::new(BTreeMap::new()) };

#[derive(Debug)]
pub(super) struct SeededDtls {
    configs: Mutex<Configs>,
}

impl SeededDtls {
    /// One end of a DTLS connection as it is, without [`Repeating`].
    pub(super) fn bare(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Instance, CryptoError> {
        let config = self.config(mtu, fastrand::u64(0..SEEDS))?;
        Ok(instance(config, certificate, now, version))
    }

    fn config(&self, mtu: Option<usize>, seed: u64) -> Result<Arc<dimpl::Config>, CryptoError> {
        let mut configs = self.configs.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(config) = configs.get(&(mtu, seed)) {
            return Ok(config.clone());
        }
        // The check exchanges keys: whoever comes first must draw no more than those after it.
        let state = fastrand::get_seed();
        let config = build(mtu, seed);
        fastrand::seed(state);
        let config = Arc::new(config?);
        configs.insert((mtu, seed), config.clone());
        Ok(config)
    }
}

fn build(mtu: Option<usize>, seed: u64) -> Result<dimpl::Config, CryptoError> {
    let provider = CryptoProvider {
        kx_groups: GROUPS,
        key_provider: dimpl::crypto::rust_crypto::default_provider().key_provider,
        ..str0m_aws_lc_rs::dimpl_crypto_provider()
    };
    let mut builder = dimpl::Config::builder()
        .use_server_cookie(false)
        .with_crypto_provider(provider)
        .dangerously_set_rng_seed(seed);
    if let Some(mtu) = mtu {
        builder = builder.mtu(mtu);
    }
    builder.build().map_err(|e| CryptoError::Other(e.to_string()))
}

impl DtlsProvider for SeededDtls {
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
        Ok(Repeating::around(self.bare(certificate, now, version, mtu)?, now))
    }
}

/// X25519 (RFC 7748) with keys from the thread's `fastrand`.
#[derive(Debug)]
struct SeededX25519;

impl SupportedKxGroup for SeededX25519 {
    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }

    fn start_exchange(
        &self,
        mut public: Buf,
    ) -> Result<Box<dyn ActiveKeyExchange>, dimpl::CryptoError> {
        let mut bytes = [0; 32];
        fastrand::fill(&mut bytes);
        let secret = StaticSecret::from(bytes);
        public.clear();
        public.extend_from_slice(PublicKey::from(&secret).as_bytes());
        Ok(Box::new(Exchange { secret: bytes, public }))
    }
}

struct Exchange {
    secret: [u8; 32],
    public: Buf,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exchange(..)")
    }
}

impl ActiveKeyExchange for Exchange {
    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8], out: &mut Buf) -> Result<(), dimpl::CryptoError> {
        let invalid = dimpl::CryptoError::InvalidPublicKey(NamedGroup::X25519);
        let Ok(peer) = <[u8; 32]>::try_from(peer) else { return Err(invalid) };
        let shared = StaticSecret::from(self.secret).diffie_hellman(&PublicKey::from(peer));
        // RFC 7748, section 6.1: a point of low order gives zero.
        if !shared.was_contributory() {
            return Err(invalid);
        }
        out.clear();
        out.extend_from_slice(shared.as_bytes());
        Ok(())
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::super::{Engine, Peer, PeerConfig, Signal, State};
    use super::*;
    use crate::rng::{Rng, Seed};

    /// All datagrams of a connection with audio, until both sides are connected.
    fn datagrams(certificate: &DtlsCert, seed: u64, rtcmesh: bool, now: Instant) -> Vec<Vec<u8>> {
        let mut peers = [1, 2].map(|n| {
            let DtlsCert { certificate, private_key } = certificate.clone();
            let engine = Engine::seeded(certificate, private_key);
            let remote_is_rtcmesh = rtcmesh;
            // No data: SCTP's random numbers are the operating system's.
            let config = PeerConfig { data: false, remote_is_rtcmesh, ..PeerConfig::default() };
            let rng = Rng::new(Seed::from_number(seed)).fork(&n.to_string());
            let mut peer = Peer::new(&engine, config, rng, now).unwrap();
            peer.add_local(now, SocketAddr::from((Ipv4Addr::LOCALHOST, n)));
            peer
        });
        peers[0].negotiate(now);
        let mut sent = Vec::new();
        let mut now = now;
        while !peers.iter().all(|peer| peer.state() == State::Connected) {
            for from in 0..2 {
                let to = 1 - from;
                while let Some(signal) = peers[from].poll_signal() {
                    match signal {
                        Signal::Offer { request, sdp } => {
                            peers[to].handle_offer(now, &request, &sdp);
                        }
                        Signal::Answer { request, sdp } => {
                            peers[to].handle_answer(now, &request, &sdp);
                        }
                        Signal::Candidate { request, candidate, .. } => {
                            peers[to].handle_candidate(now, &request, &candidate);
                        }
                    }
                }
                while let Some(out) = peers[from].poll_transmit() {
                    peers[to].handle_datagram(now, out.remote, out.local, &out.payload);
                    sent.push(out.payload);
                }
            }
            now += Duration::from_millis(10);
            peers.iter_mut().for_each(|peer| peer.handle_timeout(now));
            assert!(sent.len() < 1_000, "it connects");
        }
        sent
    }

    #[test]
    fn equal_seeds_give_equal_handshakes() {
        let certificate = from_feature_flags().dtls_provider.generate_certificate().unwrap();
        let now = Instant::now();
        for rtcmesh in [false, true] {
            let first = datagrams(&certificate, 1, rtcmesh, now);
            // DTLS records: RFC 9147, section 4, figure 3.
            let records = first.iter().filter(|d| (20..64).contains(&d[0])).count();
            assert!(records >= 4, "a handshake");
            let equal = datagrams(&certificate, 1, rtcmesh, now) == first;
            assert!(equal, "rtcmesh: {rtcmesh}");
            assert!(datagrams(&certificate, 2, rtcmesh, now) != first);
        }
    }
}
