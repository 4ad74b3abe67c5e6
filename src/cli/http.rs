//! One GET of a service here. Commands that only look need no more of HTTP than this.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;
use tokio::time::Instant;

/// What is asked, of whom, and with how much patience.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// Where the server listens, as the configuration has it under `key`.
    pub listen: SocketAddr,
    pub key: &'static str,
    /// The path, with a query where there is one.
    pub path: &'a str,
    /// Sent where there is one.
    pub token: Option<&'a str>,
    /// Most time for the whole, and most bytes of an answer.
    pub limit: Duration,
    pub most: usize,
}

/// Status and trimmed body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Get<'_> {
    /// Asks; where there is no answer the error says so in words.
    pub fn ask(&self) -> Result<Answer, String> {
        if self.listen.port() == 0 {
            return Err(format!("{} has port 0: nobody but the server knows which port it got", self.key));
        }
        let address = reachable(self.listen);
        let answer = self.fetch(address).map_err(|e| match e.kind() {
            ErrorKind::ConnectionRefused => format!("nothing listens on {address}; `bellows run` starts the service"),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                format!("no answer from http://{address}{} within {} s", self.path, self.limit.as_secs_f64())
            }
            _ => format!("http://{address}{}: {e}", self.path),
        })?;
        parse(&answer).ok_or_else(|| format!("what listens on {address} does not speak HTTP"))
    }

    /// As HTTP/1.0, so that the answer comes unchunked and the server closes.
    fn fetch(&self, address: SocketAddr) -> std::io::Result<Vec<u8>> {
        let end = Instant::now() + self.limit;
        let left = || Some(end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        let mut stream = TcpStream::connect_timeout(&address, self.limit)?;
        stream.set_write_timeout(Some(self.limit))?;
        // in one piece: a server may answer and close as soon as it has read some of it
        let token = self.token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {} HTTP/1.0\r\nHost: {address}\r\n{token}Accept: text/plain\r\n\r\n", self.path);
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while answer.len() < self.most {
            stream.set_read_timeout(Some(left().ok_or(ErrorKind::TimedOut)?))?;
            match stream.read(&mut part) {
                Ok(0) => break,
                Ok(n) => answer.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(answer)
    }
}

/// The token of a command, for services that ask for one.
#[derive(Clone, Default, clap::Args)]
pub struct TokenArg {
    /// A token of the service; better in BELLOWS_TOKEN, where other users of the machine do not see it
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    token: Option<String>,
}

impl TokenArg {
    /// As it was given, or as BELLOWS_TOKEN has it.
    pub fn get(&self) -> Option<String> {
        let variable = || std::env::var("BELLOWS_TOKEN").ok().and_then(|text| token(&text).ok());
        self.token.clone().or_else(variable)
    }
}

/// Never shown: not even whether there is one.
impl std::fmt::Debug for TokenArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenArg")
    }
}

/// What may stand in a header.
fn token(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fine = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if fine { Ok(text.into()) } else { Err("expected a token as `bellows token new NAME` prints it".into()) }
}

/// Where a server that listens on every address is reached from here.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next()?.strip_prefix("HTTP/1.")?;
    Some(Answer { status: words.next()?.parse().ok()?, body: body.trim().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_reached_by_loopback() {
        assert_eq!(reachable("0.0.0.0:3".parse().unwrap()).to_string(), "127.0.0.1:3");
        assert_eq!(reachable("[::]:3".parse().unwrap()).to_string(), "[::1]:3");
        assert_eq!(reachable("10.1.2.3:3".parse().unwrap()).to_string(), "10.1.2.3:3");
    }
}
