//! `bellows why`: what the pool did and why, in plain words, or as a picture.

mod picture;

use super::http::{Answer, Get, TokenArg};
use super::load;
use crate::config::ConfigArgs;
use crate::exit::Exit;
use bellows_core::ledger::Entry;
use bellows_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The service keeps some thousand entries of about a kilobyte.
const MAX_ANSWER: usize = 32 << 20;
const DEADLINE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Say in plain words what the pool of this configuration did and why, newest last; exit 69 where no service answers.
///
/// The service remembers its last 4,096 decisions since its start, those that repeat each other counted as one.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Why {
    #[command(flatten)]
    pub config: ConfigArgs,

    #[command(flatten)]
    pub token: TokenArg,

    /// Go on as things happen, until Ctrl-C; also across a restart of the service
    #[arg(long, short)]
    pub follow: bool,

    /// Show decisions that changed nothing, too
    #[arg(long)]
    pub all: bool,

    /// One JSON object a line, with all that a decision was made of
    #[arg(long)]
    pub json: bool,

    /// Draw queue and pool over time into this file instead; `-` is standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["follow", "all", "json"])]
    pub svg: Option<PathBuf>,
}

/// The answer of `/decisions`.
#[derive(Deserialize)]
struct Decisions<E> {
    entries: Vec<E>,
}

/// An entry as far as it is printed: a newer service may know of more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    seq: u64,
    at: Timestamp,
    until: Timestamp,
    repeats: u64,
    words: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Who is asked.
#[derive(Clone, Copy)]
struct Service<'a> {
    listen: SocketAddr,
    token: Option<&'a str>,
}

/// Asks the service and prints.
pub fn run(args: &Why) -> Exit {
    let listen = match load(&args.config) {
        Ok(config) => config.metrics.listen.0,
        Err(exit) => return exit,
    };
    let token = args.token.get();
    let service = Service { listen, token: token.as_deref() };
    let done = match &args.svg {
        Some(file) => draw(service, file),
        None => tell(service, args),
    };
    match done {
        Ok(exit) => exit,
        Err(why) => {
            eprintln!("bellows: {why}");
            Exit::Unavailable
        }
    }
}

/// The entries from `since` on.
fn ask<E: DeserializeOwned>(service: Service<'_>, since: u64, all: bool) -> Result<Vec<E>, String> {
    let Service { listen, token } = service;
    let path = format!("/decisions?since={since}&all={all}");
    let get = Get { listen, key: "metrics.listen", path: &path, token, limit: DEADLINE, most: MAX_ANSWER };
    let Answer { status, body } = get.ask()?;
    if status == 401 {
        return Err(match token {
            Some(_) => format!("the service at {listen} does not know this token"),
            None => format!("the service at {listen} asks for a token; expected one in BELLOWS_TOKEN, or as --token"),
        });
    }
    if status != 200 {
        return Err(format!("what listens on {listen} answers {status} to {path}: expected this version of bellows"));
    }
    let answer: Decisions<E> = serde_json::from_str(&body).map_err(|e| {
        format!("what listens on {listen} tells of no decisions: {e}; expected this version of bellows")
    })?;
    Ok(answer.entries)
}

/// Prints what there is, and with `--follow` what comes.
fn tell(service: Service<'_>, args: &Why) -> Result<Exit, String> {
    let look = |since| ask::<Said>(service, since, args.all);
    let (mut news, mut last, mut absent) = (look(0)?, None, false);
    if news.is_empty() && !args.follow {
        eprintln!("nothing has changed the pool since the service started; --all shows every decision");
    }
    loop {
        if !print(&news, args.json) || !args.follow {
            return Ok(Exit::Success);
        }
        last = news.last().map(|said| (said.seq, said.at)).or(last);
        std::thread::sleep(LOOK_EVERY);
        (news, absent) = match newer(last, look) {
            Ok(news) => (news, false),
            Err(why) => {
                if !absent {
                    eprintln!("{why}; waiting for it");
                }
                (Vec::new(), true)
            }
        };
    }
}

