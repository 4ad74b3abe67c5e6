//! `bellows classify FILE…`: labels without a server.
//!
//! Text is a line a file, `FILE: LABEL (PROBABILITY)`, however many there are, so that scripts see one shape; `--json`
//! is one JSON object a line, in the same order. A file that fails is told on stderr (with `--json` on stdout as well)
//! and makes the command fail, after all the others are done.

use crate::edge::engine::{Engine, Failure, Labelled};
use crate::exit::Exit;
use crate::model::{self, ModelSettings, Progress, Result, Sessions, sessions};
use bellows_core::answer;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

/// Arguments of `bellows classify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images (JPEG, PNG, GIF, WebP, BMP, TIFF); `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
    /// How many classes to name, the most probable first [default: 1, with --json 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    top: Option<u16>,
}

/// Runs the command.
pub fn run(args: &Args, settings: &ModelSettings) -> Result<Exit> {
    let installed = model::ensure(settings, Progress::stderr())?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = cores.min(args.files.len());
    let top = args.top.map_or(if args.json { sessions::TOP } else { 1 }, usize::from);
    let sessions = Sessions::new(installed)?.top(top);
    let model = sessions.model();
    let engine = sessions.start(count)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(model::Error::Thread)?;
    let good = runtime.block_on(all(args, &engine, &model, count));
    Ok(if good { Exit::Success } else { Exit::Failure })
}

/// An image that is being classified, or could not be read.
type Pending = std::result::Result<oneshot::Receiver<std::result::Result<Labelled, Failure>>, String>;

/// Classifies all files, a few at a time, and tells them in the order given.
async fn all(args: &Args, engine: &Engine, model: &answer::Model, sessions: usize) -> bool {
    let mut pending: VecDeque<(&Path, Pending)> = VecDeque::new();
    let mut good = true;
    for path in &args.files {
        let image = match read(path) {
            Ok(bytes) => Ok(engine.submit(Bytes::from(bytes)).await),
            Err(e) => Err(e.to_string()),
        };
        pending.push_back((path, image));
        if pending.len() > 2 * sessions {
            good &= tell_first(&mut pending, args, model).await;
        }
    }
    while !pending.is_empty() {
        good &= tell_first(&mut pending, args, model).await;
    }
    good
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

async fn tell_first(pending: &mut VecDeque<(&Path, Pending)>, args: &Args, model: &answer::Model) -> bool {
    let Some((path, image)) = pending.pop_front() else { return true };
    let outcome = match image {
        Err(message) => Err(("unreadable", message)),
        Ok(answer) => match answer.await {
            Ok(Ok(labelled)) => Ok(labelled),
            Ok(Err(Failure::Image { reason, message, .. })) => Err((reason.code().0, message)),
            Ok(Err(Failure::Engine(e))) => Err(("engine-failed", e.detail)),
            Err(_) => Err(("engine-failed", "the engine has stopped".into())),
        },
    };
    let file = path.display().to_string();
    match outcome {
        Ok(labelled) => {
            let line = if args.json { json(&file, &labelled, model).to_string() } else { text(&file, &labelled) };
            // Whoever closes the pipe has seen enough.
            writeln!(std::io::stdout(), "{line}").is_ok()
        }
        Err((code, message)) => {
            eprintln!("bellows: {file}: {message} ({code})");
            if args.json {
                let _ = writeln!(std::io::stdout(), "{}", json!({ "file": file, "error": code, "message": message }));
            }
            false
        }
    }
}

/// `photo.jpg: bathtub (0.93), tub (0.04)`.
fn text(file: &str, labelled: &Labelled) -> String {
    let classes = labelled.predictions.iter().map(|p| format!("{} ({:.2})", p.label, p.probability));
    format!("{file}: {}", classes.collect::<Vec<_>>().join(", "))
}

fn json(file: &str, labelled: &Labelled, model: &answer::Model) -> Value {
    json!({
        "file": file,
        "sha256": labelled.sha256,
        "label": labelled.predictions.first().map(|p| &p.label),
        "predictions": labelled.predictions,
        "model": model,
        "timings_ms": { "decode": labelled.decode_ms, "infer": labelled.infer_ms },
    })
}
