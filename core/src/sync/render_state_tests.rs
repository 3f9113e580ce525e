//! Renderers that are read from a state.

use super::*;
use crate::trace::state::reread;

#[test]
fn what_is_read_fits_together() {
    let made = || AudioRenderer::new(2, &PlayoutTuning::rtcmesh(), 1);
    assert!(reread(&made()).is_ok());
    // It would fill a frame without an end, or panic.
    let changes: [fn(&mut AudioRenderer); 6] = [
        |renderer| renderer.channels = 1,
        |renderer| renderer.stretcher = Stretcher::new(1),
        |renderer| renderer.correction = DriftCorrection::new(48_000, 1),
        |renderer| renderer.noise = ComfortNoise::new(1, 1),
        |renderer| renderer.scratch = Box::default(),
        |renderer| renderer.piece = Box::default(),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut renderer = made();
        change(&mut renderer);
        assert!(reread(&renderer).is_err(), "{nth}");
    }
}
