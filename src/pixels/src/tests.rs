#![expect(clippy::float_cmp, reason = "pixels are whole numbers, and floats hold them exactly")]

use super::*;
use crate::input::{Crop, Resize};
use image::codecs::{
    bmp::BmpEncoder, gif::GifEncoder, jpeg::JpegEncoder, png::PngEncoder, tiff::TiffEncoder, webp::WebPEncoder,
};
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, Frame, ImageEncoder, Rgb, RgbImage, RgbaImage};
use proptest::prelude::*;
use std::io::Cursor;

const LIMITS: Limits = Limits { max_pixels: 64 << 20 };

fn input() -> Input {
    Input {
        name: "image".into(),
        size: Some([224, 224]),
        layout: Layout::Nchw,
        channels: Channels::Rgb,
        resize: Resize::Short(256),
        crop: Crop::Centre,
        mean: [0.0; 3],
        std: [1.0; 3],
    }
}

fn ready(bytes: &[u8]) -> Tensor {
    prepare(bytes, &input(), LIMITS).unwrap_or_else(|e| panic!("{e}"))
}

/// Soft, without symmetry, so that every orientation looks different.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
        Rgb([(x * 250.0) as u8, (y * y * 250.0) as u8, ((x * 9.0).sin() * 60.0 + 120.0 * y + 60.0) as u8])
    })
}

fn jpeg(image: &RgbImage, exif: Option<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    if let Some(orientation) = exif {
        encoder.set_exif_metadata(exif_chunk(orientation)).unwrap();
    }
    encoder.write_image(image, image.width(), image.height(), ExtendedColorType::Rgb8).unwrap();
    bytes
}

fn png(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A TIFF structure with nothing but an orientation.
fn exif_chunk(orientation: u8) -> Vec<u8> {
    let mut chunk = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    chunk.extend([orientation, 0, 0, 0, 0, 0, 0]);
    chunk
}

/// In every format, lossless where there is a choice.
fn all_formats(image: &RgbImage) -> Vec<(&'static str, Vec<u8>)> {
    let (width, height, kind) = (image.width(), image.height(), ExtendedColorType::Rgb8);
    let [mut webp, mut bmp, mut tiff, mut gif] = [const { Vec::new() }; 4].map(Cursor::new);
    WebPEncoder::new_lossless(&mut webp).write_image(image, width, height, kind).unwrap();
    BmpEncoder::new(&mut bmp).write_image(image, width, height, kind).unwrap();
    TiffEncoder::new(&mut tiff).write_image(image, width, height, kind).unwrap();
    GifEncoder::new_with_speed(&mut gif, 10).encode(image, width, height, kind).unwrap();
    let png = png(&image.clone().into());
    let files = [webp, bmp, tiff, gif].map(Cursor::into_inner);
    let mut files: Vec<_> = ["webp", "bmp", "tiff", "gif"].into_iter().zip(files).collect();
    files.extend([("png", png), ("jpeg", jpeg(image, None))]);
    files
}

/// Mean and largest difference of two tensors in steps of 8-bit colour.
fn difference(a: &Tensor, b: &Tensor) -> (f32, f32) {
    assert_eq!(a.shape, b.shape);
    let all = a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs());
    (all.clone().sum::<f32>() / a.values.len() as f32, all.fold(0.0, f32::max))
}

fn inverse(orientation: Orientation) -> Orientation {
    match orientation {
        Orientation::Rotate90 => Orientation::Rotate270,
        Orientation::Rotate270 => Orientation::Rotate90,
        own => own,
    }
}

#[test]
fn every_orientation_shows_the_same() {
    // One that is decoded whole and one that is decoded at an eighth, both not square, with odd sides.
    for (width, height) in [(401, 303), (2501, 2203)] {
        let picture = picture(width, height);
        let upright = ready(&png(&picture.clone().into()));
        for exif in 1..=8 {
            let mut stored = DynamicImage::from(picture.clone());
            stored.apply_orientation(inverse(Orientation::from_exif(exif).unwrap()));
            let stored = stored.into_rgb8();
            let (mean, most) = difference(&upright, &ready(&jpeg(&stored, Some(exif))));
            assert!(mean < 1.5 && most < 20.0, "{width} x {height}, orientation {exif}: {mean} {most}");
        }
    }
}

