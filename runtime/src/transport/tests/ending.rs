//! Every way to the end, none of which lets anybody wait for ever.

use std::task::{Context, Wake};
use std::time::Duration;

use rtcmesh_core::error::ConnectError;

use super::*;
use crate::transport::shared::Driven;

const SECOND: Duration = Duration::from_secs(1);

fn over(mesh: &Mesh) -> bool {
    mesh.world.bound().is_empty() && mesh.state(|state| state.driver == Driven::NoLonger)
}

#[test]
fn a_shutdown_with_nothing_to_send_is_over_at_once() {
    let mesh = Mesh::with_sockets(&[1]);
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    assert_eq!(ended.take(), Some(()));
    assert!(over(&mesh));
    assert_eq!(mesh.world.tasks(), 0);
    let again = mesh.spawn(|handle| async move { handle.shutdown().await });
    assert_eq!(again.take(), Some(()));
    assert_eq!(mesh.log(), ["shutdown"]);
}

/// Looks, when it is woken, how many sockets there are.
struct Looks {
    world: World,
    bound: Mutex<Option<usize>>,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        *self.bound.lock().unwrap() = Some(self.world.bound().len());
    }
}

#[test]
fn ports_are_free_when_the_end_is_told() {
    let mesh = Mesh::with_sockets(&[1]);
    let looks = Arc::new(Looks { world: mesh.world.clone(), bound: Mutex::new(None) });
    let waker = looks.clone().into();
    let handle = mesh.handle.clone();
    let mut ended = Box::pin(async move { handle.shutdown().await });
    assert!(ended.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(mesh.world.bound().len(), 1);
    mesh.world.run();
    assert_eq!(*looks.bound.lock().unwrap(), Some(0));
    assert!(ended.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn goodbyes_are_sent_before_the_end() {
    let mesh = Mesh::with_sockets(&[1]);
    mesh.world.udp(near(1), |udp| udp.full = true);
    mesh.script(|script| (0..300).for_each(|_| script.transmit(1, far(), "goodbye")));
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    let again = mesh.spawn(|handle| async move { handle.shutdown().await });
    assert_eq!((ended.take(), again.take()), (None, None));
    mesh.world.udp(near(1), |udp| udp.full = false);
    mesh.world.run();
    assert_eq!((ended.take(), again.take()), (Some(()), Some(())));
    assert_eq!(mesh.world.sent_by_closed().len(), 300);
    assert!(over(&mesh));
}

#[test]
fn goodbyes_that_cannot_be_sent_delay_the_end_by_a_second() {
    let mesh = Mesh::with_sockets(&[1]);
    mesh.world.udp(near(1), |udp| udp.full = true);
    mesh.script(|script| script.transmit(1, far(), "goodbye"));
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    mesh.world.pass(SECOND * 9 / 10);
    assert_eq!(ended.take(), None);
    mesh.world.pass(SECOND / 10);
    assert_eq!(ended.take(), Some(()));
    assert!(over(&mesh));
}

#[test]
fn a_machine_that_does_not_end_is_dropped_after_five_seconds() {
    let mesh = Mesh::with_sockets(&[1]);
    mesh.script(|script| script.mute = true);
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    mesh.world.pass(SECOND * 49 / 10);
    assert_eq!(ended.take(), None);
    mesh.world.pass(SECOND / 10);
    assert_eq!(ended.take(), Some(()));
    assert!(over(&mesh));
}

#[test]
fn a_shutdown_before_the_start_needs_no_driver() {
    let mesh = Mesh::new();
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    assert_eq!(ended.take(), Some(()));
    assert_eq!(mesh.log(), ["shutdown"]);
    assert!(over(&mesh));
}

#[test]
fn the_last_handle_takes_the_mesh_with_it() {
    let mesh = Mesh::with_sockets(&[1]);
    let Mesh { world, handle } = mesh;
    let another = handle.clone();
    drop(handle);
    world.run();
    assert_eq!((world.tasks(), world.bound().len()), (1, 1));
    drop(another);
    world.run();
    assert_eq!((world.tasks(), world.bound().len()), (0, 0));
}

#[test]
fn the_last_handle_leaves_a_goodbye() {
    let mesh = Mesh::with_sockets(&[1]);
    let Mesh { world, handle } = mesh;
    handle.shared().command(|state, _| {
        state.machine.mute = true;
        state.machine.transmit(1, far(), "goodbye");
    });
    drop(handle);
    world.run();
    assert_eq!(world.udp(near(1), |udp| udp.sent.clone()), [b"goodbye"]);
    world.pass(SECOND * 5);
    assert_eq!((world.tasks(), world.bound().len()), (0, 0));
}

/// Somebody who waits for each thing that can be waited for.
fn waiters(mesh: &Mesh) -> impl Fn() -> Vec<String> + use<> {
    let started = mesh.spawn(|handle| async move { handle.start().await });
    let connected = mesh.spawn(|handle| async move { handle.connect_peer("bob").await });
    move || {
        let started = started.take().map(|result| format!("{result:?}"));
        let connected = connected.take().map(|result| format!("{result:?}"));
        started.into_iter().chain(connected).collect()
    }
}

#[test]
fn a_machine_that_panics_ends_the_mesh_and_nobody_waits_for_ever() {
    let mesh = Mesh::with_sockets(&[1]);
    let results = waiters(&mesh);
    assert!(results().is_empty());
    mesh.script(|script| script.faulty = true);
    mesh.world.udp(near(1), |udp| udp.incoming.push_back(Ok((far(), b"x".to_vec()))));
    mesh.world.run();
    assert_eq!(results(), ["Err(ShutDown)", "Err(NotStarted)"]);
    let late = mesh.spawn(|handle| async move { handle.connect_peer("bob").await });
    assert_eq!(late.take(), Some(Err(ConnectError::NotStarted)));
    let ended = mesh.spawn(|handle| async move { handle.shutdown().await });
    assert_eq!(ended.take(), Some(()));
    assert!(over(&mesh));
}

#[test]
fn a_runtime_that_ends_ends_the_mesh() {
    let mesh = Mesh::with_sockets(&[1]);
    mesh.world.end();
    assert!(over(&mesh));
    assert_eq!(mesh.log(), ["shutdown"]);
    let started = mesh.spawn(|handle| async move { handle.start().await });
    assert_eq!(started.take(), Some(Err(StartError::ShutDown)));
}
