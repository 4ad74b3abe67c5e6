//! The accept loop: bounded connections, deadlines, panics answered, and a drain that leaves nobody without an answer.

use super::peer::Peer;
use super::reply::HttpResponse;
use super::routes::{Head, named};
use super::{Refusal, Web, refusal};
use crate::edge::host::WAKE;
use crate::metrics::{Label, Route};
use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After accept failed for want of something on our side.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);
/// How long answers already on their way may take once waiters are dismissed.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Largest request head in bytes, and most headers in it. Each connection that has sent a large body keeps a buffer of
/// this size until its answer.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 128;
/// Connections at the metrics listener.
const METRICS_CONNECTIONS: usize = 32;

/// Serves the public listener until the host stops, then drains: no new connections, `web.drain` for those who wait,
/// a 202 for the rest.
pub async fn serve(web: Web, listener: TcpListener) {
    let stop = web.0.edges.host.stop.clone();
    let limit = Arc::new(Semaphore::new(web.0.settings.max_connections));
    let graceful = GracefulShutdown::new();
    accept(&listener, &limit, &stop, |stream, permit| {
        let (serving, watcher, peer) = (web.clone(), graceful.watcher(), Peer::new(stream));
        web.0.edges.host.spawn("connection", async move {
            if serving.outside(peer.clone(), Some(peer.clone()), watcher).await == Ended::Answered {
                peer.linger().await;
            }
            drop(permit);
        });
    })
    .await;
    web.0.status.drain();
    drop(listener);
    web.drain(graceful).await;
}

/// Serves /metrics and what else shows the inside on their own listener until the host's tasks end.
pub async fn serve_metrics(web: Web, listener: TcpListener) {
    let limit = Arc::new(Semaphore::new(METRICS_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let done = web.0.dismissed.clone();
    accept(&listener, &limit, &done, |stream, permit| {
        let (serving, watcher) = (web.clone(), graceful.watcher());
        web.0.edges.host.spawn("metrics", async move {
            serving.inside(Peer::new(stream), watcher).await;
            drop(permit);
        });
    })
    .await;
    let _ = tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await;
}

/// Accepts connections while there are permits for them, until `stop`.
async fn accept(
    listener: &TcpListener,
    limit: &Arc<Semaphore>,
    stop: &CancellationToken,
    mut serve: impl FnMut(TcpStream, tokio::sync::OwnedSemaphorePermit),
) {
    loop {
        let next = async {
            let permit = limit.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = next => next,
            () = tokio::time::sleep(WAKE) => continue,
        };
        match (permit, accepted) {
            (Ok(permit), Ok((stream, _))) => {
                serve(stream, permit);
            }
            // the client's doing, gone already
            (_, Err(e))
                if matches!(
                    e.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
                ) => {}
            (_, Err(e)) => {
                tracing::warn!(error = %e, "connections cannot be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
            (Err(_), _) => return,
        }
    }
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// All was said: what the client still sends is of no interest.
    Answered,
    /// No complete request head within its deadline.
    Silent,
}

/// One connection, from its first head to its last answer.
async fn connection<T, F, Fut>(stream: T, watcher: Watcher, header_timeout: Duration, answer: F) -> Ended
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Fn(Request<Incoming>) -> Fut,
    Fut: Future<Output = HttpResponse>,
{
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    match watcher.watch(connection).await {
        Err(e) if e.is_timeout() => Ended::Silent,
        Err(e) => {
            // what clients do wrong on their own connection is none of our errors
            tracing::debug!(error = %e, "a connection ended early");
            Ended::Answered
        }
        Ok(()) => Ended::Answered,
    }
}

/// The answer of `handler`, whatever happens in it: a panic is a 500.
async fn guarded<Fut>(head: &Head, handler: Fut) -> (Route, HttpResponse)
where
    Fut: Future<Output = (Route, HttpResponse)>,
{
    let (route, response) = AssertUnwindSafe(handler).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(client.request_id = head.id, http.path = head.path, "a request handler panicked");
        (Route::Other, refusal::close(Refusal::Internal.response(head.json, &head.id)))
    });
    (route, named(response, &head.id))
}

impl Web {
    /// Speaks with one client of the public listener over a stream of any kind, until its last answer. Where the stream
    /// is no socket nobody can tell whether a client that waits is still there.
    pub async fn converse<T>(&self, stream: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        // kept until the end: dropped, it would shut the connection down
        let graceful = GracefulShutdown::new();
        self.outside(stream, None, graceful.watcher()).await;
    }

    /// The same with a client of the metrics listener.
    pub async fn converse_inside<T>(&self, stream: T)
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let graceful = GracefulShutdown::new();
        self.inside(stream, graceful.watcher()).await;
    }

    async fn outside<T>(&self, stream: T, peer: Option<Peer>, watcher: Watcher) -> Ended
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let answer = |mut request: Request<Incoming>| {
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            let web = self.clone();
            async move { web.answer(request).await }
        };
        connection(stream, watcher, self.0.settings.header_timeout, answer).await
    }

    async fn inside<T>(&self, stream: T, watcher: Watcher)
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let answer = |request: Request<Incoming>| {
            let response = self.inspect(&request);
            async move { response }
        };
        connection(stream, watcher, self.0.settings.header_timeout, answer).await;
    }

    /// Answers one request, counts it and logs it.
    async fn answer(&self, request: Request<Incoming>) -> HttpResponse {
        let began = Instant::now();
        let head = Head::of(&request, self.new_id());
        let (route, response) = guarded(&head, self.handle(request, &head)).await;
        let (status, took) = (response.status().as_u16(), began.elapsed());
        self.0.metrics.http_answered(route, status, took);
        tracing::debug!(
            client.request_id = head.id,
            http.route = route.as_str(),
            http.status = status,
            http.duration_ms = took.as_millis() as u64,
            "answered"
        );
        response
    }

    /// Gives those who wait until `web.drain`, then a 202; then what is on its way may leave.
    async fn drain(&self, graceful: GracefulShutdown) {
        let shutdown = graceful.shutdown();
        tokio::pin!(shutdown);
        if tokio::time::timeout(self.0.settings.drain, &mut shutdown).await.is_err() {
            tracing::info!(waiters = self.0.waiters.len(), "those who still wait are told where their answer will be");
            self.0.dismissed.cancel();
            let _ = tokio::time::timeout(LAST_ANSWERS, &mut shutdown).await;
        }
        self.0.dismissed.cancel();
    }
}

#[cfg(test)]
mod tests;
