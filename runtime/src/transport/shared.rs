//! What the handles and the driver share: the machine behind one lock, and those who wait for it.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rtcmesh_core::error::{ConnectError, StartError};
use rtcmesh_core::transport::Outcome;

use crate::runtime::Runtime;
use crate::tls::TlsOptions;
use crate::transport::events::TransportEvent;
use crate::transport::machine::Machine;

/// The name of one who waits.
pub(crate) type Ticket = u64;

/// What the handles and the driver share.
pub(crate) struct Shared<R, M> {
    pub(crate) runtime: R,
    pub(crate) counters: Counters,
    state: Mutex<State<M>>,
}

impl<R: Runtime, M: Machine> Shared<R, M> {
    pub(crate) fn new(runtime: R, machine: M) -> Self {
        let state = State {
            machine,
            tls: TlsOptions::new(),
            driver: Driven::NotYet,
            driver_waker: None,
            leaving: None,
            abandoned: false,
            shut_down: None,
            started: None,
            connecting: BTreeMap::new(),
            starting: Wakers::default(),
            ending: Wakers::default(),
            listening: Wakers::default(),
            next_ticket: 0,
        };
        Self { runtime, counters: Counters::default(), state: Mutex::new(state) }
    }

    /// The state. A panic under the lock is the machine's, which contains those of its peers itself: the
    /// others go on with what there is.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something panicked under the lock.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.state.is_poisoned()
    }

    /// Commands the machine: what follows is dealt out, and the driver sees to the rest.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut State<M>, Instant) -> T) -> T {
        let now = self.runtime.now();
        let mut state = self.lock();
        let result = command(&mut state, now);
        state.settle(now);
        state.wake_driver();
        result
    }
}

/// Whether a driver serves the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driven {
    NotYet,
    /// There is a driver, which nobody has polled yet: it holds nothing.
    Placed,
    Yes,
    /// For good.
    NoLonger,
}

/// The machine, and those who wait for it.
pub(crate) struct State<M> {
    pub(crate) machine: M,
    pub(crate) tls: TlsOptions,
    pub(crate) driver: Driven,
    /// Taken by who wakes the driver, so that it is woken once however much is commanded.
    driver_waker: Option<Waker>,
    /// When everything was asked to end.
    pub(crate) leaving: Option<Instant>,
    /// Nobody is left to command the machine: the driver shall shut it down.
    pub(crate) abandoned: bool,
    /// When the machine had said its goodbyes.
    pub(crate) shut_down: Option<Instant>,
    started: Option<Result<(), StartError>>,
    connecting: BTreeMap<Ticket, Connecting>,
    starting: Wakers,
    ending: Wakers,
    listening: Wakers,
    next_ticket: Ticket,
}

/// One call of `connect_peer` that waits.
struct Connecting {
    peer: String,
    result: Option<Result<(), ConnectError>>,
    waker: Option<Waker>,
}

impl<M: Machine> State<M> {
    /// Deals out what the machine has to say. Called before the lock is released, each time that the
    /// machine was used: an outcome thus never meets somebody who began to wait after it.
    pub(crate) fn settle(&mut self, now: Instant) {
        while let Some(outcome) = self.machine.poll_outcome() {
            match outcome {
                Outcome::Started(result) => {
                    self.started = Some(result);
                    self.starting.wake();
                }
                Outcome::Connected { peer, result } => {
                    for waiting in self.connecting.values_mut() {
                        if waiting.peer == peer.as_str() {
                            waiting.end(&result);
                        }
                    }
                }
                Outcome::ShutDown => self.shut_down = self.shut_down.or(Some(now)),
                other => tracing::debug!(?other, "an outcome that nobody waits for"),
            }
        }
        if !self.listening.is_empty() && self.machine.has_events() {
            self.listening.wake();
        }
    }

    /// Makes the driver look at the machine, if it is not about to do so.
    pub(crate) fn wake_driver(&mut self) {
        if let Some(waker) = self.driver_waker.take() {
            waker.wake();
        }
    }

