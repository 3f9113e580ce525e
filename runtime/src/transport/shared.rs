//! What the handles and the driver share: the machine behind one lock, and those who wait for it.

use std::array;
use std::collections::BTreeMap;
use std::iter;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rtcmesh_core::error::{ConnectError, StartError};
use rtcmesh_core::net::{IoCommand, Transmit};
use rtcmesh_core::transport::Outcome;

use crate::runtime::Runtime;
use crate::tls::TlsOptions;
use crate::transport::events::TransportEvent;
use crate::transport::machine::Machine;
use crate::transport::udp::Sockets;

/// Datagrams that are fetched from the machine at once: the lock is held for no longer.
pub(crate) const TRANSMITS: usize = 128;
/// Commands that are fetched from the machine at once.
const COMMANDS: usize = 64;
/// Wakers that are called at once after the lock was released: mostly there is one.
const WOKEN: usize = 4;

/// The name of one who waits.
pub(crate) type Ticket = u64;

/// What the handles and the driver share. Who needs both locks takes `io` first.
pub(crate) struct Shared<R: Runtime, M> {
    pub(crate) runtime: R,
    pub(crate) counters: Counters,
    io: Mutex<Io<R>>,
    /// The driver waits for them.
    io_wanted: AtomicBool,
    state: Mutex<State<M>>,
}

/// What datagrams pass through. The driver has it for each of its rounds; between them whoever commands the machine sends
/// what that gave rise to, which spares the datagrams the way over the driver's task, perhaps on another thread.
pub(crate) struct Io<R: Runtime> {
    pub(crate) sockets: Sockets<R>,
    pub(crate) transmits: Vec<Transmit>,
    pub(crate) commands: Vec<IoCommand>,
    /// When the driver, which waits, will look at the machine by itself.
    pub(crate) alarm: Option<Instant>,
}

impl<R: Runtime, M: Machine> Shared<R, M> {
    pub(crate) fn new(runtime: R, machine: M) -> Self {
        let io = Io {
            sockets: Sockets::new(),
            transmits: Vec::with_capacity(TRANSMITS),
            commands: Vec::new(),
            alarm: None,
        };
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
            woken: Vec::new(),
            next_ticket: 0,
        };
        let (io, state) = (Mutex::new(io), Mutex::new(state));
        let io_wanted = AtomicBool::new(false);
        Self { runtime, counters: Counters::default(), io, io_wanted, state }
    }

    /// The sockets, for the driver. Commands without end do not keep it from them: while it waits they leave them alone.
    pub(crate) fn io(&self) -> MutexGuard<'_, Io<R>> {
        self.io_wanted.store(true, Ordering::Relaxed);
        let io = self.io.lock().unwrap_or_else(PoisonError::into_inner);
        self.io_wanted.store(false, Ordering::Relaxed);
        io
    }

    /// The state. A panic under the lock is the machine's, which contains those of its peers itself: the
    /// others go on with what there is.
    pub(crate) fn lock(&self) -> Locked<'_, M> {
        Locked { mutex: &self.state, guard: Some(guard(&self.state)) }
    }

    /// Whether something panicked under the lock.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.state.is_poisoned()
    }

    /// Commands the machine: what follows is dealt out and sent, and the driver sees to the rest.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut State<M>, Instant) -> T) -> T {
        let now = self.runtime.now();
        // Whoever has the sockets now has them for some calls of the system: the driver is told to look after that.
        let lent = !self.io_wanted.load(Ordering::Relaxed);
        let io = lent.then(|| self.io.try_lock().ok()).flatten();
        let mut state = self.lock();
        let result = command(&mut state, now);
        let waiting = state.driver_waker.clone().filter(|_| state.leaving.is_none());
        let (Some(mut lent), Some(driver)) = (io, waiting) else {
            state.settle(now);
            state.wake_driver();
            return result;
        };
        let io = &mut *lent;
        let more = state.fetch(io);
        state.settle(now);
        let due = state.machine.poll_timeout().map(|deadline| deadline.at);
        let early = due.is_some_and(|due| io.alarm.is_none_or(|alarm| due < alarm));
        let woken = if more || early { state.driver_waker.take() } else { None };
        let others = !state.woken.is_empty();
        // Nobody is woken while the sockets are held: an executor may poll the driver at once.
        state.unlock();
        if !io.transmits.is_empty() {
            // A socket that is full wakes the driver.
            let cx = &mut Context::from_waker(&driver);
            io.sockets.send(cx, now, &mut io.transmits, &self.counters);
        }
        drop(lent);
        if others {
            drop(self.lock());
        }
        if let Some(waker) = woken {
            waker.wake();
        }
        result
    }
}

