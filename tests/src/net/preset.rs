//! Networks by name, with numbers as they are measured or published.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::firewall::Firewall;
use super::link::{Jitter, LinkConfig, Loss};
use super::nat::{Behaviour, NatConfig, PortAssignment};
use super::network::{AccessConfig, Network};

/// A kind of network that hosts are found in.
///
/// Where no source is named, a number is ours: typical, not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// A wired local network that all such hosts share, behind one router: 1 Gbit/s (IEEE 802.3ab) and 0.3 ms.
    Lan,
    /// A home of its own with good Wi-Fi: 40 Mbit/s down and 33 up, 8 ms, jitter with a deviation of 5 ms
    /// that keeps the order, 0.1 % of loss.
    HomeWifi,
    /// The same from the far end of the flat: 1 Mbit/s both ways, losses of 5 % (the first step of
    /// Loadero's table of network conditions) in bursts of 5 on average, 10 ms, and a heavy tail of 15 ms
    /// on average in which packets overtake each other.
    BadWifi,
    /// A phone on LTE: 100 Mbit/s down and 50 up, 45 ms, jitter of 5 and 15 ms, 0.2 % of loss (Loadero's
    /// "4G") in bursts, behind a symmetric NAT of the carrier's, one for each host since carriers keep
    /// customers apart. It forgets within 60 s, as users of iroh report of a mobile carrier (issue 4424).
    Cellular,
    /// A geostationary satellite behind a home router: 250 ms each way (RFC 2488, section 2), 20 Mbit/s down
    /// and 3 up, 1 % of losses in bursts of 5 on average.
    Satellite,
    /// A hotel once its portal has been passed: 2 Mbit/s behind a symmetric NAT that forgets within 30 s (RFC 4787,
    /// section 4.3, asks for 2 minutes), 30 ms, and a buffer of two seconds (bufferbloat).
    Hotel,
    /// An office whose firewall lets no UDP through at all: 100 Mbit/s, 5 ms.
    OfficeNoUdp,
    /// A home of its own behind a carrier's NAT that all such hosts share: as RFC 6888, REQ-1, wants it, by
    /// RFC 4787 (mapping that depends on nothing, hairpinning). 100 Mbit/s down and 20 up, 12 ms.
    CarrierNat,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Lan,
        Self::HomeWifi,
        Self::BadWifi,
        Self::Cellular,
        Self::Satellite,
        Self::Hotel,
        Self::OfficeNoUdp,
        Self::CarrierNat,
    ];

    /// Its name, as on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::HomeWifi => "home-wifi",
            Self::BadWifi => "bad-wifi",
            Self::Cellular => "cellular",
            Self::Satellite => "satellite",
            Self::Hotel => "hotel",
            Self::OfficeNoUdp => "office-no-udp",
            Self::CarrierNat => "carrier-nat",
        }
    }

    /// Its links, firewall and NATs. For those that share a NAT, the outermost is the shared one.
    #[must_use]
    pub fn config(self) -> AccessConfig {
        let home = NatConfig::default();
        let (up, down, nats) = match self {
            Self::Lan => {
                let wire = LinkConfig { queue: 512 * 1024, ..wired(300, 1_000_000_000) };
                (wire.clone(), wire, vec![home])
            }
            Self::HomeWifi => (wifi(33_000_000), wifi(40_000_000), vec![home]),
            Self::BadWifi => (bad_wifi(), bad_wifi(), vec![home]),
            Self::Cellular => {
                let radio = |jitter, rate| LinkConfig {
                    jitter: Jitter::Uniform(Duration::from_millis(jitter)),
                    keep_order: true,
                    loss: bursts(0.002, 0.25),
                    queue: 512 * 1024,
                    mtu: 1430,
                    ..wired(45_000, rate)
                };
                let nat = NatConfig {
                    expiry: Duration::from_secs(60),
                    max_mappings: 50_000,
                    ..NatConfig::symmetric()
                };
                (radio(15, 50_000_000), radio(5, 100_000_000), vec![nat])
            }
            Self::Satellite => {
                let dish = |rate| LinkConfig {
                    jitter: Jitter::Normal(Duration::from_millis(10)),
                    keep_order: true,
                    loss: bursts(0.01, 0.2),
                    queue: 256 * 1024,
                    ..wired(250_000, rate)
                };
                (dish(3_000_000), dish(20_000_000), vec![home])
            }
            Self::Hotel => {
                let shared = LinkConfig {
                    jitter: Jitter::HeavyTail(Duration::from_millis(10)),
                    keep_order: true,
                    loss: Loss::Random(0.01),
                    queue: 500_000,
                    ..wired(30_000, 2_000_000)
                };
                let nat = NatConfig { expiry: Duration::from_secs(30), ..NatConfig::symmetric() };
                (shared.clone(), shared, vec![nat])
            }
            Self::OfficeNoUdp => (wired(5_000, 100_000_000), wired(5_000, 100_000_000), vec![home]),
            Self::CarrierNat => {
                let carrier = NatConfig {
                    mapping: Behaviour::EndpointIndependent,
                    filtering: Behaviour::AddressAndPortDependent,
                    hairpinning: true,
                    port: PortAssignment::Random,
                    max_mappings: 50_000,
                    ..NatConfig::default()
                };
                (wired(12_000, 20_000_000), wired(12_000, 100_000_000), vec![home, carrier])
            }
        };
        let firewall = match self {
            Self::OfficeNoUdp => Firewall::BlockUdp,
            _ => Firewall::Open,
        };
        AccessConfig { up, down, firewall, nats }
    }

    /// Whether all hosts of it stand behind one outermost NAT; otherwise each has its own.
    #[must_use]
    pub const fn shares(self) -> bool {
        matches!(self, Self::Lan | Self::CarrierNat)
    }
}

