//! One picture as a request.

use super::Picture;
use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands before a picture, the picture, and what stands behind it: sent as they lie, without a copy.
pub(super) type Body = Full<Chain<Bytes, Chain<Bytes, Bytes>>>;

/// Escaped in the path: all but what RFC 3986 calls unreserved.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a picture is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Field {
    /// POST / with the form field `myfile`
    Myfile,
    /// POST / with the form field `inputFile`
    #[value(name = "inputFile")]
    InputFile,
    /// PUT /classify/NAME with the picture as the body
    Raw,
}

pub(super) fn body(before: Bytes, picture: Bytes, after: Bytes) -> Body {
    Full::new(before.chain(picture.chain(after)))
}

/// A request without a body.
pub(super) fn get(path: &str) -> hyper::http::Result<Request<Body>> {
    let body = body(Bytes::new(), Bytes::new(), Bytes::new());
    Request::get(path).header(ACCEPT, "application/json").body(body)
}

/// The request that uploads `picture`. JSON is asked for, since only that tells whose answer it is.
pub(super) fn request(field: Field, picture: &Picture, boundary: &str) -> hyper::http::Result<Request<Body>> {
    let (method, path, kind, before, after) = match field {
        Field::Raw => {
            let path = format!("/classify/{}", utf8_percent_encode(picture.name(), IN_PATH));
            (Method::PUT, path, "application/octet-stream".to_owned(), String::new(), String::new())
        }
        Field::Myfile | Field::InputFile => {
            let name = if field == Field::Myfile { "myfile" } else { "inputFile" };
            let before = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\n\r\n",
                quoted(picture.name())
            );
            let kind = format!("multipart/form-data; boundary={boundary}");
            (Method::POST, "/".to_owned(), kind, before, format!("\r\n--{boundary}--\r\n"))
        }
    };
    let body = body(before.into(), picture.bytes.clone(), after.into());
    let request = Request::builder().method(method).uri(path);
    request.header(CONTENT_TYPE, kind).header(ACCEPT, HeaderValue::from_static("application/json")).body(body)
}

/// A name inside quotes, as browsers write it (HTML, "multipart/form-data encoding algorithm").
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use hyper::body::Body as _;

    fn picture() -> Picture {
        Picture { file: "a/grün \"1\".png".into(), bytes: Bytes::from_static(b"PNG"), sha256: String::new() }
    }

    async fn collected(request: Request<Body>) -> String {
        let length = request.body().size_hint().exact();
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(length, Some(bytes.len() as u64), "the length is declared");
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_form_holds_the_picture_between_its_lines() {
        let sent = request(Field::InputFile, &picture(), "XyZ").unwrap();
        assert_eq!((sent.method(), sent.uri().path()), (&Method::POST, "/"));
        assert_eq!(sent.headers()[CONTENT_TYPE], "multipart/form-data; boundary=XyZ");
        let expected = "--XyZ\r\nContent-Disposition: form-data; name=\"inputFile\"; \
            filename=\"grün %221%22.png\"\r\n\r\nPNG\r\n--XyZ--\r\n";
        assert_eq!(collected(sent).await, expected);
    }

    #[tokio::test]
    async fn a_raw_body_is_the_picture_alone() {
        let sent = request(Field::Raw, &picture(), "XyZ").unwrap();
        assert_eq!((sent.method(), sent.uri().path()), (&Method::PUT, "/classify/gr%C3%BCn%20%221%22.png"));
        assert_eq!(collected(sent).await, "PNG");
    }
}
