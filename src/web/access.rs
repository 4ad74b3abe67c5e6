//! Who may use the service: whoever shows one of the configured tokens, where tokens are asked for.

use super::{Refusal, Web};
use crate::config::Token;
use crate::status::Share;
use base64::prelude::{BASE64_STANDARD, Engine};
use constant_time_eq::constant_time_eq_32;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The tokens of the configuration, of which only hashes are known here.
#[derive(Debug)]
pub(super) struct Access {
    holders: Vec<Holder>,
    /// Nobody is let in without a token.
    closed: bool,
}

#[derive(Debug)]
struct Holder {
    sha256: [u8; 32],
    caller: Caller,
}

/// Who asks, as far as it matters: how many images of theirs may still be waiting, and of how many.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller(Option<(Arc<Semaphore>, u32)>);

impl Access {
    pub(super) fn new(tokens: &[Token], allow_anonymous: bool) -> Access {
        let holder = |token: &Token| {
            let room = token.max_outstanding.map(|most| (Arc::new(Semaphore::new(most as usize)), most));
            Holder { sha256: token.sha256, caller: Caller(room) }
        };
        Access { holders: tokens.iter().map(holder).collect(), closed: !tokens.is_empty() && !allow_anonymous }
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let shown = token(headers).map(|token| Sha256::digest(token).into());
        match shown.and_then(|sha256| self.holder(&sha256)) {
            Some(holder) => Ok(holder.caller.clone()),
            None if self.closed => Err(Refusal::Unauthorized),
            None => Ok(Caller::default()),
        }
    }

    /// Every hash is compared whole, also after one that fits: how long it takes tells nothing.
    fn holder(&self, sha256: &[u8; 32]) -> Option<&Holder> {
        let fits = |holder: &Holder| constant_time_eq_32(&holder.sha256, sha256);
        self.holders.iter().fold(None, |found, holder| if fits(holder) { Some(holder) } else { found })
    }
}

/// The token in a request's head: `Bearer TOKEN`, or the password of HTTP Basic, whatever the user is called.
fn token(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.into());
    }
    let pair = scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(credentials).ok())??;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].into())
}

impl Web {
    /// Who asks; a refusal where a token is asked for and none that is known is shown.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        self.0.access.caller(headers)
    }

    /// Says no where too many images of this caller wait already for so many `more`.
    pub(super) fn may_bring(&self, caller: &Caller, more: usize) -> Result<(), Refusal> {
        match &caller.0 {
            Some((room, most)) if room.available_permits() < more => Err(self.outstanding(*most, more)),
            _ => Ok(()),
        }
    }

    /// A share of what the caller may have waiting for each of `n` images; all or none.
    pub(super) fn shares(&self, caller: &Caller, n: usize) -> Result<Vec<Option<Share>>, Refusal> {
        let Some((room, most)) = &caller.0 else { return Ok((0..n).map(|_| None).collect()) };
        let many = u32::try_from(n).unwrap_or(u32::MAX);
        let taken = Arc::clone(room).try_acquire_many_owned(many);
        let mut taken = taken.map_err(|_| self.outstanding(*most, n))?;
        Ok((0..n).map(|_| taken.split(1)).collect())
    }

    fn outstanding(&self, limit: u32, more: usize) -> Refusal {
        Refusal::TooManyOutstanding { limit, retry_after: self.0.status.clears(more as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
    }

    fn configured(name: &str, token: &str) -> Token {
        Token { name: name.into(), sha256: Sha256::digest(token).into(), max_outstanding: None }
    }

    #[test]
    fn a_token_is_shown_in_either_way() {
        let encoded = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for (sent, found) in [
            ("Bearer abc".to_owned(), Some("abc")),
            ("bearer  abc ".into(), Some("abc")),
            (encoded("me:abc"), Some("abc")),
            (encoded(":a:b"), Some("a:b")),
            (encoded("abc"), None),
            ("Basic !".into(), None),
            ("Basic".into(), None),
            ("Digest abc".into(), None),
            ("abc".into(), None),
        ] {
            assert_eq!(token(&headers(&sent)), found.map(|token| token.as_bytes().to_vec()), "{sent}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }

    #[test]
    fn only_the_known_come_in_where_it_is_closed() {
        let tokens = [configured("a", "one"), configured("b", "two")];
        let closed = Access::new(&tokens, false);
        for (sent, enters) in [("Bearer one", true), ("Bearer two", true), ("Bearer ", false), ("Bearer onetwo", false)]
        {
            assert_eq!(closed.caller(&headers(sent)).is_ok(), enters, "{sent}");
            assert!(Access::new(&tokens, true).caller(&headers(sent)).is_ok());
            assert!(Access::new(&[], false).caller(&headers(sent)).is_ok());
        }
        assert_eq!(closed.caller(&HeaderMap::new()).unwrap_err(), Refusal::Unauthorized);
    }
}
