//! A trace: when each packet of a stream was sent, and when it arrived, if it did.

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sent {
    /// When its first sample was captured, in milliseconds of the receiver's clock.
    pub sent: f64,
    /// When it arrived, in milliseconds; `None` where the network lost it.
    pub arrival: Option<f64>,
}

/// The packets of one stream in the order of sending, all of the same length.
#[derive(Debug, Clone)]
pub struct Trace {
    /// What it is called in the tables.
    pub name: String,
    /// The length of a packet in milliseconds of the sender's clock: packet `n` has the RTP time `n * frame`.
    pub frame: f64,
    /// The network's own delay, above which delays are counted, in milliseconds.
    pub base: f64,
    /// When the device asks first, in milliseconds: it knows nothing of the packets.
    pub phase: f64,
    /// The packets.
    pub packets: Vec<Sent>,
}

impl Trace {
    /// The packets that arrived, by the time of their arrival: the number and the time in milliseconds.
    pub fn arrivals(&self) -> Vec<(usize, f64)> {
        let mut arrivals: Vec<_> =
            self.packets.iter().enumerate().filter_map(|(n, p)| Some((n, p.arrival?))).collect();
        arrivals.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        arrivals
    }

    /// When the sample at `media` milliseconds of RTP time was captured.
    pub fn captured(&self, media: f64) -> f64 {
        let at = (media / self.frame).max(0.0);
        let n = (at as usize).min(self.packets.len().saturating_sub(1));
        let Some(packet) = self.packets.get(n) else { return media };
        let pace = match self.packets.get(n + 1) {
            Some(next) => next.sent - packet.sent,
            None => self.frame,
        };
        packet.sent + (at - n as f64) * pace
    }
}
