//! Drivers that are taken out and placed by hand.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use rtcmesh_core::config::ConnectMode;
use rtcmesh_core::error::StartError;
use rtcmesh_core::transport::Event;

use super::room::{Peer, Room};
use super::{both, polled, within};
use crate::runtime::Runtime;
use crate::transport::{TransportDriver, TransportEvent};

pub(super) async fn check<R: Runtime>(runtime: &R) {
    within(runtime, "a driver beside the application", beside(runtime)).await;
    within(runtime, "a driver in a task", in_a_task(runtime)).await;
    within(runtime, "a driver is given out once", once(runtime)).await;
    within(runtime, "a driver that nobody polls", unpolled(runtime)).await;
    within(runtime, "a driver that is dropped", dropped(runtime)).await;
}

/// Drives one of two peers from a thread of its own, which is in no runtime and polls nothing else. For real
/// runtimes: one in virtual time has no threads.
///
/// # Panics
/// Where they do not come together.
pub async fn check_on_a_thread<R: Runtime>(runtime: R) {
    within(&runtime, "a driver on a thread of its own", async {
        let room = Room::open(&runtime);
        let (mut alice, driver) = placed(&room);
        let thread = thread::spawn(move || block_on(driver));
        assert_eq!(alice.transport.start().await, Ok(()));
        meet(&room, &mut alice).await;
        alice.transport.shutdown().await;
        thread.join().expect("a driver that does not panic");
    })
    .await;
}

/// The smallest executor: one future, on the calling thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A peer that is not started, and its driver.
fn placed<R: Runtime>(room: &Room<R>) -> (Peer<R>, TransportDriver<R>) {
    placed_as(room, "alice")
}

fn placed_as<R: Runtime>(room: &Room<R>, id: &str) -> (Peer<R>, TransportDriver<R>) {
    let Peer { transport, events } = room.peer(id, ConnectMode::Automatic);
    let (transport, driver) = transport.into_driver().expect("it is not started");
    (Peer { transport, events }, driver)
}

/// Somebody comes, and both hear each other.
async fn meet<R: Runtime>(room: &Room<R>, alice: &mut Peer<R>) {
    let mut bob = room.join("bob", ConnectMode::Automatic).await;
    alice.until_open().await;
    bob.until_open().await;
    alice.say("bob", "hello").expect("an open channel");
    assert_eq!(bob.hear().await, "hello");
    bob.say("alice", "hello yourself").expect("an open channel");
    assert_eq!(alice.hear().await, "hello yourself");
}

async fn beside<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let (mut alice, mut driver) = placed(&room);
    let application = async {
        assert_eq!(alice.transport.start().await, Ok(()));
        meet(&room, &mut alice).await;
        alice.transport.shutdown().await;
        alice.until_end().await;
    };
    both(&mut driver, application).await;
    // It has ended, and says so however often it is asked.
    (&mut driver).await;
}

async fn in_a_task<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let (mut alice, driver) = placed(&room);
    runtime.spawn(driver);
    assert_eq!(alice.transport.start().await, Ok(()));
    meet(&room, &mut alice).await;
    drop(alice.transport);
    while alice.events.next().await.is_some() {}
}

async fn once<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let (alice, driver) = placed(&room);
    let again = alice.transport.clone().into_driver().err();
    assert_eq!(again, Some(StartError::AlreadyStarted));
    let application = async {
        alice.transport.shutdown().await;
        let late = alice.transport.clone().into_driver().err();
        assert_eq!(late, Some(StartError::ShutDown));
    };
    both(driver, application).await;
    let bob = room.join("bob", ConnectMode::Manual).await;
    assert_eq!(bob.transport.into_driver().err(), Some(StartError::AlreadyStarted));
}

async fn unpolled<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let (mut alice, driver) = placed(&room);
    // Starting waits for it.
    assert_eq!(polled(alice.transport.start(), 1).await, None);
    alice.transport.shutdown().await;
    alice.until_end().await;
    driver.await;
    // The last handle goes, and with it the mesh.
    let (alice, driver) = placed(&room);
    drop(alice);
    driver.await;
}

async fn dropped<R: Runtime>(runtime: &R) {
    let room = Room::open(runtime);
    let (mut alice, driver) = placed(&room);
    drop(driver);
    assert_eq!(alice.transport.start().await, Err(StartError::ShutDown));
    alice.until_end().await;
    alice.transport.shutdown().await;

    // At every point of its way to the room: nobody waits for ever, and nothing is left behind.
    for polls in 1.. {
        assert!(polls < 1_000, "a driver that is dropped: it is polled without end");
        // A connection without a goodbye keeps its id for a while.
        let (mut alice, driver) = placed_as(&room, &format!("alice-{polls}"));
        let application = async {
            let started = alice.transport.start().await;
            alice.until_end().await;
            alice.transport.shutdown().await;
            assert_eq!(alice.transport.waiting(), 0, "after {polls} polls");
            started
        };
        let (_, started) = both(polled(driver, polls), application).await;
        match started {
            Ok(()) => break,
            Err(error) => assert_eq!(error, StartError::ShutDown, "after {polls} polls"),
        }
    }
    // And here and there on its way to an open channel.
    for polls in (0..14).map(|power| 1 << power) {
        let room = Room::open(runtime);
        let _bob = room.join("bob", ConnectMode::Automatic).await;
        let (mut alice, driver) = placed(&room);
        let application = async {
            let started = alice.transport.start().await;
            let mut open = false;
            while let Some(event) = alice.events.next().await {
                let is_open = |event: &Event| matches!(event, Event::DataChannelOpen { .. });
                open |= matches!(event, TransportEvent::Event(event) if is_open(&event));
                if open {
                    break;
                }
            }
            alice.transport.shutdown().await;
            (started, open)
        };
        let (_, (started, open)) = both(polled(driver, polls), application).await;
        assert!(started.is_ok() || started == Err(StartError::ShutDown), "{started:?}");
        if open {
            return;
        }
    }
    panic!("a driver that is dropped: it is polled without end");
}
