//! A client's socket, shared between the connection that reads and writes it and whoever asks whether the client is
//! still there.
//!
//! A client that half-closes after its request still gets its answer, so an end of its data says nothing; hyper does
//! not look for more (`half_close`). What does tell is an error on the socket: a reset, or keep-alive probes that meet
//! nobody. A client that closes its socket is found out by the probe after its system has forgotten the socket: on
//! Linux 60 s (`tcp_fin_timeout`) and one interval after the close. One that resets is found out within [`LOOK_EVERY`].

use rustix::net::{Shutdown, shutdown, sockopt};
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How often somebody who waits looks whether the client is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An idle connection is probed after this, and so often again; after so many unanswered probes it is dead.
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 6;
/// How long what a client still sends is read and thrown away after its last answer: closing at once would make its
/// system drop the answer before the client has read it.
const LINGER: Duration = Duration::from_secs(10);
/// A client that sends nothing more for so long is done.
const LINGER_IDLE: Duration = Duration::from_secs(2);

/// One client's socket. Clones are the same socket; it is closed with the last of them.
#[derive(Clone, Debug)]
pub(super) struct Peer(Arc<TcpStream>);

impl Peer {
    pub(super) fn new(stream: TcpStream) -> Peer {
        // without these it works as well, only slower to find out
        let _ = stream.set_nodelay(true);
        let _ = sockopt::set_socket_keepalive(&stream, true)
            .and_then(|()| sockopt::set_tcp_keepidle(&stream, PROBE_EVERY))
            .and_then(|()| sockopt::set_tcp_keepintvl(&stream, PROBE_EVERY))
            .and_then(|()| sockopt::set_tcp_keepcnt(&stream, PROBES));
        Peer(Arc::new(stream))
    }

    /// Returns once nobody is there to read an answer. Never for one who merely sends nothing more.
    pub(super) async fn gone(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // a socket that was reset has an error, or had one and is no longer connected
            if !matches!(self.0.take_error(), Ok(None)) || self.0.peer_addr().is_err() {
                return;
            }
        }
    }

    /// Ends our side and reads on until the client has ended its own, within limits.
    pub(super) async fn linger(mut self) {
        let _ = shutdown(&*self.0, Shutdown::Write);
        let mut waste = vec![0; 16 * 1024];
        let read_on =
            async { while let Ok(Ok(1..)) = tokio::time::timeout(LINGER_IDLE, self.read(&mut waste)).await {} };
        let _ = tokio::time::timeout(LINGER, read_on).await;
    }
}

impl AsyncRead for Peer {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done.map(|_| ())),
            }
        }
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(slices) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shutdown(&*self.0, Shutdown::Write).map_err(io::Error::from))
    }
}
