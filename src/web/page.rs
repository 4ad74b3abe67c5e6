//! GET /: a page to upload from, with a live view of queue and pool; and the contract, /openapi.yaml.
//!
//! Three files and no build step. Style and script are files of their own so that the page can forbid everything that
//! stands in it: a file name that found its way into the markup would still be no script.

use super::reply::{HttpResponse, body_of};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

/// Nothing from elsewhere, nothing to elsewhere, in nobody's frame. `blob:` are the thumbnails, `data:` is the icon.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A file that came along with the program.
pub(super) struct File {
    kind: &'static str,
    text: &'static str,
}

pub(super) const HTML: File = File { kind: "text/html; charset=utf-8", text: include_str!("page/index.html") };
pub(super) const STYLE: File = File { kind: "text/css; charset=utf-8", text: include_str!("page/style.css") };
pub(super) const SCRIPT: File = File { kind: "text/javascript; charset=utf-8", text: include_str!("page/script.js") };
pub(super) const OPENAPI: File = File { kind: "application/yaml", text: include_str!("openapi.yaml") };

impl File {
    pub(super) fn response(&self) -> HttpResponse {
        let mut response = body_of(StatusCode::OK, self.kind, self.text);
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        // the three belong together, and an upgrade changes all of them
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}
