//! Images that nobody uploaded: what S3 tells the request queue of objects put under [`PREFIX`] of the input bucket.
//!
//! S3 sends its own JSON ("Event message structure", Amazon S3 User Guide), one record an event as far as is known, and
//! may send an event twice. A request id is made from what tells one write of an object from all others, so that the
//! second event is the same request.

use crate::key::{self, RequestId};
use crate::message::{self, Parsed, Request, VERSION};
use crate::time::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// Where others put images. What lies elsewhere in the bucket is ours.
pub const PREFIX: &str = "incoming/";

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventName")]
    name: String,
    s3: S3,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    /// Encoded as in an HTML form.
    key: String,
    /// Grows with each write of this key; hexadecimal.
    #[serde(default)]
    sequencer: String,
    #[serde(default, rename = "eTag")]
    etag: String,
}

/// What S3 says when somebody tells it to send events.
#[derive(Deserialize)]
struct Test {
    #[serde(rename = "Event")]
    event: String,
}

/// The requests in a message of request_queue, sent at `sent_at`: ours, or those of an event of S3. None of them: the
/// message asks for nothing and is to be deleted. Never panics, whatever the body.
pub fn requests(body: &str, sent_at: Timestamp) -> Parsed<Vec<Request>> {
    match message::parse::<Request>(body) {
        Parsed::Ok(request) => Parsed::Ok(vec![request]),
        Parsed::OtherVersion(v) => Parsed::OtherVersion(v),
        Parsed::Unreadable(why) if body.len() > message::MAX_BYTES => Parsed::Unreadable(why),
        Parsed::Unreadable(why) => match of_s3(body, sent_at) {
            Some(requests) => Parsed::Ok(requests),
            None => Parsed::Unreadable(why),
        },
    }
}

/// None where it is no event of S3, or one that makes no sense.
fn of_s3(body: &str, sent_at: Timestamp) -> Option<Vec<Request>> {
    if serde_json::from_str::<Test>(body).is_ok_and(|test| test.event == "s3:TestEvent") {
        return Some(Vec::new());
    }
    let event: Event = serde_json::from_str(body).ok()?;
    let mut requests = Vec::new();
    for Record { name, s3 } in event.records {
        let key = form_decoded(&s3.object.key)?;
        // consoles make folders as empty objects
        if name.starts_with("ObjectCreated:") && key.starts_with(PREFIX) && !key.ends_with('/') {
            requests.push(request(&s3, key, sent_at));
        }
    }
    Some(requests)
}

fn request(s3: &S3, key: String, sent_at: Timestamp) -> Request {
    let write = if s3.object.sequencer.is_empty() { &s3.object.etag } else { &s3.object.sequencer };
    let name = format!("s3://{}/{key}#{write}", s3.bucket.name);
    let request_id = RequestId(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()));
    let last = key.rsplit('/').next().unwrap_or_default();
    let filename = key::file_name(last).map_or_else(|_| key::encode(last), str::to_owned);
    Request { v: VERSION, request_id, filename, key, reply_to: String::new(), submitted_at: sent_at }
}

/// `+` is a blank, `%XX` a byte; none where that is no UTF-8.
fn form_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AT: Timestamp = Timestamp(5);

    /// As the user guide shows it, shortened where nothing is read.
    fn event(name: &str, key: &str, sequencer: &str) -> String {
        format!(
            r#"{{"Records":[{{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-west-2",
            "eventTime":"1970-01-01T00:00:00.000Z","eventName":"{name}","userIdentity":{{"principalId":"A"}},
            "s3":{{"s3SchemaVersion":"1.0","configurationId":"incoming","bucket":{{"name":"in","arn":"arn:aws:s3:::in"}},
            "object":{{"key":"{key}","size":1024,"eTag":"d41d","sequencer":"{sequencer}"}}}}}}]}}"#
        )
    }

    fn read(body: &str) -> Vec<Request> {
        match requests(body, AT) {
            Parsed::Ok(requests) => requests,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_object_put_under_incoming_is_a_request() {
        let got = read(&event("ObjectCreated:Put", "incoming/holiday+%282%29/Caf%C3%A9+1.JPG", "0A1B"));
        let [request] = got.as_slice() else { panic!("{got:?}") };
        assert_eq!(request.key, "incoming/holiday (2)/Caf\u{e9} 1.JPG");
        assert_eq!((request.filename.as_str(), request.reply_to.as_str()), ("Caf\u{e9} 1.JPG", ""));
        assert_eq!(request.submitted_at, AT);
        // once more the same, and never another: made with Python's uuid.uuid5(uuid.NAMESPACE_URL, …)
        assert_eq!(request.request_id.to_string(), "d6ce33ab-f43e-516b-a45b-204b49554ccc");
        assert_eq!(read(&event("ObjectCreated:Put", "incoming/holiday+%282%29/Caf%C3%A9+1.JPG", "0A1B")), got);
        let again = read(&event("ObjectCreated:Put", "incoming/holiday+%282%29/Caf%C3%A9+1.JPG", "0A1C"));
        assert_ne!(again[0].request_id, request.request_id, "the key was written once more");
    }

    #[test]
    fn what_asks_for_nothing_is_no_request() {
        let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":"in",
            "RequestId":"5582815E1AEA5ADF","HostId":"8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"}"#;
        assert!(read(test).is_empty());
        assert!(read(&event("ObjectCreated:Put", "elsewhere/a.png", "1")).is_empty());
        assert!(read(&event("ObjectCreated:Put", "incoming/folder/", "1")).is_empty());
        assert!(read(&event("ObjectRemoved:Delete", "incoming/a.png", "1")).is_empty());
        assert!(read(r#"{"Records":[]}"#).is_empty());
    }

    #[test]
    fn nonsense_stays_unreadable_and_versions_are_told_apart() {
        for body in ["", "{}", "[]", r#"{"Records":1}"#, r#"{"Event":"other"}"#, r#"{"v":1}"#] {
            assert!(matches!(requests(body, AT), Parsed::Unreadable(_)), "{body}");
        }
        assert!(matches!(requests(&event("ObjectCreated:Put", "incoming/%FF", "1"), AT), Parsed::Unreadable(_)));
        assert!(matches!(requests(&event("ObjectCreated:Put", "incoming/%4", "1"), AT), Parsed::Unreadable(_)));
        let long = format!("{}{}", r#"{"Records":[]}"#, " ".repeat(message::MAX_BYTES));
        assert!(matches!(requests(&long, AT), Parsed::Unreadable(_)));
        assert_eq!(requests(r#"{"v":2,"request_id":"x"}"#, AT), Parsed::OtherVersion(2));
    }

    #[test]
    fn a_name_that_is_no_file_name_is_escaped() {
        let got = read(&event("ObjectCreated:Put", "incoming/a%0D%0Ab.png", "1"));
        assert_eq!((got[0].key.as_str(), got[0].filename.as_str()), ("incoming/a\r\nb.png", "a%0D%0Ab.png"));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in "\\PC{0,400}") {
            let _ = requests(&body, AT);
        }

        #[test]
        fn no_key_panics(key in "[+%a-zA-Z0-9/.]{0,60}") {
            let _ = requests(&event("ObjectCreated:Put", &key, "1"), AT);
        }
    }
}
