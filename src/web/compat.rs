//! How an answer looks to clients of the original: plain text in three spellings. All of it is in this file.

use crate::config::ResponseFormat;
use bellows_core::key;
use bellows_core::time::Timestamp;

/// The field whose clients expect `name:label` for an answer.
const NAMED_FIELD: &str = "inputFile";

/// The body of one answer: `label` for `file`, uploaded through form field `field`.
pub(super) fn body(format: ResponseFormat, field: Option<&str>, file: &str, label: &str, now: Timestamp) -> String {
    let stem = key::stem(file);
    match format {
        ResponseFormat::Text if field == Some(NAMED_FIELD) => format!("{stem}:{label}"),
        ResponseFormat::Text => label.to_owned(),
        ResponseFormat::Tuple => format!("({stem},{label})"),
        ResponseFormat::Original => {
            let (name, value) = (format!("{} message", stamp(now)), format!("Classification result: {file},{label}\n"));
            serde_json::json!({ name: value }).to_string()
        }
    }
}

pub(super) fn content_type(format: ResponseFormat) -> &'static str {
    match format {
        ResponseFormat::Text | ResponseFormat::Tuple => "text/plain; charset=utf-8",
        ResponseFormat::Original => "application/json",
    }
}

/// `YYYY-MM-DD HH:MM:SS.ffffff`, UTC.
fn stamp(now: Timestamp) -> String {
    now.to_string().replace('T', " ").replace('Z', "000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling() {
        let now = Timestamp(1_709_208_000_123);
        let body = |format, field| super::body(format, field, "test_0.JPEG", "bathtub", now);
        assert_eq!(body(ResponseFormat::Text, Some("myfile")), "bathtub");
        assert_eq!(body(ResponseFormat::Text, Some("inputFile")), "test_0:bathtub");
        assert_eq!(body(ResponseFormat::Tuple, Some("inputFile")), "(test_0,bathtub)");
        assert_eq!(
            body(ResponseFormat::Original, None),
            r#"{"2024-02-29 12:00:00.123000 message":"Classification result: test_0.JPEG,bathtub\n"}"#
        );
    }
}
