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
    let (seconds, millis) = (now.0 / 1000, now.0 % 1000);
    let (year, month, day) = civil(seconds / 86_400);
    let rest = seconds % 86_400;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}000")
}

/// Year, month and day of a number of days since 1970-01-01 (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
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
        assert_eq!(stamp(Timestamp(0)), "1970-01-01 00:00:00.000000");
        assert_eq!(stamp(Timestamp(4_107_542_399_999)), "2100-02-28 23:59:59.999000");
    }
}
