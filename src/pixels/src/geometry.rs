//! Which part of an image the model sees, and at which size: the geometry of the usual Python pipeline ("short side to
//! N, other side floored, centre crop") as one box in the image's own coordinates.

use crate::input::{Input, Resize};
use image::metadata::Orientation;

/// A box of the image as it is stored (not turned yet) and the size that it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    /// Size of the result, not turned yet either.
    pub to_width: u32,
    pub to_height: u32,
}

/// The part of an image, in its own coordinates, that decoded pixels show. It may end beyond the image's edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Window {
    pub fn whole(width: u32, height: u32) -> Window {
        Window { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) }
    }
}

impl Plan {
    /// Whether the tensor's size does not depend on the image's.
    pub fn resizes(input: &Input) -> bool {
        input.resize != Resize::None
    }

    /// For an image stored as `width` x `height` that is shown after `orientation`.
    pub fn new(input: &Input, width: u32, height: u32, orientation: Orientation) -> Plan {
        let turned = turned(orientation);
        let (shown_width, shown_height) = if turned { (height, width) } else { (width, height) };
        let [tensor_height, tensor_width] = input.size.unwrap_or([shown_height, shown_width]);
        let (horizontal, vertical) = match input.resize {
            Resize::None => return Plan::whole(width, height, (width, height)),
            Resize::Stretch if turned => return Plan::whole(width, height, (tensor_height, tensor_width)),
            Resize::Stretch => return Plan::whole(width, height, (tensor_width, tensor_height)),
            Resize::Short(short) => {
                let (wide, high) = short_side(shown_width, shown_height, short);
                (span(shown_width, wide, tensor_width), span(shown_height, high, tensor_height))
            }
        };
        // Back to how it is stored: mirrored spans count from the other end, turned images swap their axes.
        let (mirror_x, mirror_y) = mirrors(orientation);
        let horizontal = if mirror_x { mirrored(horizontal, shown_width) } else { horizontal };
        let vertical = if mirror_y { mirrored(vertical, shown_height) } else { vertical };
        let (x, y) = if turned { (vertical, horizontal) } else { (horizontal, vertical) };
        let (to_width, to_height) = if turned { (tensor_height, tensor_width) } else { (tensor_width, tensor_height) };
        Plan { left: x.0, top: y.0, width: x.1, height: y.1, to_width, to_height }
    }

    fn whole(width: u32, height: u32, (to_width, to_height): (u32, u32)) -> Plan {
        Plan { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height), to_width, to_height }
    }

    /// The same box in pixels of a rendering, `width` x `height`, of a window of the image.
    pub fn within(&self, window: &Window, width: u32, height: u32) -> Plan {
        let (x, y) = (f64::from(width) / window.width, f64::from(height) / window.height);
        Plan {
            left: (self.left - window.left) * x,
            top: (self.top - window.top) * y,
            width: self.width * x,
            height: self.height * y,
            ..*self
        }
    }

    /// Source pixels for one of the result, the smaller of both axes.
    pub fn reduction(&self) -> f64 {
        (self.width / f64::from(self.to_width)).min(self.height / f64::from(self.to_height))
    }
}

/// Size after the short side became `short`: the other is floored.
fn short_side(width: u32, height: u32, short: u32) -> (u64, u64) {
    let long = |long: u32, side: u32| u64::from(short) * u64::from(long) / u64::from(side.max(1));
    if width < height { (u64::from(short), long(height, width)) } else { (long(width, height), u64::from(short)) }
}

/// Start and length, in pixels of a side of `side` pixels, of the centred `crop` of that side resized to `resized`.
fn span(side: u32, resized: u64, crop: u32) -> (f64, f64) {
    // Python rounds half to even, and the pipeline's crop starts where Python rounds to.
    let offset = ((resized as f64 - f64::from(crop)) / 2.0).round_ties_even();
    let scale = f64::from(side) / resized as f64;
    (offset * scale, f64::from(crop) * scale)
}

fn mirrored((start, length): (f64, f64), side: u32) -> (f64, f64) {
    (f64::from(side) - start - length, length)
}

/// Whether width and height change places.
pub(super) fn turned(orientation: Orientation) -> bool {
    use Orientation as O;
    matches!(orientation, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH)
}

/// Whether the shown image's left is (after swapping the axes of a turned one) the stored image's far end, and the
/// same for its top.
pub(super) fn mirrors(orientation: Orientation) -> (bool, bool) {
    use Orientation as O;
    match orientation {
        O::NoTransforms | O::Rotate90FlipH => (false, false),
        O::FlipHorizontal | O::Rotate90 => (true, false),
        O::FlipVertical | O::Rotate270 => (false, true),
        O::Rotate180 | O::Rotate270FlipH => (true, true),
    }
}