/// What came after the entry of this number and time. A service that was started again counts anew: all of its
/// entries are news then.
fn newer(last: Option<(u64, Timestamp)>, look: impl Fn(u64) -> Result<Vec<Said>, String>) -> Result<Vec<Said>, String> {
    let mut entries = look(last.map_or(0, |(seq, _)| seq))?;
    let first = entries.first().map(|said| (said.seq, said.at));
    if last.is_none() {
        Ok(entries)
    } else if first == last {
        Ok(entries.split_off(1))
    } else {
        look(0)
    }
}

/// False where nobody reads any more.
fn print(news: &[Said], json: bool) -> bool {
    let mut out = std::io::stdout().lock();
    let written = news.iter().try_for_each(|said| {
        let line = if json { serde_json::to_string(said).unwrap_or_default() } else { line(said) };
        writeln!(out, "{line}")
    });
    written.and_then(|()| out.flush()).is_ok()
}

fn line(said: &Said) -> String {
    let again = match said.repeats {
        0 => String::new(),
        1 => format!(" (once more at {})", said.until),
        times => format!(" ({times} times more until {})", said.until),
    };
    format!("{}  {}{again}", said.at, said.words)
}

fn draw(service: Service<'_>, file: &Path) -> Result<Exit, String> {
    let entries: Vec<Entry> = ask(service, 0, true)?;
    let Some(picture) = picture::of(&entries) else {
        eprintln!("bellows: the service has not decided anything yet: there is nothing to draw");
        return Ok(Exit::Failure);
    };
    if file.as_os_str() == "-" {
        // a reader that has seen enough is no error
        let _ = std::io::stdout().lock().write_all(picture.as_bytes());
        return Ok(Exit::Success);
    }
    std::fs::write(file, picture).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(seq: u64, at: u64) -> Said {
        let (at, until) = (Timestamp(at), Timestamp(at + 60_000));
        Said { seq, at, until, repeats: 0, words: format!("entry {seq}"), rest: Map::new() }
    }

    #[test]
    fn what_is_new_is_told_once_and_a_restart_begins_anew() {
        let ledger = [said(0, 100), said(3, 200), said(4, 300)];
        let service = |entries: &'static [(u64, u64)]| {
            move |since| -> Result<Vec<Said>, String> {
                Ok(entries.iter().filter(|e| e.0 >= since).map(|e| said(e.0, e.1)).collect())
            }
        };
        let all = service(&[(0, 100), (3, 200), (4, 300)]);
        assert_eq!(newer(None, all).unwrap(), ledger);
        assert_eq!(newer(Some((0, Timestamp(100))), all).unwrap(), ledger[1..]);
        assert_eq!(newer(Some((4, Timestamp(300))), all).unwrap(), []);
        // its numbers are lower, equal, or higher by now; or nothing has happened yet
        assert_eq!(newer(Some((9, Timestamp(90))), all).unwrap(), ledger);
        assert_eq!(newer(Some((3, Timestamp(90))), all).unwrap(), ledger);
        assert_eq!(newer(Some((2, Timestamp(90))), all).unwrap(), ledger);
        assert_eq!(newer(Some((9, Timestamp(90))), service(&[])).unwrap(), []);
        assert!(newer(Some((9, Timestamp(90))), |_| Err("gone".into())).is_err());
    }

    #[test]
    fn a_line_has_its_time_and_how_often_it_was_repeated() {
        let mut entry = said(7, 1_709_208_000_123);
        assert_eq!(line(&entry), "2024-02-29T12:00:00.123Z  entry 7");
        entry.repeats = 1;
        assert_eq!(line(&entry), "2024-02-29T12:00:00.123Z  entry 7 (once more at 2024-02-29T12:01:00.123Z)");
        entry.repeats = 59;
        assert!(line(&entry).ends_with("entry 7 (59 times more until 2024-02-29T12:01:00.123Z)"));
    }

    #[test]
    fn nobody_there_is_said() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let expected = format!("nothing listens on {free}; `bellows run` starts the service");
        assert_eq!(ask::<Said>(Service { listen: free, token: None }, 0, false), Err(expected));
    }
}
