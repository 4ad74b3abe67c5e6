//! A hundred clients at once, each with another photograph, and the default model: each gets its own answer, and it is
//! the one that the Python pipeline gives.

use crate::model::agreement::{Agreement, PHOTOGRAPHS, Photograph};
use crate::support::client::Answer;
use crate::support::daemon::{Daemon, Options};
use crate::support::raw::{JSON, ask, post};
use serde_json::Value;
use std::thread;

/// So many photographs are sent once more, in one form, while the others come one by one.
const BATCH: usize = 20;

/// One photograph, in the way that its number says.
fn send(daemon: &Daemon, number: usize, Photograph { file, bytes, .. }: &Photograph) -> Answer {
    match number % 3 {
        0 => post(&daemon.url, "/", &[("myfile", file, bytes)], &[JSON]),
        1 => post(&daemon.url, "/", &[("inputFile", file, bytes)], &[JSON]),
        _ => ask(&daemon.url, "PUT", &format!("/classify/{file}"), &[], bytes),
    }
}

fn send_batch(daemon: &Daemon, photographs: &[Photograph]) -> Answer {
    let parts: Vec<(&str, &str, &[u8])> = photographs.iter().map(|p| ("image", &*p.file, &*p.bytes)).collect();
    post(&daemon.url, "/classify", &parts, &[])
}

/// Whose bytes an answer is about, and the best class.
fn told(photograph: &Photograph, answer: &Value) -> (String, u32) {
    assert_eq!(answer["file"], photograph.file, "{answer}");
    let best = &answer["predictions"][0];
    assert_eq!(answer["label"], best["label"], "{answer}");
    (answer["sha256"].as_str().unwrap().to_owned(), best["index"].as_u64().unwrap() as u32)
}

#[test]
fn a_hundred_clients_each_get_their_own_answer() {
    let Some(photographs) = &*PHOTOGRAPHS else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path()).set("pool.min_instances=2");
    options.settings.retain(|setting| !setting.starts_with("model.manifest"));
    let daemon = options.start_warm(2);
    let (answers, batch): (Vec<Answer>, Answer) = thread::scope(|scope| {
        let daemon = &daemon;
        let batch = scope.spawn(|| send_batch(daemon, &photographs[..BATCH]));
        let numbered = photographs.iter().enumerate();
        let clients: Vec<_> =
            numbered.map(|(n, photograph)| scope.spawn(move || send(daemon, n, photograph))).collect();
        (clients.into_iter().map(|client| client.join().unwrap()).collect(), batch.join().unwrap())
    });
    let mut agreement = Agreement::default();
    for (photograph, answer) in photographs.iter().zip(&answers) {
        assert_eq!(answer.status, 200, "{answer:?}");
        let (sha256, top1) = told(photograph, &answer.json());
        agreement.saw(photograph, &sha256, top1);
    }
    agreement.check();
    assert_eq!(batch.status, 200, "{batch:?}");
    let (batch, singly) = (batch.json(), answers.iter().map(Answer::json));
    let children = batch["results"].as_array().unwrap();
    assert_eq!(children.len(), BATCH);
    for ((photograph, child), single) in photographs.iter().zip(children).zip(singly) {
        assert_eq!(told(photograph, child), told(photograph, &single));
    }
}