#[test]
fn orientation_counts_in_png_and_webp_too() {
    let picture = picture(401, 303);
    let upright = ready(&png(&picture.clone().into()));
    let mut stored = DynamicImage::from(picture);
    stored.apply_orientation(Orientation::Rotate270);
    let stored = stored.into_rgb8();
    let (width, height) = stored.dimensions();
    let (mut png, mut webp) = (Vec::new(), Vec::new());
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_exif_metadata(exif_chunk(6)).unwrap();
    encoder.write_image(&stored, width, height, ExtendedColorType::Rgb8).unwrap();
    let mut encoder = WebPEncoder::new_lossless(&mut webp);
    encoder.set_exif_metadata(exif_chunk(6)).unwrap();
    encoder.write_image(&stored, width, height, ExtendedColorType::Rgb8).unwrap();
    for (name, bytes) in [("png", png), ("webp", webp)] {
        let (mean, most) = difference(&upright, &ready(&bytes));
        assert!(mean < 0.6 && most <= 2.0, "{name}: {mean} {most}");
    }
}

#[test]
fn every_format_gives_the_same_pixels() {
    let picture = picture(300, 280);
    let reference = ready(&png(&picture.clone().into()));
    for (name, bytes) in all_formats(&picture) {
        // GIF has 256 colours, JPEG is lossy.
        let allowed = match name {
            "gif" => 6.0,
            "jpeg" => 1.5,
            _ => 0.0,
        };
        let (mean, _) = difference(&reference, &ready(&bytes));
        assert!(mean <= allowed, "{name}: {mean}");
    }
}

#[test]
fn every_colour_type_becomes_rgb() {
    let plain = DynamicImage::from(RgbImage::from_pixel(40, 30, Rgb([200, 100, 50])));
    let grey = plain.to_luma8().get_pixel(0, 0).0[0];
    let variants = [
        ("rgba8", plain.to_rgba8().into(), [200, 100, 50]),
        ("rgb16", plain.to_rgb16().into(), [200, 100, 50]),
        ("rgba16", plain.to_rgba16().into(), [200, 100, 50]),
        ("l8", DynamicImage::from(plain.to_luma8()), [grey; 3]),
        ("la8", plain.to_luma_alpha8().into(), [grey; 3]),
        ("l16", plain.to_luma16().into(), [grey; 3]),
        ("la16", plain.to_luma_alpha16().into(), [grey; 3]),
    ];
    for (name, image, colour) in variants {
        let tensor = ready(&png(&image));
        for (plane, expected) in tensor.values.chunks_exact(224 * 224).zip(colour) {
            assert!(plane.iter().all(|v| (v - f32::from(expected)).abs() <= 1.0), "{name}: {} {expected}", plane[0]);
        }
    }
}

#[test]
fn what_is_transparent_lies_over_white() {
    let half = RgbaImage::from_pixel(30, 30, image::Rgba([200, 0, 0, 128]));
    let tensor = ready(&png(&half.into()));
    let colour = [0, 1, 2].map(|c| tensor.values[c * 224 * 224 + 5000]);
    assert_eq!(colour, [227.0, 127.0, 127.0]);
    let clear = RgbaImage::from_pixel(30, 30, image::Rgba([200, 0, 0, 0]));
    assert!(ready(&png(&clear.into())).values.iter().all(|v| *v == 255.0));
}

#[test]
fn layouts_channels_mean_and_std() {
    let image = png(&RgbImage::from_pixel(20, 20, Rgb([10, 20, 30])).into());
    let mut input = Input { mean: [1.0, 2.0, 3.0], std: [1.0, 2.0, 3.0], layout: Layout::Nhwc, ..input() };
    let tensor = prepare(&image, &input, LIMITS).unwrap();
    assert_eq!((tensor.shape, &tensor.values[..3]), ([1, 224, 224, 3], [9.0, 9.0, 9.0].as_slice()));
    input.mean = [0.0; 3];
    input.channels = Channels::Bgr;
    let tensor = prepare(&image, &input, LIMITS).unwrap();
    assert_eq!(tensor.values[..3], [10.0, 10.0, 10.0]);
    input.std = [1.0; 3];
    input.layout = Layout::Nchw;
    let tensor = prepare(&image, &input, LIMITS).unwrap();
    assert_eq!([0, 1, 2].map(|c| tensor.values[c * 224 * 224]), [30.0, 20.0, 10.0]);
}

