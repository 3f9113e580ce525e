//! Recording in small rings, and replaying what is in them: at any moment it must go as it went.

use std::time::Instant;

use rtcmesh_core::trace::{RecordOptions, hostile};
use rtcmesh_core::transport::{Replay, ReplayReport, resaved};

use super::Run;

/// The bytes of a ring: one or two seconds of a mesh.
const RING: usize = 128 * 1024;

/// How many ticks go by from one replay to the next. No multiple of it is a second, in which much is done at once.
const TICKS: u64 = 33;

impl Run<'_> {
    /// Records a transport that was not started, where that is wished.
    pub(super) fn record(&mut self, host: usize) {
        if self.plan.rings {
            let mut options = RecordOptions::default();
            (options.ring, options.max_bytes) = (true, RING);
            self.rings[host] = self.world.act(host, |transport, _| transport.record(&options));
        }
    }

    /// Takes one of the rings, when it is time, and replays it.
    pub(super) fn replay_ring(&mut self) {
        if !self.ticks.is_multiple_of(TICKS) {
            return;
        }
        let host = (self.ticks / TICKS) as usize % self.rings.len();
        let Some(ring) = &self.rings[host] else { return };
        if let Err(what) = replay(ring.take(), self.world.now()) {
            let now = self.world.elapsed();
            self.model.violation(now, Some(host), format!("its ring is not replayed: {what}"));
        }
    }
}

/// Replays a ring; or what is wrong.
fn replay(ring: Vec<u8>, now: Instant) -> Result<(), String> {
    let replay = Replay::new(ring.clone(), now).map_err(|error| error.to_string())?;
    if replay.header().ring {
        let state = hostile::state(ring.clone()).map_err(|error| error.to_string())?;
        if resaved(now, ring).map_err(|error| error.to_string())? != state {
            return Err("its state is another one once it is restored".to_owned());
        }
    }
    match replay.run() {
        ReplayReport { difference: None, ended: None, .. } => Ok(()),
        ReplayReport { difference: Some(difference), .. } => Err(difference.to_string()),
        ReplayReport { ended, .. } => Err(ended.unwrap_or_default()),
    }
}
