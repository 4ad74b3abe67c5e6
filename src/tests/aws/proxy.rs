//! A way to the emulator on which calls fail, stall, break off and come twice, as the seed has it; and where they are
//! counted.

use bellows::edge::host::Entropy;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const LARGEST: usize = 64 << 20;
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What can happen to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 503, and nothing happened.
    Unavailable,
    /// 500, and it happened.
    Internal,
    Throttled,
    /// It takes up to half a minute, and then happens.
    Delay,
    /// The connection breaks before it happens, or after it did.
    DropBefore,
    DropAfter,
    /// It happens twice: a message sent is delivered twice, one received is lost for a lease.
    Twice,
}

const FAULTS: [Fault; 7] = [
    Fault::Unavailable,
    Fault::Internal,
    Fault::Throttled,
    Fault::Delay,
    Fault::DropBefore,
    Fault::DropAfter,
    Fault::Twice,
];

/// What a trap does, told the call.
pub type Spring = Box<dyn FnOnce(&str) + Send>;

/// Waits for one call, the first that is named so and has this in what is told of it: before it happens or after it
/// did, something is done, and its answer is lost.
pub struct Trap {
    pub call: &'static str,
    pub within: &'static str,
    pub after: bool,
    /// Told the address, whose credentials it came with, and the body.
    pub spring: Spring,
}

/// Ends with the test process.
#[derive(Clone)]
pub struct Proxy {
    /// What clients take for AWS's endpoint.
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the emulator is: host and port.
    upstream: String,
    entropy: Entropy,
    /// How many of a thousand calls meet a fault.
    per_mille: AtomicU32,
    calls: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<BTreeMap<Fault, u64>>,
    trap: Mutex<Option<Trap>>,
}

type Answer = io::Result<Response<Full<Bytes>>>;

