//! What every runtime has to do, on smol and under async-std.

use rtcmesh_runtime::conformance::guarded;
use rtcmesh_runtime::{Runtime, conformance};
use rtcmesh_smol::SmolRuntime;

#[test]
fn on_smol() {
    guarded("smol", || smol::block_on(conformance::check(SmolRuntime::current().unwrap())));
}

#[test]
fn under_async_std_as_it_is() {
    guarded("under async-std", || {
        async_std::task::block_on(conformance::check(SmolRuntime::new()));
    });
}

#[test]
fn on_the_executor_of_async_std() {
    let runtime = SmolRuntime::spawning(|task| drop(async_std::task::spawn(task)));
    guarded("the executor of async-std", || {
        async_std::task::block_on(conformance::check(runtime));
    });
}

#[test]
fn with_a_driver_on_a_thread_of_its_own() {
    guarded("a driver on a thread", || {
        smol::block_on(conformance::check_on_a_thread(SmolRuntime::new()));
    });
}
