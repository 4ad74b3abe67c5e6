//! What a WebP and the pictures inside it say of themselves, before a decoder believes it.
//!
//! The container says how large it is, and that is what a decoder tells; a picture in it that says it is larger is found
//! out only when it is decoded. And for what is beside the pictures as much room is made as its length says, up to 4 GiB.

/// Bytes before a chunk's contents: what it is, and its length.
const HEAD: usize = 8;
/// An animation's frame begins with its place and duration.
const PLACE: usize = 16;

/// Width and height of each lossy picture in the file, as its own head has them. Lossless ones are compared with the
/// container before anything is made of them.
pub(super) fn pictures(bytes: &[u8]) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for (kind, at, _) in chunks(bytes) {
        match kind {
            b"VP8 " => found.extend(picture(bytes, at + HEAD)),
            b"ANMF" => {
                // a picture, or its transparency and then the picture
                let first = at + HEAD + PLACE;
                let second = chunk(bytes, first).map(|(_, second)| second);
                for at in [Some(first), second].into_iter().flatten() {
                    let lossy = chunk(bytes, at).is_some_and(|(kind, _)| kind == b"VP8 ");
                    found.extend(lossy.then(|| picture(bytes, at + HEAD)).flatten());
                }
            }
            _ => {}
        }
    }
    found
}

/// Why not to decode it; `None` where nothing speaks against it.
pub(super) fn problem(bytes: &[u8]) -> Option<&'static str> {
    let longer = chunks(bytes).any(|(_, at, next)| next - at > bytes.len());
    longer.then_some("a part of it is longer than the file")
}

/// The container's EXIF, as far as the file has it.
pub(super) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    let (_, at, next) = chunks(bytes).find(|(kind, ..)| *kind == b"EXIF")?;
    bytes.get(at + HEAD..next.min(bytes.len()))
}

/// What each chunk of the container is, where it begins, and where the next one does. What stands behind the container
/// the decoder does not look at, but for the length of a head with features, which it counts twice.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], usize, usize)> {
    let length = bytes.get(4..).and_then(<[u8]>::first_chunk).map_or(0, |length| u32::from_le_bytes(*length) as usize);
    let twice = if bytes.get(12..16) == Some(b"VP8X") { 10 } else { 0 };
    let (end, mut at) = (length.saturating_add(HEAD + twice), 12);
    std::iter::from_fn(move || {
        let (kind, next) = chunk(bytes, at).filter(|_| at < end)?;
        let here = std::mem::replace(&mut at, next);
        Some((kind, here, next))
    })
}

/// What the chunk at `at` is, and where the next one begins.
fn chunk(bytes: &[u8], at: usize) -> Option<(&[u8; 4], usize)> {
    let (kind, rest) = bytes.get(at..)?.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    Some((kind, at.checked_add(HEAD)?.checked_add(length)?.checked_add(length % 2)?))
}

/// The head of a key frame: three bytes of flags, a signature, 14 bits for each side.
fn picture(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    let sides = bytes.get(at..)?.get(3..)?.strip_prefix(b"\x9d\x01\x2a")?.first_chunk::<4>()?;
    let [width, height] = [[sides[0], sides[1]], [sides[2], sides[3]]].map(|side| u16::from_le_bytes(side) & 0x3fff);
    Some((width.into(), height.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: &str, contents: &[u8]) -> Vec<u8> {
        let length = contents.len() as u32;
        [kind.as_bytes(), &length.to_le_bytes(), contents, &[0][..contents.len() % 2]].concat()
    }

    fn lossy(width: u16, height: u16) -> Vec<u8> {
        let [w, h] = [width | 0x4000, height].map(u16::to_le_bytes);
        part("VP8 ", &[b"\0\0\0\x9d\x01\x2a".as_slice(), &w, &h, b"!"].concat())
    }

    fn file(parts: &[Vec<u8>]) -> Vec<u8> {
        part("RIFF", &[b"WEBP".as_slice(), &parts.concat()].concat())
    }

    #[test]
    fn every_picture_is_found() {
        let frame = |parts: &[Vec<u8>]| part("ANMF", &[[0; PLACE].as_slice(), &parts.concat()].concat());
        assert_eq!(pictures(&file(&[lossy(3, 16383)])), [(3, 16383)]);
        let (extended, alpha) = (part("VP8X", &[0; 10]), part("ALPH", b"abc"));
        let all = [extended, frame(&[lossy(5, 6)]), frame(&[alpha.clone(), lossy(7, 8)]), alpha, lossy(9, 1)];
        assert_eq!(pictures(&file(&all)), [(5, 6), (7, 8), (9, 1)]);
    }

    #[test]
    fn a_part_that_is_longer_than_the_file_is_found() {
        let whole = file(&[lossy(3, 4), part("EXIF", b"ab")]);
        assert_eq!(problem(&whole), None);
        // found by fuzzing: one of 64 MiB in a file of 130 bytes
        for length in [whole.len() as u32 + 9, 64 << 20, u32::MAX] {
            let exif = [b"EXIF".as_slice(), &length.to_le_bytes()].concat();
            assert!(problem(&file(&[lossy(3, 4), exif.clone()])).is_some(), "{length}");
            assert_eq!(problem(&[whole.as_slice(), &exif].concat()), None, "behind the container");
        }
        assert_eq!(problem(&file(&[lossy(3, 4), b"EXIF\x10\0\0\0".to_vec()])), None, "cut off, and no harm done");
    }

    #[test]
    fn only_the_containers_own_exif_counts() {
        // found by fuzzing: 3.3 GB in a file of 94 bytes, src/fuzz/corpus/decode/webp-exif-in-a-frame
        let frame = part("ANMF", &[[0; PLACE].as_slice(), &part("VP8 ", b""), b"EXIF\0\xc4\xc5\xc6"].concat());
        assert_eq!(exif(&file(&[frame.clone(), part("EXIF", b"ab")])), Some(b"ab".as_slice()));
        assert_eq!(exif(&file(&[frame])), None);
        assert_eq!(exif(&file(&[lossy(3, 4), b"EXIF\x10\0\0\0abcd".to_vec()])), Some(b"abcd".as_slice()), "cut off");
    }

    #[test]
    fn what_breaks_off_has_no_picture() {
        let whole = file(&[lossy(3, 4)]);
        for length in 0..30 {
            assert_eq!(pictures(&whole[..length]), [], "{length}");
        }
        assert_eq!(pictures(&file(&[part("VP8 ", b"no key frame at all")])), []);
        assert_eq!(pictures(&[file(&[]).as_slice(), b"ANMF\xff\xff\xff\xff"].concat()), []);
    }
}
