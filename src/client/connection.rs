//! Connections that are kept, and what is asked over them.

use super::upload::{self, Body};
use super::{Field, Outcome, Picture, Reply, Target};
use crate::edge::host::Host;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::time::Instant;

/// An answer is a page of JSON; more is somebody else's.
const MAX_ANSWER: usize = 4 << 20;
/// A connection that lay idle for longer is not used again: the server may be closing it at this very moment, and then
/// nobody knows whether it has read the request.
const LONGEST_IDLE: Duration = Duration::from_secs(2);
/// After a connection could not be made: who asks in a loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Whatever a server says: what is added to a clock must not overflow it.
const LONGEST_RETRY: u64 = 86_400;
/// Where a server says that it wants to be asked again, and not when.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("no connection to {0}: {1}")]
    Unreachable(Target, String),
    #[error("the connection broke before the answer: {0}")]
    Broken(String),
    #[error("no answer within the time given")]
    TooLate,
    #[error("this cannot be asked: {0}")]
    Unasked(String),
}

/// Who asks a server, over how many connections it wants.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    host: Host,
    field: Field,
    authorization: Option<HeaderValue>,
    boundary: String,
}

/// One connection, made when it is needed.
#[derive(Debug, Default)]
pub struct Connection(Option<(SendRequest<Body>, Instant)>);

/// One picture asked, whatever it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub outcome: Outcome,
    /// The answer to each upload, in order: more than one where refusals were followed by another try.
    pub statuses: Vec<u16>,
    /// The first answer was a promise, which was followed up.
    pub followed: bool,
}

impl Client {
    pub fn new(target: Target, host: Host, field: Field) -> Client {
        let boundary = format!("bellows-{}", host.entropy.uuid().simple());
        Client { target, host, field, authorization: None, boundary }
    }

    /// With a token; an error where that cannot stand in a header.
    pub fn with_token(mut self, token: &str) -> Result<Client, String> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| "a token holds no control characters".to_owned())?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether somebody listens there.
    pub async fn reach(&self) -> Result<(), Lost> {
        self.target.connect().await.map(drop).map_err(|e| Lost::Unreachable(self.target.clone(), e.to_string()))
    }

    /// GETs one path until `until` at the latest; once more where a kept connection broke, since looking changes
    /// nothing.
    pub async fn get(&self, connection: &mut Connection, path: &str, until: Instant) -> Result<Reply, Lost> {
        let request = || upload::get(path).map_err(|e| Lost::Unasked(e.to_string()));
        let was_kept = connection.0.is_some();
        match self.exchange(connection, request()?, until).await {
            Err(Lost::Broken(_)) if was_kept => self.exchange(connection, request()?, until).await,
            answer => answer,
        }
    }

    /// Uploads a picture and waits until `until` for its answer: a promise is followed up, and where `patient` a
    /// refusal is followed by another try, each after the time the server names.
    pub async fn ask(&self, connection: &mut Connection, picture: &Picture, until: Instant, patient: bool) -> Asked {
        let mut asked = Asked { outcome: Outcome::Lost(Lost::TooLate), statuses: Vec::new(), followed: false };
        let reply = async {
            loop {
                let request = upload::request(self.field, picture, &self.boundary);
                let request = request.map_err(|e| Lost::Unasked(e.to_string()))?;
                let reply = self.exchange(connection, request, until).await?;
                asked.statuses.push(reply.status);
                let pause = reply.retry_after.filter(|_| patient && reply.is_refusal());
                match pause.filter(|pause| Instant::now() + *pause < until) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None if reply.status == 202 => {
                        asked.followed = true;
                        return self.follow(connection, reply, until).await;
                    }
                    None => return Ok(reply),
                }
            }
        };
        asked.outcome = reply.await.map_or_else(Outcome::Lost, |reply| reply.outcome());
        if matches!(asked.outcome, Outcome::Lost(Lost::Unreachable(..))) {
            tokio::time::sleep(PAUSE).await;
        }
        asked
    }

    /// Looks where a promise points until there is something else.
    async fn follow(&self, connection: &mut Connection, promise: Reply, until: Instant) -> Result<Reply, Lost> {
        let Some(place) = promise.location.clone() else {
            return Err(Lost::Broken("a 202 without a Location on this server".into()));
        };
        let mut reply = promise;
        // who cannot answer just now has not forgotten what it promised
        while reply.status == 202 || reply.is_refusal() {
            let next = Instant::now() + reply.retry_after.unwrap_or(LOOK_AGAIN);
            if next >= until {
                return Err(Lost::TooLate);
            }
            tokio::time::sleep_until(next).await;
            reply = self.get(connection, &place, until).await?;
        }
        Ok(reply)
    }

    /// One request and its answer, read whole.
    async fn exchange(
        &self,
        connection: &mut Connection,
        mut request: Request<Body>,
        until: Instant,
    ) -> Result<Reply, Lost> {
        let headers = request.headers_mut();
        headers.extend(self.target.host().map(|host| (HOST, host)));
        headers.extend(self.authorization.clone().map(|token| (AUTHORIZATION, token)));
        let answer = async {
            let response = self.send(connection, request).await?;
            let reply = self.read(response).await?;
            connection.used();
            Ok(reply)
        };
        let answer = tokio::time::timeout_at(until, answer).await.unwrap_or(Err(Lost::TooLate));
        if answer.is_err() {
            // an answer may still be on its way there, and would be taken for the next one's
            connection.0 = None;
        }
        answer
    }

    /// Sends over the connection at hand, or over a new one where that has ended without taking the request.
    async fn send(&self, connection: &mut Connection, request: Request<Body>) -> Result<Response<Incoming>, Lost> {
        let broken = |e: &hyper::Error| Lost::Broken(told(e));
        let mut request = request;
        if let Some(sender) = connection.live().await {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut e) => match e.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(e.error())),
                },
            }
        }
        self.open(connection).await?.send_request(request).await.map_err(|e| broken(&e))
    }

    async fn open<'c>(&self, connection: &'c mut Connection) -> Result<&'c mut SendRequest<Body>, Lost> {
        let unreachable = |e: String| Lost::Unreachable(self.target.clone(), e);
        let stream = self.target.connect().await.map_err(|e| unreachable(e.to_string()))?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(told(&e)))?;
        self.host.spawn("client.connection", async move {
            // whoever sent over it is told
            let _ = driver.await;
        });
        Ok(&mut connection.0.insert((sender, Instant::now())).0)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Reply, Lost> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        Ok(Reply {
            status: head.status.as_u16(),
            retry_after: text(&head.headers, &RETRY_AFTER).and_then(retry_after),
            location: text(&head.headers, &LOCATION).and_then(|location| self.target.path_of(location)),
            body: body.map_or_else(|e| Err(Lost::Broken(e.to_string())), |body| Ok::<Bytes, _>(body.to_bytes()))?,
        })
    }
}

impl Connection {
    /// The connection, if it may be used again.
    async fn live(&mut self) -> Option<&mut SendRequest<Body>> {
        let (sender, used) = self.0.as_mut()?;
        let live = used.elapsed() < LONGEST_IDLE && sender.ready().await.is_ok();
        live.then_some(sender)
    }

    fn used(&mut self) {
        if let Some((_, used)) = &mut self.0 {
            *used = Instant::now();
        }
    }
}

fn retry_after(seconds: &str) -> Option<Duration> {
    seconds.parse().ok().map(|seconds: u64| Duration::from_secs(seconds.min(LONGEST_RETRY)))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// An error with its causes: hyper's own says only in which of its steps it happened.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
