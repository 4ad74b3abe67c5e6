//! Entropy-coded data as bits: byte stuffing removed once and ahead, so that reading need not look for it.

/// The data of one scan without stuffing, cut at its restart markers.
pub(super) struct Scan {
    data: Vec<u8>,
    /// Where each restart interval ends, in `data`.
    ends: Vec<usize>,
}

/// Bytes that may be read beyond the end: a refill reads eight at once.
const PADDING: usize = 16;

impl Scan {
    /// Reads up to the first marker that is no restart.
    pub fn new(bytes: &[u8]) -> Scan {
        let (mut data, mut ends) = (Vec::with_capacity(bytes.len() + PADDING), Vec::new());
        let mut rest = bytes;
        while let Some(place) = memchr::memchr(0xff, rest) {
            data.extend_from_slice(&rest[..place]);
            match rest.get(place + 1) {
                Some(0x00) => {
                    data.push(0xff);
                    rest = &rest[place + 2..];
                }
                Some(0xd0..=0xd7) => {
                    ends.push(data.len());
                    rest = &rest[place + 2..];
                }
                Some(0xff) => rest = &rest[place + 1..],
                _ => {
                    rest = &[];
                    break;
                }
            }
        }
        data.extend_from_slice(rest);
        ends.push(data.len());
        data.resize(data.len() + PADDING, 0);
        Scan { data, ends }
    }

    /// A reader of the restart interval of that number.
    pub fn interval(&self, number: usize) -> Option<Bits<'_>> {
        let end = *self.ends.get(number)?;
        let start = if number == 0 { 0 } else { self.ends[number - 1] };
        Some(Bits { data: &self.data[start..end + PADDING], next: 0, buffer: 0, count: 0 })
    }
}

/// Reads bits, the most significant first. Beyond the end it gives zeros; [`Bits::overrun`] tells.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    next: usize,
    /// The next bits at the top; below the `count` valid ones may be more of the data, never anything else.
    buffer: u64,
    count: u32,
}

impl Bits<'_> {
    /// Makes at least 56 bits available.
    #[inline]
    pub fn refill(&mut self) {
        let word = match self.data.get(self.next..self.next + 8) {
            Some(bytes) => u64::from_be_bytes(bytes.try_into().unwrap_or_default()),
            // Far beyond the end: zeros, until the caller asks whether it overran.
            None => 0,
        };
        self.buffer |= word >> self.count;
        self.next += ((63 - self.count) >> 3) as usize;
        // Of the eight bytes as many count as make it 56 to 63, without a division.
        self.count |= 0b11_1000;
    }

    /// The next `N` bits, which stay.
    #[inline]
    pub fn peek<const N: u32>(&self) -> usize {
        (self.buffer >> (64 - N)) as usize
    }

    #[inline]
    pub fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.count -= bits;
    }

    /// The next `size` bits (at most 16) as T.81 writes signed values.
    #[inline]
    pub fn signed(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let value = (self.buffer >> (64 - size)) as i32;
        self.skip(size);
        // A leading zero marks a negative number.
        if value >> (size - 1) == 0 { value - (1 << size) + 1 } else { value }
    }

    /// Whether more was read than there is.
    pub fn overrun(&self) -> bool {
        let read = self.next as u64 * 8 - u64::from(self.count);
        read > (self.data.len() - PADDING) as u64 * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_and_restarts_are_taken_out() {
        let scan = Scan::new(&[1, 0xff, 0, 2, 0xff, 0xd0, 3, 0xff, 0xff, 0xd9, 4]);
        let mut first = scan.interval(0).unwrap();
        first.refill();
        assert_eq!(first.peek::<24>(), 0x01_ff02);
        first.skip(24);
        assert!(!first.overrun());
        first.skip(1);
        assert!(first.overrun());
        let mut second = scan.interval(1).unwrap();
        second.refill();
        assert_eq!(second.peek::<8>(), 3);
        assert!(scan.interval(2).is_none());
    }

    #[test]
    fn reading_far_beyond_the_end_gives_zeros() {
        let scan = Scan::new(&[0xaa]);
        let mut bits = scan.interval(0).unwrap();
        for _ in 0..100 {
            bits.refill();
            bits.skip(50);
        }
        assert!(bits.overrun());
        assert_eq!(bits.peek::<12>(), 0);
    }
}
