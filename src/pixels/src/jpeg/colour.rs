//! From luminance and differences of colour to RGB (JFIF).

use super::scaled::Plane;
use crate::pixels::Pixels;

/// Fixed point: 16 bits behind the point.
const ONE: i32 = 1 << 16;
const HALF: i32 = ONE / 2;

/// Grey of one plane, RGB of three; colour planes may have fewer pixels by a whole factor.
pub(super) fn pixels(planes: Vec<Plane>) -> Option<Pixels> {
    let mut planes = planes.into_iter();
    let luminance = planes.next()?;
    let (width, height) = (luminance.width, luminance.height);
    let (Some(blue), Some(red)) = (planes.next(), planes.next()) else {
        return Some(Pixels { width: width as u32, height: height as u32, channels: 1, data: luminance.data });
    };
    let mut data = vec![0; width * height * 3];
    let (mut blues, mut reds) = (vec![0; width], vec![0; width]);
    for (y, (out, line)) in data.chunks_exact_mut(3 * width).zip(luminance.data.chunks_exact(width)).enumerate() {
        stretch(&blue, y * blue.height / height, &mut blues)?;
        stretch(&red, y * red.height / height, &mut reds)?;
        for (((pixel, luminance), blue), red) in out.chunks_exact_mut(3).zip(line).zip(&blues).zip(&reds) {
            let y = i32::from(*luminance) * ONE + HALF;
            let (blue, red) = (i32::from(*blue) - 128, i32::from(*red) - 128);
            pixel[0] = clamp(y + 91_881 * red);
            pixel[1] = clamp(y - 22_554 * blue - 46_802 * red);
            pixel[2] = clamp(y + 116_130 * blue);
        }
    }
    Some(Pixels { width: width as u32, height: height as u32, channels: 3, data })
}

/// A row of a plane, each pixel as often as it takes to fill `out`.
fn stretch(plane: &Plane, row: usize, out: &mut [u8]) -> Option<()> {
    let line = plane.data.get(row * plane.width..(row + 1) * plane.width)?;
    if line.len() == out.len() {
        out.copy_from_slice(line);
        return Some(());
    }
    let factor = out.len().checked_div(line.len())?.max(1);
    for (pixels, value) in out.chunks_mut(factor).zip(line) {
        pixels.fill(*value);
    }
    Some(())
}

fn clamp(value: i32) -> u8 {
    (value >> 16).clamp(0, 255) as u8
}
