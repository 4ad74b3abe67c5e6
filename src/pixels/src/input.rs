//! What a model wants of an image, as its manifest says it.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// From an image to the input tensor.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub name: String,
    /// Height and width of the tensor; unused where the image is taken as it comes.
    #[serde(default)]
    pub size: Option<[u32; 2]>,
    pub layout: Layout,
    pub channels: Channels,
    pub resize: Resize,
    pub crop: Crop,
    /// Subtracted from a value of 0..=255, per channel in the order R, G, B.
    pub mean: [f32; 3],
    /// Divides the difference, per channel in the order R, G, B.
    pub std: [f32; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    Rgb,
    Bgr,
}

/// How an image gets its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// The short side becomes so many pixels, the aspect stays.
    Short(u32),
    /// To the tensor's size, whatever the aspect.
    Stretch,
    /// The image as it comes: the tensor has its size.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crop {
    Centre,
    None,
}

impl<'de> Deserialize<'de> for Resize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Resize, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            Table(Table),
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            short: Option<u32>,
            stretch: Option<bool>,
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Word(word)) if word == "none" => Ok(Resize::None),
            Ok(Form::Table(Table { short: Some(short), stretch: None })) => Ok(Resize::Short(short)),
            Ok(Form::Table(Table { short: None, stretch: Some(true) })) => Ok(Resize::Stretch),
            _ => Err(D::Error::custom("expected { short = PIXELS }, { stretch = true } or \"none\"")),
        }
    }
}

impl Input {
    /// The first key that makes no sense, and what was expected there.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let sides = 1..=4096;
        if self.size.is_some_and(|size| !size.iter().all(|side| sides.contains(side))) {
            return Some(("input.size", "[height, width], each from 1 to 4096".into()));
        }
        if self.size.is_none() && self.resize != Resize::None {
            return Some(("input.size", "[height, width], for `resize` makes that size".into()));
        }
        match (self.resize, self.crop) {
            (Resize::Short(short), Crop::Centre) => {
                let longest = self.size.unwrap_or_default().into_iter().max().unwrap_or_default();
                if !(longest..=4096).contains(&short) {
                    return Some(("input.resize.short", format!("{longest} to 4096: `size` is cropped out of it")));
                }
            }
            (Resize::Stretch | Resize::None, Crop::None) => {}
            (Resize::Short(_), Crop::None) => {
                return Some(("input.crop", "\"centre\": `resize.short` leaves the long side open".into()));
            }
            (_, Crop::Centre) => {
                return Some(("input.crop", "\"none\": only `resize.short` leaves what to crop".into()));
            }
        }
        let finite = self.mean.iter().chain(&self.std).all(|v| v.is_finite());
        if !finite || self.std.iter().any(|v| *v <= 0.0) {
            return Some(("input.std", "three numbers above 0 (and finite ones in `mean`)".into()));
        }
        None
    }
}
