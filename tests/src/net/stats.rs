//! What became of the datagrams, counted.

/// Why a datagram did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lost {
    /// By chance, on a link.
    Loss,
    /// A link's queue was full, or too much was under way in the whole network.
    Queue,
    /// Longer than a link's longest packet.
    Mtu,
    /// A host's firewall.
    Firewall,
    /// A NAT had no mapping for it, or did not let this sender in.
    NatFilter,
    /// A NAT had as many mappings as it holds.
    NatFull,
    /// From behind a NAT to its own outer address, and it does no hairpinning.
    Hairpin,
    /// Nobody has the address where it was looked for.
    NoRoute,
    /// The two hosts are kept apart.
    Partition,
    /// An interface on the way is down, or gone.
    InterfaceDown,
}

/// What became of all datagrams so far. A datagram that was doubled is delivered, or lost, once or
/// twice; one that is under way is counted as sent alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NetStats {
    /// Handed to the network.
    pub sent: u64,
    /// Handed to a host.
    pub delivered: u64,
    /// Second copies that a link made.
    pub duplicated: u64,
    /// Copies in which a link flipped a bit.
    pub corrupted: u64,
    /// [`Lost::Loss`].
    pub lost: u64,
    /// [`Lost::Queue`].
    pub queue: u64,
    /// [`Lost::Mtu`].
    pub mtu: u64,
    /// [`Lost::Firewall`].
    pub firewall: u64,
    /// [`Lost::NatFilter`].
    pub nat_filter: u64,
    /// [`Lost::NatFull`].
    pub nat_full: u64,
    /// [`Lost::Hairpin`].
    pub hairpin: u64,
    /// [`Lost::NoRoute`].
    pub no_route: u64,
    /// [`Lost::Partition`].
    pub partition: u64,
    /// [`Lost::InterfaceDown`].
    pub interface_down: u64,
}

impl NetStats {
    pub(super) fn count(&mut self, lost: Lost) {
        *match lost {
            Lost::Loss => &mut self.lost,
            Lost::Queue => &mut self.queue,
            Lost::Mtu => &mut self.mtu,
            Lost::Firewall => &mut self.firewall,
            Lost::NatFilter => &mut self.nat_filter,
            Lost::NatFull => &mut self.nat_full,
            Lost::Hairpin => &mut self.hairpin,
            Lost::NoRoute => &mut self.no_route,
            Lost::Partition => &mut self.partition,
            Lost::InterfaceDown => &mut self.interface_down,
        } += 1;
    }

    /// How many were lost, for whatever reason.
    #[must_use]
    pub const fn all_lost(&self) -> u64 {
        self.lost
            + self.queue
            + self.mtu
            + self.firewall
            + self.nat_filter
            + self.nat_full
            + self.hairpin
            + self.no_route
            + self.partition
            + self.interface_down
    }
}
