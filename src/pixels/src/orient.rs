//! Turns and mirrors pixels as EXIF's orientation says. Done on the small result: it is the same and costs nothing.

use super::geometry::{mirrors, turned};
use super::pixels::Pixels;
use image::metadata::Orientation;

/// The pixels as they are to be shown.
pub(super) fn apply(stored: Pixels, orientation: Orientation) -> Pixels {
    if orientation == Orientation::NoTransforms {
        return stored;
    }
    let (turned, (mirror_x, mirror_y)) = (turned(orientation), mirrors(orientation));
    let (width, height) = if turned { (stored.height, stored.width) } else { (stored.width, stored.height) };
    let mut data = Vec::with_capacity(stored.data.len());
    for y in 0..height {
        let y = if mirror_y { height - 1 - y } else { y };
        for x in 0..width {
            let x = if mirror_x { width - 1 - x } else { x };
            let (column, row) = if turned { (y, x) } else { (x, y) };
            let place = (row as usize * stored.width as usize + column as usize) * stored.channels;
            data.extend_from_slice(&stored.data[place..place + stored.channels]);
        }
    }
    Pixels { width, height, data, ..stored }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, RgbImage};

    #[test]
    fn all_eight_are_what_the_image_crate_makes_of_them() {
        let picture = RgbImage::from_fn(5, 3, |x, y| image::Rgb([x as u8, y as u8, 7]));
        for exif in 1..=8 {
            let orientation = Orientation::from_exif(exif).unwrap();
            let mut expected = DynamicImage::from(picture.clone());
            let ours = apply(Pixels::of(expected.clone()), orientation);
            expected.apply_orientation(orientation);
            assert_eq!((ours.width, ours.height), (expected.width(), expected.height()), "{exif}");
            assert_eq!(ours.data, expected.into_rgb8().into_raw(), "{exif}");
        }
    }
}
