use super::*;
use crate::web::refusal::close;
use crate::web::reply::text;
use bellows_core::key::RequestId;
use hyper::StatusCode;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(10);

/// A connection whose handler panics for /panic and answers `ok` otherwise.
struct Served {
    client: DuplexStream,
    ended: tokio::task::JoinHandle<Ended>,
    /// Dropped, it would shut the connection down.
    _graceful: GracefulShutdown,
}

fn serve_one() -> Served {
    let (client, server) = tokio::io::duplex(1 << 20);
    let graceful = GracefulShutdown::new();
    let watcher = graceful.watcher();
    let answer = |request: Request<Incoming>| async move {
        let head = Head::of(&request, RequestId(Uuid::from_u128(7)));
        let handler = async {
            assert!(head.path != "/panic", "as the test wants it");
            (Route::Other, text(StatusCode::OK, "ok"))
        };
        guarded(&head, handler).await.1
    };
    #[expect(clippy::disallowed_methods, reason = "a test has no host")]
    let ended = tokio::spawn(connection(server, watcher, DEADLINE, answer));
    Served { client, ended, _graceful: graceful }
}

/// All that comes back for `sent`, after which the client half-closes.
async fn ask(sent: &[u8]) -> String {
    let mut served = serve_one();
    served.client.write_all(sent).await.unwrap();
    served.client.shutdown().await.unwrap();
    let mut answer = String::new();
    served.client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_500_that_names_the_request() {
    let answer = ask(b"GET /panic HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nX-Request-Id: me\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(answer.contains("x-request-id: me\r\n") && answer.contains("connection: close\r\n"), "{answer}");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&json["error"], &json["request_id"]), (&"internal".into(), &"me".into()));
}

#[tokio::test(start_paused = true)]
async fn a_whole_request_is_answered_after_a_half_close() {
    assert!(ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.ends_with("\r\n\r\nok"));
    assert!(ask(b"GET / HTTP/1.0\r\n\r\n").await.ends_with("\r\n\r\nok"));
}

#[tokio::test(start_paused = true)]
async fn request_ids_are_echoed_byte_for_byte_or_replaced() {
    let fresh = Uuid::from_u128(7).to_string();
    let ask = |id: Vec<u8>| async move {
        let answer = ask(&[b"GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: ".as_slice(), &id, b"\r\n\r\n"].concat()).await;
        let line = answer.lines().find_map(|line| line.strip_prefix("x-request-id: "));
        line.map(str::to_owned)
    };
    for good in ["a", "A b~!\"{}", &"x".repeat(128)] {
        assert_eq!(ask(good.into()).await.as_deref(), Some(good));
    }
    for bad in ["", &"x".repeat(129), "tab\tinside", "gr\u{fc}n"] {
        assert_eq!(ask(bad.into()).await.as_deref(), Some(fresh.as_str()), "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_no_head_is_closed_at_the_deadline() {
    for sent in ["", "GET / HTTP/1.1\r\nHo"] {
        let mut served = serve_one();
        served.client.write_all(sent.as_bytes()).await.unwrap();
        let began = Instant::now();
        let mut answer = String::new();
        served.client.read_to_string(&mut answer).await.unwrap();
        assert!(began.elapsed() >= DEADLINE && began.elapsed() < DEADLINE * 2, "{:?}", began.elapsed());
        assert_eq!(served.ended.await.unwrap(), Ended::Silent);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_length_never_gets_a_second_answer() {
    let smuggled = "GET /second HTTP/1.1\r\nHost: h\r\n\r\n";
    for head in [
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 5, 0\r\n\r\n",
        "Content-Length: +5\r\n\r\nhello",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ] {
        let answer = ask(format!("POST / HTTP/1.1\r\nHost: h\r\n{head}{smuggled}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_too_large_is_refused() {
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "x".repeat(900_000));
    let answer = ask(long.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_closed_answer_says_so() {
    let response = close(Refusal::NotFound.response(false, "id"));
    assert_eq!(response.headers()[hyper::header::CONNECTION], "close");
}
