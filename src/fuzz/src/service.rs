//! A web tier on edges in memory, and somebody behind it who answers.

use bellows::config::{ResponseFormat, Token};
use bellows::edge::bucket::{self, Bucket};
use bellows::edge::host::{Clock, Entropy, Host};
use bellows::edge::queue::{self, Queue};
use bellows::metrics::Metrics;
use bellows::status::Status;
use bellows::web::{Edges, Settings, Web};
use bellows_core::answer::{Answer, Classified, Failed, Model, Prediction, Reason, Timings, Worker};
use bellows_core::key;
use bellows_core::message::{self, Parsed, Request, Response};
use bellows_core::time::Timestamp;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MAX_BODY: u64 = 64 * 1024;
pub const MAX_FILES: usize = 8;
/// Longest time a connection may take after its client's last byte: all deadlines of the settings, one after another.
pub const LONGEST: Duration = Duration::from_secs(60);
/// An image that is accepted and labelled.
pub const GOOD: &[u8] = b"GIF89a\x01\0\x01\0\0\0\0;good";
/// What `GOOD` is.
pub const LABEL: &str = "tabby";

/// Stored images as they were found, by the name the client gave them.
pub type Accepted = Vec<(String, Bytes)>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub web: Web,
    pub host: Host,
    edges: Edges,
    accepted: Arc<Mutex<Accepted>>,
    /// What every image gets for an answer, where it is given.
    answer: Option<Answer>,
}

impl Default for Service {
    fn default() -> Service {
        Service::new()
    }
}

impl Service {
    /// The service with its worker. Call it in virtual time.
    pub fn new() -> Service {
        Service::with(None)
    }

    /// The same, where every image is answered alike.
    pub fn answering(answer: Answer) -> Service {
        Service::with(Some(answer))
    }

    fn with(answer: Option<Answer>) -> Service {
        let host = Host::new(Clock::virtual_from(Timestamp(1_767_225_600_000)), Entropy::seeded(7));
        let store = queue::memory::Store::new(host.clock.clone());
        let open = |name: &str| {
            let retention = Duration::from_hours(96);
            let settings =
                queue::Settings { name: name.into(), visibility: SECOND * 30, retention, dead_letters: None };
            Queue::Memory(store.queue(settings).expect("a queue in memory opens"))
        };
        let bucket = || Bucket::Memory(bucket::memory::Bucket::new(host.clock.clone()));
        let edges = Edges {
            requests: open("request_queue"),
            responses: open("response_queue"),
            input: bucket(),
            output: bucket(),
            host: host.clone(),
        };
        let (metrics, status) = (Arc::new(Metrics::new(host.clock.now())), Arc::new(Status::new(0)));
        let web = Web::new(edges.clone(), settings(), metrics, Arc::clone(&status));
        web.start();
        let service = Service { web, host: host.clone(), edges, accepted: Arc::default(), answer };
        let worker = service.clone();
        host.spawn("worker", async move { worker.work().await });
        // as a controller would: without it the service says after a while that its queue is not read
        host.spawn("controller", async move {
            loop {
                status.queue_was_read();
                tokio::time::sleep(SECOND * 5).await;
            }
        });
        service
    }

    /// Takes what was accepted so far.
    pub fn take_accepted(&self) -> Accepted {
        std::mem::take(&mut self.accepted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing of any upload is left in memory.
    pub fn assert_idle(&self) {
        assert_eq!(self.web.waiting(), 0, "nobody asks any more, and somebody waits");
        assert_eq!(self.web.room(), MAX_BODY * 2, "nobody asks any more, and memory is set aside");
    }

    /// Answers what is asked, some of it late, lost or not at all.
    async fn work(self) {
        loop {
            let received = self.edges.requests.receive(10, SECOND * 20, &self.host.stop).await;
            for delivery in received.expect("the queue works") {
                let Parsed::Ok(request) = message::parse::<Request>(&delivery.body) else {
                    panic!("a request that nobody can read: {}", delivery.body);
                };
                let stored = self.edges.input.get(&request.key).await.expect("the bucket works");
                let image = stored.expect("an image is stored before its message is sent").bytes;
                self.accepted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((request.filename.clone(), image.clone()));
                self.answer(&request, &image).await;
                self.edges.requests.delete(&delivery.receipt).await.expect("the lease holds");
            }
        }
    }

    async fn answer(&self, request: &Request, image: &[u8]) {
        // by its last byte, so that a fuzzer can have each
        let way = image.last().copied().unwrap_or_default();
        let answer = match &self.answer {
            Some(Answer::Classified(given)) => {
                Answer::Classified(Box::new(Classified { request_id: request.request_id, ..(**given).clone() }))
            }
            Some(Answer::Failed(given)) => Answer::Failed(Failed { request_id: request.request_id, ..given.clone() }),
            None if way % 4 == 1 => {
                Answer::failed(Reason::Undecodable, "it is broken", request.request_id, request.filename.as_str())
            }
            None => Answer::Classified(Box::new(classified(request))),
        };
        if way == b'!' {
            return;
        }
        let body = serde_json::to_vec(&answer).expect("an answer is plain data");
        let put = self.edges.output.put_if_absent(&key::result(request.request_id), body.into()).await;
        put.expect("the bucket works");
        if way != b'?' {
            // one that is too long for a message is found where results are kept
            if let Ok(body) = message::encode(&Response::new(answer, 1.0)) {
                self.edges.responses.send(body).await.expect("the queue works");
            }
        }
    }
}

fn classified(request: &Request) -> Classified {
    Classified {
        request_id: request.request_id,
        file: request.filename.clone(),
        sha256: "00".repeat(32),
        label: LABEL.into(),
        predictions: vec![Prediction { index: 281, label: LABEL.into(), probability: 0.75 }],
        model: Model { name: "m".into(), sha256: "00".repeat(32), engine: "e".into() },
        worker: Worker { app_tier_id: 1, instance_id: "i-1".into() },
        timings_ms: Timings { queue: 1.0, fetch: 1.0, decode: 1.0, infer: 1.0, total: 4.0 },
    }
}

/// Small and strict, and with one token, `secret`, that nobody needs.
fn settings() -> Settings {
    let sha256 = [
        0x2b, 0xb8, 0x0d, 0x53, 0x7b, 0x1d, 0xa3, 0xe3, 0x8b, 0xd3, 0x03, 0x61, 0xaa, 0x85, 0x56, 0x86, 0xbd, 0xe0,
        0xea, 0xcd, 0x71, 0x62, 0xfe, 0xf6, 0xa2, 0x5f, 0xe9, 0x7b, 0xf5, 0x27, 0xa2, 0x5b,
    ];
    Settings {
        wait: SECOND * 12,
        drain: SECOND,
        header_timeout: SECOND * 2,
        body_timeout: SECOND * 3,
        max_body: MAX_BODY,
        max_files: MAX_FILES,
        max_connections: 4,
        body_budget: MAX_BODY * 2,
        response_format: ResponseFormat::Text,
        tokens: vec![Token { name: "t".into(), sha256, max_outstanding: Some(3) }],
        allow_anonymous: true,
        request_ttl: Duration::from_hours(72),
        reply_to: "response_queue".into(),
        barrier: None,
    }
}
