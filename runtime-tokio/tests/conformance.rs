//! What every runtime has to do, on tokio.

use rtcmesh_runtime::conformance::guarded;
use rtcmesh_runtime::{Runtime, conformance};
use rtcmesh_tokio::TokioRuntime;
use tokio::runtime::Builder;

#[test]
fn on_one_thread() {
    guarded("on one thread", || {
        let tokio = Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async { conformance::check(TokioRuntime::current().unwrap()).await });
    });
}

#[test]
fn on_two_threads() {
    guarded("on two threads", || {
        let tokio = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        tokio.block_on(async { conformance::check(TokioRuntime::current().unwrap()).await });
    });
}

#[test]
fn with_a_driver_on_a_thread_outside_of_the_runtime() {
    guarded("a driver on a thread", || {
        let tokio = Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            conformance::check_on_a_thread(TokioRuntime::current().unwrap()).await;
        });
    });
}

#[test]
fn outside_of_a_runtime_is_an_error() {
    assert!(TokioRuntime::current().is_err());
}
