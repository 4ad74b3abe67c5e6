//! One connection as a client has it, and its answers read.

use crate::service::{LONGEST, Service};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// Larger than anything a client sends here: it writes all before it reads.
const BUFFER: usize = 1 << 20;
/// More than this is not read: `/live` goes on for ever.
const MOST_READ: usize = 4 << 20;
/// Between two pieces, so that each is read by itself.
const BETWEEN: Duration = Duration::from_millis(1);
/// Statuses that the service has a reason for.
const STATUSES: [u16; 24] = [
    100, 200, 202, 400, 401, 403, 404, 405, 408, 410, 413, 414, 415, 422, 429, 431, 499, 500, 501, 503, 504, 505, 507,
    411,
];

/// Which listener is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Public,
    Metrics,
}

/// How the client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Bytes it sends at once.
    pub piece: usize,
    /// It ends its own side after its last byte.
    pub half_close: bool,
    pub listener: Listener,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends `sent` over a connection of its own and reads until the server ends it, or patience does. Panics where the
/// server goes on long after its client is gone.
pub async fn talk(service: &Service, sent: &[u8], manners: Manners) -> Vec<Answer> {
    let (mut client, server) = tokio::io::duplex(BUFFER);
    let (done, ended) = oneshot::channel();
    let web = service.web.clone();
    service.host.spawn("connection", async move {
        match manners.listener {
            Listener::Public => web.converse(server).await,
            Listener::Metrics => web.converse_inside(server).await,
        }
        let _ = done.send(());
    });
    for piece in sent.chunks(manners.piece.max(1)) {
        // a server that has seen enough may close before the end
        if client.write_all(piece).await.is_err() {
            break;
        }
        sleep(BETWEEN).await;
    }
    if manners.half_close {
        let _ = client.shutdown().await;
    }
    let (read, whole) = read(&mut client).await;
    drop(client);
    assert!(timeout(LONGEST, ended).await.is_ok(), "a connection whose client is gone does not end");
    answers(&read, whole)
}

/// What comes, and whether that is all of it.
async fn read(client: &mut DuplexStream) -> (Vec<u8>, bool) {
    let (mut all, until) = (Vec::new(), Instant::now() + LONGEST);
    loop {
        let next = tokio::time::timeout_at(until, client.read_buf(&mut all)).await;
        match next {
            Ok(Ok(1..)) if all.len() < MOST_READ => {}
            Ok(Ok(0) | Err(_)) => return (all, true),
            Ok(Ok(_)) | Err(_) => return (all, false),
        }
    }
}

/// The answers in a stream of them; panics where it is none. `whole`: the stream has come to its end.
fn answers(mut rest: &[u8], whole: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
            assert!(!whole, "an answer whose head does not end: {}", shown(rest));
            break;
        };
        let (head, after) = (head(&rest[..end]), &rest[end + 4..]);
        let status = status(head);
        let mut answer = Answer { status, head: head.to_owned(), body: Vec::new() };
        let chunked = answer.header("transfer-encoding").is_some();
        let length = answer.header("content-length").map(|n| n.parse::<usize>().expect("a length is a number"));
        assert!(!(chunked && length.is_some()), "two lengths: {head}");
        // what follows at once is another answer: this was one to HEAD, or has no body
        let bare = after.is_empty() || after.starts_with(b"HTTP/1.");
        let length = match length {
            Some(_) if bare => 0,
            Some(length) if length > after.len() => {
                assert!(!whole, "an answer that breaks off: {}", shown(rest));
                after.len()
            }
            Some(length) => length,
            // only /live has no length: it is the last on its connection
            None if bare || status == 100 => 0,
            None => after.len(),
        };
        answer.body = after[..length].to_vec();
        rest = &after[length..];
        answers.push(answer);
    }
    answers
}

/// A head as text: every line of it harmless.
fn head(bytes: &[u8]) -> &str {
    let text = std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("a head that is no text: {}", shown(bytes)));
    for line in text.split("\r\n").skip(1) {
        let harmless = line.split_once(": ").is_some_and(|(name, _)| {
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !line.contains(|c: char| c.is_control())
        });
        assert!(harmless, "a header that is none: {line:?}");
    }
    text
}

fn status(head: &str) -> u16 {
    let line = head.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line of HTTP/1: {line:?}"));
    assert!(STATUSES.contains(&status), "a status that nobody expects: {line:?}");
    status
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}
