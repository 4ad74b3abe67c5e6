//! Which server is asked.

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::{Authority, Scheme};
use std::io;
use std::str::FromStr;
use std::time::Duration;
use tokio::net::TcpStream;

/// A server that does not accept a connection within this is not there.
const CONNECT: Duration = Duration::from_secs(10);

/// A server: `http://host:port/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    authority: Authority,
}

impl Target {
    /// The same host at another port.
    pub fn at_port(&self, port: u16) -> Result<Target, String> {
        format!("http://{}:{port}/", self.authority.host()).parse()
    }

    pub(super) fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority.as_str()).ok()
    }

    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let address = (self.authority.host().trim_matches(['[', ']']), self.authority.port_u16().unwrap_or(80));
        let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s")))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The path of a Location that names this server.
    pub(super) fn path_of(&self, location: &str) -> Option<String> {
        let uri: Uri = location.parse().ok()?;
        let here = uri.authority().is_none_or(|authority| *authority == self.authority);
        here.then(|| uri.path_and_query().map(ToString::to_string))?
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let wrong = |why: &str| format!("{why}; expected http://HOST:PORT/, such as http://127.0.0.1:3000/");
        let uri: Uri = text.parse().map_err(|e| wrong(&format!("this is no URL ({e})")))?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(scheme) if *scheme == Scheme::HTTPS => {
                return Err(wrong("TLS is not part of this build: name the server behind the proxy"));
            }
            _ => return Err(wrong("only http is spoken here")),
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("the paths below a server are known here"));
        }
        match uri.authority() {
            Some(authority) if !authority.as_str().contains('@') => Ok(Target { authority: authority.clone() }),
            Some(_) => Err(wrong("a password in a URL is not used: see --token")),
            None => Err(wrong("no host")),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}/", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port() {
        for (text, shown) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/"),
            ("http://[::1]:3000/", "http://[::1]:3000/"),
            ("http://pictures.example/", "http://pictures.example/"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
        for wrong in ["", "127.0.0.1:3000", "https://a/", "ftp://a/", "http://a/classify", "http://me:pw@a/", "/"] {
            let message = wrong.parse::<Target>().unwrap_err();
            assert!(message.contains("expected http://HOST:PORT/"), "{wrong}: {message}");
        }
        let metrics = "http://[::1]:3000/".parse::<Target>().unwrap().at_port(9464).unwrap();
        assert_eq!(metrics.to_string(), "http://[::1]:9464/");
    }

    #[test]
    fn an_answer_lies_on_the_same_server() {
        let target: Target = "http://a:3000/".parse().unwrap();
        assert_eq!(target.path_of("/results/1").as_deref(), Some("/results/1"));
        assert_eq!(target.path_of("http://a:3000/results/1").as_deref(), Some("/results/1"));
        assert_eq!(target.path_of("http://b:3000/results/1"), None);
    }
}
