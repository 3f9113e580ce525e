//! The event loop: one task per mesh, which moves what the machine wants moved and tells it what
//! happened.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rtcmesh_core::net::IoCommand;

use crate::runtime::{Runtime, Timer};
use crate::transport::interfaces::{self, Interfaces};
use crate::transport::link::Links;
use crate::transport::machine::Machine;
use crate::transport::report::Report;
use crate::transport::shared::{Driven, Io, Shared};
use crate::transport::udp::Sockets;

/// Rounds of the loop before other tasks have their turn.
const ROUNDS: usize = 16;
/// Calls of a machine that is due and then still due, with nothing to show for it, after which it is
/// called at this interval only: a fault of the machine must not cost a whole processor.
const FRUITLESS: u32 = 16;
const FRUITLESS_INTERVAL: Duration = Duration::from_millis(5);
/// How long goodbyes may take to be sent after the machine has said them.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
/// How long the end may take in all.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The event loop of one mesh, as a future that ends with it. Dropped before, it ends the mesh.
pub(crate) struct Driver<R: Runtime, M: Machine> {
    shared: Arc<Shared<R, M>>,
    links: Links<R>,
    interfaces: Option<Interfaces>,
    read_interfaces: interfaces::Read,
    /// The timer and what it is set to.
    timer: Option<(R::Timer, Instant)>,
    fruitless: u32,
    /// Whether it has been polled, and not ended.
    begun: bool,
    /// Since the machine was asked last, nothing but a datagram can have changed what it wants: when it is due.
    settled: Option<Option<Instant>>,
    reports: Vec<Report>,
}

/// What a round of the loop ends with.
enum Round {
    /// There may be more to do.
    More,
    /// Whoever has something to do will wake the task.
    Idle,
    /// The mesh has ended.
    Over,
}

/// What the machine wants.
struct Wants {
    /// Something was fetched: there may be more.
    more: bool,
    /// To be called at this instant.
    deadline: Option<Instant>,
    end: Option<End>,
}

/// The end of the mesh has been asked for.
struct End {
    /// The machine has said its goodbyes.
    said: bool,
    /// When it is over, whatever is still to be sent.
    limit: Instant,
}

impl<R: Runtime, M: Machine> Driver<R, M> {
    /// The driver of what `shared` holds. There is one at a time.
    pub(crate) fn new(shared: Arc<Shared<R, M>>, read_interfaces: interfaces::Read) -> Self {
        Self {
            links: Links::new(),
            interfaces: None,
            read_interfaces,
            timer: None,
            fruitless: 0,
            begun: false,
            settled: None,
            reports: Vec::new(),
            shared,
        }
    }

    /// Takes the mesh over with the first poll. `false`: it has ended.
    fn begin(&mut self) -> bool {
        let mut state = self.shared.lock();
        self.begun = state.driver != Driven::NoLonger;
        if self.begun {
            state.driver = Driven::Yes;
        }
        self.begun
    }

    /// Ends the mesh, once: with the future, or where that is dropped before.
    fn end(&mut self) {
        if self.shared.lock().driver == Driven::NoLonger {
            return;
        }
        // The future may be kept for long after it has ended. Whoever waits for the end may want the ports at once: they are
        // free before it is told.
        self.begun = false;
        self.shared.io().sockets = Sockets::new();
        self.links = Links::new();
        self.timer = None;

        let now = self.shared.runtime.now();
        let mut state = self.shared.lock();
        if state.shut_down.is_none() {
            tracing::warn!("the driver of a mesh ended before the mesh was shut down");
            // A machine that panicked is not asked again: a second panic while unwinding aborts.
            if !self.shared.is_poisoned() {
                state.machine.shutdown(now);
                state.settle(now);
            }
        }
        state.end();
    }

    fn round(&mut self, cx: &mut Context<'_>, shared: &Shared<R, M>) -> Round {
        let now = shared.runtime.now();
        let io = &mut *shared.io();
        let received = io.sockets.receive(cx, &shared.counters, &mut self.reports);
        let read = self.links.poll(cx, now, &mut self.reports);
        self.reports.extend(self.interfaces.as_mut().and_then(|watch| watch.look(now)));

        let quiet = !received && io.sockets.is_quiet() && self.reports.is_empty();
        let wants = match self.settled.take() {
            Some(deadline) if quiet && deadline.is_none_or(|at| at > now) => {
                Wants { more: false, deadline, end: None }
            }
            _ => {
                let wants = self.exchange(cx, now, io);
                io.sockets.send(cx, now, &mut io.transmits, &shared.counters);
                self.carry_out(now, io);
                wants
            }
        };

        if let Some(end) = &wants.end {
            let sent = !wants.more && io.sockets.is_flushed() && self.links.is_empty();
            if (end.said && sent) || end.limit <= now {
                return Round::Over;
            }
        }
        io.alarm = None;
        if received || read || wants.more {
            let settled = !read && !wants.more && wants.end.is_none();
            self.settled = settled.then_some(wants.deadline);
            return Round::More;
        }
        let deadlines = [
            wants.deadline,
            wants.end.map(|end| end.limit),
            io.sockets.deadline(),
            self.links.deadline(),
            self.interfaces.as_ref().map(Interfaces::next_look),
        ];
        io.alarm = deadlines.into_iter().flatten().min();
        io.alarm.map_or(Round::Idle, |deadline| self.sleep(cx, deadline))
    }