    /// Remembers the driver's task.
    pub(crate) fn register_driver(&mut self, cx: &Context<'_>) {
        if !self.driver_waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.driver_waker = Some(cx.waker().clone());
        }
    }

    /// There is no driver (any more): nothing that is waited for will come.
    pub(crate) fn end(&mut self) {
        self.driver = Driven::NoLonger;
        self.driver_waker = None;
        for waiting in self.connecting.values_mut() {
            waiting.end(&Err(ConnectError::NotStarted));
        }
        self.starting.wake();
        self.ending.wake();
        self.listening.wake();
    }

    /// A name for one who is going to wait.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Begins to wait for the next outcome of connecting to `peer`.
    pub(crate) fn await_connected(&mut self, peer: &str) -> Ticket {
        let ticket = self.ticket();
        let waiting = Connecting { peer: peer.to_owned(), result: None, waker: None };
        self.connecting.insert(ticket, waiting);
        ticket
    }

    /// The outcome that `ticket` waits for.
    pub(crate) fn poll_connected(
        &mut self,
        ticket: Ticket,
        cx: &Context<'_>,
    ) -> Poll<Result<(), ConnectError>> {
        let over = self.driver == Driven::NoLonger;
        match self.connecting.get_mut(&ticket) {
            Some(Connecting { result: Some(result), .. }) => Poll::Ready(result.clone()),
            Some(waiting) if !over => {
                waiting.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Err(ConnectError::NotStarted)),
        }
    }

    /// A start was commanded: the outcome of an earlier one is of no interest.
    pub(crate) fn await_started(&mut self) -> Ticket {
        self.started = None;
        self.ticket()
    }

    /// The outcome of the start.
    pub(crate) fn poll_started(
        &mut self,
        ticket: Ticket,
        cx: &Context<'_>,
    ) -> Poll<Result<(), StartError>> {
        match &self.started {
            Some(result) => Poll::Ready(result.clone()),
            None if self.driver == Driven::NoLonger => Poll::Ready(Err(StartError::ShutDown)),
            None => self.starting.register(ticket, cx),
        }
    }

    /// Ready once there is no driver any more.
    pub(crate) fn poll_over(&mut self, ticket: Ticket, cx: &Context<'_>) -> Poll<()> {
        match self.driver {
            Driven::NoLonger => Poll::Ready(()),
            Driven::NotYet | Driven::Placed | Driven::Yes => self.ending.register(ticket, cx),
        }
    }

    /// The next event or, if there is none, the next frame of media; `None` after the end.
    pub(crate) fn poll_event(
        &mut self,
        ticket: Ticket,
        cx: &Context<'_>,
    ) -> Poll<Option<TransportEvent>> {
        if let Some(event) = self.machine.poll_event() {
            return Poll::Ready(Some(TransportEvent::Event(event)));
        }
        if let Some(media) = self.machine.poll_media() {
            return Poll::Ready(Some(TransportEvent::Media(media)));
        }
        match self.driver {
            Driven::NoLonger => Poll::Ready(None),
            Driven::NotYet | Driven::Placed | Driven::Yes => self.listening.register(ticket, cx),
        }
    }

    /// `ticket` waits no more.
    pub(crate) fn forget(&mut self, ticket: Ticket) {
        self.connecting.remove(&ticket);
        for wakers in [&mut self.starting, &mut self.ending, &mut self.listening] {
            wakers.0.remove(&ticket);
        }
    }

    /// How many wait, for tests.
    #[cfg(any(test, feature = "conformance"))]
    pub(crate) fn waiting(&self) -> usize {
        let wakers = [&self.starting, &self.ending, &self.listening];
        self.connecting.len() + wakers.iter().map(|wakers| wakers.0.len()).sum::<usize>()
    }
}

impl Connecting {
    fn end(&mut self, result: &Result<(), ConnectError>) {
        if self.result.is_none() {
            self.result = Some(result.clone());
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The tasks that wait for one thing.
#[derive(Default)]
struct Wakers(BTreeMap<Ticket, Waker>);

impl Wakers {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn register<T>(&mut self, ticket: Ticket, cx: &Context<'_>) -> Poll<T> {
        self.0.insert(ticket, cx.waker().clone());
        Poll::Pending
    }

    fn wake(&mut self) {
        for waker in mem::take(&mut self.0).into_values() {
            waker.wake();
        }
    }
}

/// What the sockets could not do. Kept outside of the lock: the driver counts while it sends.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) send_errors: AtomicU64,
    pub(crate) receive_errors: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) oversized: AtomicU64,
}

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
