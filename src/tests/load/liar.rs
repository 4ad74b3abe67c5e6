//! A tiny server that answers as a test wants it to.

use crate::support::client::sha256;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// An upload or a look, as the server has read it.
pub struct Asked {
    /// How many came before it.
    pub n: u32,
    pub head: String,
    pub body: Vec<u8>,
}

/// What is sent back; nothing: the connection is closed.
pub type Answer = String;

pub fn closed() -> Answer {
    Answer::new()
}

/// Starts it; it ends with the test process. Returns its URL.
pub fn start(answer: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicU32::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, count, stream) = (answer.clone(), count.clone(), stream.unwrap());
            std::thread::spawn(move || serve(&stream, &*answer, &count));
        }
    });
    url
}

fn serve(stream: &TcpStream, answer: &dyn Fn(Asked) -> Answer, count: &AtomicU32) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = head[from..].to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        match answer(Asked { n: count.fetch_add(1, Ordering::SeqCst), head, body }) {
            text if text.is_empty() || (&mut &*stream).write_all(text.as_bytes()).is_err() => return,
            _ => {}
        }
    }
}

/// An HTTP answer with these further headers.
pub fn http(status: u16, headers: &str, body: &str) -> Answer {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

/// The answer of the contract to these bytes, with this label.
pub fn right(bytes: &[u8], label: &str) -> String {
    serde_json::json!({
        "request_id": "8d5a6b1e-0c1d-4a51-9b1d-3f6f0b1d2c3e", "file": "a.png", "sha256": sha256(bytes), "label": label,
        "predictions": [{ "index": 1, "label": label, "probability": 0.75 }],
        "model": { "name": "m", "sha256": "00", "engine": "e" },
        "worker": { "app_tier_id": 1, "instance_id": "liar" },
        "timings_ms": { "queue": 0.0, "fetch": 0.0, "decode": 0.0, "infer": 0.0, "total": 0.0 },
    })
    .to_string()
}
