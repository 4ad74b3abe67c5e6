//! HTTP by hand over a socket: for requests that no well-behaved client sends, and answers down to the byte.

use super::client::Answer;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Longer than anything a test waits for.
const LIMIT: Duration = Duration::from_secs(90);

/// One connection.
pub struct Raw {
    pub stream: TcpStream,
    read: Vec<u8>,
}

pub fn host(url: &str) -> &str {
    url.trim_start_matches("http://").split('/').next().unwrap()
}

impl Raw {
    pub fn connect(url: &str) -> Raw {
        let stream = TcpStream::connect(host(url)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Raw { stream, read: Vec::new() }
    }

    /// A connection on which `bytes` were sent.
    pub fn with(url: &str, bytes: &[u8]) -> Raw {
        let mut raw = Raw::connect(url);
        raw.send(bytes);
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Reads until `enough` holds; panics where the server ends before.
    fn read_until(&mut self, enough: impl Fn(&[u8]) -> bool) {
        let mut part = [0; 16 * 1024];
        while !enough(&self.read) {
            match self.stream.read(&mut part) {
                Ok(0) => panic!("no whole answer: {:?}", String::from_utf8_lossy(&self.read)),
                Ok(n) => self.read.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("the connection broke after {:?}: {e}", String::from_utf8_lossy(&self.read)),
            }
        }
    }

    /// The next answer on this connection. `head_only`: it is one to HEAD.
    pub fn answer(&mut self, head_only: bool) -> Answer {
        let end_of_head = |read: &[u8]| read.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        self.read_until(|read| end_of_head(read).is_some());
        let end = end_of_head(&self.read).unwrap();
        let mut answer = parse_head(&String::from_utf8_lossy(&self.read[..end]));
        self.read.drain(..end);
        let length = answer.header("content-length").map_or(0, |v| v.parse().unwrap());
        let length = if head_only { 0 } else { length };
        self.read_until(|read| read.len() >= length);
        answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        answer
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.read);
        self.stream.read_to_end(&mut rest).unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&rest)));
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// How long until the server ends the connection; a reset is an end too.
    pub fn until_closed(&mut self) -> Duration {
        let began = Instant::now();
        let _ = self.stream.read_to_end(&mut self.read);
        began.elapsed()
    }
}

fn parse_head(head: &str) -> Answer {
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned()));
    Answer { status, headers: headers.collect(), body: String::new() }
}

/// The head of a request with these headers, Host among them.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: bellows\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head + "\r\n"
}

/// One request on a connection of its own, and its answer.
pub fn ask(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    if !body.is_empty() {
        headers.push(("Content-Length", &length));
    }
    let mut raw = Raw::with(url, &[head(method, path, &headers).as_bytes(), body].concat());
    raw.answer(method == "HEAD")
}

pub fn get(url: &str, path: &str) -> Answer {
    ask(url, "GET", path, &[("Accept", "*/*")], b"")
}

pub const FORM: (&str, &str) = ("Content-Type", "multipart/form-data; boundary=XyZ42");
pub const JSON: (&str, &str) = ("Accept", "application/json");

/// A form, posted.
pub fn post(url: &str, path: &str, parts: &[(&str, &str, &[u8])], headers: &[(&str, &str)]) -> Answer {
    ask(url, "POST", path, &[&[FORM], headers].concat(), &super::client::form(parts))
}
