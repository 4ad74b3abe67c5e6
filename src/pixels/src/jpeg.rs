//! JPEG. Large ones are decoded at an eighth, a quarter or a half of their size, by our own code ([`scaled`]), which
//! reads an eighth several times as fast as a whole decoder; all others by zune-jpeg.

mod bits;
mod colour;
mod header;
mod huffman;
mod scaled;
mod transform;

use super::geometry::{Plan, Window};
use super::pixels::Pixels;
use super::sniff::Format;
use super::{Decoded, ImageError};
use crate::input::Input;
use header::Header;
use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Decodes at a size that suffices for `input`.
pub(super) fn decode(
    bytes: &[u8],
    input: &Input,
    check: &dyn Fn(u32, u32) -> Result<(), ImageError>,
) -> Result<Decoded, ImageError> {
    let header = Header::parse(bytes).map_err(|problem| Format::Jpeg.undecodable(problem))?;
    let (width, height) = (header.width, header.height);
    check(width, height)?;
    if !header::has_end(header.data) {
        return Err(Format::Jpeg.undecodable("it is truncated"));
    }
    let orientation = header.exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms);
    let plan = Plan::new(input, width, height, orientation);
    // Data that our own code finds broken gets its second chance there: whole decoders repair what they can.
    let smaller = smaller(&header, &plan);
    let (pixels, window) = match smaller {
        Some(found) => found,
        None => (whole(bytes)?, Window::whole(width, height)),
    };
    Ok(Decoded { pixels, window, width, height, orientation })
}

/// How much more than a scale's own reduction is wanted for it to be used: what it makes is less sharp than a filter
/// over all pixels, and the resizer after it hides that only where it has something left to do. 12 megapixels (3,000
/// rows to 256) are read at an eighth.
const ROOM: f64 = 1.4;

/// A smaller rendering of what the plan shows, where the plan reduces enough and the file is one we know.
fn smaller(header: &Header<'_>, plan: &Plan) -> Option<(Pixels, Window)> {
    let reduction = plan.reduction();
    let scale = [1, 2, 4].into_iter().find(|scale| reduction >= ROOM * 8.0 / *scale as f64)?;
    if !scaled::knows(header) {
        return None;
    }
    // The resizer looks so far around the box.
    let (x, y) = (plan.width / f64::from(plan.to_width), plan.height / f64::from(plan.to_height));
    let columns = plan.left - 2.0 * x..plan.left + plan.width + 2.0 * x;
    let rows = plan.top - 2.0 * y..plan.top + plan.height + 2.0 * y;
    let found = scaled::decode(header, &scaled::Wanted { scale, columns, rows })?;
    let [left, top, width, height] = [found.left, found.top, found.width, found.height].map(f64::from);
    Some((colour::pixels(found.planes)?, Window { left, top, width, height }))
}

/// Our own decoder alone: no second chance, and nobody who catches a panic.
#[cfg(test)]
pub(super) fn ours_alone(bytes: &[u8], input: &Input) -> Option<Pixels> {
    let header = Header::parse(bytes).ok()?;
    let plan = Plan::new(input, header.width, header.height, Orientation::NoTransforms);
    // A damaged header may promise what would take minutes.
    let small = u64::from(header.width) * u64::from(header.height) < 4 << 20;
    if small { smaller(&header, &plan).map(|(pixels, _)| pixels) } else { None }
}

/// All pixels, by zune-jpeg.
fn whole(bytes: &[u8]) -> Result<Pixels, ImageError> {
    let failed = |e: &dyn std::fmt::Debug| Format::Jpeg.undecodable(format!("{e:?}"));
    // Width and height are checked already.
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| failed(&e))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| failed(&"no dimensions"))?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (wanted, channels) = if grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(wanted));
    let data = decoder.decode().map_err(|e| failed(&e))?;
    if data.len() != width * height * channels {
        return Err(failed(&"fewer pixels than it says"));
    }
    Ok(Pixels { width: width as u32, height: height as u32, channels, data })
}
