//! ONNX Runtime through `ort`: the only file that knows it.

use super::Installed;
use super::error::{Error, Result};
use super::library::Library;
use super::manifest::{Cpu, OutputKind};
use bellows_core::label;
use bellows_pixels::Tensor;
use bellows_pixels::input::Layout;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The loaded library. A process loads one, once, and keeps it: ONNX Runtime allows no second.
#[derive(Clone, Debug)]
pub struct Runtime {
    environment: Environment,
    /// "onnxruntime 1.32.0".
    pub name: String,
}

static LOADED: Mutex<Option<(PathBuf, Runtime)>> = Mutex::new(None);

impl Runtime {
    /// Loads the library, or gives the one that is loaded already.
    pub fn load(library: &Library) -> Result<Runtime> {
        let failed = |message: String| Error::Library { path: library.path.clone(), message };
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, runtime)) = &*loaded {
            return if *path == library.path {
                Ok(runtime.clone())
            } else {
                Err(failed(format!("this process runs {} already", path.display())))
            };
        }
        let builder = ort::init_from(&library.path).map_err(|e| failed(e.to_string()))?;
        let environment =
            builder.with_name("bellows").with_telemetry(false).build().map_err(|e| failed(e.to_string()))?;
        // What goes wrong comes back as an error; its log would say it a second time.
        environment.set_log_level(LogLevel::Fatal);
        let runtime = Runtime { environment, name: format!("onnxruntime {}", library.version) };
        *loaded = Some((library.path.clone(), runtime.clone()));
        Ok(runtime)
    }
}

/// The version of a library, as far as it tells us.
pub(super) fn asked(path: &Path) -> Option<String> {
    ort::util::probe(path).map(|minor| format!("1.{minor}"))
}

/// One model in one engine, used by one thread at a time and on one core.
#[derive(Debug)]
pub struct Session {
    graph: ort::session::Session,
    input: String,
    output: String,
    kind: OutputKind,
    classes: usize,
}

impl Session {
    /// Loads the model and runs it once: the first run is slower than all others, and shows a manifest that does not
    /// fit its graph.
    pub fn open(runtime: &Runtime, installed: &Installed) -> Result<Session> {
        let (model, manifest) = (&installed.model, &installed.model.manifest);
        let failed = |message: String| Error::Load { model: model.name().to_owned(), message };
        if manifest.requires.cpu == Some(Cpu::Vnni) && !has_vnni() {
            return Err(Error::Cpu { model: model.name().to_owned(), needs: "VNNI" });
        }
        let build = || -> std::result::Result<ort::session::Session, ort::Error> {
            ort::session::Session::builder(&runtime.environment)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_intra_threads(1)?
                .with_log_level(LogLevel::Fatal)?
                .commit_from_file(&installed.graph)
        };
        let graph = build().map_err(|e| failed(e.to_string()))?;
        named("input.name", &manifest.input.name, graph.inputs()).map_err(failed)?;
        named("output.name", &manifest.output.name, graph.outputs()).map_err(failed)?;
        let (input, output) = (manifest.input.name.clone(), manifest.output.name.clone());
        let classes = model.labels.len();
        let mut session = Session { graph, input, output, kind: manifest.output.kind, classes };
        let [height, width] = manifest.input.size.unwrap_or([224, 224]).map(|side| side as usize);
        let shape = match manifest.input.layout {
            Layout::Nchw => [1, 3, height, width],
            Layout::Nhwc => [1, height, width, 3],
        };
        let warm_up = Tensor { shape, values: vec![0.0; 3 * height * width] };
        session.run(&warm_up).map_err(|e| failed(e.to_string()))?;
        Ok(session)
    }

    /// The probability of every class.
    pub fn run(&mut self, tensor: &Tensor) -> Result<Vec<f32>> {
        let failed = |e: ort::Error| Error::Run(e.to_string());
        let input = TensorRef::from_array_view((tensor.shape, tensor.values.as_slice())).map_err(failed)?;
        let outputs = self.graph.run(ort::inputs![self.input.as_str() => input]).map_err(failed)?;
        let (_, values) = outputs[self.output.as_str()].try_extract_tensor::<f32>().map_err(failed)?;
        if values.len() != self.classes {
            let problem = format!("the graph gives {} values and there are {} labels", values.len(), self.classes);
            return Err(Error::Run(problem));
        }
        let mut probabilities = values.to_vec();
        if self.kind == OutputKind::Logits {
            label::softmax(&mut probabilities);
        }
        if probabilities.iter().all(|p| p.is_nan() || *p <= 0.0) {
            return Err(Error::Run("the graph gives no number above 0".into()));
        }
        Ok(probabilities)
    }
}

fn named(key: &str, name: &str, outlets: &[ort::value::Outlet]) -> std::result::Result<(), String> {
    if outlets.iter().any(|outlet| outlet.name() == name) {
        return Ok(());
    }
    let known: Vec<&str> = outlets.iter().map(ort::value::Outlet::name).collect();
    Err(format!("`{key}` is {name}, expected one of the graph's: {}", known.join(", ")))
}

/// Whether byte products do not saturate here: x86 with VNNI; other processors never do.
fn has_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512vnni") || std::arch::is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}
