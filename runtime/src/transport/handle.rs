//! What every handle of a mesh does, whatever the machine: starting and stopping the driver, and
//! waiting for outcomes without a trace when the waiting is given up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rtcmesh_core::error::{ConnectError, StartError};

use crate::runtime::Runtime;
use crate::transport::driver::Driver;
use crate::transport::interfaces;
use crate::transport::machine::Machine;
use crate::transport::shared::{Driven, Shared, State, Ticket};

/// A handle. When the last one is gone, so is the mesh.
pub(crate) struct Handle<R: Runtime, M: Machine>(Arc<Owner<R, M>>);

impl<R: Runtime, M: Machine> Clone for Handle<R, M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Shared by the handles alone: dropped with the last of them.
struct Owner<R: Runtime, M: Machine> {
    shared: Arc<Shared<R, M>>,
    read_interfaces: interfaces::Read,
}

impl<R: Runtime, M: Machine> Drop for Owner<R, M> {
    fn drop(&mut self) {
        let now = self.shared.runtime.now();
        let mut state = self.shared.lock();
        match state.driver {
            Driven::NotYet | Driven::Placed => state.end(),
            Driven::Yes if state.leaving.is_none() => {
                state.leaving = Some(now);
                state.abandoned = true;
                state.wake_driver();
            }
            Driven::Yes | Driven::NoLonger => {}
        }
    }
}

impl<R: Runtime, M: Machine> Handle<R, M> {
    pub(crate) fn new(runtime: R, machine: M, read_interfaces: interfaces::Read) -> Self {
        let shared = Arc::new(Shared::new(runtime, machine));
        Self(Arc::new(Owner { shared, read_interfaces }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<R, M>> {
        &self.0.shared
    }

    /// The driver, which there is once.
    pub(crate) fn take_driver(&self) -> Result<Driver<R, M>, StartError> {
        let shared = self.shared();
        let mut state = shared.lock();
        match state.driver {
            Driven::NotYet => {
                state.driver = Driven::Placed;
                Ok(Driver::new(shared.clone(), self.0.read_interfaces))
            }
            Driven::Placed | Driven::Yes => Err(StartError::AlreadyStarted),
            Driven::NoLonger => Err(StartError::ShutDown),
        }
    }

    /// Starts the machine and, unless there is one, its driver; ready with the outcome.
    pub(crate) async fn start(&self) -> Result<(), StartError> {
        let shared = self.shared();
        let ticket = shared.command(|state, now| {
            state.machine.start(now)?;
            Ok(state.await_started())
        })?;
        let waiting = Wait { shared, ticket, poll: State::poll_started };
        // Somebody else may have seen to one meanwhile: that is as good.
        if let Ok(driver) = self.take_driver() {
            shared.runtime.spawn(driver);
        }
        waiting.await
    }

    /// Ends everything; ready when the driver is gone.
    pub(crate) async fn shutdown(&self) {
        let shared = self.shared();
        let ticket = shared.command(|state, now| {
            match state.driver {
                Driven::NoLonger => return None,
                Driven::Yes if state.leaving.is_some() => {}
                Driven::Yes => {
                    state.leaving = Some(now);
                    state.machine.shutdown(now);
                }
                Driven::NotYet | Driven::Placed => {
                    state.machine.shutdown(now);
                    state.end();
                    return None;
                }
            }
            Some(state.ticket())
        });
        if let Some(ticket) = ticket {
            Wait { shared, ticket, poll: State::poll_over }.await;
        }
    }

    /// Connects to a peer; ready with the outcome of the attempt, which several calls may share.
    pub(crate) async fn connect_peer(&self, peer: &str) -> Result<(), ConnectError> {
        let shared = self.shared();
        let ticket = shared.command(|state, now| {
            if matches!(state.driver, Driven::NotYet | Driven::NoLonger) {
                return Err(ConnectError::NotStarted);
            }
            let connected = state.machine.connect_peer(now, peer)?;
            Ok((!connected).then(|| state.await_connected(peer)))
        })?;
        match ticket {
            Some(ticket) => Wait { shared, ticket, poll: State::poll_connected }.await,
            None => Ok(()),
        }
    }
}

/// Waits for something that the state tells. Dropped, it leaves nothing behind.
struct Wait<'a, R: Runtime, M: Machine, T> {
    shared: &'a Shared<R, M>,
    ticket: Ticket,
    poll: fn(&mut State<M>, Ticket, &Context<'_>) -> Poll<T>,
}

impl<R: Runtime, M: Machine, T> Future for Wait<'_, R, M, T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        (self.poll)(&mut self.shared.lock(), self.ticket, cx)
    }
}

impl<R: Runtime, M: Machine, T> Drop for Wait<'_, R, M, T> {
    fn drop(&mut self) {
        self.shared.lock().forget(self.ticket);
    }
}
