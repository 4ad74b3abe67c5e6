//! Decoded pixels: 8 bits a channel, grey or RGB, rows without padding.

use image::DynamicImage;

pub(super) struct Pixels {
    pub width: u32,
    pub height: u32,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    pub data: Vec<u8>,
}

impl Pixels {
    /// Of any colour type; what is transparent lies over white, as on a page.
    pub fn of(image: DynamicImage) -> Pixels {
        let (width, height) = (image.width(), image.height());
        let (channels, data) = match image {
            DynamicImage::ImageLuma8(grey) => (1, grey.into_raw()),
            DynamicImage::ImageLuma16(_) => (1, image.into_luma8().into_raw()),
            DynamicImage::ImageLumaA8(_) | DynamicImage::ImageLumaA16(_) => {
                (1, over_white::<2>(&image.into_luma_alpha8().into_raw()))
            }
            DynamicImage::ImageRgb8(rgb) => (3, rgb.into_raw()),
            other if other.color().has_alpha() => (3, over_white::<4>(&other.into_rgba8().into_raw())),
            other => (3, other.into_rgb8().into_raw()),
        };
        Pixels { width, height, channels, data }
    }
}

/// Composites pixels of `N` bytes, the last of them alpha, over white; the alpha is dropped.
fn over_white<const N: usize>(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / N * (N - 1));
    for pixel in data.chunks_exact(N) {
        let alpha = u32::from(pixel[N - 1]);
        out.extend(
            pixel[..N - 1].iter().map(|value| ((u32::from(*value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8),
        );
    }
    out
}
