//! The metadata service of one instance, IMDSv2 only, on a loopback port of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const TOKEN: &str = "a-session-token";

/// What it tells, by path below `/latest/`. Ends with the test process.
#[derive(Clone)]
pub struct Metadata {
    pub endpoint: String,
    values: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Metadata {
    pub fn start(values: &[(&str, &str)]) -> Metadata {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let values = values.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        let metadata = Metadata { endpoint, values: Arc::new(Mutex::new(values)) };
        let serving = metadata.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // who breaks off has heard enough
                let _ = serving.answer(stream);
            }
        });
        metadata
    }

    /// From now on it tells this, too.
    pub fn set(&self, path: &str, value: &str) {
        self.values.lock().unwrap().insert(path.into(), value.into());
    }

    /// One request a connection.
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let mut token = None;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("x-aws-ec2-metadata-token")
            {
                token = Some(value.trim().to_owned());
            }
        }
        let mut words = first.split_whitespace();
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (status, body) = match (method, path.strip_prefix("/latest/")) {
            ("PUT", Some("api/token")) => ("200 OK", TOKEN.to_owned()),
            ("GET", Some(_)) if token.as_deref() != Some(TOKEN) => ("401 Unauthorized", String::new()),
            ("GET", Some(path)) => match self.values.lock().unwrap().get(path) {
                Some(value) => ("200 OK", value.clone()),
                None => ("404 Not Found", String::new()),
            },
            _ => ("404 Not Found", String::new()),
        };
        let ttl = "x-aws-ec2-metadata-token-ttl-seconds: 21600";
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\n{ttl}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
    }
}
