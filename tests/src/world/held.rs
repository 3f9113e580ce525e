//! What machines hold in memory.

use super::World;

/// What the machines of a world hold, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Each host with its transport; what several share counts for the last of them.
    pub hosts: Vec<usize>,
    /// The signaling server's machine.
    pub server: usize,
}

impl World {
    /// Ends the world and tells what its machines held. `allocated` gives how much this process has allocated at present, in
    /// bytes, as an allocator that counts knows it; no other thread may allocate meanwhile.
    #[must_use]
    pub fn held(mut self, allocated: &dyn Fn() -> usize) -> Held {
        let weigh = |drop_it: &mut dyn FnMut()| {
            let before = allocated();
            drop_it();
            before.saturating_sub(allocated())
        };
        let mut hosts: Vec<_> = std::mem::take(&mut self.hosts).into_iter().map(Some).collect();
        let hosts = hosts.iter_mut().map(|host| weigh(&mut || *host = None)).collect();
        // What is on its way to those that are gone is the world's.
        let mut server = Some(self.signaling.server);
        let server = weigh(&mut || server = None);
        Held { hosts, server }
    }
}
