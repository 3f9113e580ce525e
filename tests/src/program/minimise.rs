//! Of what happens in a world that fails, a part that suffices.

use rtcmesh_sim::scenario::{Options, Plan, run};

/// How often it is tried at most.
const MAX_TRIES: usize = 400;

/// The numbers of acts without which the plan passes (delta debugging: Zeller and Hildebrandt, IEEE Transactions
/// on Software Engineering 28 (2), 2002): as many as possible are left out, halves first.
pub(super) fn minimise(plan: &Plan, options: &Options) -> Vec<usize> {
    let mut every = options.clone();
    every.only = None;
    let all = Plan::draw(plan.seed, &every);
    let mut kept: Vec<usize> =
        options.only.clone().unwrap_or_else(|| (0..all.acts.len()).collect());
    let mut chunk = kept.len().div_ceil(2).max(1);
    let mut tries = 0;
    loop {
        let mut at = 0;
        let mut shrank = false;
        while at < kept.len() && tries < MAX_TRIES {
            let end = (at + chunk).min(kept.len());
            let without: Vec<usize> = kept[..at].iter().chain(&kept[end..]).copied().collect();
            tries += 1;
            if fails(plan.seed, options, &without) {
                kept = without;
                shrank = true;
            } else {
                at = end;
            }
        }
        if tries >= MAX_TRIES || (chunk == 1 && !shrank) {
            return kept;
        }
        if !shrank || chunk > kept.len() {
            chunk = (chunk / 2).max(1);
        }
    }
}

fn fails(seed: u64, options: &Options, only: &[usize]) -> bool {
    let mut options = options.clone();
    options.only = Some(only.to_vec());
    let plan = Plan::draw(seed, &options);
    !rtcmesh_sim::isolated(seed, || run(&plan, &mut |_| {})).passed()
}
