//! Files of packets as Wireshark reads them: pcapng (draft-ietf-opsawg-pcapng-05), as much of it as a world needs.

use std::time::Duration;

/// Packets begin with an IP header, of whichever version (LINKTYPE_RAW in the registry of tcpdump.org).
const LINK_TYPE: u16 = 101;

/// Times are in nanoseconds: 10^-9 (section 4.2, `if_tsresol`).
const RESOLUTION: u8 = 9;

/// Kinds of blocks (section 10.1).
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;

/// Options (sections 3.5, 4.1, 4.2, 4.3).
const END: u16 = 0;
const COMMENT: u16 = 1;
const NAME: u16 = 2;
const FLAGS: u16 = 2;
const APPLICATION: u16 = 4;
const TSRESOL: u16 = 9;

/// What a packet takes beside its bytes and its comment, in bytes: the block, both options, and paddings.
pub(super) const OVERHEAD: usize = 32 + 8 + 8 + 4 + 6;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct File {
    bytes: Vec<u8>,
}

impl File {
    /// A file with one section, little-endian, whose length is not stated.
    pub(super) fn new(application: &str) -> Self {
        let mut file = Self { bytes: Vec::new() };
        file.block(SECTION, |body| {
            body.extend(0x1a2b_3c4d_u32.to_le_bytes());
            body.extend(1_u16.to_le_bytes());
            body.extend(0_u16.to_le_bytes());
            body.extend((-1_i64).to_le_bytes());
            option(body, APPLICATION, application.as_bytes());
            option(body, END, &[]);
        });
        file
    }

    /// Another interface: they are numbered from 0.
    pub(super) fn interface(&mut self, name: &str) {
        self.block(INTERFACE, |body| {
            body.extend(LINK_TYPE.to_le_bytes());
            body.extend(0_u16.to_le_bytes());
            // No limit to a packet's length.
            body.extend(0_u32.to_le_bytes());
            option(body, NAME, name.as_bytes());
            option(body, TSRESOL, &[RESOLUTION]);
            option(body, END, &[]);
        });
    }

    /// A packet that left an interface, with the time since 1970.
    pub(super) fn packet(&mut self, interface: u32, at: Duration, packet: &[u8], comment: &str) {
        const OUTBOUND: u32 = 0b10;
        let nanos = at.as_nanos() as u64;
        self.block(PACKET, |body| {
            body.extend(interface.to_le_bytes());
            body.extend(((nanos >> 32) as u32).to_le_bytes());
            body.extend((nanos as u32).to_le_bytes());
            body.extend((packet.len() as u32).to_le_bytes());
            body.extend((packet.len() as u32).to_le_bytes());
            body.extend(packet);
            pad(body);
            option(body, COMMENT, comment.as_bytes());
            option(body, FLAGS, &OUTBOUND.to_le_bytes());
            option(body, END, &[]);
        });
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn block(&mut self, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend([0; 4]);
        // What is in it is padded to four bytes, and so are all blocks before it.
        fill(&mut self.bytes);
        let length = (self.bytes.len() - start + 4) as u32;
        self.bytes[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
