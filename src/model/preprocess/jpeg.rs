//! JPEG.

use super::super::manifest::Input;
use super::sniff::Format;
use super::{Decoded, ImageError, decode};

/// Decodes at a size that suffices for `input`.
pub(super) fn decode(
    bytes: &[u8],
    _input: &Input,
    check: &dyn Fn(u32, u32) -> Result<(), ImageError>,
) -> Result<Decoded, ImageError> {
    decode::decode(Format::Jpeg, bytes, u64::MAX, check)
}