/// A link with this latency in microseconds and rate in bits per second.
fn wired(latency: u64, rate: u64) -> LinkConfig {
    LinkConfig {
        latency: Duration::from_micros(latency),
        rate: Some(rate),
        queue: 256 * 1024,
        ..LinkConfig::default()
    }
}

fn wifi(rate: u64) -> LinkConfig {
    LinkConfig {
        jitter: Jitter::Normal(Duration::from_millis(5)),
        keep_order: true,
        loss: Loss::Random(0.001),
        ..wired(8_000, rate)
    }
}

fn bad_wifi() -> LinkConfig {
    LinkConfig {
        jitter: Jitter::HeavyTail(Duration::from_millis(15)),
        loss: bursts(0.05, 0.2),
        duplicate: 0.001,
        queue: 128 * 1024,
        ..wired(10_000, 1_000_000)
    }
}

/// Losses of this share in the long run, in bursts that end with the probability `ends` (0 to 1) before each
/// datagram. In the bad state all is lost, in the good one nothing.
fn bursts(share: f64, ends: f64) -> Loss {
    let good_to_bad = share * ends / (1.0 - share);
    Loss::GilbertElliott { good_to_bad, bad_to_good: ends, loss_good: 0.0, loss_bad: 1.0 }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no preset of this name; the message lists those that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPreset(pub String);

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Preset::ALL.map(Preset::name).join(", ");
        write!(f, "no preset is called {:?}; there are: {names}", self.0)
    }
}

impl std::error::Error for UnknownPreset {}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == name);
        found.ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}

impl Network {
    /// Adds a host of a preset with one interface (IPv4): at a place of its own, unless those of this preset
    /// share one.
    ///
    /// # Panics
    /// Where a shared place has no address left (there are 253), or there are more than 16,000 NATs.
    pub fn add_preset_host(&mut self, host: usize, preset: Preset) -> IpAddr {
        let mut config = preset.config();
        let shared = if preset.shares() { config.nats.pop() } else { None };
        let site = match shared {
            None => self.add_site(&config.nats),
            Some(outermost) => {
                let known = self.shared.get(preset.name()).copied();
                let carrier = known.unwrap_or_else(|| self.add_site(&[outermost]));
                self.shared.insert(preset.name(), carrier);
                if config.nats.is_empty() {
                    carrier
                } else {
                    self.add_site_behind(carrier, &config.nats)
                }
            }
        };
        self.add_interface(host, site, config.access(), false)
    }

    /// Adds a host of a preset with one interface of IPv6 beside its own of IPv4, if it has one: at a global address, without
    /// NAT, behind a router that lets answers in alone (RFC 6092, section 3.2). Links are those of the preset.
    ///
    /// # Panics
    /// Where there are more than 131,000 public addresses.
    pub fn add_preset_host_v6(&mut self, host: usize, preset: Preset) -> IpAddr {
        let mut access = preset.config().access();
        if access.firewall == Firewall::Open {
            access.firewall = Firewall::OnlyOut;
        }
        let site = self.add_site(&[]);
        self.add_interface(host, site, access, true)
    }
}

#[cfg(test)]
mod tests {
    use rtcmesh_core::rng::Seed;

    use super::*;

    #[test]
    fn every_name_leads_back_and_errors_list_them() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
        }
        let error = "wlan".parse::<Preset>().unwrap_err().to_string();
        assert!(Preset::ALL.iter().all(|preset| error.contains(preset.name())), "{error}");
    }

    #[test]
    fn hosts_share_a_place_where_the_preset_says_so() {
        let mut network = Network::new(Seed::from_number(1));
        for (index, preset) in Preset::ALL.into_iter().enumerate() {
            let sites = [0, 1].map(|n| {
                let address = network.add_preset_host(2 * index + n, preset);
                network.site_of(address).unwrap()
            });
            assert_eq!(sites[0] == sites[1], preset == Preset::Lan, "{preset}");
            assert!(network.outer_addresses(sites[0]).is_some());
        }
    }

    #[test]
    fn bursts_lose_what_they_say() {
        assert!((bursts(0.05, 0.2).mean() - 0.05).abs() < 1e-12);
    }
}
