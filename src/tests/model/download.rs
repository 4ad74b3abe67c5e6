//! Files at a URL: by curl or python3, continued where they were cut, begun anew where that leads nowhere.

use super::Own;
use bellows::model::error::Error;
use bellows::model::manifest::Digest;
use bellows::model::progress::Progress;
use bellows::model::pull::Pull;
use bellows::model::pull::tools::Tools;
use bellows::model::store::{Store, sha256_of_bytes};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A server of one file that knows ranges; the ranges asked for, in order, "" where none was.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn of(file: Vec<u8>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server { address: listener.local_addr().unwrap().to_string(), asked: Arc::default() };
        let asked = server.asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let head: Vec<String> = BufReader::new((&stream).take(8192))
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|l| !l.is_empty())
                    .collect();
                let range = head
                    .iter()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
                asked.lock().unwrap().push(range.clone().unwrap_or_default());
                let start: usize = range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
                let body = &file[start.min(file.len())..];
                let status = if start == 0 {
                    "200 OK".to_owned()
                } else {
                    format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{}", file.len() - 1, file.len())
                };
                let _ =
                    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(body);
            }
        });
        server
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A model whose weights lie on a server; manifests know https only, so the scheme is put right after it was read.
struct Remote {
    own: Own,
    server: Server,
    store: Store,
    digest: Digest,
}

impl Remote {
    fn new() -> Remote {
        let own = Own::new();
        let server = Server::of(own.weights.clone());
        let sha256 = sha256_of_bytes(&own.weights);
        let url = format!("https://{}/weights.bin", server.address);
        own.manifest(&sha256_of_bytes(b"a graph"), &format!("[weights]\nurl = \"{url}\"\nsha256 = \"{sha256}\"\n"));
        let store = Store::at(own.path("data"));
        Remote { own, server, store, digest: Digest::parse(&sha256).unwrap() }
    }

    fn pull(&self, tools: Tools) -> Result<(), Error> {
        let mut model = self.own.model();
        if let Some(bellows::model::manifest::Weights::Url(remote)) = &mut model.manifest.weights {
            remote.url = remote.url.replace("https://", "http://");
        }
        Pull { store: &self.store, tools: &tools.insecure(), progress: Progress::Silent }.model(&model)
    }

    fn partial(&self, bytes: &[u8]) {
        let path = self.store.partial(&self.digest);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn assert_installed(&self) {
        assert_eq!(std::fs::read(self.own.installed()).unwrap(), self.own.weights);
        assert!(!self.store.partial(&self.digest).exists());
    }
}

/// PATHs with curl and python3, and with python3 alone.
fn downloaders(own: &Own) -> [PathBuf; 2] {
    let python = own.program("python3", "exec /usr/bin/env python3 \"$@\"");
    let both = own.path("both");
    std::fs::create_dir(&both).unwrap();
    std::os::unix::fs::symlink(python.join("python3"), both.join("python3")).unwrap();
    let curl =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|dir| dir.join("curl")).find(|p| p.exists());
    match curl {
        Some(curl) => std::os::unix::fs::symlink(curl, both.join("curl")).unwrap(),
        None => eprintln!("no curl here: tried with python3 only"),
    }
    [both, python]
}

fn tools(path: &PathBuf) -> Tools {
    Tools::with::<&str>(path, &[])
}

#[test]
fn a_file_is_fetched_whole() {
    for number in 0..2 {
        let remote = Remote::new();
        remote.pull(tools(&downloaders(&remote.own)[number])).unwrap();
        remote.assert_installed();
        assert_eq!(remote.server.asked(), [""]);
    }
}

#[test]
fn an_interrupted_one_is_continued() {
    for number in 0..2 {
        let remote = Remote::new();
        remote.partial(&remote.own.weights[..20_000]);
        remote.pull(tools(&downloaders(&remote.own)[number])).unwrap();
        remote.assert_installed();
        assert_eq!(remote.server.asked(), ["20000-"]);
    }
}

#[test]
fn one_that_was_killed_after_its_last_byte_is_not_fetched_again() {
    let remote = Remote::new();
    remote.partial(&remote.own.weights);
    remote.pull(tools(&remote.own.path("empty"))).unwrap();
    remote.assert_installed();
    assert!(remote.server.asked().is_empty());
}

#[test]
fn what_began_as_another_file_is_begun_anew() {
    for number in 0..2 {
        let remote = Remote::new();
        remote.partial(b"the beginning of something else");
        remote.pull(tools(&downloaders(&remote.own)[number])).unwrap();
        remote.assert_installed();
        assert_eq!(remote.server.asked(), ["31-", ""]);
    }
}

#[test]
fn a_wrong_file_is_refused() {
    let mut remote = Remote::new();
    let mut other = remote.own.weights.clone();
    other[7] ^= 1;
    remote.server = Server::of(other);
    let sha256 = sha256_of_bytes(&remote.own.weights);
    let url = format!("https://{}/weights.bin", remote.server.address);
    let weights = format!("[weights]\nurl = \"{url}\"\nsha256 = \"{sha256}\"\n");
    remote.own.manifest(&sha256_of_bytes(b"a graph"), &weights);
    let error = remote.pull(tools(&downloaders(&remote.own)[0])).unwrap_err();
    assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
    assert!(!remote.own.installed().exists());
}

#[test]
fn nobody_there() {
    for number in 0..2 {
        let remote = Remote::new();
        let url = "[weights]\nurl = \"https://127.0.0.1:9/weights.bin\"\n";
        let weights = format!("{url}sha256 = \"{}\"\n", remote.digest);
        remote.own.manifest(&sha256_of_bytes(b"a graph"), &weights);
        let error = remote.pull(tools(&downloaders(&remote.own)[number])).unwrap_err();
        assert!(matches!(error, Error::Download { .. }), "{error}");
    }
    let remote = Remote::new();
    let error = remote.pull(tools(&remote.own.path("empty"))).unwrap_err();
    assert!(matches!(error, Error::NoDownloader { .. }), "{error}");
}
