//! Log lines: text for people, or a JSON object a line. The rules for names and fields are in docs/LOGGING.md.

mod json;

use crate::config::LogFormat;
use bellows_core::key::RequestId;
use std::io::IsTerminal;
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Sends log lines to standard error. Later calls change nothing.
///
/// `level` is what [`parse_level`] reads; the configuration has checked it, and falls back to `info`.
pub fn init(format: LogFormat, level: &str) {
    let filter = parse_level(level).unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let layer = match format {
        LogFormat::Json => {
            fmt::layer().event_format(json::Lines).fmt_fields(json::Fields).with_writer(std::io::stderr).boxed()
        }
        LogFormat::Text => fmt::layer().with_ansi(wants_colour()).with_writer(std::io::stderr).boxed(),
    };
    // an error says that lines go somewhere already, as in tests
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Colours only for a terminal, and not where the user asked for none (no-color.org).
fn wants_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Reads `info` or `info,bellows::web=debug`. The error completes "expected …".
pub fn parse_level(text: &str) -> Result<Targets, String> {
    let expected = || format!("one of {}, with exceptions as \"info,bellows::web=debug\"", LEVELS.join(", "));
    let level = |word: &str| LEVELS.contains(&word).then(|| word.parse::<LevelFilter>().ok()).flatten();
    let mut targets = Targets::new();
    for directive in text.split(',').map(str::trim) {
        // a word alone is a level here, never a module: a mistyped level must not pass for one
        targets = match directive.split_once('=') {
            None => targets.with_default(level(directive).ok_or_else(expected)?),
            Some((module, word)) if is_module(module) => targets.with_target(module, level(word).ok_or_else(expected)?),
            Some(_) => return Err(expected()),
        };
    }
    Ok(targets)
}

fn is_module(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// The span of one image, from upload to answer, in whichever process works on it.
pub fn request_span(request_id: RequestId) -> Span {
    tracing::info_span!("request", %request_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_by_module() {
        let targets = parse_level("info, bellows::web=debug,bellows::app=off").unwrap();
        assert!(targets.would_enable("bellows::model", &Level::INFO));
        assert!(!targets.would_enable("bellows::model", &Level::DEBUG));
        assert!(targets.would_enable("bellows::web::upload", &Level::DEBUG));
        assert!(!targets.would_enable("bellows::app", &Level::ERROR));
    }

    #[test]
    fn a_mistyped_level_is_no_module() {
        for wrong in ["", "inof", "3", "info,", "bellows=loud", "bellows=", "=info", "a b=info"] {
            assert!(parse_level(wrong).is_err(), "{wrong:?}");
        }
    }
}
