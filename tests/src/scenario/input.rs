//! Inputs as a fuzzer makes them, from a number: worlds that no scenario draws, on a stable compiler.

use rtcmesh_core::rng::{Rng, Seed};

use super::decode::{ACT, KINDS, MAX_ACTS, WORLD};

/// The input of this number, for [`super::Plan::decode`]. A third are any bytes, of any length that is read. The others have all acts
/// there may be, and a habit each (swarm testing: Groce et al., ISSTA 2012): few kinds, or few hosts, or short pauses, or a network
/// without faults, or several of these.
#[must_use]
pub fn input(number: u64) -> Vec<u8> {
    let mut rng = Rng::new(Seed::from_number(number)).fork("input");
    let mut below = |end: u64| (rng.next_u64() % end) as u8;
    let any = below(3) == 0;
    let most = WORLD + MAX_ACTS * ACT;
    let length = if any { usize::from(below(most as u64 + 1)) } else { most };
    let mut bytes: Vec<u8> = (0..length).map(|_| below(256)).collect();
    if any {
        return bytes;
    }
    let (calm, public, short, few_hosts, few_kinds) =
        (below(2) == 0, below(2) == 0, below(4), below(2) == 0, below(3) > 0);
    let (world, acts) = bytes.split_at_mut(WORLD);
    if calm {
        // No jitter, losses, damage or copies.
        for place in [5, 6, 13, 14] {
            world[place] = 0;
        }
    }
    if public {
        // Everybody at a public address, of IPv4, without a second interface.
        world[8..13].iter_mut().for_each(|peer| *peer = 0x0f);
    }
    let kinds: Vec<u8> = (0..2 + below(3)).map(|_| below(KINDS as u64)).collect();
    for act in acts.chunks_mut(ACT) {
        // A pause is squared: 16 is 26 ms, and 64 is 0.4 s.
        act[1] = match short {
            0 => act[1] % 16,
            1 => act[1] % 64,
            2 if act[1] % 4 > 0 => 0,
            _ => act[1],
        };
        if few_hosts {
            (act[2], act[3]) = (act[2] % 2, 0);
        }
        if few_kinds {
            act[0] = kinds[usize::from(act[0]) % kinds.len()];
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::super::Plan;
    use super::*;

    #[test]
    fn a_number_is_one_input_and_many_numbers_are_many_worlds() {
        assert_eq!(input(7), input(7));
        let inputs: BTreeSet<_> = (0..200).map(input).collect();
        assert!(inputs.len() > 195, "but some of the shortest: {}", inputs.len());
        let plans: Vec<Plan> = inputs.iter().map(|bytes| Plan::decode(bytes)).collect();
        for peers in 2..=5 {
            assert!(plans.iter().any(|plan| plan.peers.len() == peers), "{peers} peers");
        }
        let counts: BTreeSet<_> = plans.iter().map(|plan| plan.acts.len()).collect();
        assert_eq!(counts.iter().next_back(), Some(&MAX_ACTS));
        assert!(counts.len() > 10, "{counts:?}");
        let short = plans.iter().filter(|plan| plan.duration < Duration::from_secs(3)).count();
        assert!(short > 20, "{short}");
        assert!(plans.iter().any(|plan| plan.duration > Duration::from_secs(30)));
    }
}
