//! `bellows load`: drives a service with pictures, in a pattern, and checks every answer.

use super::remote::{self, Identity, Refused, usage};
use crate::client::{self, Field, Picture, Target};
use crate::config::ConfigArgs;
use crate::edge::host::Host;
use crate::exit::Exit;
use crate::load::{self, Pattern, Plan, Schedule};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pictures are held in memory, so that the disk is not measured.
const MOST_BYTES: usize = 2 << 30;

/// Arguments of `bellows load`.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// The server [default: where this configuration's listens]
    #[arg(value_name = "URL")]
    target: Option<Target>,
    /// Folders and files to send, in turns
    #[arg(long, required = true, num_args = 1.., value_name = "DIR|FILE")]
    images: Vec<PathBuf>,
    /// How many uploads [default: one of each image; without an end where there is a --duration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How many connections at the most [default: 16; up to 256 where the pattern sets the times]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u16).range(1..))]
    connections: Option<u16>,
    /// When uploads start: closed (each connection when it has its last answer), all-at-once, rate=R/s, batches=K (K at
    /// once, the next when all are answered), ramp=A..B/s
    #[arg(long, value_name = "PATTERN", default_value = "closed")]
    pattern: Pattern,
    /// No upload starts later, such as 30s or 2m
    #[arg(long, value_name = "TIME", value_parser = remote::span)]
    duration: Option<Duration>,
    /// How an image is sent
    #[arg(long, value_enum, default_value_t = Field::Myfile)]
    field: Field,
    /// A table with the columns file and label: what the answers must say. Where a label is empty, a column error holds
    /// the expected code. The table that `bellows batch` writes is one
    #[arg(long, value_name = "CSV")]
    expect: Option<PathBuf>,
    /// Repeat after a 429 or 503, when its Retry-After is over
    #[arg(long)]
    retry: bool,
    /// The longest time from an upload to its answer; a 202 is followed up until then
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = remote::span)]
    wait: Duration,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: &Load) -> Exit {
    remote::run(async {
        let target = args.target.clone().map_or_else(|| remote::configured(&args.config).map(|(web, _)| web), Ok)?;
        let pictures = pictures(args)?;
        let schedule = Schedule::new(args.pattern, args.requests, args.duration, pictures.len() as u64);
        let connections = args.connections.map_or_else(|| schedule.connections() as usize, usize::from);
        let host = Host::system();
        let client = args.identity.client(target, &host, args.field).await?;
        let stop = host.stop.clone();
        let plan =
            Plan { client, pictures, schedule, connections, patient: args.retry, wait: args.wait, stop: stop.clone() };
        host.spawn("interrupt", async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
        });
        let report = load::run(&plan, &client::progress(schedule.total())).await;
        let text =
            if args.json { serde_json::to_string(&report).unwrap_or_default() + "\n" } else { report.to_string() };
        // whoever closes the pipe has seen enough
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(if report.passed() { Exit::Success } else { Exit::Failure })
    })
}

/// The pictures that will be sent, with what is expected of them.
fn pictures(args: &Load) -> Result<Vec<(Picture, Option<String>)>, Refused> {
    let found = client::find(&args.images).map_err(usage)?;
    if found.is_empty() {
        return Err(usage("no file in --images"));
    }
    let expected = args.expect.as_deref().map(labels).transpose()?;
    let most = args.requests.map_or(usize::MAX, |requests| requests as usize);
    let (mut pictures, mut bytes) = (Vec::new(), 0);
    for found in found.iter().take(most) {
        let picture = client::read(found).map_err(usage)?;
        bytes += picture.bytes.len();
        if bytes > MOST_BYTES {
            return Err(usage("the images are held in memory, and are more than 2 GiB: name fewer of them"));
        }
        let label =
            expected.as_ref().and_then(|labels| labels.get(&picture.file).or_else(|| labels.get(picture.name())));
        pictures.push((picture, label.cloned()));
    }
    match &args.expect {
        Some(table) if pictures.iter().all(|(_, label)| label.is_none()) => {
            Err(usage(format!("{}: none of the images is in this table", table.display())))
        }
        _ => Ok(pictures),
    }
}

/// What is expected, by file.
fn labels(path: &Path) -> Result<BTreeMap<String, String>, Refused> {
    let wrong = |e: &dyn std::fmt::Display| usage(format!("{}: {e}", path.display()));
    let mut table = csv::Reader::from_path(path).map_err(|e| wrong(&e))?;
    let headers = table.headers().map_err(|e| wrong(&e))?.clone();
    let column = |name: &str| headers.iter().position(|header| header.trim() == name);
    let (Some(file), Some(label)) = (column("file"), column("label")) else {
        return Err(wrong(&"expected the columns file and label in the first line"));
    };
    let error = column("error");
    let mut labels = BTreeMap::new();
    for row in table.records() {
        let row = row.map_err(|e| wrong(&e))?;
        let cell = |column: usize| row.get(column).unwrap_or_default();
        let said = match (cell(label), error) {
            ("", Some(error)) => cell(error),
            (label, _) => label,
        };
        labels.insert(cell(file).to_owned(), said.to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_labels_is_found_by_its_columns() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("labels.csv");
        std::fs::write(&table, "label,file,error\n\"tub, bath\",a.png,\n,b.txt,unsupported-image\n").unwrap();
        let labels = labels(&table).unwrap();
        assert_eq!((labels["a.png"].as_str(), labels["b.txt"].as_str()), ("tub, bath", "unsupported-image"));
        std::fs::write(&table, "name,label\na,b\n").unwrap();
        let (exit, why) = super::labels(&table).unwrap_err();
        assert!(exit == Exit::Usage && why.contains("expected the columns file and label"), "{why}");
    }

    #[test]
    fn durations_are_spelled_as_in_the_configuration() {
        assert_eq!(remote::span("1m30s"), Ok(Duration::from_secs(90)));
        assert!(remote::span("soon").unwrap_err().contains("such as \"250ms\""));
    }
}
