//! A page in headless Chromium joins the mesh by itself.
//!
//! Without a Chromium on this machine the suite is skipped and says so; with `CI=true` it fails instead.

mod chromium;

use std::io::Write;

use serde_json::json;

use chromium::Chromium;

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
