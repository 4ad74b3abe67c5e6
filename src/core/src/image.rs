//! What the bytes of an upload are, judged by themselves: names and declared types are only claims. Both tiers judge by
//! this: the web tier refuses what is no image before it is stored, the app tier decodes what is one.

use crate::answer::Reason;

/// What bytes look like by their beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jpeg,
    Png,
    Gif,
    WebP,
    Bmp,
    Tiff,
    /// Known and not read: what to do about it is told.
    Heic,
    Avif,
    /// Nothing we know, or too short to judge.
    Unknown,
}

/// The formats that are read, for people.
pub const READ: &str = "JPEG, PNG, GIF, WebP, BMP, TIFF";
/// No signature is longer, and no image is as short as this.
const SHORTEST: usize = 12;

/// Judges by the first bytes.
pub fn sniff(bytes: &[u8]) -> Kind {
    if bytes.len() < SHORTEST {
        return Kind::Unknown;
    }
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Kind::Jpeg,
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Kind::Png,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Kind::Gif,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Kind::WebP,
        // two letters are little to go by: the sizes of the headers that exist decide
        [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0, ..] => {
            Kind::Bmp
        }
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Kind::Tiff,
        [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => container(brands),
        _ => Kind::Unknown,
    }
}

/// HEIC and AVIF share one container: a major brand, a version, and compatible brands tell which it is.
fn container(brands: &[u8]) -> Kind {
    let known = brands.chunks_exact(4).take(16).enumerate().filter(|(place, _)| *place != 1).map(|(_, brand)| brand);
    let (mut heic, mut avif) = (false, false);
    for brand in known {
        avif |= matches!(brand, b"avif" | b"avis");
        heic |= matches!(brand, b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1");
    }
    match (avif, heic) {
        (true, _) => Kind::Avif,
        (false, true) => Kind::Heic,
        (false, false) => Kind::Unknown,
    }
}

impl Kind {
    /// Its name for people; empty where it has none.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Jpeg => "JPEG",
            Kind::Png => "PNG",
            Kind::Gif => "GIF",
            Kind::WebP => "WebP",
            Kind::Bmp => "BMP",
            Kind::Tiff => "TIFF",
            Kind::Heic => "HEIC",
            Kind::Avif => "AVIF",
            Kind::Unknown => "",
        }
    }

    /// The command that makes a readable image of one that is not read; `None` where there is none.
    pub fn conversion(self) -> Option<&'static str> {
        match self {
            Kind::Heic => Some("heif-convert photo.heic photo.jpg"),
            Kind::Avif => Some("heif-convert photo.avif photo.jpg"),
            _ => None,
        }
    }

    /// Why bytes of this kind are not read, with what the client is told; `None` where they are.
    pub fn refused(self) -> Option<(Reason, String)> {
        match self {
            Kind::Jpeg | Kind::Png | Kind::Gif | Kind::WebP | Kind::Bmp | Kind::Tiff => None,
            Kind::Heic | Kind::Avif => {
                let (name, command) = (self.name(), self.conversion().unwrap_or_default());
                let message = format!("{name} is not read: convert it first, for instance with `{command}`");
                Some((Reason::ConvertFirst, message))
            }
            Kind::Unknown => {
                Some((Reason::UnsupportedImage, format!("not an image of a format that is read ({READ})")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn containers_are_told_apart() {
        let file = |brands: &str| [b"\0\0\0\x1cftyp".as_slice(), brands.as_bytes()].concat();
        assert_eq!(sniff(&file("heic\0\0\0\0mif1heic")), Kind::Heic);
        assert_eq!(sniff(&file("mif1\0\0\0\0mif1heic")), Kind::Heic);
        assert_eq!(sniff(&file("mif1\0\0\0\0mif1avif")), Kind::Avif);
        assert_eq!(sniff(&file("avif\0\0\0\0avifmif1")), Kind::Avif);
        assert_eq!(sniff(&file("isom\0\0\0\0mp42")), Kind::Unknown);
    }

    #[test]
    fn the_first_bytes_tell_what_is_read() {
        let bitmap = |header| [b"BM".as_slice(), &[0; 12], &[header, 0, 0, 0]].concat();
        let kinds = [
            (b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01".to_vec(), Kind::Jpeg, "JPEG"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec(), Kind::Png, "PNG"),
            (b"GIF87a\x01\0\x01\0\0\0".to_vec(), Kind::Gif, "GIF"),
            (b"GIF89a\x01\0\x01\0\0\0".to_vec(), Kind::Gif, "GIF"),
            (b"RIFF\x10\0\0\0WEBP".to_vec(), Kind::WebP, "WebP"),
            (bitmap(40), Kind::Bmp, "BMP"),
            (bitmap(124), Kind::Bmp, "BMP"),
            (bitmap(41), Kind::Unknown, ""),
            (b"II*\0\x08\0\0\0\0\0\0\0".to_vec(), Kind::Tiff, "TIFF"),
            (b"MM\0*\0\0\0\x08\0\0\0\0".to_vec(), Kind::Tiff, "TIFF"),
        ];
        for (bytes, kind, name) in kinds {
            assert_eq!((sniff(&bytes), kind.name()), (kind, name), "{bytes:?}");
            assert_eq!((kind.refused().is_none(), kind.conversion()), (kind != Kind::Unknown, None));
        }
    }

    #[test]
    fn what_is_too_short_or_only_begins_alike_is_unknown() {
        let cases = [b"".as_slice(), b"\xff\xd8", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"\x89PNG\r\n"];
        let others = [b"BM".as_slice(), b"BMW is a car, not a bitmap", b"GIF8", b"RIFF....WEB", b"RIFF....WAVEfmt "];
        for bytes in cases.into_iter().chain(others) {
            assert_eq!(sniff(bytes), Kind::Unknown, "{bytes:?}");
        }
    }

    #[test]
    fn each_kind_that_is_not_read_says_what_to_do() {
        for (kind, begins) in [(Kind::Heic, "HEIC is not read"), (Kind::Avif, "AVIF is not read")] {
            let (reason, message) = kind.refused().unwrap();
            assert_eq!(reason.code(), ("convert-first", 415));
            assert!(message.starts_with(begins) && message.contains(kind.conversion().unwrap()), "{message}");
        }
        assert_eq!(Kind::Unknown.refused().unwrap().0.code(), ("unsupported-image", 415));
        assert_eq!(Kind::Tiff.refused(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = sniff(&bytes);
        }
    }
}
