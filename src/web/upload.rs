//! Reading an upload: raw body or form, whole, within limits of size, count and time.

use super::memory::{Exhausted, Memory, Reading, Whole};
use super::submit::Image;
use super::{Refusal, Web};
use bellows_core::key::{self, NameError};
use http_body_util::{LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, Request};
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use tokio::time::Instant;

/// What an upload holds.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) images: Vec<Image>,
    /// The form field of the first image: the original's clients are told apart by it.
    pub(super) field: Option<String>,
}

/// The field names that POST / takes a file from.
pub(super) const FIELDS: [&str; 3] = ["myfile", "file", "inputFile"];

/// From here on a body has to keep a pace.
const PACED: u64 = 1 << 20;
/// After this part of its time.
const EARLY: u32 = 6;

const NOT_UTF_8: &str = "the names in a form are UTF-8";

/// Which form fields hold files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// Those in [`FIELDS`].
    Named,
    /// Those, and every part that has a file name.
    Any,
}

impl Web {
    /// Reads a whole upload. `name`: what a raw body is called; `None` where only a form is expected.
    pub(super) async fn read(
        &self,
        request: Request<Incoming>,
        fields: Fields,
        name: Option<&str>,
    ) -> Result<Upload, Refusal> {
        let limit = self.0.settings.max_body;
        let declared = content_length(request.headers());
        if declared.is_some_and(|length| length > limit) {
            return Err(Refusal::TooLarge { limit });
        }
        let boundary = boundary(request.headers())?;
        if boundary.is_none() && name.is_none() {
            return Err(Refusal::NoFile);
        }
        let until = Instant::now() + self.0.settings.body_timeout;
        let memory = self.0.budget.reserve(declared.unwrap_or(1)).await?;
        let reading = async {
            let body = Limited::new(request.into_body(), usize::try_from(limit).unwrap_or(usize::MAX));
            let body = Reading::new(body, Arc::clone(&memory));
            let most = declared.unwrap_or(limit);
            if let Some(boundary) = boundary {
                return self.read_form(body, boundary, fields, most, &memory).await;
            }
            let file = file_name(name.unwrap_or_default())?;
            let bytes = body.whole(most).await.map_err(|e| body_error(e.as_ref(), limit))?;
            if bytes.is_empty() {
                return Err(Refusal::NoFile);
            }
            Ok(Upload { images: vec![Image { file, bytes, memory: Arc::clone(&memory) }], field: None })
        };
        // one deadline around all of it: a body that drips resets every timer between frames
        tokio::select! {
            biased;
            upload = tokio::time::timeout_at(until, reading) => upload.unwrap_or(Err(Refusal::BodyTooSlow)),
            () = self.falls_behind(declared.unwrap_or(0), &memory) => Err(Refusal::BodyTooSlow),
        }
    }

    /// Returns where a large body will not be there in time: a few that say much is coming and send nothing would keep
    /// everybody else's memory until their deadline.
    async fn falls_behind(&self, declared: u64, memory: &Memory) {
        tokio::time::sleep(self.0.settings.body_timeout / EARLY).await;
        // half the pace that it needs
        if declared < PACED || memory.used() >= declared / (2 * u64::from(EARLY)) {
            std::future::pending::<()>().await;
        }
    }

