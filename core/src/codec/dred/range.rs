//! The range decoder of Opus (RFC 6716, section 4.1), as far as deep redundancy needs it.

/// The range is at least this after each symbol, and the value below [`TOP`].
const BOTTOM: u32 = 1 << 23;
const TOP: u32 = 1 << 31;

/// Probabilities of values are parts of this.
const SCALE: u32 = 1 << 15;

/// No value of a network is that far from 0, however long it is spelled.
const MAX_STEPS: u32 = 64;

/// Behind the end come zeros.
#[derive(Debug)]
pub(super) struct RangeDecoder<'a> {
    bytes: &'a [u8],
    at: usize,
    value: u32,
    range: u32,
    last: u32,
    /// All bits of the bytes that were taken in, and some of the next.
    taken: i64,
}

impl<'a> RangeDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut new = Self { bytes, at: 0, value: 0, range: 128, last: 0, taken: 9 };
        new.last = new.byte();
        new.value = 127 - (new.last >> 1);
        new.normalise();
        new
    }

    fn byte(&mut self) -> u32 {
        let byte = self.bytes.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        byte.into()
    }

    fn normalise(&mut self) {
        while self.range <= BOTTOM {
            self.taken += 8;
            self.range <<= 8;
            let before = self.last;
            self.last = self.byte();
            let symbol = (before << 8 | self.last) >> 1 & 0xff;
            self.value = (self.value << 8).wrapping_add(0xff - symbol) & (TOP - 1);
        }
    }

    /// How many bits of the bytes are left, rounded down (section 4.1.6.1); below 0 behind their end.
    pub(super) fn left(&self) -> i64 {
        let used = self.taken - i64::from(u32::BITS - self.range.leading_zeros());
        8 * self.bytes.len() as i64 - used
    }

    /// Where the next symbol stands among `total` (section 4.1.2).
    fn symbol(&self, total: u32) -> u32 {
        let step = self.range / total;
        total - (self.value / step + 1).min(total)
    }

    /// Takes the symbol that fills `from..to` of `total`.
    fn take(&mut self, from: u32, to: u32, total: u32) {
        let step = self.range / total;
        let above = step.wrapping_mul(total - to);
        self.value = self.value.wrapping_sub(above);
        self.range = if from > 0 { step * (to - from) } else { self.range - above };
        self.normalise();
    }

    /// An integer below `total`, at most 256, of which all are equally probable (section 4.1.5).
    pub(super) fn uint(&mut self, total: u32) -> u32 {
        let symbol = self.symbol(total);
        self.take(symbol, symbol + 1, total);
        symbol
    }

    /// The coarsest level that chunks come to, where the first has `first`, below 14: half of the
    /// probability is for 15, the rest for those between, equally.
    pub(super) fn last_level(&mut self, first: u32) -> u32 {
        let between = 14 - first;
        let symbol = self.symbol(2 * between);
        if symbol < between {
            self.take(0, between, 2 * between);
            return 15;
        }
        self.take(symbol, symbol + 1, 2 * between);
        first + 1 + symbol - between
    }

    /// Values of a network, of these probabilities, which are left unread.
    pub(super) fn values<const N: usize>(
        &mut self,
        decay: Option<&[u8; N]>,
        zero: Option<&[u8; N]>,
    ) {
        let (Some(decay), Some(zero)) = (decay, zero) else { return };
        for (&decay, &zero) in decay.iter().zip(zero) {
            if decay != 0 && zero != 255 {
                self.laplace(u32::from(zero) << 7, u32::from(decay) << 7);
            }
        }
    }

    /// A value that is 0 with the probability `zero`, and of which each next one has `decay` of that of the
    /// one before (`ec_laplace_decode_p0` in `celt/laplace.c`).
    fn laplace(&mut self, zero: u32, decay: u32) {
        let other = SCALE - zero;
        if self.inverse(&[other, other / 2, 0]) == 0 {
            return;
        }
        let mut steps = [0; 8];
        let mut above = SCALE;
        for (step, least) in steps.iter_mut().zip((1..=7).rev()) {
            above = ((above * decay) >> 15).max(least);
            *step = above;
        }
        for _ in 0..MAX_STEPS {
            if self.inverse(&steps) < 7 {
                break;
            }
        }
    }

    /// The first symbol above whose inverse cumulative probability the value lies (section 4.1.3.3).
    fn inverse(&mut self, table: &[u32]) -> usize {
        let step = self.range >> 15;
        let mut above = self.range;
        for (symbol, part) in table.iter().enumerate() {
            let below = step * part;
            if self.value >= below {
                self.value -= below;
                self.range = above - below;
                self.normalise();
                return symbol;
            }
            above = below;
        }
        0
    }
}
