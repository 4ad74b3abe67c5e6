//! Any bytes as an image: sniffing, limits by the header, decoding, resizing, the tensor.

#![no_main]

use bellows_fuzz::memory::{Counted, most_in};
use bellows_fuzz::panics::let_dependencies_panic;
use bellows_pixels::input::{Channels, Crop, Input, Layout, Resize};
use bellows_pixels::{ImageError, Limits, prepare};
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

const MAX_PIXELS: u64 = 1 << 17;
/// What an image of so many pixels may have in use: 16 bytes a pixel for the decoder and as much for what it has
/// decoded, 16 to make colours of it, 12 for the tensor; and what does not depend on the size, of which most is one
/// partition of a WebP: room for the 16 MiB that its length can say is made before there is less of it.
const MOST: usize = 60 * MAX_PIXELS as usize + (24 << 20);

fuzz_target!(
    init: let_dependencies_panic(),
    |bytes: &[u8]| {
        // by its length, so that the files of a corpus are images and nothing else
        let input = input(bytes.len());
        let (outcome, most) = most_in(|| prepare(bytes, &input, Limits { max_pixels: MAX_PIXELS }));
        assert!(most < MOST, "{most} bytes in use");
        match outcome {
            Ok(tensor) => {
                let [one, first, second, third] = tensor.shape;
                let (channels, height, width) = match input.layout {
                    Layout::Nchw => (first, second, third),
                    Layout::Nhwc => (third, first, second),
                };
                assert_eq!((one, channels), (1, 3));
                assert_eq!(tensor.values.len(), 3 * height * width);
                assert!(tensor.values.iter().all(|value| value.is_finite()));
                match input.size {
                    Some([rows, columns]) => assert_eq!((height, width), (rows as usize, columns as usize)),
                    None => assert!(height > 0 && width > 0 && (height * width) as u64 <= MAX_PIXELS),
                }
            }
            Err(ImageError::TooManyPixels { width, height, limit }) => {
                assert!(limit == MAX_PIXELS && (u64::from(width) * u64::from(height) > limit || width.max(height) > 1 << 20));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
);

/// Every way of making a tensor; the sizes are so small that little images go through the decoder that reads an eighth.
fn input(choice: usize) -> Input {
    let (size, resize, crop) = match choice % 4 {
        0 => (Some([16, 20]), Resize::Short(24), Crop::Centre),
        1 => (Some([4, 4]), Resize::Short(4), Crop::Centre),
        2 => (Some([9, 7]), Resize::Stretch, Crop::None),
        _ => (None, Resize::None, Crop::None),
    };
    let (layout, channels) = if choice % 8 < 4 { (Layout::Nchw, Channels::Rgb) } else { (Layout::Nhwc, Channels::Bgr) };
    Input { name: "image".into(), size, layout, channels, resize, crop, mean: [127.0; 3], std: [128.0; 3] }
}
