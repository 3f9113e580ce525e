//! Recording in small rings, and replaying what is in them: at any moment it must go as it went.

use rtcmesh_core::trace::RecordOptions;
use rtcmesh_core::transport::{Replay, ReplayReport};

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
        let what = match Replay::new(ring.take(), self.world.now()).map(Replay::run) {
            Ok(ReplayReport { difference: None, ended: None, .. }) => return,
            Ok(ReplayReport { difference: Some(difference), .. }) => difference.to_string(),
            Ok(ReplayReport { ended, .. }) => ended.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        let now = self.world.elapsed();
        self.model.violation(now, Some(host), format!("its ring is not replayed: {what}"));
    }
}
