//! What bytes are, judged by themselves: names and declared types are only claims.

use super::ImageError;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
    Gif,
    WebP,
    Bmp,
    Tiff,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::Gif => "GIF",
            Format::WebP => "WebP",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
        }
    }

    pub(super) fn undecodable(self, problem: impl Into<String>) -> ImageError {
        ImageError::Undecodable { format: self.name(), problem: problem.into() }
    }
}

const HEIC: ImageError = ImageError::ConvertFirst { format: "HEIC", command: "heif-convert photo.heic photo.jpg" };
const AVIF: ImageError = ImageError::ConvertFirst { format: "AVIF", command: "heif-convert photo.avif photo.jpg" };

/// The format of an image by its first bytes.
pub fn format(bytes: &[u8]) -> Result<Format, ImageError> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Ok(Format::Jpeg),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Format::Png),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Format::Gif),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Format::WebP),
        // Two letters are little to go by: the sizes of the headers that exist decide.
        [b'B', b'M', _, _, _, _, _, _, _, _, _, _, _, _, 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0, ..] => {
            Ok(Format::Bmp)
        }
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
        [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => Err(container(brands)),
        _ => Err(ImageError::Unsupported),
    }
}

/// HEIC and AVIF share one container: a major brand, a version, and compatible brands tell which it is.
fn container(brands: &[u8]) -> ImageError {
    let mut known =
        brands.chunks_exact(4).take(16).enumerate().filter(|(place, _)| *place != 1).map(|(_, brand)| brand);
    let any = |wanted: &[&[u8; 4]], brand: &[u8]| wanted.iter().any(|w| w.as_slice() == brand);
    let (mut heic, mut avif) = (false, false);
    for brand in &mut known {
        avif |= any(&[b"avif", b"avis"], brand);
        heic |= any(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"], brand);
    }
    match (avif, heic) {
        (true, _) => AVIF,
        (false, true) => HEIC,
        (false, false) => ImageError::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_apart() {
        let file = |brands: &str| [b"\0\0\0\x1cftyp".as_slice(), brands.as_bytes()].concat();
        assert_eq!(format(&file("heic\0\0\0\0mif1heic")), Err(HEIC));
        assert_eq!(format(&file("mif1\0\0\0\0mif1heic")), Err(HEIC));
        assert_eq!(format(&file("mif1\0\0\0\0mif1avif")), Err(AVIF));
        assert_eq!(format(&file("avif\0\0\0\0avifmif1")), Err(AVIF));
        assert_eq!(format(&file("isom\0\0\0\0mp42")), Err(ImageError::Unsupported));
    }

    #[test]
    fn what_is_too_short_is_unsupported() {
        for bytes in
            [b"".as_slice(), b"\xff\xd8", b"BM", b"BMW is a car, not a bitmap", b"GIF8", b"RIFF....WEB", b"\x89PNG"]
        {
            assert_eq!(format(bytes), Err(ImageError::Unsupported), "{bytes:?}");
        }
    }
}
