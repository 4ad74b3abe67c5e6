//! Any body as a form. The first line says where it goes and what it says it is (`/classify multipart/form-data;
//! boundary=XyZ42`), the rest is the body.

#![no_main]

use bellows_core::key;
use bellows_fuzz::memory::{Counted, most_in};
use bellows_fuzz::service::{Accepted, MAX_FILES, Service};
use bellows_fuzz::talk::{Answer, Listener, Manners, talk};
use bellows_fuzz::virtually;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// What one upload may have in use: the body a few times over (the client's, in the socket, in the form's buffer, in
/// memory of its own), and what a service has without any.
const MOST: usize = 8 << 20;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let (path, kind) = match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (&b"/"[..], line),
    };
    let path = if path.starts_with(b"/c") { "/classify" } else { "/" };
    let ((whole, chunked), most) = most_in(|| {
        let whole = virtually(upload(&[head(path, kind).as_slice(), &length(body.len()), body].concat(), usize::MAX));
        let chunked = [head(path, kind).as_slice(), b"Transfer-Encoding: chunked\r\n\r\n", &chunks(body)].concat();
        (whole, virtually(upload(&chunked, 97)))
    });
    assert!(most < MOST, "{most} bytes in use for {} bytes sent", data.len());
    check(&whole, body);
    assert_eq!(whole.0.status, chunked.0.status, "{whole:?} in one piece, and {chunked:?} in many");
    assert_eq!(whole.1, chunked.1, "other images in one piece than in many");
});

/// The answer and what was stored.
async fn upload(sent: &[u8], piece: usize) -> (Answer, Accepted) {
    let service = Service::new();
    let manners = Manners { piece, half_close: true, listener: Listener::Public };
    let mut answers = talk(&service, sent, manners).await;
    service.assert_idle();
    assert_eq!(answers.len(), 1, "one answer to one request: {answers:?}");
    (answers.remove(0), service.take_accepted())
}

/// What was accepted is what was sent.
fn check((answer, accepted): &(Answer, Accepted), body: &[u8]) {
    assert!(accepted.len() <= MAX_FILES, "{} images of {MAX_FILES}", accepted.len());
    assert!(accepted.is_empty() || matches!(answer.status, 200 | 202 | 422), "stored and answered {}", answer.status);
    let mut from = 0;
    for (name, image) in accepted {
        let here = memchr::memmem::find(&body[from..], image);
        from += here.unwrap_or_else(|| panic!("an image that was not sent, or not in this order: {image:?}"));
        from += image.len();
        assert!(key::file_name(name) == Ok(name), "a name that is a path: {name:?}");
    }
}

fn head(path: &str, kind: &[u8]) -> Vec<u8> {
    // the line is data: what would end it, or is no header at all, is for the other target
    let kind: Vec<u8> = kind.iter().map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }).collect();
    let before = format!("POST {path} HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nContent-Type: ");
    [before.as_bytes(), &kind, b"\r\n"].concat()
}

fn length(bytes: usize) -> Vec<u8> {
    format!("Content-Length: {bytes}\r\n\r\n").into_bytes()
}

/// In chunks of sizes that end in the middle of everything.
fn chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut rest, mut size) = (body, 1);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        (rest, size) = (after, size * 5 % 61 + 1);
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
