//! Sound and picture of a page stay together at a native peer, and the other way round.

use serde_json::{Value, json};

use crate::program::{Join, Signal};
use crate::{Browser, PATIENCE_MS, chromium};

/// By how much video may be ahead of audio (positive) or behind, in milliseconds: what viewers do not detect
/// (ITU-R BT.1359, section 2).
const UNSEEN: std::ops::RangeInclusive<f64> = -45.0..=125.0;
/// How far single values may be from the median, in milliseconds.
const STEADY: f64 = 20.0;
/// Values that are looked at together: one a second comes.
const WINDOW: usize = 10;
/// Of these, so many must be steady: other programs on the machine may disturb the rest.
const ENOUGH: usize = 8;
/// After so many seconds without a steady window it counts as unsteady.
const MOST: usize = 90;

/// The latest values of something that is measured once a second.
#[derive(Default)]
struct Window(Vec<f64>);

impl Window {
    fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    fn latest(&self) -> &[f64] {
        &self.0[self.0.len().saturating_sub(WINDOW)..]
    }

    fn median(&self) -> f64 {
        let mut latest = self.latest().to_vec();
        latest.sort_by(f64::total_cmp);
        latest.get(latest.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Whether the window is full, and what is in it cannot be seen and stays where it is.
    fn holds(&self) -> bool {
        let median = self.median();
        let steady = |value: &&f64| (**value - median).abs() <= STEADY;
        UNSEEN.contains(&median) && self.latest().iter().filter(steady).count() >= ENOUGH
    }
}

/// A figure of an event or an object; `None` where it is not known.
fn figure(object: &Value, key: &str) -> Option<f64> {
    object[key].as_f64()
}

#[test]
fn sound_and_picture_of_a_page_stay_together_and_so_do_those_that_it_gets() {
    let Some(chromium) = chromium("video") else { return };
    let signal = Signal::start().unwrap();
    let mut join = Join::start_with(&signal, "native", "none", 620, &["--video", "echo"]).unwrap();
    let mut browser = Browser::open(chromium, &signal.page);
    let wish = json!({ "name": "page", "source": "tone", "hz": 440, "video": true });
    browser.run(&format!("rtcmeshPage.join({wish})"));
    browser.connected("native");

    // At the native peer: until its clock is known and the offset has settled, then as long again.
    let (mut offsets, mut last, mut settled) = (Window::default(), Value::Null, None);
    for second in 0..MOST {
        let event = join.event("quality").unwrap();
        last = event["sync"].clone();
        if let Some(offset) = figure(&last, "av_offset_ms") {
            offsets.push(offset);
        }
        match settled {
            None if offsets.holds() && last["state"] == "synced" => settled = Some(second),
            Some(at) if second >= at + WINDOW => break,
            _ => {}
        }
    }
    let told = format!("settled after {settled:?} s: {:?}; {last}", offsets.0);
    assert!(settled.is_some() && offsets.holds(), "{told}");
    assert_eq!(last["state"], "synced", "{told}");
    // One machine, one clock. The error bar says how well that can be known after these seconds.
    let (drift, error) = (figure(&last, "drift_ppm"), figure(&last, "drift_error_ppm"));
    let (drift, error) = (drift.expect(&told), error.expect(&told));
    assert!(drift.abs() <= 50.0 + 4.0 * error, "{told}");
    for age in ["audio_age_ms", "video_age_ms"] {
        let age = figure(&last, age).expect(&told);
        assert!((0.0..1_000.0).contains(&age), "{told}");
    }
    assert_eq!(figure(&last, "capture_confidence"), Some(1.0), "{told}");
    assert!(figure(&last, "video_frames").is_some_and(|frames| frames > 50.0), "{told}");
    assert!(figure(&last, "video_fps").is_some_and(|rate| rate > 3.0), "{told}");

    // At the page: it plays what it gets in time by our sender reports.
    let mut offsets = Window::default();
    let mut page = Value::Null;
    for _ in 0..MOST {
        page = browser.run(&format!(
            "(async () => {{ \
                const before = (await rtcmeshPage.figures('native'))?.at; \
                for (const end = performance.now() + {PATIENCE_MS}; performance.now() < end;) {{ \
                    const figures = await rtcmeshPage.figures('native'); \
                    if (figures && figures.at !== before) return figures; \
                    await new Promise((done) => setTimeout(done, 50)); \
                }} \
                throw new Error('no new figures'); \
            }})()"
        ));
        if let Some(offset) = figure(&page, "avOffset") {
            offsets.push(offset);
        }
        if offsets.holds() {
            break;
        }
    }
    assert!(offsets.holds(), "{:?}; {page}", offsets.0);
    assert!(figure(&page, "framerate").is_some_and(|rate| rate > 3.0), "{page}");
    assert!(figure(&page, "audioDelay").is_some(), "{page}");
    // The page knows how it is received.
    assert_eq!(page["reception"]["state"], "synced", "{page}");
    let (_, content) = join.stop().unwrap();
    assert!(content);
}
