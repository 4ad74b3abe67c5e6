//! All formats but JPEG, by the image crate: the first frame, any colour type.

use super::geometry::Window;
use super::pixels::Pixels;
use super::sniff::Format;
use super::{Decoded, ImageError};
use super::{tiff, webp};
use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder};
use std::io::Cursor;

/// Decodes the whole image; `check` sees its dimensions first.
pub(super) fn decode(
    format: Format,
    bytes: &[u8],
    max_pixels: u64,
    check: &dyn Fn(u32, u32) -> Result<(), ImageError>,
) -> Result<Decoded, ImageError> {
    let failed = |e: image::ImageError| format.undecodable(e.to_string());
    // decoders tell the size of the image; what lies in it is decoded with its own
    match format {
        Format::WebP => {
            webp::problem(bytes).map_or(Ok(()), |problem| Err(format.undecodable(problem)))?;
            webp::pictures(bytes).into_iter().try_for_each(|(width, height)| check(width, height))?;
        }
        Format::Tiff => {
            tiff::problem(bytes).map_or(Ok(()), |problem| Err(format.undecodable(problem)))?;
            tiff::jpegs(bytes).try_for_each(|(width, height)| check(width, height))?;
        }
        _ => {}
    }
    let reader = Cursor::new(bytes);
    let mut decoder: Box<dyn ImageDecoder> = match format {
        Format::Png => Box::new(PngDecoder::new(reader).map_err(failed)?),
        Format::Gif => Box::new(GifDecoder::new(reader).map_err(failed)?),
        Format::WebP => Box::new(WebPDecoder::new(reader).map_err(failed)?),
        Format::Bmp => Box::new(BmpDecoder::new(reader).map_err(failed)?),
        Format::Tiff => Box::new(TiffDecoder::new(reader).map_err(failed)?),
        // Decoded elsewhere.
        Format::Jpeg => return Err(ImageError::Unsupported),
    };
    let (width, height) = decoder.dimensions();
    check(width, height)?;
    let mut limits = image::Limits::no_limits();
    // 16 bits of four channels a pixel, twice: the image itself and what a decoder needs beside it.
    limits.max_alloc = Some(max_pixels.saturating_mul(16));
    decoder.set_limits(limits).map_err(failed)?;
    let orientation = match format {
        // its decoder also looks for one inside of frames, and makes room for as much as is said there
        Format::WebP => webp::exif(bytes).and_then(Orientation::from_exif_chunk),
        _ => decoder.orientation().ok(),
    };
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let pixels = Pixels::of(DynamicImage::from_decoder(decoder).map_err(failed)?);
    Ok(Decoded { pixels, window: Window::whole(width, height), width, height, orientation })
}
