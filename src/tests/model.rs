//! Models: fetched, damaged, loaded, and held against the Python pipeline.

pub mod agreement;
mod download;
mod pull;
mod real;
mod variants;

use bellows::model::catalogue::Model;
use bellows::model::store::sha256_of_bytes;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A model of a test's own: a graph beside its manifest, weights that come in a wheel.
pub struct Own {
    pub dir: tempfile::TempDir,
    pub weights: Vec<u8>,
}

const MEMBER: &str = "tiny/models/weights.bin";

impl Own {
    pub fn new() -> Own {
        let own = Own { dir: tempfile::tempdir().unwrap(), weights: (0..50_000_u32).map(|i| (i * 7) as u8).collect() };
        std::fs::write(own.path("graph.onnx"), b"a graph").unwrap();
        std::fs::write(own.path("labels.txt"), "one\ntwo\n").unwrap();
        wheel(&own.path("tiny.whl"), MEMBER, &own.weights);
        let [graph, member] = [b"a graph".as_slice(), &own.weights].map(sha256_of_bytes);
        let wheel = sha256_of_bytes(&std::fs::read(own.path("tiny.whl")).unwrap());
        own.manifest(&graph, &format!(
            "[weights]\npackage = \"tiny-weights\"\nversion = \"1.0\"\nwheel_sha256 = \"{wheel}\"\nmember = \"{MEMBER}\"\nmember_sha256 = \"{member}\"\n"
        ));
        own
    }

    /// The same with other weights in its manifest.
    pub fn manifest(&self, graph: &str, weights: &str) {
        let rest = "[input]\nname = \"x\"\nsize = [8, 8]\nlayout = \"nchw\"\nchannels = \"rgb\"\n\
                    resize = { stretch = true }\ncrop = \"none\"\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n\
                    [output]\nname = \"y\"\nkind = \"logits\"\n";
        let head = "name = \"own\"\nlicence = \"MIT\"\nlabels = \"labels.txt\"\n";
        let graph = format!("[graph]\nfile = \"graph.onnx\"\nsha256 = \"{graph}\"\n");
        std::fs::write(self.path("model.toml"), format!("{head}{graph}{weights}{rest}")).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn model(&self) -> Model {
        Model::read(&self.path("model.toml")).unwrap()
    }

    /// Where the weights are installed.
    pub fn installed(&self) -> PathBuf {
        self.path("data/models/own/weights.bin")
    }

    /// A folder for PATH with one program: a shell script.
    pub fn program(&self, name: &str, script: &str) -> PathBuf {
        let bin = self.path("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\nPATH=/usr/local/bin:/usr/bin:/bin\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        bin
    }

    /// A python3 whose pip "downloads" our wheel, and notes that it was asked.
    pub fn good_python(&self, before: &str) -> PathBuf {
        let (wheel, calls) = (self.path("tiny.whl"), self.path("calls"));
        self.program("python3", &format!(
            "echo \"$@\" >> {calls}\nfor last in \"$@\"; do :; done\n{before}\ncp {wheel} \"$last/tiny_weights-1.0-py3-none-any.whl\"",
            calls = calls.display(), wheel = wheel.display(),
        ))
    }

    pub fn calls(&self) -> usize {
        std::fs::read_to_string(self.path("calls")).map_or(0, |calls| calls.lines().count())
    }
}

/// A wheel with one member.
pub fn wheel(path: &Path, member: &str, contents: &[u8]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    zip.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(contents).unwrap();
    zip.finish().unwrap();
}
