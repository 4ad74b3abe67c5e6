//! Antialiased bilinear, as Pillow does it: the box that the model sees, straight to the size that it wants.

use super::ImageError;
use super::geometry::{Plan, Window};
use super::pixels::Pixels;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// Resizes the plan's box out of pixels that show a window of the image.
pub(super) fn resize(pixels: Pixels, window: &Window, plan: &Plan) -> Result<Pixels, ImageError> {
    let (width, height) = (f64::from(pixels.width), f64::from(pixels.height));
    let plan = plan.within(window, pixels.width, pixels.height);
    if (pixels.width, pixels.height) == (plan.to_width, plan.to_height) && plan.left == 0.0 && plan.top == 0.0 {
        return Ok(pixels);
    }
    let failed = |e: &dyn std::fmt::Display| ImageError::Undecodable { format: "image", problem: e.to_string() };
    let kind = if pixels.channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    // Rounding may lead a hair beyond the edge, which would be refused.
    let (left, top) = (plan.left.clamp(0.0, width), plan.top.clamp(0.0, height));
    let (across, down) = (plan.width.min(width - left), plan.height.min(height - top));
    // Only the rows that the second pass will look at: its box, and the filter's reach on both sides.
    let reach = (down / f64::from(plan.to_height)).max(1.0) + 1.0;
    let first = (top - reach).max(0.0).floor();
    let rows = (top + down + reach).min(height).ceil() - first;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut resizer = Resizer::new();
    // Across and then down, with whole numbers in between, as Pillow does it: the other order rounds otherwise.
    let source = ImageRef::new(pixels.width, pixels.height, &pixels.data, kind).map_err(|e| failed(&e))?;
    let mut narrow = Image::new(plan.to_width, rows as u32, kind);
    resizer.resize(&source, &mut narrow, &options.crop(left, first, across, rows)).map_err(|e| failed(&e))?;
    let mut target = Image::new(plan.to_width, plan.to_height, kind);
    let second = options.crop(0.0, top - first, f64::from(plan.to_width), down);
    resizer.resize(&narrow, &mut target, &second).map_err(|e| failed(&e))?;
    Ok(Pixels { width: plan.to_width, height: plan.to_height, channels: pixels.channels, data: target.into_vec() })
}
