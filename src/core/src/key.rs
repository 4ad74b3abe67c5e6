//! Request ids, file names and object keys: how what a client called its file becomes data, and never a path.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};
use std::str::FromStr;
use uuid::Uuid;

/// Longest true file name in bytes that a client may send.
pub const MAX_FILE_NAME: usize = 1024;
/// Longest encoded name in bytes inside an object key.
pub const MAX_KEY_NAME: usize = 200;
/// Where the controller keeps its state, in the output bucket.
pub const CONTROL: &str = "control/pool.json";
/// The folders of the output bucket that are ours: a label object never takes one of these names.
const FOLDERS: [&str; 5] = ["results", "batches", "dead", "control", "labels"];

/// Identifies one accepted image, from upload to answer. Made by the web tier, never by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RequestId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(RequestId)
    }
}

/// Why a client's file name is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    #[error("a file name is at most {MAX_FILE_NAME} bytes long, this one has {0}")]
    TooLong(usize),
    #[error("a file name holds no NUL, carriage return or line feed")]
    ControlCharacter,
}

/// The last segment of what the client called its file (after `/` and `\`); `image` where nothing is left.
pub fn file_name(sent: &str) -> Result<&str, NameError> {
    if sent.len() > MAX_FILE_NAME {
        return Err(NameError::TooLong(sent.len()));
    }
    if sent.contains(['\0', '\r', '\n']) {
        return Err(NameError::ControlCharacter);
    }
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    Ok(if last.is_empty() { "image" } else { last })
}

/// A file name without its extension, as the original's users know their files (`test_0.JPEG` -> `test_0`).
pub fn stem(file_name: &str) -> &str {
    match file_name.rfind('.') {
        Some(dot) if dot > 0 => &file_name[..dot],
        _ => file_name,
    }
}

/// `<request_id>/<name>` in the input bucket.
pub fn input(id: RequestId, file_name: &str) -> String {
    let name = encode(file_name);
    match name.as_str() {
        "." => format!("{id}/%2E"),
        ".." => format!("{id}/%2E%2E"),
        _ => format!("{id}/{name}"),
    }
}

/// The prefix under which the one input object of a request lies.
pub fn input_prefix(id: RequestId) -> String {
    format!("{id}/")
}

/// `results/<request_id>.json` in the output bucket: the truth about a request.
pub fn result(id: RequestId) -> String {
    format!("results/{id}.json")
}

/// `batches/<batch_id>.json` in the output bucket: the child ids of one upload, in order.
pub fn batch(id: RequestId) -> String {
    format!("batches/{id}.json")
}

/// `dead/<request_id>.json` in the output bucket: body and receive count of a dead letter.
pub fn dead(id: &str) -> String {
    format!("dead/{}.json", encode(id))
}

/// The object that the original's users list: the stem of the file name, out of the way of our own folders.
pub fn label(file_name: &str) -> String {
    let name = encode(stem(file_name));
    if name.is_empty() {
        return format!("labels/~{}", short_hash(file_name));
    }
    if name.starts_with('.') || FOLDERS.contains(&name.as_str()) {
        return format!("labels/{}", name.replacen('.', "%2E", usize::from(name.starts_with('.'))));
    }
    name
}

/// Percent-encodes to `[A-Za-z0-9._-]` (and `%`); longer than [`MAX_KEY_NAME`] is cut and told apart by `~` and
/// eight hex digits of the whole name's sha256.
pub(crate) fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(char::from(byte)),
            _ => {
                // writing to a string does not fail
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    if out.len() > MAX_KEY_NAME {
        let mut end = MAX_KEY_NAME - 9;
        // never cut inside a %XX
        while out.as_bytes()[end - 2..end].contains(&b'%') {
            end -= 1;
        }
        out.truncate(end);
        out.push('~');
        out.push_str(&short_hash(name));
    }
    out
}

fn short_hash(name: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let [a, b, c, d, ..] = hash;
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> RequestId {
        RequestId(Uuid::from_u128(7))
    }

    #[test]
    fn the_last_segment_counts() {
        assert_eq!(file_name("../../etc/trav.JPEG"), Ok("trav.JPEG"));
        assert_eq!(file_name("C:\\photos\\cat.png"), Ok("cat.png"));
        assert_eq!(file_name("a/"), Ok("image"));
        assert_eq!(file_name(""), Ok("image"));
        assert_eq!(file_name("a\nb"), Err(NameError::ControlCharacter));
        assert_eq!(file_name(&"x".repeat(1024)).map(str::len), Ok(1024));
        assert_eq!(file_name(&"x".repeat(1025)), Err(NameError::TooLong(1025)));
    }

    #[test]
    fn label_objects_keep_out_of_our_folders() {
        assert_eq!(label("test_0.JPEG"), "test_0");
        assert_eq!(label("results.png"), "labels/results");
        assert_eq!(label(".hidden"), "labels/%2Ehidden");
        assert_eq!(label("..png"), "labels/%2E");
        assert_eq!(label("x;touch PWNED;.JPEG"), "x%3Btouch%20PWNED%3B");
    }

    #[test]
    fn every_object_has_its_place() {
        let text = id().to_string();
        assert_eq!(text.parse(), Ok(id()));
        assert_eq!(input(id(), "a b.png"), format!("{text}/a%20b.png"));
        assert_eq!(input_prefix(id()), format!("{text}/"));
        assert_eq!(result(id()), format!("results/{text}.json"));
        assert_eq!(batch(id()), format!("batches/{text}.json"));
        assert_eq!(dead("a/b"), "dead/a%2Fb.json");
        assert_eq!(label(""), "labels/~e3b0c442", "nothing is left of the name");
    }

    #[test]
    fn a_long_name_is_cut_between_its_characters() {
        assert_eq!(label(&"x".repeat(200)), "x".repeat(200));
        assert_eq!(label(&"x".repeat(201)), format!("{}~84a0678c", "x".repeat(191)));
        for (before, kept) in [(0, 189), (1, 190), (2, 191)] {
            let name = format!("{}{}", "x".repeat(before), "é".repeat(100));
            let key = label(&name);
            let (head, hash) = key.split_once('~').unwrap();
            assert_eq!((head.len(), hash.len()), (kept, 8), "{key}");
            let whole = format!("{}{}", "x".repeat(before), "%C3%A9".repeat(100));
            assert!(whole.starts_with(head));
        }
    }

    #[test]
    fn dots_are_no_way_out() {
        assert_eq!(input(id(), ".."), format!("{}/%2E%2E", id()));
        assert_eq!(input(id(), "."), format!("{}/%2E", id()));
    }

    #[test]
    fn two_long_names_stay_two_keys() {
        let (a, b) = ("ä".repeat(300), format!("{}x", "ä".repeat(299)));
        let (a, b) = (label(&a), label(&b));
        assert!(a.len() <= MAX_KEY_NAME && b.len() <= MAX_KEY_NAME);
        assert_ne!(a, b);
    }

    proptest! {
        #[test]
        fn any_name_is_one_harmless_segment(sent in "\\PC{0,300}") {
            if let Ok(name) = file_name(&sent) {
                let key = input(id(), name);
                let (_, last) = key.split_once('/').unwrap();
                prop_assert!(!last.is_empty() && last != "." && last != ".." && last.len() <= MAX_KEY_NAME);
                prop_assert!(last.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%~".contains(&b)));
                let label = label(name);
                prop_assert!(label.len() <= MAX_KEY_NAME + 10 && !label.starts_with('.'));
            }
        }
    }
}
