//! What may go wrong in a world, and how it is put right.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtcmesh_core::config::Config;

use super::World;
use crate::digest::Record;
use crate::host::Setup;
use crate::net::LinkConfig;

impl World {
    /// Nothing passes between these two any more, or again.
    pub fn cut(&mut self, a: usize, b: usize, cut: bool) {
        let (a, b) = (self.hosts[a].node, self.hosts[b].node);
        self.network.cut(a, b, cut);
    }

    /// Nothing passes between hosts of different groups any more. Signaling is reached by all of them.
    pub fn partition(&mut self, groups: &[Vec<usize>]) {
        let nodes = |group: &Vec<usize>| group.iter().map(|host| self.hosts[*host].node).collect();
        let groups: Vec<Vec<usize>> = groups.iter().map(nodes).collect();
        self.network.partition(&groups);
    }

    /// Ends all cuts and partitions.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// Datagrams between these two take this long, one way, instead of what [`World::weather`] says.
    pub fn set_latency(&mut self, a: usize, b: usize, latency: Duration) {
        let path = LinkConfig { latency, ..self.network.internet_mut().clone() };
        let (a, b) = (self.hosts[a].node, self.hosts[b].node);
        self.network.set_path(a, b, Some(path));
    }

    /// A host's process is gone without a word to its peers: nothing more comes out of it or gets into it. Its system
    /// closes its connections.
    pub fn crash(&mut self, host: usize) {
        self.hosts[host].crashed = true;
        self.hosts[host].due = None;
        self.abandon(host);
    }

    /// A new transport takes the place of what ran on a host, at the same addresses; what its application has not
    /// taken out of [`crate::Host::events`] and the others is gone. It is not started.
    ///
    /// # Panics
    /// Where the configuration is invalid.
    pub fn restart(&mut self, host: usize, config: Config) {
        self.crash(host);
        let clock = self.hosts[host].clock;
        let incarnation = self.hosts[host].incarnation + 1;
        let transport = self.transport(config, host, incarnation, &clock);
        self.hosts[host].replace(transport);
    }

    /// A host's signaling connections break (its media goes on): both sides see it.
    pub fn break_signaling(&mut self, host: usize) {
        for server in self.connections_of(host) {
            self.break_connection(server);
        }
    }

    /// All interfaces of a host go down, or come back with the addresses that they had: a cable that is pulled.
    pub fn set_up(&mut self, host: usize, up: bool) {
        self.set_interfaces_up(host, |_| up);
    }

    /// Those interfaces of a host are up from now on of which this says so, by their addresses, and the others are down.
    pub fn set_interfaces_up(&mut self, host: usize, up: impl Fn(IpAddr) -> bool) {
        let node = self.hosts[host].node;
        for address in self.network.all_interfaces(node) {
            self.network.set_up(address, up(address));
        }
        self.interfaces_changed(host);
    }

    /// A host moves to another network: it gets an interface as this says, and those that it had are gone. Its
    /// connections to the signaling server are gone with them, which the server does not see at once.
    pub fn roam(&mut self, host: usize, to: &Setup) {
        let node = self.hosts[host].node;
        let old = self.network.all_interfaces(node);
        self.attach(node, to);
        for address in old {
            self.network.remove_interface(address);
            self.lose_client(host, Some(address));
        }
        self.interfaces_changed(host);
    }

    /// A host gets one interface more, attached as this says (its clock stays as it is): gives the address. A transport
    /// that was started is told.
    pub fn add_interface(&mut self, host: usize, setup: &Setup) -> IpAddr {
        let address = self.attach(self.hosts[host].node, setup);
        self.interfaces_changed(host);
        address
    }

    /// A host's interface is gone, with its address and the signaling connections from there, which the server does not
    /// see at once. A transport that was started is told.
    ///
    /// # Panics
    /// Where the host has no such address.
    pub fn remove_interface(&mut self, host: usize, address: IpAddr) {
        let own = self.network.all_interfaces(self.hosts[host].node);
        assert!(own.contains(&address), "host {host} has no interface {address}");
        self.network.remove_interface(address);
        self.lose_client(host, Some(address));
        self.interfaces_changed(host);
    }

    /// The NATs around a host forget all their mappings, those of its carrier excepted.
    pub fn rebind(&mut self, host: usize) {
        for site in self.network.sites(self.hosts[host].node) {
            self.network.rebind(site, self.elapsed);
        }
    }

    /// A stranger ([`World::add_stranger`]) sends datagrams to all sockets of a host: garbage by chance, and such as
    /// begin like STUN, DTLS and RTP.
    pub fn spray(&mut self, stranger: usize, host: usize) {
        const STARTS: [&[u8]; 5] = [
            &[],
            &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42],
            &[22, 254, 253],
            &[0x80, 111],
            &[0x80, 200],
        ];
        let Some(from) = self.network.interfaces(stranger).next() else { return };
        let targets: Vec<_> = self.hosts[host].sockets().map(|(_, local)| local).collect();
        for to in targets {
            for start in STARTS {
                let mut payload = start.to_vec();
                let length = self.rng.next_u64() % 200;
                payload.extend((0..length).map(|_| self.rng.next_u64() as u8));
                let from = SocketAddr::new(from, 9);
                let record = Record::Sent { from, to, payload: &payload };
                self.digest.record(self.elapsed, stranger, record);
                self.send(stranger, from, to, payload);
            }
        }
    }

    fn interfaces_changed(&mut self, host: usize) {
        if self.hosts[host].watches && !self.hosts[host].crashed {
            self.report_interfaces(host);
            self.drain_host(host);
        }
    }

    /// A machine that is no transport stops, or goes on with what it knew.
    pub fn set_node_down(&mut self, node: usize, down: bool) {
        self.others[node].down = down;
        self.drain_other(node);
    }
}
