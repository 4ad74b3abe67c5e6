//! Who may use the service: names with the hash of their token. The token itself is in no configuration.

use super::scalar::{Scalar, text_scalar};
use std::fmt;

/// `NAME:sha256:HEX`, optionally followed by `:max_outstanding=N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub name: String,
    pub sha256: [u8; 32],
    /// Most images of this token that may wait at once.
    pub max_outstanding: Option<u32>,
}

impl Scalar for Token {
    fn parse(text: &str) -> Option<Token> {
        let mut parts = text.split(':');
        let name = parts.next().filter(|name| is_name(name))?;
        parts.next().filter(|kind| *kind == "sha256")?;
        let sha256 = unhex(parts.next()?)?;
        let max_outstanding = match parts.next() {
            None => None,
            Some(limit) => Some(limit.strip_prefix("max_outstanding=")?.parse().ok().filter(|n| *n > 0)?),
        };
        parts.next().is_none().then(|| Token { name: name.into(), sha256, max_outstanding })
    }

    fn expected() -> String {
        "\"NAME:sha256:HEX\" as `bellows token new NAME` prints it, optionally with \":max_outstanding=N\"".into()
    }
}

/// What may name a token or a pool: 1 to 64 of `[A-Za-z0-9._-]`.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:sha256:", self.name)?;
        for byte in self.sha256 {
            write!(f, "{byte:02x}")?;
        }
        match self.max_outstanding {
            Some(limit) => write!(f, ":max_outstanding={limit}"),
            None => Ok(()),
        }
    }
}

text_scalar!(Token);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_reads_and_prints() {
        let text = format!("ci:sha256:{}", "ab".repeat(32));
        let token = Token::parse(&text).unwrap();
        assert_eq!((token.name.as_str(), token.sha256, token.max_outstanding), ("ci", [0xab; 32], None));
        assert_eq!(token.to_string(), text);
        let limited = format!("{text}:max_outstanding=50");
        assert_eq!(Token::parse(&limited).unwrap().max_outstanding, Some(50));
        assert_eq!(Token::parse(&limited).unwrap().to_string(), limited);
    }

    #[test]
    fn anything_else_is_refused() {
        let hash = "ab".repeat(32);
        for wrong in [
            format!(":sha256:{hash}"),
            format!("a b:sha256:{hash}"),
            format!("a:md5:{hash}"),
            format!("a:sha256:{}", &hash[1..]),
            format!("a:sha256:+{}", &hash[1..]),
            format!("a:sha256:{hash}:"),
            format!("a:sha256:{hash}:max_outstanding=0"),
            format!("a:sha256:{hash}:max_outstanding=1:x"),
        ] {
            assert_eq!(Token::parse(&wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,90}") {
            let _ = Token::parse(&text);
            let _ = Token::parse(&format!("a:sha256:{text}"));
        }
    }
}
