//! Drift correction of frames that are decoded already.

use std::sync::Arc;

use crate::sync::correction::DriftCorrection;
use crate::trace::state::saved;

/// By how many samples the resampler is late.
const LATENCY: usize = 16;
/// What it is shown of the frame before, so that it begins without a seam: all that it looks at.
const LEAD: usize = 32;

/// Resamples frames while a correction is wanted, and gives the others as they are. Both changes are
/// seamless: the first frame is shorter by what the resampler is late, the last one longer.
#[derive(Debug, Default)]
pub(super) struct Resampled {
    active: Option<Box<Active>>,
    /// The frame before, if the next one follows it at once.
    before: Option<Arc<[f32]>>,
    channels: u16,
}

saved!(struct Resampled { active, before, channels });

#[derive(Debug)]
struct Active {
    correction: DriftCorrection,
    /// The number of channels.
    width: usize,
    out: Vec<f32>,
}

saved!(struct Active { correction, width, out });

impl Resampled {
    /// What comes next does not follow at once.
    pub(super) fn interrupt(&mut self) {
        *self = Self { channels: self.channels, ..Self::default() };
    }

    /// The next frame, corrected by `factor`.
    pub(super) fn next(
        &mut self,
        samples: Arc<[f32]>,
        (channels, rate): (u16, u32),
        factor: f64,
    ) -> Arc<[f32]> {
        if channels != self.channels {
            self.interrupt();
            self.channels = channels;
        }
        let width = usize::from(channels.max(1));
        let done = self.active.as_ref().is_some_and(|active| active.correction.is_bypassed());
        if factor == 1.0 && done {
            let active = self.active.take();
            self.before = Some(Arc::clone(&samples));
            return active.map_or(Arc::clone(&samples), |active| active.finish(&samples));
        }
        if factor == 1.0 && self.active.is_none() {
            self.before = Some(Arc::clone(&samples));
            return samples;
        }
        let (new, before) = (self.active.is_none(), self.before.take());
        let active = self.active.get_or_insert_with(|| {
            Box::new(Active {
                correction: DriftCorrection::new(rate, width),
                width,
                out: Vec::new(),
            })
        });
        if new {
            let before = before.as_deref().unwrap_or_default();
            active.run(before.get(before.len().saturating_sub(LEAD * width)..).unwrap_or_default());
            active.out.clear();
        }
        // Out of bounds it would have been refused where it was set.
        let _ = active.correction.set_factor(factor);
        active.run(&samples);
        let skipped = if new { (LATENCY * width).min(active.out.len()) } else { 0 };
        let result = active.out.get(skipped..).unwrap_or_default().into();
        active.out.clear();
        result
    }
}

impl Active {
    /// Appends what comes of `samples`.
    fn run(&mut self, samples: &[f32]) {
        let at = self.out.len();
        // At most 1 % more than went in, and rounding.
        self.out.resize(at + samples.len() + samples.len() / 64 + 64 * 8, 0.0);
        let room = self.out.get_mut(at..).unwrap_or_default();
        let (_, given) = self.correction.process(samples, room);
        self.out.truncate(at + given * self.width);
    }

    /// The samples that are still inside, and then those of the frame.
    fn finish(mut self, samples: &[f32]) -> Arc<[f32]> {
        self.run(&vec![0.0; LATENCY * self.width]);
        self.out.extend_from_slice(samples);
        self.out.into()
    }
}
