//! The real engine, with the fixture that names colours.

use crate::support::images::{COLOURS, png};
use crate::support::{data_dir, root};
use bellows::edge::engine::{Engine, Failure};
use bellows::model::{self, Error, Installed, ModelSettings, Progress, Sessions};
use bellows_core::answer::Reason;
use bellows_pixels::input::Resize;
use bytes::Bytes;

pub fn installed(settings: ModelSettings) -> Installed {
    let settings = ModelSettings { dir: Some(data_dir()), ..settings };
    model::ensure(&settings, Progress::stderr()).unwrap_or_else(|e| panic!("{e}; {}", e.remedy()))
}

fn fixture() -> Installed {
    let manifest = Some(root().join("models/fixture-colours.toml"));
    installed(ModelSettings { manifest, ..ModelSettings::default() })
}

fn engine(sessions: usize) -> Engine {
    Sessions::new(fixture()).unwrap().start(sessions).unwrap()
}

#[tokio::test]
async fn every_colour_has_its_name() {
    let engine = engine(2);
    for (name, colour) in COLOURS {
        let bytes = Bytes::from(png(colour, 7));
        let labelled = engine.classify(bytes.clone()).await.unwrap();
        assert_eq!(labelled.predictions[0].label, name);
        assert_eq!(labelled.predictions.len(), 5);
        assert_eq!(labelled.sha256, model::store::sha256_of_bytes(&bytes));
        assert!(labelled.predictions.is_sorted_by(|a, b| a.probability >= b.probability), "{labelled:?}");
    }
}

#[tokio::test]
async fn a_bad_image_is_the_images_fault_and_the_session_goes_on() {
    let engine = engine(1);
    let sound = png([255, 0, 0], 1);
    for (bytes, expected) in [
        (b"no image".to_vec(), Reason::UnsupportedImage),
        (sound[..sound.len() / 2].to_vec(), Reason::Undecodable),
        (b"\0\0\0\x18ftypavif".to_vec(), Reason::ConvertFirst),
    ] {
        match engine.classify(Bytes::from(bytes)).await {
            Err(Failure::Image { reason, sha256, .. }) => assert_eq!((reason, sha256.len()), (expected, 64)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(engine.classify(sound.into()).await.unwrap().predictions[0].label, "red");
}

#[tokio::test]
async fn a_session_that_fails_is_replaced() {
    let mut installed = fixture();
    // Images as they come, into a graph that takes 32 x 32 only: the engine refuses every other.
    installed.model.manifest.input.resize = Resize::None;
    let engine = Sessions::new(installed).unwrap().start(1).unwrap();
    let exact = image::RgbImage::from_pixel(32, 32, image::Rgb([0, 0, 255]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    exact.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let bytes = Bytes::from(bytes.into_inner());
    for _ in 0..3 {
        match engine.classify(Bytes::from(png([255, 0, 0], 1))).await {
            Err(Failure::Engine(error)) => assert!(error.retryable(), "{error}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(engine.classify(bytes.clone()).await.unwrap().predictions[0].label, "blue");
    }
}

#[tokio::test]
async fn work_that_nobody_waits_for_is_passed_over() {
    let engine = engine(1);
    let image = Bytes::from(png([0, 255, 0], 3));
    for _ in 0..200 {
        drop(engine.submit(image.clone()).await);
    }
    assert_eq!(engine.classify(image).await.unwrap().predictions[0].label, "green");
}

#[test]
fn answers_say_which_model_and_engine() {
    let model = Sessions::new(fixture()).unwrap().model();
    assert_eq!(model.name, "fixture-colours");
    assert!(model.engine.starts_with("onnxruntime 1."), "{}", model.engine);
    assert_eq!(model.sha256.len(), 64);
}

#[test]
fn a_manifest_that_does_not_fit_its_graph_is_told_at_once() {
    type Change = fn(&mut Installed);
    let changes: [(Change, &str); 3] = [
        (|i| i.model.manifest.input.name = "picture".into(), "expected one of the graph's: image"),
        (|i| i.model.manifest.input.size = Some([31, 31]), "model fixture-colours cannot be loaded"),
        (|i| i.model.labels.truncate(7), "8 values and there are 7 labels"),
    ];
    for (change, expected) in changes {
        let mut installed = fixture();
        change(&mut installed);
        let error = Sessions::new(installed).unwrap().start(2).unwrap_err();
        assert!(matches!(error, Error::Load { .. }) && error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_is_no_library_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libonnxruntime.so.1.99.0");
    std::fs::write(&path, "not a library").unwrap();
    let mut installed = fixture();
    installed.library.path = path;
    let error = Sessions::new(installed).unwrap_err();
    assert!(matches!(error, Error::Library { .. }), "{error}");
}
