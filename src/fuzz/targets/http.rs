//! Any bytes as a connection to the whole web server, and to its metrics listener.

#![no_main]

use bellows_fuzz::memory::{Counted, most_in};
use bellows_fuzz::service::{GOOD, LABEL, Service};
use bellows_fuzz::talk::{Listener, Manners, talk};
use bellows_fuzz::virtually;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// What the service and its client may have in use: bodies, heads and answers are all bounded.
const MOST: usize = 24 << 20;

fuzz_target!(|sent: &[u8]| {
    let ((), most) = most_in(|| virtually(converse(sent)));
    assert!(most < MOST, "{most} bytes in use for {} bytes sent", sent.len());
});

async fn converse(sent: &[u8]) {
    let service = Service::new();
    let half_close = sent.len().is_multiple_of(2);
    let whole = Manners { piece: usize::MAX, half_close, listener: Listener::Public };
    let at_once = talk(&service, sent, whole).await;
    service.assert_idle();
    // how the network cuts it changes nothing; only how many requests fit behind one whose body nobody read may differ
    let in_pieces = talk(&service, sent, Manners { piece: sent.len() / 13 + 1, ..whole }).await;
    service.assert_idle();
    for (one, other) in at_once.iter().zip(&in_pieces) {
        assert_eq!(one.status, other.status, "{at_once:?} at once and {in_pieces:?} in pieces");
    }
    talk(&service, sent, Manners { listener: Listener::Metrics, ..whole }).await;
    well(&service).await;
}

/// A good image is answered right after it all.
async fn well(service: &Service) {
    let head = format!("PUT /classify/good.gif HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", GOOD.len());
    let manners = Manners { piece: usize::MAX, half_close: true, listener: Listener::Public };
    let answers = talk(service, &[head.as_bytes(), GOOD].concat(), manners).await;
    let [answer] = answers.as_slice() else { panic!("one answer expected: {answers:?}") };
    let body = String::from_utf8_lossy(&answer.body);
    assert!(answer.status == 200 && body.contains(LABEL), "{}: {body}", answer.status);
    service.assert_idle();
}
