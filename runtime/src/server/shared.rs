//! What the tasks of one server share: the machine with the outboxes of its links behind one lock, and
//! the register of connections that are still being opened.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::mem;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use rtcmesh_core::id::{LinkId, PeerId};
use rtcmesh_core::signaling::{Server, ServerCommand, ServerMetrics, Ticket, Verdict};

use super::http::{Assets, Origins};
use super::options::{Authorize, SignalingServerOptions};
use crate::runtime::{Runtime, Timer};
use crate::tls::TlsIdentity;

/// The most connections between their acceptance and their upgrade. One more sends away the one that
/// has dawdled longest: an honest client is through within milliseconds.
const MAX_OPENING: usize = 1024;
/// The places that the queue of an idle link keeps.
const IDLE_QUEUE: usize = 4;

/// A peer that wants to join, for an embedder to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Admission {
    /// The room: the path of the WebSocket's URL.
    pub room: Arc<str>,
    /// The id that it wants.
    pub peer_id: PeerId,
    /// What it brings as its `token`, if it brings one.
    pub token: Option<String>,
}

/// What a connection's task has to write.
#[derive(Debug)]
pub(super) enum Out {
    Text(Arc<str>),
    Ping,
    Close(u16, &'static str),
}

/// What waits for one link, and the task that will write it. The machine bounds what it sends.
#[derive(Default)]
struct Outbox {
    queue: VecDeque<Out>,
    /// Whether a close was queued.
    closing: bool,
    waker: Option<Waker>,
}

impl Outbox {
    /// Queues `out`, and gives the task where it has to be woken: a task that has more to write than
    /// its socket takes is not, except for a close, which ends its patience.
    fn push(&mut self, out: Out) -> Option<Waker> {
        let close = matches!(out, Out::Close(..));
        let wake = close || self.queue.is_empty();
        self.closing |= close;
        self.queue.push_back(out);
        if wake { self.waker.take() } else { None }
    }
}

struct State {
    machine: Server,
    links: BTreeMap<LinkId, Outbox>,
    /// When the time-keeping task will look by itself, and how to make it look before.
    armed: Option<Instant>,
    time_keeper: Option<Waker>,
}

/// Connections that are being opened, by their order of arrival, and the tasks that run.
#[derive(Default)]
struct Register {
    next: u64,
    opening: BTreeMap<LinkId, Option<Waker>>,
    tasks: usize,
    stopping: bool,
    /// Those that wait for the stop: accepting tasks, and a shutdown for the last task to end.
    waiting: Vec<Waker>,
}

pub(super) struct Shared<R> {
    runtime: R,
    state: Mutex<State>,
    register: Mutex<Register>,
    pub(super) origins: Origins,
    pub(super) assets: Assets,
    pub(super) tls: Option<TlsIdentity>,
    authorize: Option<Authorize>,
}

/// A machine that panicked leaves a whole, if surprising, state: going on beats a dead server.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a batch of commands, to be done without the lock.
#[derive(Default)]
struct Aftermath {
    wake: Vec<Waker>,
    judge: Vec<(Ticket, Admission)>,
}

impl State {
    /// Moves the machine's commands into the outboxes.
    ///
    /// The task of the link `own` is at work, and looks into its outbox before it rests.
    fn drain(&mut self, own: Option<LinkId>) -> Aftermath {
        let mut after = Aftermath::default();
        while let Some(command) = self.machine.poll_command() {
            let (link, out) = match command {
                ServerCommand::Send { link, text } => (link, Out::Text(text)),
                ServerCommand::Ping { link } => (link, Out::Ping),
                ServerCommand::Close { link, code, reason } => (link, Out::Close(code, reason)),
                ServerCommand::Authorize { ticket, room, peer_id, token } => {
                    after.judge.push((ticket, Admission { room, peer_id, token }));
                    continue;
                }
                _ => continue,
            };
            // A link that has gone meanwhile needs nothing.
            if let Some(outbox) = self.links.get_mut(&link) {
                let waker = outbox.push(out);
                after.wake.extend(waker.filter(|_| own != Some(link)));
            }
        }
        let due = self.machine.poll_timeout().map(|deadline| deadline.at);
        if due.is_some_and(|due| self.armed.is_none_or(|armed| due < armed)) {
            after.wake.extend(self.time_keeper.take());
        }
        after
    }
}

impl<R: Runtime> Shared<R> {
    pub(super) fn new(runtime: R, machine: Server, options: SignalingServerOptions) -> Self {
        let SignalingServerOptions { origins, assets, tls, authorize, .. } = options;
        let state = State { machine, links: BTreeMap::new(), armed: None, time_keeper: None };
        Self {
            runtime,
            state: Mutex::new(state),
            register: Mutex::default(),
            origins,
            assets,
            tls,
            authorize,
        }
    }

