//! JPEGs of every kind and size, pixel by pixel against Pillow, which decodes them whole.

use crate::support::python::{python, run};
use crate::support::{root, shared};
use bellows::model::manifest::Manifest;
use bellows_pixels::input::{Input, Layout};
use bellows_pixels::{Limits, prepare};
use std::process::Command;

#[test]
fn jpegs_look_as_pillow_shows_them() {
    let Some(models) = shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let photograph = models.join("images/n01530575_brambling.JPEG");
    run(Command::new(python()).arg(root().join("src/tests/reference/variants.py")).arg(photograph).arg(dir.path()));
    let manifest = std::fs::read_to_string(root().join("models/efficientnet-lite0.toml")).unwrap();
    let input = Manifest::parse("test", &manifest).unwrap().input;
    let input = Input { layout: Layout::Nhwc, mean: [0.0; 3], std: [1.0; 3], ..input };
    let mut seen = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let Some("jpg") = path.extension().and_then(|e| e.to_str()) else { continue };
        let ours = prepare(&std::fs::read(&path).unwrap(), &input, Limits { max_pixels: 64 << 20 }).unwrap();
        let theirs = std::fs::read(path.with_extension("rgb")).unwrap();
        assert_eq!(ours.values.len(), theirs.len());
        let differences: Vec<f32> = ours.values.iter().zip(&theirs).map(|(a, b)| (a - f32::from(*b)).abs()).collect();
        let mean = differences.iter().sum::<f32>() / differences.len() as f32;
        let most = differences.iter().copied().fold(0.0, f32::max);
        let name = path.file_name().unwrap().to_str().unwrap();
        println!("{name}: mean {mean:.2}, most {most}");
        seen += 1;
        assert!(mean < 1.0, "{name}: mean {mean}, most {most}");
    }
    assert_eq!(seen, 66);
}
