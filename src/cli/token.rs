//! `bellows token new NAME`: a token for a caller, and what the configuration holds of it.

use crate::config::{Token, is_name};
use crate::edge::host::Entropy;
use crate::exit::Exit;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use clap::Subcommand;
use sha2::{Digest, Sha256};
use std::num::NonZeroU32;

/// What tokens begin with: whoever finds one in a repository or a log knows what it is.
const PREFIX: &str = "bellows_";

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Make a token: prints it, this once, and the line of configuration that lets it in
    ///
    /// Nothing is stored: the configuration gets the hash only. Callers send `Authorization: Bearer TOKEN`, or the
    /// token as the password of HTTP Basic (`curl -u :TOKEN`); commands take it from BELLOWS_TOKEN.
    New(New),
}

#[derive(Clone, Debug, clap::Args)]
struct New {
    /// Who it is for: 1 to 64 letters, digits, `.`, `_` or `-`
    #[arg(value_parser = name)]
    name: String,

    /// Most images that this token may have waiting
    #[arg(long, value_name = "N")]
    max_outstanding: Option<NonZeroU32>,
}

fn name(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.into()) } else { Err("expected 1 to 64 letters, digits, `.`, `_` or `-`".into()) }
}

/// A token, and its entry in `web.tokens`.
fn make(new: &New, secret: [u8; 32]) -> (String, Token) {
    let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
    let sha256 = Sha256::digest(&token).into();
    let max_outstanding = new.max_outstanding.map(NonZeroU32::get);
    (token, Token { name: new.name.clone(), sha256, max_outstanding })
}

pub fn run(args: &Args) -> Exit {
    let Command::New(new) = &args.command;
    let (token, entry) = match Entropy::System.secret() {
        Ok(secret) => make(new, secret),
        Err(e) => {
            eprintln!("bellows: {e}");
            return Exit::Unavailable;
        }
    };
    println!("{token}\nweb.tokens = [\"{entry}\"]");
    eprintln!(
        "The first line is the token: give it to {}, it is not shown again.\n\
         The second belongs into the configuration; of several tokens the entries stand in one list.",
        new.name
    );
    Exit::Success
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_holds_the_hash_of_the_token() {
        let new = New { name: "ci".into(), max_outstanding: NonZeroU32::new(7) };
        let (token, entry) = make(&new, [0xfb; 32]);
        // 256 bits are 43 characters of base64
        assert_eq!((token.len(), &token[..9]), (PREFIX.len() + 43, "bellows_-"));
        assert_eq!(entry.sha256, <[u8; 32]>::from(Sha256::digest(&token)));
        let text = entry.to_string();
        assert!(text.starts_with("ci:sha256:") && text.ends_with(":max_outstanding=7"), "{text}");
        assert_ne!(make(&new, Entropy::System.secret().unwrap()).0, make(&new, Entropy::System.secret().unwrap()).0);
    }
}
