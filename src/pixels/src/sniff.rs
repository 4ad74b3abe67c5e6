//! What bytes are, judged by themselves: names and declared types are only claims.

use super::ImageError;
use bellows_core::image::{Kind, sniff};

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

/// The format of an image by its first bytes, as core judges them for both tiers.
pub fn format(bytes: &[u8]) -> Result<Format, ImageError> {
    let kind = sniff(bytes);
    match (kind, kind.conversion()) {
        (Kind::Jpeg, _) => Ok(Format::Jpeg),
        (Kind::Png, _) => Ok(Format::Png),
        (Kind::Gif, _) => Ok(Format::Gif),
        (Kind::WebP, _) => Ok(Format::WebP),
        (Kind::Bmp, _) => Ok(Format::Bmp),
        (Kind::Tiff, _) => Ok(Format::Tiff),
        (_, Some(command)) => Err(ImageError::ConvertFirst { format: kind.name(), command }),
        (_, None) => Err(ImageError::Unsupported),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellows_core::answer::Reason;

    /// Whichever tier says no, the client reads the same.
    #[test]
    fn both_tiers_say_the_same() {
        for bytes in [
            b"a text that is no image".as_slice(),
            b"\0\0\0\x1cftypheic\0\0\0\0mif1heic",
            b"\0\0\0\x1cftypavif\0\0\0\0",
        ] {
            let here = format(bytes).unwrap_err();
            let web: (Reason, String) = sniff(bytes).refused().unwrap();
            assert_eq!((here.reason(), here.to_string()), web);
        }
    }
}
