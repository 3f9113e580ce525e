//! A page in headless Chromium joins the mesh by itself: the page of the program, against a native peer
//! of the program, through its signaling server.
//!
//! Without a Chromium on this machine the suite is skipped and says so; with `CI=true` it fails instead.

// To clippy, what only helps tests is no test.
#![allow(clippy::unwrap_used)]

mod chromium;
mod program;
mod video;

use std::io::Write;

use serde_json::{Value, json};

use chromium::{Chromium, Page};
use program::{Join, Signal};

/// How long the page may take for anything, in milliseconds.
const PATIENCE_MS: u32 = 60_000;
/// How far a measured tone may be from the one sent, in Hz.
const TOLERANCE: f64 = 5.0;
/// How often a page joins until it is called in time.
const ATTEMPTS: usize = 5;

/// A started Chromium; none where this machine has none.
///
/// # Panics
///
/// Where it does not start, and on a continuous-integration machine (`CI=true`) that has none.
fn chromium(test: &str) -> Option<Chromium> {
    if let Some(program) = chromium::find() {
        return Some(Chromium::start(&program, test).unwrap());
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no Chromium: scripts/setup test");
    // Past the test harness, which keeps the output of a test that passes to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: no Chromium (scripts/setup test)");
    None
}

/// The page of the program, driven by its `rtcmeshPage`.
struct Browser {
    chromium: Chromium,
    page: Page,
}

impl Browser {
    /// Opens the page. Its connections are kept in `connections`, so that they can be asked directly.
    fn open(mut chromium: Chromium, url: &str) -> Self {
        let page = chromium.open(url).unwrap();
        let mut browser = Self { chromium, page };
        browser.run(
            "window.connections = []; \
             window.RTCPeerConnection = class extends RTCPeerConnection { \
                 constructor(...all) { super(...all); connections.push(this); } }; undefined",
        );
        browser
    }

    #[track_caller]
    fn run(&mut self, expression: &str) -> Value {
        match self.chromium.evaluate(&self.page, expression) {
            Ok(value) => value,
            Err(error) => panic!("{error}"),
        }
    }

    /// Joins as `id` with a tone of `hz`.
    #[track_caller]
    fn join(&mut self, id: &str, hz: u32) {
        let wish = json!({ "name": id, "source": "tone", "hz": hz });
        self.run(&format!("rtcmeshPage.join({wish})"));
    }

    #[track_caller]
    fn connected(&mut self, peer: &str) {
        self.run(&format!("rtcmeshPage.connected('{peer}', {PATIENCE_MS})"));
    }

    #[track_caller]
    fn hears(&mut self, peer: &str, hz: u32) {
        self.run(&format!("rtcmeshPage.heard('{peer}', {hz}, {TOLERANCE}, {PATIENCE_MS})"));
    }

    /// Sends `data` (an expression) to `peer`, and waits until it comes back as `back` (a condition on
    /// the message `m`).
    #[track_caller]
    fn is_echoed(&mut self, peer: &str, data: &str, back: &str) {
        self.run(&format!("rtcmeshPage.send('{peer}', {data}, {PATIENCE_MS})"));
        let message = format!("rtcmeshPage.message((m) => {back}, {PATIENCE_MS})");
        assert_eq!(self.run(&format!("{message}.then((m) => m.from)")), json!(peer));
    }

    /// Waits until the latest connection has sent as many packets of audio.
    #[track_caller]
    fn has_sent(&mut self, packets: u32) {
        self.run(&format!(
            "(async () => {{ \
                for (const end = performance.now() + {PATIENCE_MS}; performance.now() < end;) {{ \
                    const stats = [...(await connections.at(-1).getStats()).values()]; \
                    const audio = stats.find((one) => one.type === 'outbound-rtp' && one.kind === 'audio'); \
                    if (audio?.packetsSent >= {packets}) return; \
                    await new Promise((done) => setTimeout(done, 50)); \
                }} \
                throw new Error('{packets} packets of audio not sent'); \
            }})()"
        ));
    }

    /// Whether the latest connection was offered by the page, not answered.
    fn offered(&mut self) -> bool {
        self.run("connections.at(-1).currentLocalDescription.type") == "offer"
    }
}

/// The page joins, leaves and joins again; both sides hear each other's tone, and messages pass both
/// ways, each time. The page is automatic: with the greater id it calls at once, else it leaves a second
/// to the native peer, whose offer stands in any case.
fn they_hear_and_tell_each_other(test: &str, page: &str, native: &str) {
    let Some(chromium) = chromium(test) else { return };
    let signal = Signal::start().unwrap();
    let callees = if page > native { "none" } else { page };
    let mut join = Join::start(&signal, native, callees, 620).unwrap();
    let mut browser = Browser::open(chromium, &signal.page);
    for hz in [440, 880] {
        for attempt in 1.. {
            browser.join(page, hz);
            browser.connected(native);
            assert_eq!(join.event("connected").unwrap()["peer"], page);
            if browser.offered() == (page > native) {
                break;
            }
            // A native peer that is too busy to call within a second is called.
            assert!(page < native && attempt < ATTEMPTS, "the wrong one has called");
            browser.run("rtcmeshPage.leave()");
            assert_eq!(join.event("closed").unwrap()["peer"], page);
        }
        browser.hears(native, 620);
        let text = format!("ping at {hz}");
        browser.is_echoed(native, &format!("'{text}'"), &format!("m.text === '{text}'"));
        assert_eq!(join.event("data").unwrap()["text"], json!(text));
        browser.is_echoed(native, "[0, 255, 7]", "m.bytes?.length === 3 && m.bytes[1] === 255");
        if hz == 440 {
            browser.run("rtcmeshPage.leave()");
            assert_eq!(join.event("closed").unwrap()["peer"], page);
        }
    }
    // Two seconds of the second tone: more than a measurement takes.
    browser.has_sent(100);
    let (summary, content) = join.stop().unwrap();
    let seen = &summary["peers"][0];
    let tone = seen["tone_hz"].as_f64().unwrap_or_default();
    assert!((tone - 880.0).abs() <= TOLERANCE, "{summary}");
    assert_eq!(
        (&seen["peer"], &seen["data_in"], &seen["data_out"]),
        (&json!(page), &json!(4), &json!(4))
    );
    assert!(content, "{summary}");
}

#[test]
fn a_page_that_calls_and_a_native_peer_hear_and_tell_each_other() {
    they_hear_and_tell_each_other("page-calls", "b-page", "a-native");
}

#[test]
fn a_page_that_is_called_and_a_native_peer_hear_and_tell_each_other() {
    they_hear_and_tell_each_other("native-calls", "a-page", "b-native");
}

#[test]
fn a_page_that_only_listens_need_not_be_heard() {
    let Some(chromium) = chromium("listens") else { return };
    let signal = Signal::start().unwrap();
    let mut join = Join::start(&signal, "native", "listener", 620).unwrap();
    let mut browser = Browser::open(chromium, &signal.page);
    browser.run("rtcmeshPage.join({ name: 'listener', source: 'none' })");
    browser.hears("native", 620);
    assert_eq!(join.event("connected").unwrap()["peer"], "listener");
    let (summary, content) = join.stop().unwrap();
    assert_eq!(summary["peers"][0]["audio_packets_in"], json!(0));
    assert!(content, "{summary}");
}

#[test]
fn an_expression_is_evaluated_in_a_page_and_its_promise_awaited() {
    let Some(mut chromium) = chromium("evaluate") else { return };
    let page = chromium.open("data:text/html,<title>static</title>").unwrap();
    let later = "new Promise((done) => setTimeout(() => done({ title: document.title })))";
    assert_eq!(chromium.evaluate(&page, later), Ok(json!({ "title": "static" })));
    assert_eq!(chromium.evaluate(&page, "undefined"), Ok(json!(null)));
}

#[test]
fn a_rejection_is_an_error_that_shows_its_reason_and_the_console() {
    let Some(mut chromium) = chromium("reject") else { return };
    let page = chromium.open("data:text/html,<script>console.log('seen')</script>").unwrap();
    let error = chromium.evaluate(&page, "Promise.reject(new Error('refused'))").unwrap_err();
    assert!(error.contains("refused") && error.contains("seen"), "{error}");
    let error = chromium.open("http://127.0.0.1:1/").err().unwrap();
    assert!(error.contains("127.0.0.1:1"), "{error}");
}
