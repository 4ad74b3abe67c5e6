//! Huffman codes by table (T.81, annex C), and a second table that steps over coefficients nobody asks for.

use super::bits::Bits;
use super::header::CodeLengths;

/// Bits that a table is looked up by; longer codes are rare and searched.
const LOOKUP: u32 = 10;
/// The same for stepping over: several short codes fit.
const STEP: u32 = 12;

/// A Huffman code. At least 16 bits must be available to read a symbol.
pub(super) struct Table<'a> {
    symbols: &'a [u8],
    /// `length << 8 | symbol` by the next bits, 0 where the code is longer.
    lookup: Box<[u16; 1 << LOOKUP]>,
    /// For each length, first code beyond it, left-justified to 16 bits; and what to add to a code for its symbol.
    limits: [u32; 17],
    offsets: [usize; 17],
}

impl<'a> Table<'a> {
    pub fn new(lengths: CodeLengths<'a>) -> Option<Table<'a>> {
        let symbols = lengths.symbols;
        let mut table = Table { symbols, lookup: Box::new([0; 1 << LOOKUP]), limits: [0; 17], offsets: [0; 17] };
        let (mut code, mut first) = (0_u32, 0_usize);
        for length in 1..=16_u32 {
            let count = usize::from(lengths.counts[length as usize - 1]);
            table.offsets[length as usize] = first.wrapping_sub(code as usize);
            for symbol in symbols.get(first..first + count)? {
                if length <= LOOKUP {
                    let (start, width) = ((code << (LOOKUP - length)) as usize, 1 << (LOOKUP - length));
                    table.lookup.get_mut(start..start + width)?.fill((length as u16) << 8 | u16::from(*symbol));
                }
                code += 1;
            }
            first += count;
            // More codes than that length has room for.
            if code > 1 << length {
                return None;
            }
            table.limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// The next symbol, `None` where the bits are no code.
    #[inline]
    pub fn symbol(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let entry = self.lookup[bits.peek::<LOOKUP>()];
        if entry != 0 {
            bits.skip(u32::from(entry >> 8));
            return Some(entry as u8);
        }
        self.long(bits)
    }

    #[cold]
    fn long(&self, bits: &mut Bits<'_>) -> Option<u8> {
        let next = bits.peek::<16>() as u32;
        let length = (LOOKUP + 1..=16).find(|length| next < self.limits[*length as usize])?;
        bits.skip(length);
        let place = self.offsets[length as usize].wrapping_add((next >> (16 - length)) as usize);
        self.symbols.get(place).copied()
    }
}

/// Steps over AC coefficients: by the next bits, how far whole codes with their values lead.
pub(super) struct Steps(Box<[Step; 1 << STEP]>);

/// Some coefficients. At most 27 bits: codes within [`STEP`], and the last one's value beyond.
#[derive(Clone, Copy, Default)]
struct Step {
    /// Bits of codes and values; 0 where the first code is too long to be seen whole.
    bits: u8,
    coefficients: u8,
    /// 1 where the last code says that the block has ended.
    ends: u16,
}

impl Steps {
    pub fn new(table: &Table<'_>) -> Steps {
        let mut steps = Box::new([Step::default(); 1 << STEP]);
        for (bits, step) in (0..).zip(steps.iter_mut()) {
            *step = Step::from(table, bits);
        }
        Steps(steps)
    }

    /// Steps over what is left of a block, from coefficient `at`; false where the bits are no codes.
    #[inline]
    pub fn over(&self, table: &Table<'_>, bits: &mut Bits<'_>, mut at: u32) -> bool {
        while at < 64 {
            // Enough for two steps.
            bits.refill();
            for _ in 0..2 {
                let step = self.0[bits.peek::<STEP>()];
                let to = at + u32::from(step.coefficients);
                // A block may end by being full, and then the next code is another block's: not stepped over in one.
                if step.bits == 0 || to + u32::from(step.ends) > 64 {
                    bits.refill();
                    match one(table, bits, at) {
                        Some(to) => at = to,
                        None => return false,
                    }
                    break;
                }
                bits.skip(u32::from(step.bits));
                at = if step.ends == 1 { 64 } else { to };
                if at == 64 {
                    return true;
                }
            }
        }
        at == 64
    }
}

/// Steps over a single code with its value; where the block ends, to 64.
fn one(table: &Table<'_>, bits: &mut Bits<'_>, at: u32) -> Option<u32> {
    let symbol = table.symbol(bits)?;
    match (symbol >> 4, symbol & 15) {
        (15, 0) => Some(at + 16),
        (_, 0) => Some(64),
        (run, size) => {
            bits.skip(u32::from(size));
            Some(at + u32::from(run) + 1)
        }
    }
}

impl Step {
    fn from(table: &Table<'_>, next: u32) -> Step {
        let mut step = Step::default();
        let mut seen = 0;
        while seen < STEP {
            let left = STEP - seen;
            let window = (next & ((1 << left) - 1)) << (STEP - left);
            let entry = table.lookup[(window >> (STEP - LOOKUP)) as usize];
            let length = u32::from(entry >> 8);
            // Not a code that is seen whole.
            if entry == 0 || length > left {
                break;
            }
            let (run, size) = ((entry as u8) >> 4, (entry as u8) & 15);
            seen += length + u32::from(size);
            step.bits = seen as u8;
            match (run, size) {
                (15, 0) => step.coefficients += 16,
                (_, 0) => {
                    step.ends = 1;
                    break;
                }
                _ => step.coefficients += run + 1,
            }
        }
        step
    }
}
