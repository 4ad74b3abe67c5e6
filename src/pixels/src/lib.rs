//! From the bytes of an image to the model's input tensor. Pure: no I/O, no clock, no state.
//!
//! The image is judged by its bytes, its limits by its header before a pixel is decoded. Of the decoded pixels only
//! the box that the crop will show is resized, straight to the tensor's size; orientation is applied to that small
//! result. Transparent pixels are laid over white.
//!
//! A crate of its own, so that a newcomer's build optimises this to the last and may spend less on the rest.

mod decode;
mod geometry;
pub mod input;
mod jpeg;
mod orient;
mod pixels;
mod resize;
pub mod sniff;
#[cfg(test)]
mod tests;
mod tiff;
mod webp;

use bellows_core::answer::Reason;
use geometry::{Plan, Window};
use input::{Channels, Input, Layout};
use pixels::Pixels;
use sniff::Format;
use std::panic::catch_unwind;

/// What an image may have at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_pixels: u64,
}

/// Longest side of an image; a JPEG's header cannot say more.
const MAX_SIDE: u32 = 1 << 20;
/// Most pixels where the tensor is as large as the image: 16 M are 192 MiB of numbers.
const MAX_PIXELS_UNRESIZED: u64 = 16 << 20;

/// The input of a model: one image, 32-bit floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// `[1, 3, height, width]` or `[1, height, width, 3]`, as the manifest's layout says.
    pub shape: [usize; 4],
    pub values: Vec<f32>,
}

/// Why an image cannot be classified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("not an image of a format that is read (JPEG, PNG, GIF, WebP, BMP, TIFF)")]
    Unsupported,
    #[error("{format} is not read: convert it first, for instance with `{command}`")]
    ConvertFirst { format: &'static str, command: &'static str },
    #[error("the {format} cannot be decoded: {problem}")]
    Undecodable { format: &'static str, problem: String },
    #[error("{width} x {height} pixels, at most {limit} are read")]
    TooManyPixels { width: u32, height: u32, limit: u64 },
}

impl ImageError {
    /// The answer's stable code.
    pub fn reason(&self) -> Reason {
        match self {
            ImageError::Unsupported => Reason::UnsupportedImage,
            ImageError::ConvertFirst { .. } => Reason::ConvertFirst,
            ImageError::Undecodable { .. } => Reason::Undecodable,
            ImageError::TooManyPixels { .. } => Reason::TooManyPixels,
        }
    }
}

/// Decodes an image and makes the tensor that `input` describes.
pub fn prepare(bytes: &[u8], input: &Input, limits: Limits) -> Result<Tensor, ImageError> {
    let format = sniff::format(bytes)?;
    // Decoders have bugs, and bytes come from strangers: a panic is one more way of not being decodable.
    catch_unwind(|| prepare_as(format, bytes, input, limits))
        .unwrap_or_else(|_| Err(format.undecodable("the decoder failed on it")))
}

fn prepare_as(format: Format, bytes: &[u8], input: &Input, limits: Limits) -> Result<Tensor, ImageError> {
    let resized = Plan::resizes(input);
    let limit = if resized { limits.max_pixels } else { limits.max_pixels.min(MAX_PIXELS_UNRESIZED) };
    let check = |width: u32, height: u32| {
        if width == 0 || height == 0 {
            return Err(format.undecodable(format!("it is {width} x {height} pixels large")));
        }
        let within = u64::from(width) * u64::from(height) <= limit && width.max(height) <= MAX_SIDE;
        if within { Ok(()) } else { Err(ImageError::TooManyPixels { width, height, limit }) }
    };
    let decoded = match format {
        Format::Jpeg => jpeg::decode(bytes, input, &check)?,
        other => decode::decode(other, bytes, limit, &check)?,
    };
    let plan = Plan::new(input, decoded.width, decoded.height, decoded.orientation);
    let small = resize::resize(decoded.pixels, &decoded.window, &plan)?;
    let upright = orient::apply(small, decoded.orientation);
    Ok(tensor(&upright, input))
}

/// A decoded image, or a smaller rendering of a part of it, not turned yet.
struct Decoded {
    pixels: Pixels,
    window: Window,
    /// Of the image itself, as its header says it.
    width: u32,
    height: u32,
    orientation: image::metadata::Orientation,
}

/// Normalises: `(value - mean) / std`, in the manifest's layout and order of channels.
fn tensor(pixels: &Pixels, input: &Input) -> Tensor {
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let area = width * height;
    let sources = match input.channels {
        Channels::Rgb => [0, 1, 2],
        Channels::Bgr => [2, 1, 0],
    };
    // 256 values a channel are all there are.
    let tables = [0, 1, 2].map(|c| {
        let table: [f32; 256] = std::array::from_fn(|value| (value as f32 - input.mean[c]) / input.std[c]);
        table
    });
    let mut values = vec![0.0; 3 * area];
    let (channels, data) = (pixels.channels, pixels.data.as_slice());
    let shape = match input.layout {
        Layout::Nchw => {
            for (plane, source) in values.chunks_exact_mut(area.max(1)).zip(sources) {
                let offset = if channels == 1 { 0 } else { source };
                for (value, pixel) in plane.iter_mut().zip(data.chunks_exact(channels)) {
                    *value = tables[source][usize::from(pixel[offset])];
                }
            }
            [1, 3, height, width]
        }
        Layout::Nhwc => {
            for (triple, pixel) in values.chunks_exact_mut(3).zip(data.chunks_exact(channels)) {
                for (value, source) in triple.iter_mut().zip(sources) {
                    *value = tables[source][usize::from(pixel[if channels == 1 { 0 } else { source }])];
                }
            }
            [1, height, width, 3]
        }
    };
    Tensor { shape, values }
}