#[test]
fn the_raw_profile_takes_the_image_as_it_comes() {
    let picture = picture(31, 17);
    let raw = Input { size: None, resize: Resize::None, crop: Crop::None, layout: Layout::Nhwc, ..input() };
    let tensor = prepare(&png(&picture.clone().into()), &raw, LIMITS).unwrap();
    assert_eq!(tensor.shape, [1, 17, 31, 3]);
    assert!(tensor.values.iter().zip(picture.as_raw()).all(|(a, b)| *a == f32::from(*b)));
}

#[test]
fn stretched_images_lose_their_aspect_and_nothing_else() {
    let picture = picture(64, 32);
    let stretch =
        Input { size: Some([32, 64]), resize: Resize::Stretch, crop: Crop::None, layout: Layout::Nhwc, ..input() };
    let tensor = prepare(&png(&picture.clone().into()), &stretch, LIMITS).unwrap();
    assert!(tensor.values.iter().zip(picture.as_raw()).all(|(a, b)| *a == f32::from(*b)));
}

#[test]
fn extreme_aspects_are_cropped_before_they_are_resized() {
    for (width, height) in [(100_000, 1), (1, 100_000), (3, 9_000)] {
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([u8::from(x + y > 40) * 200, 7, 9]));
        let tensor = ready(&png(&image.into()));
        assert!((tensor.values[224 * 112 + 112] - 200.0).abs() <= 1.0, "{width} x {height}");
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    for (name, bytes) in all_formats(&picture(300, 200)) {
        for part in 0..50 {
            let cut = &bytes[..bytes.len() * part / 50];
            match prepare(cut, &input(), LIMITS) {
                Err(ImageError::Unsupported) => assert!(part == 0, "{name} {part}/50 is long enough to judge"),
                Err(ImageError::Undecodable { .. }) => {}
                other => panic!("{name} {part}/50: {:?}", other.map(|t| t.shape)),
            }
        }
    }
    // Large JPEGs take another way.
    let bytes = jpeg(&picture(2300, 2200), None);
    for part in 1..50 {
        let cut = &bytes[..bytes.len() * part / 50];
        let outcome = prepare(cut, &input(), LIMITS);
        assert!(matches!(outcome, Err(ImageError::Undecodable { .. })), "{part}/50");
    }
    assert!(matches!(prepare(&bytes[..bytes.len() - 2], &input(), LIMITS), Err(ImageError::Undecodable { .. })));
}

