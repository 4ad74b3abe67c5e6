//! An HTTP client that is not ours, with forms written by hand.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Duration;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// A client of its own connections.
#[derive(Clone, Debug)]
pub struct Client(pub ureq::Agent);

impl Client {
    pub fn new() -> Client {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_mins(10)))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None);
        Client(config.build().into())
    }

    pub fn get(&self, url: &str) -> Result<Answer, ureq::Error> {
        answer(self.0.get(url).header("accept", "application/json").call()?)
    }

    /// POSTs a form with the given parts (field, file name, contents) and further headers.
    pub fn post(
        &self,
        url: &str,
        parts: &[(&str, &str, &[u8])],
        headers: &[(&str, &str)],
    ) -> Result<Answer, ureq::Error> {
        let mut request = self.0.post(url).header("content-type", "multipart/form-data; boundary=XyZ42");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(&form(parts)[..])?)
    }
}

pub fn form(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, file, bytes) in parts {
        body.extend_from_slice(
            format!("--XyZ42\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{file}\"\r\n\r\n")
                .as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XyZ42--\r\n");
    body
}

/// What the tests look at of a response.
pub fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let headers = response.headers().iter();
    let headers = headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    Ok(Answer { status: response.status().as_u16(), headers, body: response.body_mut().read_to_string()? })
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