    /// Tells the machine what happened, and fetches what it wants done: all that needs the lock.
    fn exchange(&mut self, cx: &Context<'_>, now: Instant, io: &mut Io<R>) -> Wants {
        let mut state = self.shared.lock();
        for datagram in io.sockets.received() {
            state.machine.handle_datagram(now, datagram);
        }
        for report in self.reports.drain(..) {
            state.machine.handle_io(now, report.as_event());
        }
        if state.abandoned {
            state.abandoned = false;
            state.machine.shutdown(now);
        }
        self.fruitless = match state.machine.poll_timeout() {
            Some(due) if due.at <= now => {
                state.machine.handle_timeout(now);
                self.fruitless.saturating_add(1)
            }
            _ => 0,
        };
        let more = state.fetch(io);
        state.settle(now);
        state.register_driver(cx);

        if more || !io.transmits.is_empty() {
            self.fruitless = 0;
        }
        let deadline = state.machine.poll_timeout().map(|deadline| {
            if deadline.at <= now && self.fruitless >= FRUITLESS {
                tracing::debug!(why = deadline.why, "the machine is due without end");
                now + FRUITLESS_INTERVAL
            } else {
                deadline.at
            }
        });
        let end = state.leaving.map(|asked| End {
            said: state.shut_down.is_some(),
            limit: state.shut_down.map_or(asked + END_LIMIT, |said| said + FLUSH_LIMIT),
        });
        Wants { more, deadline, end }
    }

    /// Carries the machine's commands out; it is told of the results in the next round.
    fn carry_out(&mut self, now: Instant, io: &mut Io<R>) {
        let runtime = &self.shared.runtime;
        let Io { sockets, commands, .. } = io;
        for command in commands.drain(..) {
            match command {
                IoCommand::WatchInterfaces => {
                    self.interfaces = Some(Interfaces::new(self.read_interfaces, now));
                }
                IoCommand::BindUdp { socket, addr } => {
                    self.reports.push(sockets.bind(runtime, socket, addr));
                }
                IoCommand::CloseUdp { socket } => sockets.close(socket, now),
                IoCommand::OpenLink { link, url } => {
                    let tls = self.shared.lock().tls.clone();
                    self.links.open(runtime, link, url, tls);
                }
                IoCommand::SendLink { link, text } => {
                    self.links.send(link, text, &mut self.reports);
                }
                IoCommand::CloseLink { link, code } => self.links.close(link, code, now),
                other => tracing::error!(?other, "a command that the driver does not know"),
            }
        }
    }

    /// Waits for `deadline`, unless it has come.
    fn sleep(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Round {
        // The clock comes first: a timer of a busy runtime may be late to say that it has fired.
        if deadline <= self.shared.runtime.now() {
            return Round::More;
        }
        let runtime = &self.shared.runtime;
        let (timer, set_to) = self.timer.get_or_insert_with(|| (runtime.timer(deadline), deadline));
        // One that fires earlier is left alone until it does: with each packet the deadline moves away, and to set a
        // timer costs more than to look once too often.
        if *set_to <= deadline {
            match timer.poll(cx) {
                Poll::Pending => return Round::Idle,
                Poll::Ready(()) if *set_to == deadline => return Round::More,
                Poll::Ready(()) => {}
            }
        }
        *set_to = deadline;
        timer.reset(deadline);
        match timer.poll(cx) {
            Poll::Ready(()) => Round::More,
            Poll::Pending => Round::Idle,
        }
    }
}

// Nothing in it is pinned but what is boxed.
impl<R: Runtime, M: Machine> Unpin for Driver<R, M> {}

impl<R: Runtime, M: Machine> Future for Driver<R, M> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.begun && !self.begin() {
            return Poll::Ready(());
        }
        // Whoever woke the task may have commanded the machine.
        self.settled = None;
        let shared = self.shared.clone();
        for _ in 0..ROUNDS {
            match self.round(cx, &shared) {
                Round::More => {}
                Round::Idle => return Poll::Pending,
                Round::Over => {
                    self.end();
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime, M: Machine> Drop for Driver<R, M> {
    fn drop(&mut self) {
        self.end();
    }
}
