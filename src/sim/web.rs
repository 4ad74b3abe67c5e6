//! A web tier as the daemon runs it: uploads, waiters and a controller in one process.

use super::process::{Controller, Line};
use super::world::World;
use crate::config::ResponseFormat;
use crate::metrics::Metrics;
use crate::status::Status;
use crate::web::{self, Outcome, Web};
use crate::{controller, edge::host::Ending};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The process, and the part of it that takes uploads.
#[derive(Debug)]
pub struct WebTier {
    pub controller: Controller,
    pub name: String,
    web: Web,
}

/// Waits of clients, and of a web tier that stops.
const WAIT: Duration = Duration::from_mins(2);
const DRAIN: Duration = Duration::from_secs(20);

impl World {
    /// Starts a web tier; `name` is the process's, `owner` that of its machine.
    pub fn start_web_tier(&self, name: &str, owner: &str) -> WebTier {
        let host = self.new_host(name);
        let line = Line::new(host.clone(), name, Vec::new(), self.chaos.clone());
        let wire = line.wire();
        let (metrics, status) = (Arc::new(Metrics::new(host.clock.now())), Arc::new(Status::new(0)));
        let edges = web::Edges {
            requests: World::queue(&self.requests, &wire),
            responses: World::queue(&self.responses, &wire),
            input: World::bucket(&self.input, &wire),
            output: World::bucket(&self.output, &wire),
            host: host.clone(),
        };
        let web = Web::new(edges, self.web_settings(), metrics.clone(), status.clone());
        let stop = CancellationToken::new();
        let run = controller::run(
            self.controller_edges(&wire, &host),
            self.controller_settings(owner),
            metrics.clone(),
            status.clone(),
            stop.clone(),
            self.settings.job_deadline * 2,
        );
        web.start();
        let ending = host.clone();
        host.spawn("controller", async move {
            run.await;
            ending.end(Ending::Drained);
        });
        WebTier { controller: Controller { host, line, stop, status, metrics }, name: name.into(), web }
    }

    fn web_settings(&self) -> web::Settings {
        web::Settings {
            wait: WAIT,
            drain: DRAIN,
            header_timeout: WAIT,
            body_timeout: WAIT,
            max_body: 1 << 20,
            max_files: 1,
            max_connections: 1024,
            body_budget: 64 << 20,
            response_format: ResponseFormat::Text,
            tokens: Vec::new(),
            allow_anonymous: true,
            request_ttl: self.settings.retention.request_ttl,
            reply_to: "response_queue".into(),
            barrier: None,
        }
    }
}

impl WebTier {
    /// Uploads an image as a client does: what it is told, or nothing where the connection breaks.
    pub fn upload(&self, file: String, image: Bytes) -> oneshot::Receiver<Outcome> {
        let (told, outcome) = oneshot::channel();
        let web = self.web.clone();
        self.controller.host.spawn("connection", async move {
            let _ = told.send(web.classify_one(&file, image).await);
        });
        outcome
    }

    /// Clients that wait for an answer of this process.
    pub fn waiting(&self) -> usize {
        self.web.waiting()
    }

    /// SIGTERM, as the daemon takes it: who waits has some time left, then the process ends.
    pub async fn stop(&self) {
        self.controller.stop();
        self.controller.status.drain();
        let drained = async {
            while self.waiting() > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let _ = tokio::time::timeout(DRAIN, drained).await;
        self.web.dismiss();
        self.controller.host.ended().await;
        self.controller.host.drain(Duration::from_secs(1)).await;
        self.controller.kill();
    }
}