    async fn read_form(
        &self,
        body: Reading,
        boundary: String,
        fields: Fields,
        most: u64,
        memory: &Arc<Memory>,
    ) -> Result<Upload, Refusal> {
        let refused = |e| refused(&e, self.0.settings.max_body);
        let mut form = multer::Multipart::new(body, boundary);
        let (mut images, mut first, mut parts) = (Vec::new(), None, 0);
        while let Some(mut part) = form.next_field().await.map_err(refused)? {
            parts += 1;
            if parts > self.0.settings.max_files {
                return Err(Refusal::TooManyFiles { limit: self.0.settings.max_files });
            }
            check_text(part.headers())?;
            let field = part.name().unwrap_or_default().to_owned();
            let sent_name = sent_name(&part)?;
            let is_file = FIELDS.contains(&field.as_str()) || fields == Fields::Any && sent_name.is_some();
            if !is_file {
                continue;
            }
            let file = file_name(sent_name.as_deref().unwrap_or_default())?;
            let mut whole = Whole::new(most);
            while let Some(piece) = part.chunk().await.map_err(refused)? {
                whole.push(&piece).map_err(|_| Refusal::Busy)?;
            }
            let bytes = whole.freeze();
            // a form whose file input was left empty sends a part without name and content
            if bytes.is_empty() && sent_name.is_none_or(|name| name.is_empty()) {
                continue;
            }
            first.get_or_insert(field);
            images.push(Image { file, bytes, memory: Arc::clone(memory) });
        }
        // an empty file among others keeps its place, and is answered as no image
        if images.iter().all(|image| image.bytes.is_empty()) {
            return Err(Refusal::NoFile);
        }
        Ok(Upload { images, field: first })
    }
}

/// What a part says its file is called.
fn sent_name(part: &multer::Field<'_>) -> Result<Option<String>, Refusal> {
    let plain = part.file_name().map(str::to_owned);
    if plain.is_some() {
        return Ok(plain);
    }
    let disposition = part.headers().get(CONTENT_DISPOSITION).map(|value| String::from_utf8_lossy(value.as_bytes()));
    extended_name(disposition.as_deref().unwrap_or_default())
}

/// The name in `filename*=UTF-8''…` (RFC 8187). RFC 7578 forbids it in forms, so a plain name goes before it; but there
/// are clients that send names beyond ASCII in no other way (urllib3 before 1.25).
fn extended_name(disposition: &str) -> Result<Option<String>, Refusal> {
    let mut parameters = disposition.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let Some((_, value)) = parameters.find(|(key, _)| key.trim_end().eq_ignore_ascii_case("filename*")) else {
        return Ok(None);
    };
    let mut fields = value.trim().splitn(3, '\'');
    let (charset, name) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
    let name = percent_decode_str(name).decode_utf8().ok().filter(|_| charset.eq_ignore_ascii_case("utf-8"));
    name.map(|name| Some(name.into_owned())).ok_or_else(|| Refusal::BadFileName(NOT_UTF_8.into()))
}

fn file_name(sent: &str) -> Result<String, Refusal> {
    key::file_name(sent).map(str::to_owned).map_err(|e| match e {
        NameError::TooLong(_) => Refusal::NameTooLong(e.to_string()),
        NameError::ControlCharacter => Refusal::BadFileName(e.to_string()),
    })
}

/// A name in bytes that are no text would be taken for no name at all: it is refused.
fn check_text(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = headers.get(CONTENT_DISPOSITION).is_none_or(|value| std::str::from_utf8(value.as_bytes()).is_ok());
    if text { Ok(()) } else { Err(Refusal::BadFileName(NOT_UTF_8.into())) }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The boundary of a form; `None` where the body is no form.
fn boundary(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return Ok(None) };
    if !kind.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        return Ok(None);
    }
    multer::parse_boundary(kind).map(Some).map_err(|e| Refusal::BadForm(e.to_string()))
}

fn refused(error: &multer::Error, limit: u64) -> Refusal {
    match error {
        multer::Error::StreamReadFailed(source) => body_error(source.as_ref(), limit),
        other => Refusal::BadForm(other.to_string()),
    }
}

/// Why reading a body failed: it is too large, or it broke off.
fn body_error(error: &(dyn std::error::Error + 'static), limit: u64) -> Refusal {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if e.is::<LengthLimitError>() {
            return Refusal::TooLarge { limit };
        }
        if e.is::<Exhausted>() {
            return Refusal::Busy;
        }
        cause = e.source();
    }
    Refusal::BadForm(format!("the body broke off: {error}"))
}
