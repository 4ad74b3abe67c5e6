//! What a TIFF says of its own contents, before a decoder believes it.
//!
//! That one makes room for as many values as a field says to have (up to 256 MiB), and can be given a limit only after
//! it has read them. And a strip that is a JPEG is decoded with the size that the JPEG says, whatever the TIFF's is.

use memchr::memchr_iter;

/// Tables that all strips share, where those are JPEGs: they are put in front of each.
const JPEG_TABLES: u64 = 347;

/// Numbers of a file, in its order of bytes.
struct File<'a> {
    bytes: &'a [u8],
    little: bool,
}

/// A field of a directory.
struct Field {
    tag: u64,
    kind: u64,
    count: u64,
    /// Where its value is, or the place of its value.
    at: usize,
}

/// Why not to decode it; `None` where nothing speaks against it. Where there is no directory to look at the decoder is
/// left to say so.
pub(super) fn problem(bytes: &[u8]) -> Option<&'static str> {
    let file = File { bytes, little: bytes.first() == Some(&b'I') };
    let (fields, word) = file.directory()?;
    if fields.iter().any(|field| field.length() > bytes.len() as u64) {
        return Some("a field of it is longer than the file");
    }
    let mut tables = fields.iter().filter(|field| field.tag == JPEG_TABLES);
    let sound = |field: &Field| file.value(field, word).is_some_and(are_tables);
    if tables.all(sound) { None } else { Some("its tables for JPEGs are none") }
}

/// Width and height of every JPEG in the file, by whatever looks like the head of its frame.
pub(super) fn jpegs(bytes: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    memchr_iter(0xff, bytes).filter_map(|at| match bytes.get(at + 1..at + 10)? {
        // baseline, extended or progressive; a length that fits to the number of components
        [0xc0..=0xc2, 0, length, 8 | 12, h1, h0, w1, w0, components]
            if u16::from(*length) == 8 + 3 * u16::from(*components) =>
        {
            Some((u16::from_be_bytes([*w1, *w0]).into(), u16::from_be_bytes([*h1, *h0]).into()))
        }
        _ => None,
    })
}

/// Whether this is a JPEG with tables and nothing else: no frame may begin in it and go on in a strip.
fn are_tables(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(b"\xff\xd8") else { return false };
    loop {
        match rest {
            [0xff, 0xd9] => return true,
            [0xff, 0xc4 | 0xdb | 0xdd | 0xe0..=0xef | 0xfe, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let Some(after) = rest.get(2 + length.max(2)..) else { return false };
                rest = after;
            }
            _ => return false,
        }
    }
}

impl Field {
    /// Bytes of its value.
    fn length(&self) -> u64 {
        let one = match self.kind {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            _ => 1,
        };
        self.count.saturating_mul(one)
    }
}

impl File<'_> {
    /// The fields of the first directory, as far as the file goes, and how many bytes a place in it takes.
    fn directory(&self) -> Option<(Vec<Field>, usize)> {
        // BigTIFF has numbers of eight bytes where TIFF has four (and eight to count the fields, where TIFF has two)
        let big = self.number(2, 2)? == 43;
        let (start, counter, word) = if big { (self.number(8, 8)?, 8, 8) } else { (self.number(4, 4)?, 2, 4) };
        let start = usize::try_from(start).ok()?;
        let (fields, first) = (self.number(start, counter)?, start.checked_add(counter)?);
        let field = |at: usize| {
            let (tag, kind) = (self.number(at, 2)?, self.number(at + 2, 2)?);
            Some(Field { tag, kind, count: self.number(at + 4, word)?, at: at + 4 + word })
        };
        let places = (first..self.bytes.len()).step_by(4 + 2 * word);
        Some((places.zip(0..fields).map_while(|(at, _)| field(at)).collect(), word))
    }

    /// The value of a field of bytes.
    fn value(&self, field: &Field, word: usize) -> Option<&[u8]> {
        let length = usize::try_from(field.length()).ok().filter(|_| matches!(field.kind, 1 | 7))?;
        let at = if length <= word { field.at } else { usize::try_from(self.number(field.at, word)?).ok()? };
        self.bytes.get(at..at.checked_add(length)?)
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

    /// A file with a directory of one field, and something behind it.
    fn file((little, big): (bool, bool), tag: u16, kind: u16, count: u32, value: &[u8]) -> Vec<u8> {
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
        let behind = (2 + start.len() + 4 + 2 * word) as u64;
        // a short value stands in the place of its own offset
        let inline = [value, &[0; 8]].concat()[..word].to_vec();
        let place = if (1..=word).contains(&value.len()) { inline } else { number(behind, word) };
        let field = [number(tag.into(), 2), number(kind.into(), 2), number(count.into(), word), place].concat();
        [head.to_vec(), start, field, value.to_vec()].concat()
    }

    const KINDS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

    #[test]
    fn a_field_that_is_longer_than_the_file_is_found() {
        for of in KINDS {
            let length = file(of, 256, 1, 0, b"").len() as u32;
            for (kind, size) in [(1, 1), (2, 1), (3, 2), (4, 4), (5, 8), (11, 4), (12, 8), (16, 8)] {
                assert_eq!(problem(&file(of, 256, kind, length / size, b"")), None, "{of:?} {kind}");
                let more = problem(&file(of, 256, kind, length / size + 1, b""));
                assert_eq!(more, Some("a field of it is longer than the file"), "{of:?} {kind}");
            }
            assert!(problem(&file(of, 256, 4, u32::MAX, b"")).is_some());
        }
    }

    #[test]
    fn what_has_no_directory_is_left_to_the_decoder() {
        let whole = file((true, false), 256, 4, u32::MAX, b"");
        for length in 0..18 {
            assert_eq!(problem(&whole[..length]), None, "{length}");
        }
        assert_eq!(problem(b"II\x2a\0\xff\xff\xff\xff"), None);
        assert_eq!(problem(b"II\x2b\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn tables_hold_no_part_of_a_frame() {
        let quantisation = b"\xff\xdb\0\x05abc".as_slice();
        let tables = |inside: &[u8]| [b"\xff\xd8".as_slice(), inside, b"\xff\xd9"].concat();
        let with = |of, tables: &[u8]| problem(&file(of, 347, 7, tables.len() as u32, tables));
        for of in KINDS {
            for fine in [tables(b""), tables(quantisation), tables(&[quantisation, b"\xff\xc4\0\x02"].concat())] {
                assert_eq!(with(of, &fine), None, "{of:?} {fine:?}");
            }
            let frame = [quantisation, b"\xff\xc0\0\x0b\x08\xff\xff"].concat();
            for wrong in [tables(&frame), tables(b"\xff\xdb\0\x05ab"), tables(b"\xff"), tables(b"")[..3].to_vec()] {
                assert_eq!(with(of, &wrong), Some("its tables for JPEGs are none"), "{of:?} {wrong:?}");
            }
        }
    }

    #[test]
    fn heads_of_frames_are_found() {
        let frame = |marker: u8| [0xff, 0xff, marker, 0, 17, 8, 0x12, 0x34, 0x56, 0x78, 3, 1];
        for marker in 0xc0..=0xc2 {
            assert_eq!(jpegs(&frame(marker)).collect::<Vec<_>>(), [(0x5678, 0x1234)]);
        }
        assert_eq!(jpegs(&frame(0xc4)).count() + jpegs(&frame(0xc0)[..10]).count() + jpegs(b"\xff").count(), 0);
    }
}
