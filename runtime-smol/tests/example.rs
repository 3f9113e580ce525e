//! The example under async-std is not only compiled.

// Its `main` prints what is compared here.
#[allow(dead_code)]
#[path = "../examples/async_std.rs"]
mod example;

use rtcmesh_runtime::conformance::guarded;

#[test]
fn two_peers_under_async_std_hear_each_other() {
    let heard = guarded("the example under async-std", || {
        async_std::task::block_on(example::meet()).map_err(|error| error.to_string())
    });
    assert_eq!(heard, Ok(["hello from bob".to_owned(), "hello from alice".to_owned()]));
}
