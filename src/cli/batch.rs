//! `bellows batch DIR|s3://BUCKET/PREFIX --out labels.csv`: a whole folder through the service.

use super::remote::{self, Identity, Refused, usage};
use crate::batch::{self, Plan, Summary, Table};
use crate::client::{self, Client, Field, Found, Source, Target};
use crate::config::ConfigArgs;
use crate::edge::host::Host;
use crate::exit::Exit;
use crate::wiring;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The port of metrics.listen, where nobody says otherwise.
const METRICS_PORT: u16 = 9464;
/// Images that are out at the least, however small the pool: so many keep it busy.
const LEAST: usize = 4;

/// Arguments of `bellows batch`.
#[derive(Debug, clap::Args)]
pub struct Batch {
    /// The folder, with all below it; what begins with a dot is left out. Or s3://BUCKET/PREFIX: the objects whose key
    /// begins so and ends like an image's name, read with the credentials that AWS tools find
    #[arg(value_name = "DIR|s3://BUCKET/PREFIX")]
    folder: PathBuf,
    /// The table of answers (file,label,confidence,sha256,error). Where it exists, only files without a row are asked
    #[arg(long, value_name = "CSV")]
    out: PathBuf,
    /// The server [default: where this configuration's listens]
    #[arg(long, value_name = "URL")]
    url: Option<Target>,
    /// Its metrics listener, which tells how large the pool may become [default: as configured, or port 9464 of --url]
    #[arg(long, value_name = "URL")]
    metrics: Option<Target>,
    /// How many images are out at the same time [default: as many as the pool has slots, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,
    /// How long one image may take, a service that is full or not there included, before all is given up
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = remote::span)]
    wait: Duration,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: &Batch) -> Exit {
    remote::run(async {
        let (url, metrics) = listeners(args)?;
        let (source, files) = match objects(args) {
            Some((bucket, prefix)) => in_bucket(bucket, prefix).await?,
            None => (Source::Disk, files(args)?),
        };
        let mut table = Table::open(&args.out).map_err(usage)?;
        let open = files.iter().filter(|found| !table.contains(&found.file)).count();
        if open == 0 {
            eprintln!("{} files, all in {}", files.len(), args.out.display());
            return Ok(Exit::Success);
        }
        let client = args.identity.client(url, &Host::system(), Field::Raw).await?;
        let plan = Plan { outstanding: outstanding(args, metrics).await.min(open), client, source, wait: args.wait };
        let summary = batch::run(&plan, &files, &mut table, &client::progress(Some(open as u64))).await;
        tell(&summary, files.len() - open, &args.out);
        Ok(if summary.left == 0 && summary.stopped.is_none() { Exit::Success } else { Exit::Failure })
    })
}

/// Bucket and prefix, where the pictures are objects.
fn objects(args: &Batch) -> Option<(&str, &str)> {
    let place = args.folder.to_str()?.strip_prefix("s3://")?;
    Some(place.split_once('/').unwrap_or((place, "")))
}

async fn in_bucket(name: &str, prefix: &str) -> Result<(Source, Vec<Found>), Refused> {
    if name.is_empty() {
        return Err(usage("s3://: expected s3://BUCKET/PREFIX"));
    }
    let bucket = wiring::foreign_bucket(name).await.map_err(usage)?;
    let listed = client::find_objects(&bucket, prefix).await;
    let files = listed.map_err(|e| (Exit::Unavailable, format!("s3://{name}/{prefix}: {}", e.detail)))?;
    if files.is_empty() {
        Err(usage(format!("s3://{name}/{prefix}: no image is there")))
    } else {
        Ok((Source::Bucket(bucket), files))
    }
}

/// The files of the folder, but not the table itself.
fn files(args: &Batch) -> Result<Vec<Found>, Refused> {
    if !args.folder.is_dir() {
        return Err(usage(format!("{}: no folder is there", args.folder.display())));
    }
    let mut files = client::find(std::slice::from_ref(&args.folder)).map_err(usage)?;
    if let Ok(table) = args.out.canonicalize() {
        files.retain(|found| found.path.canonicalize().is_ok_and(|path| path != table));
    }
    if files.is_empty() { Err(usage(format!("{}: no file is in it", args.folder.display()))) } else { Ok(files) }
}

/// Where the service is asked, and where its metrics are.
fn listeners(args: &Batch) -> Result<(Target, Target), Refused> {
    let (web, metrics) = match &args.url {
        Some(url) => (url.clone(), url.at_port(METRICS_PORT).map_err(usage)?),
        None => remote::configured(&args.config)?,
    };
    Ok((web, args.metrics.clone().unwrap_or(metrics)))
}

async fn outstanding(args: &Batch, metrics: Target) -> usize {
    match args.concurrency {
        Some(given) => given.into(),
        None => batch::slots(&Client::new(metrics, Host::system(), Field::Raw)).await.unwrap_or(LEAST).max(LEAST),
    }
}

fn tell(summary: &Summary, before: usize, out: &Path) {
    let Summary { labelled, errors, left, stopped } = summary;
    if let Some(why) = stopped {
        eprintln!("bellows: given up: {why}");
    }
    let there = if before > 0 { format!(" ({before} were there)") } else { String::new() };
    eprintln!("{labelled} labelled, {errors} with an error, {left} left: {}{there}", out.display());
    if *left > 0 {
        eprintln!("the same command again asks for what is left");
    }
}