#[test]
fn a_header_that_promises_too_much_is_refused_before_a_pixel_is_read() {
    let mut png = png(&picture(8, 8).into());
    png[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let too_many = |width, height| Err(ImageError::TooManyPixels { width, height, limit: 64 << 20 });
    assert_eq!(prepare(&png, &input(), LIMITS), too_many(50_000, 50_000));

    let mut jpeg = jpeg(&picture(8, 8), None);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    assert_eq!(prepare(&jpeg, &input(), LIMITS), too_many(65_535, 65_535));

    let mut gif = b"GIF89a\xff\xff\xff\xff\0\0\0".to_vec();
    gif.extend([0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 1, 0, 0, 0x3b]);
    assert_eq!(prepare(&gif, &input(), LIMITS), too_many(65_535, 65_535));
    let small = Limits { max_pixels: 63 };
    assert!(matches!(
        prepare(&super::tests::png(&picture(8, 8).into()), &input(), small),
        Err(ImageError::TooManyPixels { .. })
    ));
}

#[test]
fn what_lies_in_an_image_may_not_be_larger_than_one() {
    let too_many = Err(ImageError::TooManyPixels { width: 16_383, height: 16_383, limit: 64 << 20 });
    // found by fuzzing: a WebP that says 16 x 7, and a picture in it that says more
    let picture = b"VP8 \x0a\0\0\0\x50\x01\0\x9d\x01\x2a\xff\x3f\xff\x3f";
    let webp = [b"RIFF\x2c\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x0f\0\0\x06\0\0".as_slice(), picture].concat();
    assert_eq!(prepare(&webp, &input(), LIMITS), too_many);
    // a TIFF whose strips are JPEGs is no better
    let tiff = b"MM\0\x2a\0\0\0\x08\0\0\0\0\0\0\xff\xd8\xff\xc0\0\x0b\x08\x3f\xff\x3f\xff\x01\x01\x11\0";
    assert_eq!(prepare(tiff, &input(), LIMITS), too_many);
    // found by fuzzing: a field with 64 M values in a file of a few bytes
    let tiff = b"II\x2a\0\x08\0\0\0\x01\0\x11\x01\x04\0\0\0\0\x04\x1a\0\0\0\0\0\0\0";
    assert!(matches!(prepare(tiff, &input(), LIMITS), Err(ImageError::Undecodable { format: "TIFF", .. })));
}

#[test]
fn an_image_without_pixels_is_none() {
    // found by fuzzing: 10,288 x 0, and a frame that is larger
    let gif = b"GIF87a\x30\x28\0\0\x82\0\0\xed\x1c\x74\xd4\x1c\x73\xed\x1b\x36\xd3\x1c\x36\xec\x08\x6f\xd4\x08\x70\xed\x07\x2e\xd4\
        \x07\x2e\x2c\x08\0\0\0\x31\x07\0\0\x40\x08\xff\0\x0f\x08\x3c\x60\xa0\x23\xff\xff\xff\xff\xff\xff\xff\xff\x6c\xcc\xa8\x12\
        \xa4\x4a\x3b";
    let unresized = Input { size: None, resize: Resize::None, crop: Crop::None, ..input() };
    for input in [input(), unresized] {
        assert!(matches!(prepare(gif, &input, LIMITS), Err(ImageError::Undecodable { format: "GIF", .. })));
    }
}

/// CRC-32 as PNG has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn of_an_animation_the_first_frame_counts_and_no_other_is_read() {
    let frame = |colour| Frame::new(RgbaImage::from_pixel(50, 40, image::Rgba(colour)));
    let (mut first, mut all) = (Vec::new(), Vec::new());
    GifEncoder::new(&mut first).encode_frames([frame([250, 0, 0, 255])]).unwrap();
    let others = (0..300).map(|_| frame([0, 0, 250, 255]));
    GifEncoder::new(&mut all).encode_frames(std::iter::once(frame([250, 0, 0, 255])).chain(others)).unwrap();
    assert_eq!(ready(&all), ready(&first));
    assert_eq!(ready(&all).values[0], 250.0);
    // Cut in the second frame: it was never looked at.
    assert_eq!(ready(&all[..first.len() + 20]), ready(&first));
}

#[test]
fn blocks_without_an_end_code_are_stepped_over() {
    // Noise at the best quality leaves no coefficient zero: a block ends by being full, and the next begins at once.
    let mut state = 1_u32;
    let noise = RgbImage::from_fn(744, 728, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = (state >> 24) as u8;
        Rgb([value, value.wrapping_mul(3), value ^ 0x55])
    });
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 100);
    encoder.write_image(&noise, 744, 728, ExtendedColorType::Rgb8).unwrap();
    assert!(jpeg::ours_alone(&bytes, &input()).is_some());
    let (mean, _) = difference(&ready(&png(&noise.into())), &ready(&bytes));
    assert!(mean < 12.0, "{mean}");
}

#[test]
fn heic_has_its_own_answer() {
    let error = prepare(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", &input(), LIMITS).unwrap_err();
    assert_eq!(error.reason(), Reason::ConvertFirst);
    assert!(error.to_string().contains("heif-convert"), "{error}");
    assert_eq!(prepare(b"hello", &input(), LIMITS).unwrap_err().reason(), Reason::UnsupportedImage);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Our own decoder must not even panic: it runs on what strangers send.
    #[test]
    fn damaged_jpegs_do_no_harm(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        whether in any::<bool>(),
    ) {
        use std::sync::LazyLock;
        static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| jpeg(&picture(1100, 1040), None));
        prop_assume!(jpeg::ours_alone(&SOUND, &input()).is_some());
        let mut bytes = SOUND.clone();
        for (place, value) in damage {
            let place = if whether { place.index(700) } else { place.index(bytes.len()) };
            bytes[place] = value;
        }
        if whether {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = jpeg::ours_alone(&bytes, &input());
    }
}
