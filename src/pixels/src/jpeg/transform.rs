//! The inverse cosine transform of a block's lowest frequencies: 1, 2 or 4 pixels a side out of 8.

use super::scaled::Plane;
use std::f32::consts::PI;

/// Most pixels a side.
const MOST: usize = 4;
const NONE: u8 = u8::MAX;

/// From a corner of a block's coefficients to as many pixels.
pub(super) struct Transform {
    width: usize,
    height: usize,
    /// The last coefficient, in zigzag order, that is in the corner.
    last: u32,
    /// Place of each coefficient in a corner of [`MOST`] a row, or [`NONE`].
    places: [u8; 64],
    /// By frequency, then pixel.
    across: [[f32; MOST]; MOST],
    down: [[f32; MOST]; MOST],
}

impl Transform {
    /// `width` and `height` are 1, 2 or 4.
    pub fn new(width: usize, height: usize) -> Transform {
        let mut places = [NONE; 64];
        let mut last = 0;
        for (index, (row, column)) in zigzag().enumerate() {
            if row < height && column < width {
                places[index] = (row * MOST + column) as u8;
                last = index as u32;
            }
        }
        Transform { width, height, last, places, across: basis(width), down: basis(height) }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    pub fn last(&self) -> u32 {
        self.last
    }

    /// Where coefficient `index` (in zigzag order) goes, `None` where it is not wanted or does not exist.
    #[inline]
    pub fn place(&self, index: u32) -> Option<usize> {
        self.places.get(index as usize).filter(|place| **place != NONE).map(|place| usize::from(*place))
    }

    /// Draws a block of dequantized coefficients; `place` counts blocks.
    #[inline]
    pub fn draw(&self, coefficients: &[f32; MOST * MOST], plane: &mut Plane, (x, y): (usize, usize)) {
        let stride = plane.width;
        let start = y * self.height * stride + x * self.width;
        match (self.width, self.height) {
            (1, 1) => plane.data[start] = sample(coefficients[0] / 8.0),
            (2, 2) => self.fixed::<2>(coefficients, &mut plane.data[start..], stride),
            (4, 4) => self.fixed::<4>(coefficients, &mut plane.data[start..], stride),
            _ => self.any(coefficients, &mut plane.data[start..], stride),
        }
    }

    /// The same for a square whose size the compiler knows.
    #[inline]
    fn fixed<const N: usize>(&self, coefficients: &[f32; MOST * MOST], out: &mut [u8], stride: usize) {
        let mut rows = [[0.0_f32; N]; N];
        for (v, row) in rows.iter_mut().enumerate() {
            for u in 0..N {
                let value = coefficients[v * MOST + u];
                for (x, sum) in row.iter_mut().enumerate() {
                    *sum += value * self.across[u][x];
                }
            }
        }
        for (y, line) in out.chunks_mut(stride).take(N).enumerate() {
            let mut sums = [0.0_f32; N];
            for (v, row) in rows.iter().enumerate() {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += value * self.down[v][y];
                }
            }
            for (pixel, sum) in line.iter_mut().zip(sums) {
                *pixel = sample(sum);
            }
        }
    }

    fn any(&self, coefficients: &[f32; MOST * MOST], out: &mut [u8], stride: usize) {
        for (y, line) in out.chunks_mut(stride).take(self.height).enumerate() {
            for (x, pixel) in line.iter_mut().take(self.width).enumerate() {
                let mut sum = 0.0;
                for v in 0..self.height {
                    for u in 0..self.width {
                        sum += coefficients[v * MOST + u] * self.across[u][x] * self.down[v][y];
                    }
                }
                *pixel = sample(sum);
            }
        }
    }
}

/// A value around 0 as a sample of 0..=255.
#[inline]
fn sample(value: f32) -> u8 {
    // `as` saturates.
    (value + 128.5) as u8
}

/// The orthonormal cosine basis of `size` pixels, scaled so that the corner of an 8 x 8 block keeps its brightness.
fn basis(size: usize) -> [[f32; MOST]; MOST] {
    let mut basis = [[0.0; MOST]; MOST];
    let n = size as f32;
    for (frequency, row) in basis.iter_mut().enumerate().take(size) {
        let norm = if frequency == 0 { (1.0 / n).sqrt() } else { (2.0 / n).sqrt() };
        for (pixel, value) in row.iter_mut().enumerate().take(size) {
            let angle = (2.0 * pixel as f32 + 1.0) * frequency as f32 * PI / (2.0 * n);
            *value = norm * (n / 8.0).sqrt() * angle.cos();
        }
    }
    basis
}

/// Row and column of each coefficient, as T.81 orders them: diagonals, every other one upwards.
fn zigzag() -> impl Iterator<Item = (usize, usize)> {
    (0..15_usize).flat_map(|diagonal| {
        let cells = (0..=diagonal).map(move |i| (i, diagonal - i)).filter(|(row, column)| *row < 8 && *column < 8);
        let mut cells: Vec<_> = cells.collect();
        if diagonal % 2 == 0 {
            cells.reverse();
        }
        cells
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zigzag_is_that_of_the_standard() {
        let order: Vec<usize> = zigzag().map(|(row, column)| row * 8 + column).collect();
        assert_eq!(order[..16], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5]);
        assert_eq!(order[60..], [47, 55, 62, 63]);
        assert_eq!(order.len(), 64);
    }

    #[test]
    fn corners_end_where_they_should() {
        assert_eq!(Transform::new(1, 1).last(), 0);
        assert_eq!(Transform::new(2, 2).last(), 4);
        assert_eq!(Transform::new(4, 4).last(), 24);
        assert_eq!(Transform::new(2, 1).last(), 1);
    }

    #[test]
    fn a_flat_block_keeps_its_brightness() {
        let mut coefficients = [0.0; 16];
        coefficients[0] = 8.0 * 50.0;
        for (width, height) in [(1, 1), (2, 2), (4, 4), (2, 1), (1, 4)] {
            let mut plane = Plane { width, height, data: vec![0; width * height] };
            Transform::new(width, height).draw(&coefficients, &mut plane, (0, 0));
            assert!(plane.data.iter().all(|v| *v == 178), "{width} x {height}: {:?}", plane.data);
        }
    }
}
