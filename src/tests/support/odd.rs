//! Images of every kind that strangers send, and what is none.

use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::io::Cursor;

pub const FORMATS: [(&str, ImageFormat); 6] = [
    ("jpg", ImageFormat::Jpeg),
    ("png", ImageFormat::Png),
    ("gif", ImageFormat::Gif),
    ("webp", ImageFormat::WebP),
    ("bmp", ImageFormat::Bmp),
    ("tiff", ImageFormat::Tiff),
];

/// Red all over, and of such a grain that every part of the file matters.
fn grain() -> RgbImage {
    RgbImage::from_fn(96, 64, |x, y| {
        Rgb([200 + (x * 7 + y * 13) as u8 % 50, (x * y) as u8 % 40, (x + y * 3) as u8 % 40])
    })
}

pub fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn red(format: ImageFormat) -> Vec<u8> {
    encoded(&grain().into(), format)
}

/// Red with 16 bits a channel, and red where it can be seen.
pub fn deep_and_clear() -> [Vec<u8>; 3] {
    let clear = RgbaImage::from_fn(64, 64, |x, _| Rgba([250, 0, 0, if x < 60 { 255 } else { 128 }]));
    let clear = DynamicImage::from(clear);
    let deep = DynamicImage::from(DynamicImage::from(grain()).to_rgb16());
    [encoded(&deep, ImageFormat::Png), encoded(&clear, ImageFormat::Png), encoded(&clear, ImageFormat::WebP)]
}

/// A JPEG that says to be turned.
pub fn turned(orientation: u8) -> Vec<u8> {
    let jpeg = red(ImageFormat::Jpeg);
    let tiff =
        [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0]].concat();
    let length = (2 + 6 + tiff.len()) as u8;
    [&jpeg[..2], b"\xff\xe1\0", &[length], b"Exif\0\0", &tiff, &jpeg[2..]].concat()
}

/// A GIF whose first frame is red, with so many of them.
pub fn frames(n: usize) -> Vec<u8> {
    let mut one = Vec::new();
    let image = RgbaImage::from_pixel(64, 48, Rgba([250, 0, 0, 255]));
    GifEncoder::new(&mut one).encode_frames([Frame::new(image)]).unwrap();
    let palette = if one[10] & 0x80 == 0 { 0 } else { 3 << ((one[10] & 7) + 1) };
    let (head, frame) = one[..one.len() - 1].split_at(13 + palette);
    [head, &frame.repeat(n), b";"].concat()
}

/// Images of 50,000 x 50,000 pixels (the most that the format can say, for WebP), of which only the head is true.
pub fn huge() -> Vec<(&'static str, Vec<u8>)> {
    const SIDE: u16 = 50_000;
    let (big, little) = (u32::from(SIDE).to_be_bytes(), SIDE.to_le_bytes());
    let mut jpeg = red(ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|w| w == b"\xff\xc0").unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[SIDE.to_be_bytes(), SIDE.to_be_bytes()].concat());
    let mut png = red(ImageFormat::Png);
    png[16..24].copy_from_slice(&[big, big].concat());
    let crc = crc32(&png[12..29]).to_be_bytes();
    png[29..33].copy_from_slice(&crc);
    let mut gif = frames(1);
    let image = gif.windows(5).rposition(|w| w == b",\0\0\0\0").unwrap();
    for at in [6, 8, image + 5, image + 7] {
        gif[at..at + 2].copy_from_slice(&little);
    }
    let mut webp = red(ImageFormat::WebP);
    // VP8L: a byte 0x2f, then twice 14 bits of side - 1
    let at = webp.windows(4).position(|w| w == b"VP8L").unwrap() + 9;
    webp[at..at + 4].copy_from_slice(&0x0fff_ffff_u32.to_le_bytes());
    let mut bmp = red(ImageFormat::Bmp);
    for at in [18, 22] {
        bmp[at..at + 4].copy_from_slice(&u32::from(SIDE).to_le_bytes());
    }
    let mut tiff = red(ImageFormat::Tiff);
    for tag in [256_u16, 257] {
        // a directory's entry: tag, kind LONG, one of it, the value
        let entry = [&tag.to_le_bytes()[..], b"\x04\0\x01\0\0\0"].concat();
        let at = tiff.windows(8).position(|w| w == entry).unwrap() + 8;
        tiff[at..at + 4].copy_from_slice(&u32::from(SIDE).to_le_bytes());
    }
    vec![("jpg", jpeg), ("png", png), ("gif", gif), ("webp", webp), ("bmp", bmp), ("tiff", tiff)]
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
