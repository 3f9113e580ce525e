//! The driver and the handles, with a scripted machine in an imagined system.

mod conformance;
mod ending;
mod links;
mod script;
mod sockets;
mod timers;
mod trains;
mod waiting;
mod world;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use rtcmesh_core::error::StartError;
use rtcmesh_core::id::SocketId;
use rtcmesh_core::net::IoCommand;
use rtcmesh_core::transport::Outcome;

use super::handle::Handle;
use super::shared::State;
use crate::runtime::Runtime;
use script::Script;
use world::World;

/// Where the datagrams of the tests come from and go to.
fn far() -> SocketAddr {
    ([192, 0, 2, 9], 9).into()
}

/// The address of the socket of this number.
fn near(socket: u64) -> SocketAddr {
    ([192, 0, 2, 1], socket as u16).into()
}

/// What a task gave, once it has ended.
struct Given<T>(Arc<Mutex<Option<T>>>);

impl<T> Given<T> {
    fn take(&self) -> Option<T> {
        self.0.lock().unwrap().take()
    }
}

struct Mesh {
    world: World,
    handle: Handle<World, Script>,
}

impl Mesh {
    fn new() -> Self {
        let world = World::new();
        let read = || Ok(vec![IpAddr::from([127, 0, 0, 1])]);
        let handle = Handle::new(world.clone(), Script::default(), read);
        Self { world, handle }
    }

    /// Started, with these sockets.
    fn with_sockets(sockets: &[u64]) -> Self {
        let mesh = Self::new();
        mesh.start();
        for &socket in sockets {
            mesh.command(IoCommand::BindUdp { socket: SocketId(socket), addr: near(socket) });
        }
        mesh.log();
        mesh
    }

    fn start(&self) {
        let started = self.spawn(|handle| async move { handle.start().await });
        self.script(|script| script.outcomes.push_back(Outcome::Started(Ok(()))));
        assert_eq!(started.take(), Some(Ok::<(), StartError>(())));
    }

    /// Runs a command to its end or until it waits.
    fn spawn<T, F>(&self, command: impl FnOnce(Handle<World, Script>) -> F) -> Given<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let given = Arc::new(Mutex::new(None));
        let (slot, command) = (given.clone(), command(self.handle.clone()));
        self.world.spawn(async move {
            let value = command.await;
            *slot.lock().unwrap() = Some(value);
        });
        self.world.run();
        Given(given)
    }

    fn state<T>(&self, change: impl FnOnce(&mut State<Script>) -> T) -> T {
        let result = self.handle.shared().command(|state, _| change(state));
        self.world.run();
        result
    }

    /// Changes the script, and lets the driver see it.
    fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        self.state(|state| change(&mut state.machine))
    }

    fn command(&self, command: IoCommand) {
        self.script(|script| script.commands.push_back(command));
    }

    /// What the machine was told since the last look.
    fn log(&self) -> Vec<String> {
        self.script(|script| std::mem::take(&mut script.log))
    }

    /// What a socket sent, as texts.
    fn sent(&self, socket: u64) -> Vec<String> {
        let sent = self.world.udp(near(socket), |udp| std::mem::take(&mut udp.sent));
        sent.iter().map(|payload| String::from_utf8_lossy(payload).into_owned()).collect()
    }
}
