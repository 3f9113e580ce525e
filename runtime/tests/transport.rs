//! The transport on tokio, as far as it goes without a server.

use std::time::Duration;

use rtcmesh_tokio::config::Config;
use rtcmesh_tokio::error::{ConnectError, NotStarted, StartError};
use rtcmesh_tokio::media::{DataMessage, RuntimeData};
use rtcmesh_tokio::{IoMetrics, Metrics, TokioRuntime, WebRtcTransport};

fn config() -> Config {
    // Nobody listens on the discard port.
    Config::new("ws://127.0.0.1:9/").peer_id("alice")
}

#[test]
fn outside_of_a_runtime_the_error_says_so() {
    let error = WebRtcTransport::new(config()).unwrap_err();
    assert_eq!(error.field, "runtime");
    let error = WebRtcTransport::new(config().max_peers(0)).unwrap_err();
    assert_eq!(error.field, "max_peers", "what is wrong everywhere comes first");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = TokioRuntime::new(runtime.handle().clone());
    let transport = WebRtcTransport::with_runtime(handle, config()).unwrap();
    assert_eq!(transport.peer_id().as_str(), "alice");
}

#[tokio::test]
async fn before_the_start_nothing_can_be_sent_and_nobody_is_listed() {
    let transport = WebRtcTransport::new(config()).unwrap();
    assert_eq!(transport.list_peers(), Err(NotStarted));
    assert_eq!(transport.known_peers(), Err(NotStarted));
    assert_eq!(transport.connect_peer("bob").await, Err(ConnectError::NotStarted));
    assert!(transport.disconnect_peer("bob").await.is_err());
    assert!(transport.send_to_peer("bob", &RuntimeData::Text("x".into())).is_err());
    assert!(transport.broadcast(&RuntimeData::Text("x".into())).is_err());
    assert!(transport.send_data_channel_message("bob", &DataMessage::text("x")).is_err());
    assert!(transport.buffered_amount("bob").is_err());
    assert!(transport.request_keyframe("bob").is_err());
    assert_eq!(transport.metrics(), Metrics::default());
    assert_eq!(transport.io_metrics(), IoMetrics::default());
}

#[tokio::test]
async fn after_a_shutdown_nothing_starts_and_the_events_end() {
    let transport = WebRtcTransport::new(config()).unwrap();
    let mut events = transport.events();
    transport.shutdown().await;
    transport.shutdown().await;
    assert_eq!(transport.start().await, Err(StartError::ShutDown));
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_fails_the_start_in_time() {
    let transport = WebRtcTransport::new(config()).unwrap();
    let error = tokio::time::timeout(Duration::from_secs(11), transport.start()).await;
    let error = error.expect("within the limit").unwrap_err();
    assert!(matches!(error, StartError::Signaling(_) | StartError::Timeout { .. }), "{error}");
    transport.shutdown().await;
}

#[tokio::test]
async fn an_end_that_comes_meanwhile_ends_the_start() {
    let transport = WebRtcTransport::new(config()).unwrap();
    let starting = transport.clone();
    let starting = tokio::spawn(async move { starting.start().await });
    tokio::task::yield_now().await;
    transport.shutdown().await;
    assert!(starting.await.unwrap().is_err());
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_events() {
    let transport = WebRtcTransport::new(config()).unwrap();
    let mut events = transport.events();
    let starting = tokio::time::timeout(Duration::ZERO, transport.start()).await;
    drop((starting, transport));
    while events.next().await.is_some() {}
}
