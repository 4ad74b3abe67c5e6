//! What a TIFF's first directory says of its own fields, before a decoder believes it: that one makes room for as many
//! values as a field says to have (up to 256 MiB), and can be given a limit only after it has read them.

/// Numbers of a file, in its order of bytes.
struct File<'a> {
    bytes: &'a [u8],
    little: bool,
}

/// Whether no field of the first directory claims more than the whole file. Where there is no directory to look at the
/// decoder is left to say so.
pub(super) fn fits(bytes: &[u8]) -> bool {
    let file = File { bytes, little: bytes.first() == Some(&b'I') };
    file.directory().is_none_or(|fields| {
        fields.into_iter().all(|(kind, count)| count.saturating_mul(size_of_one(kind)) <= bytes.len() as u64)
    })
}

/// Bytes of a value of this kind.
fn size_of_one(kind: u64) -> u64 {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        _ => 1,
    }
}

impl File<'_> {
    /// Kind and count of each field of the first directory, as far as the file goes.
    fn directory(&self) -> Option<Vec<(u64, u64)>> {
        // BigTIFF has numbers of eight bytes where TIFF has four (and eight to count the fields, where TIFF has two)
        let big = self.number(2, 2)? == 43;
        let (start, counter, word) = if big { (self.number(8, 8)?, 8, 8) } else { (self.number(4, 4)?, 2, 4) };
        let start = usize::try_from(start).ok()?;
        let (fields, first) = (self.number(start, counter)?, start.checked_add(counter)?);
        let field = |at: usize| Some((self.number(at.checked_add(2)?, 2)?, self.number(at.checked_add(4)?, word)?));
        let places = (first..self.bytes.len()).step_by(4 + 2 * word);
        Some(places.zip(0..fields).map_while(|(at, _)| field(at)).collect())
    }

    fn number(&self, at: usize, length: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(length)?)?;
        let more = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.little { bytes.iter().rev().fold(0, more) } else { bytes.iter().fold(0, more) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a directory of one field.
    fn file(little: bool, big: bool, kind: u16, count: u32) -> Vec<u8> {
        let number = |n: u64, length: usize| {
            let mut bytes = n.to_be_bytes()[8 - length..].to_vec();
            if little {
                bytes.reverse();
            }
            bytes
        };
        let head = if little { b"II" } else { b"MM" };
        let word = if big { 8 } else { 4 };
        let start = if big {
            [number(43, 2), number(8, 2), number(0, 2), number(16, 8), number(1, 8)].concat()
        } else {
            [number(42, 2), number(8, 4), number(1, 2)].concat()
        };
        let field = [number(256, 2), number(kind.into(), 2), number(count.into(), word), number(0, word)].concat();
        [head.to_vec(), start, field].concat()
    }

    #[test]
    fn a_field_that_is_longer_than_the_file_is_found() {
        for (little, big) in [(false, false), (true, false), (false, true), (true, true)] {
            let length = file(little, big, 1, 0).len() as u32;
            for (kind, size) in [(1, 1), (2, 1), (3, 2), (4, 4), (5, 8), (11, 4), (12, 8), (16, 8)] {
                assert!(fits(&file(little, big, kind, length / size)), "{little} {big} {kind}");
                assert!(!fits(&file(little, big, kind, length / size + 1)), "{little} {big} {kind}");
            }
            assert!(!fits(&file(little, big, 4, u32::MAX)));
        }
    }

    #[test]
    fn what_has_no_directory_is_left_to_the_decoder() {
        let whole = file(true, false, 4, u32::MAX);
        for length in 0..18 {
            assert!(fits(&whole[..length]), "{length}");
        }
        assert!(fits(b"II\x2a\0\xff\xff\xff\xff") && fits(b"II\x2b\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"));
    }
}
