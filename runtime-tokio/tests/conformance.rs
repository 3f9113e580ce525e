//! What every runtime has to do, on tokio.

use rtcmesh_runtime::{Runtime, conformance};
use rtcmesh_tokio::TokioRuntime;

#[tokio::test]
async fn on_one_thread() {
    conformance::check(TokioRuntime::current().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_two_threads() {
    conformance::check(TokioRuntime::current().unwrap()).await;
}

#[tokio::test]
async fn with_a_driver_on_a_thread_outside_of_the_runtime() {
    conformance::check_on_a_thread(TokioRuntime::current().unwrap()).await;
}

#[test]
fn outside_of_a_runtime_is_an_error() {
    assert!(TokioRuntime::current().is_err());
}
