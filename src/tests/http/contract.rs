//! openapi.yaml: real answers of every route and error are held against it, and no code of an error is missing in it.

use crate::support::client::{Answer, form};
use crate::support::contract::{Contract, TEXT};
use crate::support::daemon::Options;
use crate::support::raw::{FORM, JSON, ask, get};
use crate::support::shared::{PLAIN, STRICT};
use crate::support::{eventually, images, root};
use bellows::edge::host::{Clock, Entropy};
use bellows::edge::queue::{self, Queue};
use bellows_core::message::{self, Request, VERSION};
use std::collections::BTreeSet;
use std::time::Duration;
use syn::visit::Visit;

const ASYNC: (&str, &str) = ("Prefer", "respond-async");
const ANY_ID: &str = "/results/8d5a6b1e-0c1d-4a51-9b1d-3f6f0b1d2c3e";

/// Asks, holds the answers against the contract, and remembers what was asked for.
struct Asked {
    contract: Contract,
    seen: BTreeSet<(String, String, u16)>,
}

impl Asked {
    fn ask(&mut self, status: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let daemon = if headers.contains(&("X-Strict", "1")) { &STRICT } else { &PLAIN };
        let answer = ask(&daemon.url, method, path, headers, body);
        assert_eq!(answer.status, status, "{method} {path} {headers:?}: {answer:?}");
        self.contract.allows(method, path, &answer);
        let template = self.contract.template(path).unwrap_or_default();
        self.seen.insert((template, method.to_lowercase(), status));
        answer
    }

    /// As JSON and as text.
    fn both(&mut self, status: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.ask(status, method, path, headers, body);
        self.ask(status, method, path, &[headers, &[JSON]].concat(), body);
    }
}

#[test]
fn real_answers_of_every_route_and_error_are_in_the_contract() {
    let mut asked = Asked { contract: Contract::load(), seen: BTreeSet::new() };
    plain(&mut asked);
    uploads(&mut asked);
    results(&mut asked);
    let paths = asked.contract.0["paths"].as_object().unwrap();
    let named = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
        methods.map(|method| (path.clone(), method.clone())).collect::<Vec<_>>()
    });
    for (path, method) in named.filter(|(path, _)| path != "/live") {
        assert!(
            asked.seen.iter().any(|(p, m, s)| (p, m, *s) == (&path, &method, 200)),
            "{method} {path} was not asked"
        );
    }
}

fn plain(asked: &mut Asked) {
    for path in ["/", "/style.css", "/script.js", "/openapi.yaml", "/healthz", "/readyz"] {
        asked.ask(200, "GET", path, &[], b"");
        asked.both(405, "DELETE", path, &[], b"");
    }
    asked.both(404, "GET", "/nothing", &[], b"");
    for (method, path) in [("GET", "/classify"), ("DELETE", "/classify/a.png"), ("PUT", ANY_ID), ("POST", "/live")] {
        asked.both(405, method, path, &[], b"");
    }
}

fn uploads(asked: &mut Asked) {
    let red = images::png([255, 0, 0], 50);
    let one = form(&[("inputFile", "a.png", &red)]);
    let three = [("f", "a.png", &red[..]), ("g", "b.png", &red[..red.len() / 2]), ("h", "c.png", b"no image, really")];
    let (three, cut) = (form(&three), &red[..red.len() / 2]);
    asked.both(200, "POST", "/", &[FORM], &one);
    asked.both(202, "POST", "/", &[FORM, ASYNC], &one);
    asked.both(400, "POST", "/", &[FORM], &one[..one.len() - 10]);
    asked.both(400, "POST", "/", &[], b"");
    for path in ["/classify", "/classify/a%20b.png"] {
        for method in ["POST", "PUT"] {
            asked.ask(200, method, path, &[], &red);
            asked.ask(200, method, path, &[FORM], &three);
            asked.ask(202, method, path, &[FORM, ASYNC], &three);
            asked.ask(415, method, path, &[], b"no image at all");
            asked.ask(415, method, path, &[], &images::container("heic"));
            asked.ask(422, method, path, &[], cut);
            asked.ask(422, method, path, &[], &images::huge());
        }
    }
    asked.ask(400, "PUT", "/classify/%ff.png", &[], &red);
    asked.ask(400, "PUT", &format!("/classify/{}.png", "n".repeat(5000)), &[], &red);
    let strict = ("X-Strict", "1");
    asked.ask(413, "PUT", "/classify", &[strict], &vec![0; (1 << 20) + 1]);
    asked.both(413, "POST", "/", &[FORM, strict], &form(&[("f", "a", &red[..]); 6]));
    asked.ask(408, "PUT", "/classify", &[strict, ("Content-Length", "5000")], b"");
}

