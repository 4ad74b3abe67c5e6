//! The kinds of single values that the configuration knows.

use super::scalar::{Scalar, choice, text_scalar};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

choice!(
    /// What a process does.
    Role {
        Web = "web",
        App = "app",
    }
);

choice!(
    /// Where queues, objects and workers live.
    Backend {
        Local = "local",
        Aws = "aws",
    }
);

choice!(
    /// What POST / answers.
    ResponseFormat {
        Text = "text",
        Tuple = "tuple",
        Original = "original",
    }
);

choice!(
    /// How the pool's need is worked out.
    Policy {
        PerRequest = "per-request",
        Backlog = "backlog",
        Deadline = "deadline",
    }
);

choice!(
    /// How log lines look.
    LogFormat {
        Text = "text",
        Json = "json",
    }
);

choice!(
    /// Whether absent engine and model files are fetched.
    Pull {
        Missing = "missing",
        Never = "never",
    }
);

/// A duration with its unit: `250ms`, `2m`, `1h30m`. Never negative, at most ten years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const LONGEST_MS: u64 = 3650 * 86_400_000;

impl Deref for Span {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl Scalar for Span {
    fn parse(text: &str) -> Option<Span> {
        if text == "0" {
            return Some(Span::default());
        }
        let (mut rest, mut total) = (text, 0u64);
        if text.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let letters = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - digits);
            let unit = UNITS.iter().find(|(name, _)| *name == &rest[digits..digits + letters])?.1;
            total = rest[..digits].parse::<u64>().ok()?.checked_mul(unit)?.checked_add(total)?;
            rest = &rest[digits + letters..];
        }
        (total <= LONGEST_MS).then(|| Span(Duration::from_millis(total)))
    }

    fn expected() -> String {
        "a duration with its unit, such as \"250ms\", \"30s\", \"2m\" or \"3d\", not below 0".into()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        if ms == 0 {
            return f.write_str("0s");
        }
        let (name, unit) = UNITS.into_iter().find(|(_, unit)| ms.is_multiple_of(*unit)).unwrap_or(("ms", 1));
        write!(f, "{}{name}", ms / unit)
    }
}

/// Bytes: `32 MiB`, `10 MB`, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

impl Scalar for Size {
    fn parse(text: &str) -> Option<Size> {
        with_unit(text, &SIZES).map(Size)
    }

    fn expected() -> String {
        "a size such as \"32 MiB\", \"10 MB\" or a number of bytes".into()
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_with_unit(self.0, &SIZES, f)
    }
}

/// A large count: `64 M`, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

const COUNTS: [(&str, u64); 3] = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000)];

impl Scalar for Count {
    fn parse(text: &str) -> Option<Count> {
        with_unit(text, &COUNTS).map(Count)
    }

    fn expected() -> String {
        "a number such as \"64 M\" or 64000000".into()
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_with_unit(self.0, &COUNTS, f)
    }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].trim_start_matches(' ') {
        "" => 1,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(factor).filter(|n| i64::try_from(*n).is_ok())
}

fn print_with_unit(n: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match units.iter().find(|(_, unit)| n > 0 && n.is_multiple_of(*unit)) {
        Some((name, unit)) => write!(f, "{} {name}", n / unit),
        None => write!(f, "{n}"),
    }
}

/// A price in US dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usd(pub f64);

impl Scalar for Usd {
    fn parse(text: &str) -> Option<Usd> {
        text.parse().ok().filter(|price| (0.0..=1e6).contains(price)).map(Usd)
    }

    fn expected() -> String {
        "a price in USD from 0 to 1000000, such as 0.05".into()
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
        super::scalar::deserialize(deserializer)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

/// An address to listen on; port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Scalar for Listen {
    fn parse(text: &str) -> Option<Listen> {
        if let Some(port) = text.strip_prefix("localhost:") {
            return Some(Listen((Ipv4Addr::LOCALHOST, port.parse().ok()?).into()));
        }
        text.parse().ok().map(Listen)
    }

    fn expected() -> String {
        "ADDRESS:PORT such as \"127.0.0.1:3000\" or \"[::]:3000\"".into()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name, id or URL; empty where it is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

impl Text {
    /// The text, where it is set.
    pub fn get(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Scalar for Text {
    fn parse(text: &str) -> Option<Text> {
        (text.len() <= 4096 && !text.chars().any(char::is_control)).then(|| Text(text.into()))
    }

    fn expected() -> String {
        "a text without control characters".into()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path; empty where it is not set. A relative one counts from the folder the process was started in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePath(pub String);

impl FilePath {
    /// The path, where it is set.
    pub fn get(&self) -> Option<&Path> {
        (!self.0.is_empty()).then_some(Path::new(&self.0))
    }
}

impl From<PathBuf> for FilePath {
    fn from(path: PathBuf) -> FilePath {
        FilePath(path.to_string_lossy().into_owned())
    }
}

impl Scalar for FilePath {
    fn parse(text: &str) -> Option<FilePath> {
        // `~` is the shell's: taken as it stands it would make a folder of that name
        (!text.starts_with('~')).then(|| Text::parse(text)).flatten().map(|text| FilePath(text.0))
    }

    fn expected() -> String {
        "a whole path (~ is not expanded)".into()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_scalar!(Span, Size, Count, Listen, Text, FilePath);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(text: &str) -> Option<u64> {
        Span::parse(text).map(|s| s.as_millis() as u64)
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(span("250ms"), Some(250));
        assert_eq!(span("2m"), Some(120_000));
        assert_eq!(span("1h30m"), Some(5_400_000));
        assert_eq!(span("3d"), Some(259_200_000));
        assert_eq!(span("0"), Some(0));
        for wrong in ["", "5", "-5s", "5 s", "5x", "s", "1.5s", "99999999999999999999s", "4000d", "5s!", "5s5"] {
            assert_eq!(span(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sizes_and_counts() {
        assert_eq!(Size::parse("32 MiB"), Some(Size(32 << 20)));
        assert_eq!(Size::parse("10MB"), Some(Size(10_000_000)));
        assert_eq!(Size::parse("17"), Some(Size(17)));
        assert_eq!(Count::parse("64 M"), Some(Count(64_000_000)));
        for wrong in ["", "-1", "MiB", "1 mib", "9999999 TiB", "1.5 MiB", "9223372036854775808"] {
            assert_eq!(Size::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(Listen::parse("localhost:80").map(|l| l.to_string()).as_deref(), Some("127.0.0.1:80"));
        assert_eq!(Listen::parse("[::1]:0").map(|l| l.to_string()).as_deref(), Some("[::1]:0"));
        assert!(Listen::parse("3000").is_none() && Listen::parse("host:1").is_none());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(ms in 0..=LONGEST_MS, n in 0..=i64::MAX as u64) {
            prop_assert_eq!(span(&Span(Duration::from_millis(ms)).to_string()), Some(ms));
            prop_assert_eq!(Size::parse(&Size(n).to_string()), Some(Size(n)));
            prop_assert_eq!(Count::parse(&Count(n).to_string()), Some(Count(n)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = (Span::parse(&text), Size::parse(&text), Count::parse(&text), Listen::parse(&text));
            let _ = (Text::parse(&text), FilePath::parse(&text));
        }
    }
}
