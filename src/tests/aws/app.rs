//! A real app instance on SQS and S3: uploads, objects that somebody put, redeliveries, its end.

use crate::support::client::sha256;
use crate::support::daemon::signal;
use crate::support::emulator::{self, KEY, Place, REGION};
use crate::support::{data_dir, images, root};
use bellows::edge::bucket::{self, Bucket};
use bellows::edge::host::Host;
use bellows::edge::queue::{self, Queue};
use bellows_core::answer::Answer;
use bellows_core::incoming;
use bellows_core::key::{self, RequestId};
use bellows_core::message::{self, Notice, Parsed, Request, Response, VERSION, WorkerState};
use bellows_core::time::Timestamp;
use bytes::Bytes;
use rustix::process::Signal;
use serde_json::json;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const VISIBILITY: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(90);
const QUEUES: [&str; 5] = ["request", "response", "terminate_request", "terminate_confirm", "dead"];

/// Everything a deployment has, in the emulator.
pub struct Account {
    pub place: Place,
    pub input: String,
    pub output: String,
}

/// A process that ends with the test.
struct Instance(Child);

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Account {
    pub fn new() -> Account {
        let place = Place::new();
        let (input, output) = (place.bucket("input"), place.bucket("output"));
        let urls = QUEUES.map(|name| place.queue(name));
        let arn = |name: &str| format!("arn:aws:sqs:{REGION}:123456789012:{}", place.named(name));
        let redrive = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": 10 }).to_string();
        let attributes = json!({ "VisibilityTimeout": "30", "RedrivePolicy": redrive });
        place.sqs("SetQueueAttributes", &json!({ "QueueUrl": urls[0], "Attributes": attributes }));
        place.notify(&input, &arn("request"));
        Account { place, input, output }
    }

    pub fn url(&self, queue: &str) -> String {
        self.place.queue(queue)
    }

    pub fn queue(&self, queue: &str) -> Queue {
        Queue::Aws(queue::aws::Queue::open(&self.place.clients, &self.url(queue), VISIBILITY, &Host::system()))
    }

    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket::Aws(bucket::aws::Bucket::open(&self.place.clients, name, 1 << 24))
    }

    /// The daemon with what Terraform tells it, and the emulator in the place of AWS.
    pub fn command(&self, role: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellows"));
        command.args(["run", "--role", role]);
        let settings = [
            ("backend", "aws".to_owned()),
            ("aws.region", REGION.into()),
            ("aws.endpoint", self.place.endpoint.clone()),
            ("bucket.input", self.input.clone()),
            ("bucket.output", self.output.clone()),
            ("model.manifest", root().join("models/fixture-colours.toml").display().to_string()),
            ("model.dir", data_dir().display().to_string()),
        ];
        command.args(settings.map(|(key, value)| format!("--set={key}={value}")));
        command.args(QUEUES.map(|name| format!("--set=queue.urls.{name}={}", self.url(name))));
        command.envs([
            ("AWS_ACCESS_KEY_ID", KEY),
            ("AWS_SECRET_ACCESS_KEY", KEY),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
        command.stdin(Stdio::null());
        command
    }
}

/// The next message of a queue, taken out of it.
async fn next(queue: &Queue) -> String {
    let never = CancellationToken::new();
    let until = Instant::now() + LONG;
    loop {
        assert!(Instant::now() < until, "no message came");
        if let Some(delivery) = queue.receive(1, Duration::from_secs(5), &never).await.unwrap().pop() {
            queue.delete(&delivery.receipt).await.unwrap();
            return delivery.body;
        }
    }
}

/// The result of a request, once it is there.
async fn result(output: &Bucket, id: RequestId) -> Answer {
    let until = Instant::now() + LONG;
    loop {
        if let Some(object) = output.get(&key::result(id)).await.unwrap() {
            return serde_json::from_slice(&object.bytes).unwrap();
        }
        assert!(Instant::now() < until, "no result of {id}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn is_empty(queue: &Queue) {
    let until = Instant::now() + LONG;
    while queue.depth().await.unwrap().total() > 0 {
        assert!(Instant::now() < until, "the queue is not worked off: {:?}", queue.depth().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What S3 says of a write that the emulator was not asked for.
fn event(bucket: &str, key: &str) -> String {
    json!({ "Records": [{ "eventName": "ObjectCreated:Put", "s3": {
        "bucket": { "name": bucket }, "object": { "key": key, "size": 1, "eTag": "x", "sequencer": "0055AED6DCD90281E5" }
    }}]})
    .to_string()
}

#[test]
fn an_app_instance_answers_uploads_and_what_was_put_under_incoming() {
    if !emulator::is_here() {
        return;
    }
    let account = Account::new();
    let mut app = account.command("app");
    app.args(["--set=app.app_tier_id=3", "--set=app.instance_id=i-0123456789abcdef0", "--set=app.sessions=1"]);
    let mut app = Instance(app.spawn().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let notices = account.queue("terminate_confirm");
        let Parsed::Ok(Notice::Report(report)) = message::parse::<Notice>(&next(&notices).await) else { panic!() };
        assert_eq!((report.state, report.instance_id.0.as_str()), (WorkerState::Ready, "i-0123456789abcdef0"));
        uploads(&account).await;
        objects(&account).await;
        assert_eq!(account.queue("dead").depth().await.unwrap().total(), 0);
        signal(app.0.id(), Signal::TERM);
        let Parsed::Ok(Notice::Report(report)) = message::parse::<Notice>(&next(&notices).await) else { panic!() };
        assert_eq!(report.state, WorkerState::Stopping);
    });
    assert_eq!(app.0.wait().unwrap().code(), Some(0));
}

async fn uploads(account: &Account) {
    let (requests, responses) = (account.queue("request"), account.queue("response"));
    let (input, output) = (account.bucket(&account.input), account.bucket(&account.output));
    let image = images::png([255, 0, 0], 1);
    let request_id = RequestId(Uuid::from_u128(7));
    let key = key::input(request_id, "a b.png");
    input.put(&key, Bytes::from(image.clone())).await.unwrap();
    let (filename, reply_to, submitted_at) = ("a b.png".into(), "response_queue".into(), Timestamp(0));
    let request = Request { v: VERSION, request_id, filename, key, reply_to, submitted_at };
    requests.send(message::encode(&request).unwrap()).await.unwrap();
    let Parsed::Ok(response) = message::parse::<Response>(&next(&responses).await) else { panic!() };
    let Answer::Classified(answer) = response.answer else { panic!("{:?}", response.answer) };
    assert_eq!((answer.request_id, &answer.sha256), (request_id, &sha256(&image)));
    assert_eq!((answer.worker.app_tier_id, answer.worker.instance_id.as_str()), (3, "i-0123456789abcdef0"));
    assert!((0.0..60_000.0).contains(&answer.timings_ms.queue));
    assert!(matches!(result(&output, request_id).await, Answer::Classified(stored) if stored == answer));
    is_empty(&requests).await;
}

async fn objects(account: &Account) {
    let (requests, responses) = (account.queue("request"), account.queue("response"));
    let (input, output) = (account.bucket(&account.input), account.bucket(&account.output));
    let results = async || output.list("results/", None, 100).await.unwrap().len();
    let image = images::png([0, 0, 255], 2);
    let before = results().await;
    // any client, any key
    let put = async |key: &str| {
        let call = account.place.clients.s3.put_object().bucket(&account.input).key(key);
        call.body(image.clone().into()).send().await.unwrap();
    };
    put("incoming/holiday (2)/Caf\u{e9} 1.png").await;
    put("elsewhere.png").await;
    let until = Instant::now() + LONG;
    while results().await == before {
        assert!(Instant::now() < until, "no result of what was put");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(output.get("Caf%C3%A9%201").await.unwrap().unwrap().bytes, "(Caf\u{e9} 1, blue)");

    // the same event twice, events of others' keys, and the one that S3 begins with
    let again = event(&account.input, "incoming/holiday+%282%29/Caf%C3%A9+1.png");
    let Parsed::Ok(same) = incoming::requests(&again, Timestamp(0)) else { panic!() };
    for body in [again.clone(), again, event(&account.input, "elsewhere.png")] {
        requests.send(body).await.unwrap();
    }
    requests.send(json!({ "Service": "Amazon S3", "Event": "s3:TestEvent" }).to_string()).await.unwrap();
    let Answer::Classified(answer) = result(&output, same[0].request_id).await else { panic!() };
    assert_eq!((answer.file.as_str(), answer.sha256), ("Caf\u{e9} 1.png", sha256(&image)));
    is_empty(&requests).await;
    assert_eq!(results().await, before + 2, "one by the bucket, one by hand, none twice");
    assert_eq!(responses.depth().await.unwrap().total(), 0, "nobody waits for them");
    assert!(input.get("elsewhere.png").await.unwrap().is_some());
}