impl Proxy {
    /// To `endpoint`, without faults until [`Proxy::fail`].
    pub fn start(endpoint: &str, seed: u64) -> Proxy {
        let (upstream, path) = endpoint.trim_start_matches("http://").split_once('/').unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.into(),
            entropy: Entropy::seeded(seed),
            per_mille: AtomicU32::new(0),
            calls: Mutex::default(),
            faults: Mutex::default(),
            trap: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/{path}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let serving = shared.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, serving));
        });
        Proxy { endpoint, shared }
    }

    /// From now on so many of a thousand calls meet a fault.
    pub fn fail(&self, per_mille: u32) {
        self.shared.per_mille.store(per_mille, Ordering::Relaxed);
    }

    pub fn set(&self, trap: Trap) {
        *self.shared.trap.lock().unwrap() = Some(trap);
    }

    /// Whether the trap that was set has met its call.
    pub fn is_sprung(&self) -> bool {
        self.shared.trap.lock().unwrap().is_none()
    }

    /// Calls by name.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Faults that were met.
    pub fn faults(&self) -> BTreeMap<Fault, u64> {
        self.shared.faults.lock().unwrap().clone()
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| shared.clone().answer(request));
            // a broken connection is what this is for
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Shared {
    async fn answer(self: Arc<Shared>, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, LARGEST).collect().await.map_err(io::Error::other)?.to_bytes();
        let request = Request::from_parts(head, body);
        *self.calls.lock().unwrap().entry(operation(&request)).or_default() += 1;
        if let Some((trap, told)) = self.trapped(&request) {
            if trap.after {
                self.carry(&request).await?;
            }
            (trap.spring)(&told);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let Some(fault) = self.draw() else { return self.carry(&request).await };
        *self.faults.lock().unwrap().entry(fault).or_default() += 1;
        match fault {
            Fault::Unavailable => Ok(refusal(&request, 503, "ServiceUnavailable")),
            Fault::Throttled => Ok(refusal(&request, 0, "")),
            Fault::DropBefore => Err(io::ErrorKind::ConnectionReset.into()),
            Fault::Delay => {
                tokio::time::sleep(LONGEST_DELAY.mul_f64(self.entropy.fraction())).await;
                self.carry(&request).await
            }
            Fault::Internal => {
                self.carry(&request).await?;
                Ok(refusal(&request, 500, "InternalError"))
            }
            Fault::DropAfter => {
                self.carry(&request).await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Fault::Twice => {
                self.carry(&request).await?;
                self.carry(&request).await
            }
        }
    }

    /// The trap, if this is its call; and what the call says.
    fn trapped(&self, request: &Request<Bytes>) -> Option<(Trap, String)> {
        let mut trap = self.trap.lock().unwrap();
        let body = String::from_utf8_lossy(request.body());
        let told = format!("{} {:?} {body}", request.uri(), request.headers().get(AUTHORIZATION));
        let fits = |trap: &Trap| trap.call == operation(request) && told.contains(trap.within);
        trap.take_if(|trap| fits(trap)).map(|trap| (trap, told))
    }

    fn draw(&self) -> Option<Fault> {
        let met = self.entropy.fraction() * 1000.0 < f64::from(self.per_mille.load(Ordering::Relaxed));
        let which = (self.entropy.fraction() * FAULTS.len() as f64) as usize;
        met.then(|| FAULTS[which])
    }

    /// One call to the emulator, on a connection of its own.
    async fn carry(&self, request: &Request<Bytes>) -> Answer {
        let stream = TcpStream::connect(&self.upstream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let mut call = Request::new(Full::new(request.body().clone()));
        *call.method_mut() = request.method().clone();
        *call.uri_mut() = request.uri().clone();
        *call.headers_mut() = request.headers().clone();
        let (mut head, body) = sender.send_request(call).await.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if request.method() != Method::HEAD {
            // the length is known again
            head.headers.remove("transfer-encoding");
        }
        Ok(Response::from_parts(head, Full::new(body)))
    }
}

/// Which protocol a call speaks.
enum Protocol {
    /// SQS.
    Json(String),
    /// EC2.
    Query(String),
    /// S3.
    Rest,
}

fn protocol(request: &Request<Bytes>) -> Protocol {
    if let Some(target) = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()) {
        return Protocol::Json(target.rsplit('.').next().unwrap().into());
    }
    let body = String::from_utf8_lossy(&request.body()[..request.body().len().min(2000)]).into_owned();
    match body.split('&').find_map(|pair| pair.strip_prefix("Action=")) {
        Some(action) if request.method() == Method::POST => Protocol::Query(action.into()),
        _ => Protocol::Rest,
    }
}

/// What a call is named after: `SendMessageBatch`, `RunInstances`; those of S3 by their method.
fn operation(request: &Request<Bytes>) -> String {
    match protocol(request) {
        Protocol::Json(name) | Protocol::Query(name) => name,
        Protocol::Rest if request.uri().query().is_some_and(|query| query.contains("list-type")) => "LIST".into(),
        Protocol::Rest => request.method().to_string(),
    }
}

/// An error as the service words it; without a code: throttling.
fn refusal(request: &Request<Bytes>, status: u16, code: &str) -> Response<Full<Bytes>> {
    let (throttling, throttled) = match protocol(request) {
        Protocol::Json(_) => ("ThrottlingException", 400),
        Protocol::Query(_) => ("RequestLimitExceeded", 503),
        Protocol::Rest => ("SlowDown", 503),
    };
    let (code, status) = if code.is_empty() { (throttling, throttled) } else { (code, status) };
    let (kind, text) = match protocol(request) {
        Protocol::Json(_) => ("application/x-amz-json-1.0", format!("{{\"__type\":\"com.amazonaws.sqs#{code}\"}}")),
        Protocol::Query(_) => (
            "text/xml",
            format!("<Response><Errors><Error><Code>{code}</Code><Message>drawn</Message></Error></Errors></Response>"),
        ),
        Protocol::Rest => ("application/xml", format!("<Error><Code>{code}</Code><Message>drawn</Message></Error>")),
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status.try_into().unwrap();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