    pub(super) fn runtime(&self) -> &R {
        &self.runtime
    }

    pub(super) fn metrics(&self) -> ServerMetrics {
        lock(&self.state).machine.metrics()
    }

    /// Gives the machine an input, and whoever has something to write a sign.
    pub(super) fn input(self: &Arc<Self>, input: impl FnOnce(&mut Server, Instant)) {
        self.input_by(None, input);
    }

    fn input_by(self: &Arc<Self>, own: Option<LinkId>, input: impl FnOnce(&mut Server, Instant)) {
        let after = {
            let mut state = lock(&self.state);
            input(&mut state.machine, self.runtime.now());
            state.drain(own)
        };
        self.follow_up(after);
    }

    fn follow_up(self: &Arc<Self>, after: Aftermath) {
        after.wake.into_iter().for_each(Waker::wake);
        for (ticket, admission) in after.judge {
            // A machine that asks although nobody judges here: everybody may join.
            let Some(authorize) = &self.authorize else {
                self.input(|machine, now| machine.authorize(now, ticket, Verdict::Accept));
                continue;
            };
            let judging = authorize(admission);
            let shared = self.clone();
            self.runtime.spawn(async move {
                let verdict = judging.await;
                shared.input(|machine, now| machine.authorize(now, ticket, verdict));
            });
        }
    }

    /// Tells the machine of a new link. `None`: the server is stopping.
    pub(super) fn open(
        self: &Arc<Self>,
        link: LinkId,
        path: &str,
        address: IpAddr,
    ) -> Option<Membership<R>> {
        lock(&self.state).links.insert(link, Outbox::default());
        let membership = Membership { shared: self.clone(), link, ended: false };
        self.input(|machine, now| machine.handle_open(now, link, path, address));
        // A stop that came before the link was entered has not closed it.
        (!self.stopping()).then_some(membership)
    }

    /// Names a new connection, and enters it among those that are being opened.
    pub(super) fn arrive(&self) -> LinkId {
        let mut register = lock(&self.register);
        let link = LinkId(register.next);
        register.next += 1;
        register.opening.insert(link, None);
        let full = register.opening.len() > MAX_OPENING;
        let dawdler = if full { register.opening.pop_first() } else { None };
        drop(register);
        if let Some((_, Some(waker))) = dawdler {
            waker.wake();
        }
        link
    }