fn results(asked: &mut Asked) {
    let red = images::png([255, 0, 0], 51);
    let path = |answer: &Answer| format!("/results/{}", answer.json()["request_id"].as_str().unwrap());
    let sound = path(&asked.ask(200, "PUT", "/classify", &[], &red));
    let broken = path(&asked.ask(422, "PUT", "/classify", &[], &red[..red.len() / 2]));
    asked.ask(200, "GET", &sound, &[], b"");
    asked.ask(200, "GET", &sound, &[("Accept", "text/plain")], b"");
    asked.both(422, "GET", &broken, &[], b"");
    asked.both(404, "GET", ANY_ID, &[], b"");
    let strict = ("X-Strict", "1");
    let late = path(&asked.ask(202, "PUT", "/classify", &[ASYNC, strict], &red));
    asked.ask(202, "GET", &late, &[strict], b"");
}

/// What no client can bring about: a message that came back too often, and one whose image is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_and_what_is_gone_are_in_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("queues")).unwrap();
    let store = queue::local::Store::open(dir.path().join("queues/request.db"), Clock::System).unwrap();
    let mut sent = Vec::new();
    for (name, status, code) in [("dead_letter_queue", 500, "dead-lettered"), ("request_queue", 410, "expired")] {
        let (visibility, retention) = (Duration::from_secs(30), Duration::from_hours(24));
        let settings = queue::Settings { name: name.into(), visibility, retention, dead_letters: None };
        let request = Request {
            v: VERSION,
            request_id: Entropy::System.request_id(),
            filename: "a.png".into(),
            key: "gone/a.png".into(),
            reply_to: "response_queue".into(),
            submitted_at: Clock::System.now(),
        };
        let queue = Queue::Local(store.queue(settings, false).unwrap());
        queue.send(message::encode(&request).unwrap()).await.unwrap();
        sent.push((format!("/results/{}", request.request_id), status, code));
    }
    let daemon = Options::new(dir.path()).start_warm(1);
    let contract = Contract::load();
    for (path, status, code) in sent {
        eventually(&format!("{path} is {code}"), Duration::from_secs(20), || get(&daemon.url, &path).status == status);
        let answer = get(&daemon.url, &path);
        assert_eq!(answer.json()["error"], code, "{answer:?}");
        contract.allows("GET", &path, &answer);
        contract.allows("GET", &path, &ask(&daemon.url, "GET", &path, &[("Accept", "text/plain")], b""));
    }
}

/// The texts in the function that names codes.
#[derive(Default)]
struct Codes {
    within: bool,
    found: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for Codes {
    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.within = ["parts", "code"].contains(&function.sig.ident.to_string().as_str());
        syn::visit::visit_impl_item_fn(self, function);
        self.within = false;
    }

    // what is written about the function is no code
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        if self.within {
            self.found.insert(text.value());
        }
    }
}

#[test]
fn every_code_is_in_the_contract() {
    let mut codes = Codes::default();
    for file in ["src/web/refusal.rs", "src/core/src/answer.rs"] {
        codes.visit_file(&syn::parse_file(&std::fs::read_to_string(root().join(file)).unwrap()).unwrap());
    }
    assert!(codes.found.len() > 20, "{:?}", codes.found);
    let contract = Contract::load();
    let told = contract.0["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
    let missing: Vec<&String> = codes.found.iter().filter(|code| !told.contains(&code.as_str().into())).collect();
    assert!(missing.is_empty(), "src/web/openapi.yaml does not have {missing:?}");
}

#[test]
fn it_is_served_as_it_is() {
    let answer = get(&PLAIN.url, "/openapi.yaml");
    assert_eq!((answer.header("content-type"), answer.body.as_str()), (Some("application/yaml"), TEXT));
    for path in ["/", "/style.css", "/script.js"] {
        let answer = ask(&PLAIN.url, "HEAD", path, &[], b"");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}
