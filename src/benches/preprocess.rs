//! Decoding and resizing: ours beside the image crate's and Pillow's, in one run, on one thread, as medians; and the
//! bare loop that a whole service is measured against. `cargo bench --bench preprocess`.
#![expect(clippy::expect_used, reason = "a bench fails loudly")]

#[path = "../tests/support/python.rs"]
mod python;

use bellows::model::engine::{Runtime, Session};
use bellows::model::manifest::Manifest;
use bellows::model::{self, MAX_PIXELS, ModelSettings, Progress};
use bellows_pixels::input::Input;
use bellows_pixels::{Limits, prepare};
use image::imageops::FilterType;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits { max_pixels: MAX_PIXELS };

fn main() {
    let shared = std::env::var_os("BELLOWS_DEBUG_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let models = shared.join("models");
    if !models.is_dir() {
        println!("skipped: no photographs in {} (BELLOWS_DEBUG_SHARED names their folder)", shared.display());
        return;
    }
    let input =
        Manifest::parse("bench", include_str!("../../models/efficientnet-lite0.toml")).expect("a manifest").input;
    let photographs = files(&models.join("images"), "JPEG");
    let large = root().join("target/bench-12mp");
    if !large.is_dir() {
        python::run(pillow().arg("large").arg(models.join("images")).arg(&large));
    }
    println!("decode + resize, ms an image, medians, one thread\n");
    println!(
        "{:<28}{:>12}{:>10}{:>10}{:>24}{:>24}",
        "", "image crate", "Pillow", "ours", "ours / image crate", "ours / Pillow"
    );
    compare("100 photographs", &photographs, "short", &input, (0.4, 1.25));
    compare("12 megapixels (draft)", &files(&large, "jpg"), "draft", &input, (0.2, 1.1));
    bare_loop(&photographs);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compare(name: &str, files: &[PathBuf], mode: &str, input: &Input, targets: (f64, f64)) {
    let images: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).expect("a readable photograph")).collect();
    let theirs = median_of(&images, 3, |bytes| drop(image_crate(bytes)));
    let ours = median_of(&images, 7, |bytes| drop(prepare(bytes, input, LIMITS).expect("a photograph")));
    let pillow: f64 = python::run(pillow().args(["time", mode]).args(files)).trim().parse().expect("milliseconds");
    let ratio = |other: f64, target: f64| {
        let ratio = ours / other;
        format!("{ratio:.2} (target {target}{})", if ratio <= target { "" } else { ", MISSED" })
    };
    println!(
        "{name:<28}{theirs:>12.2}{pillow:>10.2}{ours:>10.2}{:>24}{:>24}",
        ratio(theirs, targets.0),
        ratio(pillow, targets.1)
    );
}

/// The image crate's own decoder and resizer, and the crop.
fn image_crate(bytes: &[u8]) -> image::RgbImage {
    let whole = image::load_from_memory(bytes).expect("a photograph").into_rgb8();
    let (width, height) = whole.dimensions();
    let (wide, high) = if width < height { (256, 256 * height / width) } else { (256 * width / height, 256) };
    let small = image::imageops::resize(&whole, wide, high, FilterType::Triangle);
    image::imageops::crop_imm(&small, (wide - 224) / 2, (high - 224) / 2, 224, 224).to_image()
}

/// Decode, resize, infer, one thread, nothing around it.
fn bare_loop(photographs: &[PathBuf]) {
    let dir = Some(root().join("target/bellows-data"));
    let settings = ModelSettings { dir, ..ModelSettings::default() };
    let installed = model::ensure(&settings, Progress::stderr()).expect("model and engine");
    let runtime = Runtime::load(&installed.library).expect("an engine");
    let mut session = Session::open(&runtime, &installed).expect("a session");
    let images: Vec<Vec<u8>> = photographs.iter().map(|path| std::fs::read(path).expect("a photograph")).collect();
    let mut rates: Vec<f64> = (0..5)
        .map(|_| {
            let start = now();
            for bytes in &images {
                let tensor = prepare(bytes, &installed.model.manifest.input, LIMITS).expect("a photograph");
                session.run(&tensor).expect("probabilities");
            }
            images.len() as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("\nbare loop, {}, {}: {:.0} images/s on one thread", installed.model.name(), runtime.name, rates[2]);
}

/// Median over the images of each image's median, in ms.
fn median_of(images: &[Vec<u8>], runs: usize, mut work: impl FnMut(&[u8])) -> f64 {
    let each = images.iter().map(|bytes| {
        let mut times = || {
            let start = now();
            work(bytes);
            start.elapsed()
        };
        let mut times: Vec<Duration> = (0..runs).map(|_| times()).collect();
        times.sort();
        times[runs / 2].as_secs_f64() * 1e3
    });
    let mut each: Vec<f64> = each.collect();
    each.sort_by(f64::total_cmp);
    each[each.len() / 2]
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn pillow() -> Command {
    let mut command = Command::new(python::python());
    command.arg(root().join("src/benches/pillow.py"));
    command
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a folder of photographs").flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}