    /// Pending while the connection may go on being opened, and its task is woken when it may not.
    pub(super) fn poll_unwanted(&self, cx: &Context<'_>, link: LinkId) -> Poll<()> {
        let mut register = lock(&self.register);
        let stopping = register.stopping;
        match register.opening.get_mut(&link) {
            Some(waker) if !stopping => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Ends the opening of a connection, for better or worse.
    pub(super) fn opened(&self, link: LinkId) {
        lock(&self.register).opening.remove(&link);
    }

    /// Whether the server is stopping; if not, the task is woken once it is.
    pub(super) fn poll_stopping(&self, cx: &Context<'_>) -> Poll<()> {
        let mut register = lock(&self.register);
        if register.stopping {
            return Poll::Ready(());
        }
        wait(&mut register.waiting, cx);
        Poll::Pending
    }

    pub(super) fn stopping(&self) -> bool {
        lock(&self.register).stopping
    }

    /// Ready once the last task has ended.
    pub(super) fn poll_stopped(&self, cx: &Context<'_>) -> Poll<()> {
        let mut register = lock(&self.register);
        if register.tasks == 0 {
            return Poll::Ready(());
        }
        wait(&mut register.waiting, cx);
        Poll::Pending
    }

    /// Tells all tasks to end: every WebSocket is closed as one of a server that goes away.
    pub(super) fn stop(&self) {
        let mut wake = {
            let mut register = lock(&self.register);
            if register.stopping {
                return;
            }
            register.stopping = true;
            let mut wake = mem::take(&mut register.waiting);
            wake.extend(register.opening.values_mut().filter_map(Option::take));
            wake
        };
        {
            let mut state = lock(&self.state);
            wake.extend(state.time_keeper.take());
            for outbox in state.links.values_mut() {
                // 1001: going away (RFC 6455, section 7.4.1).
                wake.extend(outbox.push(Out::Close(1001, "the server is shutting down")));
            }
        }
        wake.into_iter().for_each(Waker::wake);
    }
}

/// A link that the machine knows of, until it is told of its end, which it is in any case.
pub(super) struct Membership<R: Runtime> {
    shared: Arc<Shared<R>>,
    link: LinkId,
    ended: bool,
}

impl<R: Runtime> Membership<R> {
    pub(super) fn name(&self) -> LinkId {
        self.link
    }

    pub(super) fn shared(&self) -> &Arc<Shared<R>> {
        &self.shared
    }

    /// Gives the machine an input from this link, whose task takes what waits for it afterwards.
    pub(super) fn input(&self, input: impl FnOnce(&mut Server, Instant, LinkId)) {
        self.shared.input_by(Some(self.link), |machine, now| input(machine, now, self.link));
    }

    /// Tells the machine that the link has ended: with the close code of its client, if that closed it.
    pub(super) fn end(&mut self, code: Option<u16>) {
        if !mem::replace(&mut self.ended, true) {
            lock(&self.shared.state).links.remove(&self.link);
            self.shared.input(|machine, now| machine.handle_closed(now, self.link, code));
        }
    }

    /// Whether the machine wants the link closed.
    pub(super) fn unwanted(&self) -> bool {
        lock(&self.shared.state).links.get(&self.link).is_none_or(|outbox| outbox.closing)
    }

    /// Moves what waits for the link into `batch`: texts of about `most` bytes together, one at least
    /// unless `most` is 0. Texts of the lengths `written` have gone out since the last call. Where
    /// nothing waits afterwards, the task is woken by what comes; in any case by a close.
    ///
    /// Gives whether a close was moved, or waits behind what was not.
    pub(super) fn take(
        &self,
        cx: &Context<'_>,
        written: &mut Vec<usize>,
        most: usize,
        batch: &mut Vec<Out>,
    ) -> bool {
        let mut state = lock(&self.shared.state);
        if !written.is_empty() {
            let now = self.shared.runtime.now();
            for length in written.drain(..) {
                state.machine.handle_sent(now, self.link, length);
            }
        }
        let Some(outbox) = state.links.get_mut(&self.link) else { return false };
        let mut bytes = 0;
        while bytes < most
            && let Some(out) = outbox.queue.pop_front()
        {
            bytes += if let Out::Text(text) = &out { text.len() } else { 0 };
            batch.push(out);
        }
        if outbox.queue.is_empty() {
            // What a burst needed is not kept for ever.
            outbox.queue.shrink_to(IDLE_QUEUE);
        }
        match &mut outbox.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        outbox.closing
    }
}

impl<R: Runtime> Drop for Membership<R> {
    fn drop(&mut self) {
        self.end(None);
    }
}

/// Adds a task to those that wait, once.
fn wait(waiting: &mut Vec<Waker>, cx: &Context<'_>) {
    if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
        waiting.push(cx.waker().clone());
    }
}

/// Counts a task while it lives, however it ends.
struct Task<R: Runtime>(Arc<Shared<R>>);

impl<R: Runtime> Drop for Task<R> {
    fn drop(&mut self) {
        let wake = {
            let mut register = lock(&self.0.register);
            register.tasks -= 1;
            if register.tasks == 0 { mem::take(&mut register.waiting) } else { Vec::new() }
        };
        wake.into_iter().for_each(Waker::wake);
    }
}

/// Runs a task of the server, which a shutdown waits for.
pub(super) fn spawn<R: Runtime>(
    shared: &Arc<Shared<R>>,
    task: impl Future<Output = ()> + Send + 'static,
) {
    lock(&shared.register).tasks += 1;
    let guard = Task(shared.clone());
    shared.runtime.spawn(async move {
        let _guard = guard;
        task.await;
    });
}

/// Calls the machine at its deadlines.
pub(super) async fn keep_time<R: Runtime>(shared: Arc<Shared<R>>) {
    let mut timer = shared.runtime.timer(shared.runtime.now());
    let mut set = None;
    poll_fn(|cx| {
        loop {
            if shared.stopping() {
                return Poll::Ready(());
            }
            let due = {
                let mut state = lock(&shared.state);
                state.time_keeper = Some(cx.waker().clone());
                let due = state.machine.poll_timeout().map(|deadline| deadline.at);
                state.armed = due;
                due
            };
            let Some(due) = due else { return Poll::Pending };
            if due > shared.runtime.now() {
                if set != Some(due) {
                    timer.reset(due);
                    set = Some(due);
                }
                if timer.poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            set = None;
            shared.input(Server::handle_timeout);
        }
    })
    .await;
}