fn guard<M>(state: &Mutex<State<M>>) -> MutexGuard<'_, State<M>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The locked state. Whom it wakes is woken after the lock was released, and does not run into it.
pub(crate) struct Locked<'a, M> {
    mutex: &'a Mutex<State<M>>,
    /// There until it is dropped.
    guard: Option<MutexGuard<'a, State<M>>>,
}

impl<M> Locked<'_, M> {
    /// Releases the lock and wakes nobody: whoever has it next does.
    fn unlock(mut self) {
        self.guard = None;
    }
}

impl<M> Deref for Locked<'_, M> {
    type Target = State<M>;

    fn deref(&self) -> &State<M> {
        self.guard.as_ref().expect("locked until dropped")
    }
}

impl<M> DerefMut for Locked<'_, M> {
    fn deref_mut(&mut self) -> &mut State<M> {
        self.guard.as_mut().expect("locked until dropped")
    }
}

impl<M> Drop for Locked<'_, M> {
    fn drop(&mut self) {
        let mut guard = self.guard.take();
        while let Some(mut state) = guard.take().filter(|state| !state.woken.is_empty()) {
            // Not all of them: the vector stays, so that nothing is allocated for those to come.
            let count = state.woken.len().min(WOKEN);
            let mut first = state.woken.drain(..count);
            let woken: [_; WOKEN] = array::from_fn(|_| first.next());
            drop(first);
            let more = !state.woken.is_empty();
            drop(state);
            woken.into_iter().flatten().for_each(Waker::wake);
            guard = more.then(|| self::guard(self.mutex));
        }
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
    /// Who is to be woken when the lock is released.
    woken: Vec<Waker>,
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
                    self.woken.extend(self.starting.drain());
                }
                Outcome::Connected { peer, result } => {
                    for waiting in self.connecting.values_mut() {
                        if waiting.peer == peer.as_str() {
                            self.woken.extend(waiting.end(&result));
                        }
                    }
                }
                Outcome::ShutDown => self.shut_down = self.shut_down.or(Some(now)),
                other => tracing::debug!(?other, "an outcome that nobody waits for"),
            }
        }
        if !self.listening.is_empty() && self.machine.has_events() {
            self.woken.extend(self.listening.drain());
        }
    }

    /// Fetches what the machine wants sent and done. `true`: the driver has to see to it.
    pub(crate) fn fetch<R: Runtime>(&mut self, io: &mut Io<R>) -> bool {
        let machine = &mut self.machine;
        io.transmits.extend(iter::from_fn(|| machine.poll_transmit()).take(TRANSMITS));
        io.commands.extend(iter::from_fn(|| machine.poll_command()).take(COMMANDS));
        !io.commands.is_empty() || io.transmits.len() >= TRANSMITS
    }

    /// Makes the driver look at the machine, if it is not about to do so.
    pub(crate) fn wake_driver(&mut self) {
        self.woken.extend(self.driver_waker.take());
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
            self.woken.extend(waiting.end(&Err(ConnectError::NotStarted)));
        }
        for wakers in [&mut self.starting, &mut self.ending, &mut self.listening] {
            self.woken.extend(wakers.drain());
        }
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
            wakers.0.retain(|waiting| waiting.0 != ticket);
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
    /// Sets the result, and gives whom to wake.
    fn end(&mut self, result: &Result<(), ConnectError>) -> Option<Waker> {
        if self.result.is_none() {
            self.result = Some(result.clone());
        }
        self.waker.take()
    }
}

/// The tasks that wait for one thing: few.
#[derive(Default)]
struct Wakers(Vec<(Ticket, Waker)>);

impl Wakers {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn register<T>(&mut self, ticket: Ticket, cx: &Context<'_>) -> Poll<T> {
        match self.0.iter_mut().find(|waiting| waiting.0 == ticket) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.0.push((ticket, cx.waker().clone())),
        }
        Poll::Pending
    }

    /// All of them, who wait no more.
    fn drain(&mut self) -> impl Iterator<Item = Waker> {
        self.0.drain(..).map(|(_, waker)| waker)
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
