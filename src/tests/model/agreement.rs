//! The same photographs through the Python pipeline (Pillow, numpy, ONNX Runtime, the same graph).

use super::real::installed;
use crate::support::python::{python, run};
use crate::support::{data_dir, root, shared};
use bellows::model::{ModelSettings, Sessions};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Class of each photograph, as its label file has it.
fn truth(labels: &str) -> BTreeMap<String, u32> {
    let mut lines = labels.lines();
    let head: Vec<&str> = lines.next().unwrap().split('\t').collect();
    let column = |name: &str| head.iter().position(|h| *h == name).unwrap();
    let (file, class) = (column("file"), column("class_index"));
    let rows = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    rows.map(|row| (row[file].to_owned(), row[class].parse().unwrap())).collect()
}

#[tokio::test]
async fn top_1_is_that_of_the_python_pipeline() {
    let Some(models) = shared() else { return };
    let photographs = models.join("images");
    let installed = installed(ModelSettings::default());
    let out = tempfile::NamedTempFile::new().unwrap();
    let script = root().join("src/tests/reference/pipeline.py");
    run(Command::new(python()).arg(script).args([&installed.graph, &photographs]).arg(out.path()));
    let truth = truth(&std::fs::read_to_string(photographs.join("labels.tsv")).unwrap());
    let engine = Sessions::new(installed).unwrap().start(2).unwrap();
    let (mut equal, mut right, mut all) = (0, 0, 0);
    for line in std::fs::read_to_string(out.path()).unwrap().lines() {
        let theirs: Value = serde_json::from_str(line).unwrap();
        let file = theirs["file"].as_str().unwrap();
        let bytes = std::fs::read(photographs.join(file)).unwrap();
        let ours = engine.classify(Bytes::from(bytes)).await.unwrap();
        let top1 = ours.predictions[0].index;
        assert_eq!(ours.sha256, theirs["sha256"].as_str().unwrap(), "{file}");
        let same = u64::from(top1) == theirs["top1"].as_u64().unwrap();
        assert!(same || theirs["probability"].as_f64().unwrap() < 0.5, "{file}: {:?}, {theirs}", ours.predictions);
        equal += u32::from(same);
        right += u32::from(truth[file] == top1);
        all += 1;
    }
    println!("of {all}: {equal} as the Python pipeline, {right} right ({})", data_dir().display());
    assert!(all == 100 && equal >= 95 && right >= 85, "{equal} equal, {right} right of {all}");
}
