//! Images that tests make themselves, for the fixture model that names the colour that dominates.

use image::{ImageFormat, Rgb, RgbImage};
use std::io::Cursor;

pub const COLOURS: [(&str, [u8; 3]); 8] = [
    ("black", [0, 0, 0]),
    ("white", [255, 255, 255]),
    ("red", [255, 0, 0]),
    ("green", [0, 255, 0]),
    ("blue", [0, 0, 255]),
    ("yellow", [255, 255, 0]),
    ("cyan", [0, 255, 255]),
    ("magenta", [255, 0, 255]),
];

/// A PNG of one colour; `n` makes its bytes (a pixel in a corner) differ from every other's.
pub fn png(colour: [u8; 3], n: u32) -> Vec<u8> {
    let mut image = RgbImage::from_pixel(64, 48, Rgb(colour));
    let [a, b, c, _] = n.to_le_bytes();
    image.put_pixel(0, 0, Rgb([a, b, c]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The `n`-th of a row of images of all colours: its bytes and its label.
pub fn numbered(n: u32) -> (Vec<u8>, &'static str) {
    let (name, colour) = COLOURS[n as usize % COLOURS.len()];
    (png(colour, n), name)
}

/// The same as a JPEG.
pub fn jpeg(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(320, 240, Rgb(colour)).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// The head of a BMP of 60,000 x 60,000 pixels, and none of them.
pub fn huge() -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    for n in [54_u32 + 4, 0, 54, 40, 60_000, 60_000, 24 << 16 | 1, 0, 0, 2835, 2835, 0, 0] {
        bytes.extend(n.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

/// The head of an ISO container of this brand, as HEIC and AVIF are.
pub fn container(brand: &str) -> Vec<u8> {
    [b"\0\0\0\x18ftyp".as_slice(), brand.as_bytes(), b"\0\0\0\0mif1", brand.as_bytes(), &[0; 64]].concat()
}
