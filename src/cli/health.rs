//! `bellows health`: exit 0 where an upload would be accepted now, else 69 and why. For container health checks and
//! service managers: no HTTP client needed.

use super::http::{Answer, Get};
use super::load;
use crate::config::{Config, ConfigArgs, Role};
use crate::exit::Exit;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A readiness answer is a line; more is somebody else's.
const MAX_ANSWER: usize = 64 * 1024;
/// A server that does not answer within this is not ready.
const DEADLINE: Duration = Duration::from_secs(5);

/// Ask the service of this configuration whether it would accept an upload now; exit 69 where it would not.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Health {
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Asks the service, or looks whether the app process lives.
pub fn run(args: &Health) -> Exit {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let health = match config.role {
        Role::Web => ready(config.web.listen.0, DEADLINE),
        Role::App => worker(&config),
    };
    match health {
        Ok(text) => {
            println!("{text}");
            Exit::Success
        }
        Err(why) => {
            eprintln!("{why}");
            Exit::Unavailable
        }
    }
}

/// An app process listens on nothing: on one machine its lock says whether it lives.
fn worker(config: &Config) -> Result<String, String> {
    match config.app.app_tier_id.set() {
        Some(id) if config.is_local() => holds_lock(&config.state_dir().join("pool").join(format!("{id}.lock"))),
        None if config.is_local() => Err("role = \"app\": say which worker, as --set app.app_tier_id=1".into()),
        _ => Err("role = \"app\" on aws listens on nothing and keeps no lock: ask its web tier".into()),
    }
}

/// What `/readyz` of the server at `listen` says: its text where that is 200, else why not.
pub fn ready(listen: SocketAddr, limit: Duration) -> Result<String, String> {
    let Answer { status, body } =
        Get { listen, key: "web.listen", path: "/readyz", token: None, limit, most: MAX_ANSWER }.ask()?;
    let text = if body.is_empty() { "no reason given".into() } else { body };
    match status {
        200 => Ok(text),
        _ => Err(format!("not ready: {text}")),
    }
}

/// Whether the process that owns `lock` lives: it holds the lock for as long as it does.
///
/// The lock is looked at by taking it shared for a moment, so a process that starts just then may meet it: who takes
/// it for life tries again for a few milliseconds before it believes that somebody else holds it.
pub fn holds_lock(lock: &Path) -> Result<String, String> {
    let file = File::open(lock).map_err(|e| format!("no worker was started here: {}: {e}", lock.display()))?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok("the worker runs".into()),
        Err(TryLockError::Error(e)) => Err(format!("{}: {e}", lock.display())),
        Ok(()) => Err(format!("the worker has ended: nobody holds {}", lock.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Long enough for a busy machine, and short for the one case that waits for it.
    const LIMIT: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(300);

    /// A server that reads a head, says `answer`, and closes or hangs.
    fn server(answer: &'static str, hang: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
            if hang {
                std::thread::sleep(SHORT * 4);
            }
        });
        address
    }

    #[test]
    fn the_reason_is_passed_on() {
        let ok = server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready", false);
        assert_eq!(ready(ok, LIMIT), Ok("ready".into()));
        let loading = server("HTTP/1.0 503 Service Unavailable\r\n\r\nmodel-loading\n", false);
        assert_eq!(ready(loading, LIMIT), Err("not ready: model-loading".into()));
    }

    #[test]
    fn whatever_is_no_answer_is_not_ready() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let expected = format!("nothing listens on {free}; `bellows run` starts the service");
        assert_eq!(ready(free, LIMIT), Err(expected));
        let other = server("220 mail.example ESMTP\r\n\r\n", false);
        assert_eq!(ready(other, LIMIT), Err(format!("what listens on {other} does not speak HTTP")));
        let slow = server("HTTP/1.1 200 OK\r\n", true);
        assert_eq!(ready(slow, SHORT), Err(format!("no answer from http://{slow}/readyz within 0.3 s")));
        assert!(ready("127.0.0.1:0".parse().unwrap(), LIMIT).unwrap_err().contains("port 0"));
    }

    #[test]
    fn a_lock_shows_whether_its_owner_lives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.lock");
        assert!(holds_lock(&path).unwrap_err().starts_with("no worker was started here"));
        let owner = File::create(&path).unwrap();
        owner.lock().unwrap();
        assert_eq!(holds_lock(&path), Ok("the worker runs".into()));
        drop(owner);
        assert!(holds_lock(&path).unwrap_err().starts_with("the worker has ended"));
    }
}
