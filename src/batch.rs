//! A whole folder, or what lies in a bucket, through a service, into a table.
//!
//! Never more images are out than there are workers here, so that people who wait for one image find the queue short.
//! Each answer is a row at once, and a file with a row is not asked again: a run that was stopped goes on where it was.

mod table;

pub use table::{Row, Table};

use crate::client::{Asked, Client, Connection, Found, Outcome, Picture, Source};
use futures_util::future::join_all;
use indicatif::ProgressBar;
use serde::Deserialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often one image may meet a failure of the service before the next is taken.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the pool's own page may take.
const LOOK: Duration = Duration::from_secs(5);

/// What is asked, and how patiently.
#[derive(Debug)]
pub struct Plan {
    pub client: Client,
    pub source: Source,
    /// Images that are out at the same time, at the most.
    pub outstanding: usize,
    /// How long one image may take, refusals and a service that is not there included.
    pub wait: Duration,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub labelled: u64,
    /// Answered with an error, which is their row.
    pub errors: u64,
    /// Without an answer that could be a row; the next run asks for them again.
    pub left: u64,
    /// Why all was given up before its end.
    pub stopped: Option<String>,
}

struct Run<'p> {
    plan: &'p Plan,
    bar: &'p ProgressBar,
    state: Mutex<State<'p>>,
}

struct State<'p> {
    files: std::slice::Iter<'p, Found>,
    table: &'p mut Table,
    summary: Summary,
}

/// What is done after an answer.
#[derive(Debug)]
enum Next {
    Write(Row),
    /// Nothing is wrong with the image: once more, so often.
    Again(String),
    /// The service is not there, or full: once more, until the time is over.
    Later(String),
    /// No answer that could be trusted.
    Leave(String),
    /// No other image would fare better.
    Stop(String),
}

/// Asks for every file of `files` that has no row yet.
pub async fn run(plan: &Plan, files: &[Found], table: &mut Table, bar: &ProgressBar) -> Summary {
    let files: Vec<Found> = files.iter().filter(|found| !table.contains(&found.file)).cloned().collect();
    let state = State { files: files.iter(), table, summary: Summary::default() };
    let run = Run { plan, bar, state: Mutex::new(state) };
    join_all((0..plan.outstanding).map(|_| run.worker())).await;
    bar.finish_and_clear();
    let State { files: unasked, table, mut summary } = run.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.left += unasked.len() as u64;
    if let Err(e) = table.sync() {
        summary.stopped.get_or_insert(e.to_string());
    }
    summary
}

/// How many images the pool can work on at once, as the metrics listener of the service tells it.
pub async fn slots(metrics: &Client) -> Option<usize> {
    #[derive(Deserialize)]
    struct Pool {
        max_instances: usize,
        slots_an_instance: usize,
    }
    let until = Instant::now() + LOOK;
    let reply = metrics.get(&mut Connection::default(), "/pool", until).await.ok()?;
    serde_json::from_slice(&reply.body).ok().map(|pool: Pool| pool.max_instances.saturating_mul(pool.slots_an_instance))
}

impl<'p> Run<'p> {
    fn state(&self) -> MutexGuard<'_, State<'p>> {
        // the state of a worker that panicked is whole: rows are written under the lock
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes files until there is none, or all is given up.
    async fn worker(&self) {
        let mut connection = Connection::default();
        loop {
            let Some(found) = self.take() else { return };
            let ended = match self.plan.source.read(&found).await {
                Ok(picture) => self.one(&mut connection, &picture).await,
                Err(e) => Next::Leave(e.to_string()),
            };
            self.end(&found, ended);
            self.bar.inc(1);
        }
    }

    fn take(&self) -> Option<Found> {
        let mut state = self.state();
        if state.summary.stopped.is_some() { None } else { state.files.next().cloned() }
    }

    /// Asks for one picture until there is a row, or no hope.
    async fn one(&self, connection: &mut Connection, picture: &Picture) -> Next {
        let until = Instant::now() + self.plan.wait;
        let (mut tries, mut pause) = (0, FIRST_PAUSE);
        loop {
            let Asked { outcome, .. } = self.plan.client.ask(connection, picture, until, true).await;
            match next(outcome, picture) {
                Next::Again(why) if tries + 1 >= TRIES => return Next::Leave(why),
                Next::Again(_) => tries += 1,
                Next::Later(why) if Instant::now() + pause >= until || self.state().summary.stopped.is_some() => {
                    return Next::Stop(why);
                }
                Next::Later(_) => {}
                ended => return ended,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn end(&self, found: &Found, ended: Next) {
        let mut state = self.state();
        match ended {
            Next::Write(row) => {
                if let Err(e) = state.table.append(&row) {
                    state.summary.left += 1;
                    state.summary.stopped.get_or_insert(e.to_string());
                    return;
                }
                let failed = !row.error.is_empty();
                state.summary.errors += u64::from(failed);
                state.summary.labelled += u64::from(!failed);
            }
            Next::Stop(why) => {
                state.summary.left += 1;
                state.summary.stopped.get_or_insert(why);
            }
            Next::Again(why) | Next::Later(why) | Next::Leave(why) => {
                state.summary.left += 1;
                self.bar.suspend(|| eprintln!("bellows: {}: {why}", found.file));
            }
        }
    }
}

/// What an answer to `picture` leads to.
fn next(outcome: Outcome, picture: &Picture) -> Next {
    let row = |label: &str, confidence, error: &str| Row {
        file: picture.file.clone(),
        label: label.into(),
        confidence,
        sha256: picture.sha256.clone(),
        error: error.into(),
    };
    match outcome {
        Outcome::Classified(answer) if answer.sha256 == picture.sha256 => {
            Next::Write(row(&answer.label, answer.predictions.first().map(|best| best.probability), ""))
        }
        Outcome::Classified(answer) => {
            Next::Leave(format!("the answer is about another image, sha256 {}", answer.sha256))
        }
        Outcome::Unreadable(why) => Next::Leave(why),
        Outcome::Refused { status } => Next::Later(format!("the service takes no uploads (status {status})")),
        Outcome::Lost(why) => Next::Later(why.to_string()),
        Outcome::Failed { status, code } => match status {
            400 | 413 | 415 | 422 => Next::Write(row("", None, &code)),
            // given up after as many tries as its queue allows: the image, not the moment
            _ if code == "dead-lettered" => Next::Write(row("", None, &code)),
            401 | 403 | 404 | 405 => Next::Stop(format!("the service says {status}, {code}")),
            _ => Next::Again(format!("status {status}, {code}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn after(status: u16, code: &str) -> Next {
        let picture = Picture { file: "a.png".into(), bytes: Bytes::new(), sha256: "ab".into() };
        next(Outcome::Failed { status, code: code.into() }, &picture)
    }

    #[test]
    fn what_is_wrong_with_an_image_is_its_row() {
        for (status, code) in [(415, "unsupported-image"), (413, "too-large"), (500, "dead-lettered")] {
            let Next::Write(row) = after(status, code) else { panic!("{code} is no row") };
            assert_eq!((row.error.as_str(), row.label.as_str(), row.confidence), (code, "", None));
        }
    }

    #[test]
    fn what_is_wrong_with_the_service_is_none() {
        assert!(matches!(after(500, "internal"), Next::Again(_)));
        assert!(matches!(after(410, "expired"), Next::Again(_)));
        assert!(matches!(after(507, "disk-low"), Next::Again(_)));
        assert!(matches!(after(401, "unauthorized"), Next::Stop(_)));
        assert!(matches!(after(404, "unknown"), Next::Stop(_)));
    }
}
