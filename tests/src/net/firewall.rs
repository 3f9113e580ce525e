//! A firewall at a host's interface: which UDP passes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Which UDP passes. Streams (TCP) always do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Firewall {
    /// All.
    #[default]
    Open,
    /// None.
    BlockUdp,
    /// All outwards; inwards what answers it, from the same address and port.
    OnlyOut,
    /// As [`Firewall::OnlyOut`], but outwards to these remote ports alone.
    Ports(Vec<u16>),
}

/// How long an answer is let in after the latest datagram of a flow (Linux's
/// `nf_conntrack_udp_timeout_stream`).
const FLOW_LIFE: Duration = Duration::from_secs(120);

/// How many flows are known at most: new ones are refused.
const MAX_FLOWS: usize = 4096;

/// A firewall with the flows that it knows.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) firewall: Firewall,
    /// The inner and the remote end, and the latest datagram.
    flows: BTreeMap<(SocketAddr, SocketAddr), Duration>,
}

impl Guard {
    pub(super) const fn new(firewall: Firewall) -> Self {
        Self { firewall, flows: BTreeMap::new() }
    }

    /// Whether a datagram may leave.
    pub(super) fn lets_out(
        &mut self,
        now: Duration,
        inner: SocketAddr,
        remote: SocketAddr,
    ) -> bool {
        match &self.firewall {
            Firewall::Open => return true,
            Firewall::BlockUdp => return false,
            Firewall::Ports(ports) if !ports.contains(&remote.port()) => return false,
            Firewall::OnlyOut | Firewall::Ports(_) => {}
        }
        if self.flows.len() >= MAX_FLOWS {
            self.flows.retain(|_, latest| now.saturating_sub(*latest) < FLOW_LIFE);
        }
        let room = self.flows.len() < MAX_FLOWS || self.flows.contains_key(&(inner, remote));
        if room {
            self.flows.insert((inner, remote), now);
        }
        room
    }

    /// Whether a datagram may come in.
    pub(super) fn lets_in(&mut self, now: Duration, inner: SocketAddr, remote: SocketAddr) -> bool {
        match self.firewall {
            Firewall::Open => true,
            Firewall::BlockUdp => false,
            Firewall::OnlyOut | Firewall::Ports(_) => {
                let Some(latest) = self.flows.get_mut(&(inner, remote)) else { return false };
                let fresh = now.saturating_sub(*latest) < FLOW_LIFE;
                if fresh {
                    *latest = now;
                }
                fresh
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn answers_come_in_for_two_minutes() {
        let (inner, remote) = ("10.0.0.2:5000".parse().unwrap(), "198.18.0.1:99".parse().unwrap());
        let other = "198.18.0.1:98".parse().unwrap();
        let mut guard = Guard::new(Firewall::OnlyOut);
        assert!(!guard.lets_in(seconds(0), inner, remote));
        assert!(guard.lets_out(seconds(0), inner, remote));
        assert!(!guard.lets_in(seconds(1), inner, other));
        assert!(guard.lets_in(seconds(119), inner, remote));
        assert!(guard.lets_in(seconds(238), inner, remote));
        assert!(!guard.lets_in(seconds(358), inner, remote));
    }

    #[test]
    fn ports_are_open_outwards_alone() {
        let inner = "10.0.0.2:3478".parse().unwrap();
        let mut guard = Guard::new(Firewall::Ports(vec![3478]));
        assert!(guard.lets_out(seconds(0), inner, "198.18.0.1:3478".parse().unwrap()));
        assert!(!guard.lets_out(seconds(0), inner, "198.18.0.1:3479".parse().unwrap()));
        assert!(!guard.lets_in(seconds(0), inner, "198.18.0.1:3479".parse().unwrap()));
        assert!(guard.lets_in(seconds(0), inner, "198.18.0.1:3478".parse().unwrap()));
    }

    #[test]
    fn flows_are_bounded() {
        let inner = "10.0.0.2:5000".parse().unwrap();
        let remote = |n: usize| SocketAddr::new("198.18.0.1".parse().unwrap(), n as u16);
        let mut guard = Guard::new(Firewall::OnlyOut);
        let passed = (0..MAX_FLOWS + 10).filter(|n| guard.lets_out(seconds(0), inner, remote(*n)));
        assert_eq!(passed.count(), MAX_FLOWS);
        assert!(guard.lets_out(seconds(1), inner, remote(0)));
        assert!(guard.lets_out(seconds(120), inner, remote(60_000)));
        assert_eq!(guard.flows.len(), 2);
    }
}
