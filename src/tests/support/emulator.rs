//! The emulated AWS account of this test process: started once, on a free loopback port (src/tests/aws/emulator.py).

use super::python::venv;
use super::root;
use aws_sdk_s3::config::Credentials;
use bellows::edge::aws::{Clients, Settings};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

/// Obviously no secret: the emulator takes any.
pub const KEY: &str = "test";
pub const REGION: &str = "us-east-1";

/// Ends with its standard input, and so with this process.
struct Emulator {
    port: u16,
    _process: Child,
}

static EMULATOR: LazyLock<Result<Emulator, String>> = LazyLock::new(start);

fn start() -> Result<Emulator, String> {
    let python = venv("moto", "src/tests/aws/requirements.txt").map_err(|e| e.to_string())?;
    let mut command = Command::new(python);
    command.arg(root().join("src/tests/aws/emulator.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().map_err(|e| e.to_string())?;
    let mut port = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).map_err(|e| e.to_string())?;
    let port = port.trim().parse().map_err(|e| format!("it has not started: {e}"))?;
    Ok(Emulator { port, _process: process })
}

/// Whether the emulator is to be had; where not, the test is skipped, but fails where CI is set.
pub fn is_here() -> bool {
    let Err(why) = &*EMULATOR else { return true };
    assert!(std::env::var_os("CI").is_none(), "the emulator cannot be had: {why}");
    println!("skipped: the emulator cannot be had: {why}");
    false
}

/// A corner of the account with a clock and faults of its own. Names in it are unique.
#[derive(Clone)]
pub struct Place {
    name: String,
    /// What clients take for AWS's endpoint.
    pub endpoint: String,
    pub clients: Clients,
}

impl Place {
    /// Only where the emulator [`is_here`].
    pub fn new() -> Place {
        Place::of(EMULATOR.as_ref().unwrap())
    }

    /// In an account that nobody else uses, which is gone with this process. Only where the emulator [`is_here`].
    pub fn alone() -> Place {
        Place::of(Box::leak(Box::new(start().unwrap())))
    }

    /// Where the account itself is, as other tools see it: without this place's clock and faults.
    pub fn account(&self) -> &str {
        self.endpoint.rsplit_once('/').unwrap().0
    }

    fn of(emulator: &Emulator) -> Place {
        let name = format!("place-{}", uuid::Uuid::new_v4().simple());
        let endpoint = format!("http://127.0.0.1:{}/{name}", emulator.port);
        let clients = clients(&endpoint);
        Place { name, endpoint, clients }
    }

    /// A name for a queue or bucket that nobody else has.
    pub fn named(&self, what: &str) -> String {
        format!("{}-{what}", &self.name[..20])
    }

    /// Instructs the emulator; what it has counted comes back.
    pub fn instruct(&self, order: &Value) -> Value {
        self.post("bellows", &[], order)
    }

    /// The next `times` calls of this name fail so: `{"do": "refuse", "status": 503, "code": "SlowDown"}`.
    pub fn fault(&self, call: &str, times: u32, fault: Value) {
        let mut fault = fault;
        fault["call"] = json!(call);
        fault["times"] = json!(times);
        self.instruct(&json!({ "faults": [fault] }));
    }

    /// How often a call of this name has come.
    pub fn calls(&self, call: &str) -> u64 {
        self.instruct(&json!({}))["calls"][call].as_u64().unwrap_or_default()
    }

    /// The URL of the queue of this name, made where it is not.
    pub fn queue(&self, name: &str) -> String {
        let made = self.sqs("CreateQueue", &json!({ "QueueName": self.named(name) }));
        made["QueueUrl"].as_str().unwrap().to_owned()
    }

    /// One call to SQS, unsigned.
    pub fn sqs(&self, call: &str, body: &Value) -> Value {
        let target = format!("AmazonSQS.{call}");
        self.post("", &[("X-Amz-Target", &target), ("Content-Type", "application/x-amz-json-1.0")], body)
    }

    /// Makes a bucket: its name.
    pub fn bucket(&self, name: &str) -> String {
        let bucket = self.named(name);
        let request = ureq::put(format!("{}/{bucket}", self.endpoint)).header("Authorization", &authorization("s3"));
        request.send_empty().unwrap();
        bucket
    }

    /// Puts an object; its key is written as in a URL.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let request = ureq::put(format!("{}/{bucket}/{key}", self.endpoint));
        request.header("Authorization", &authorization("s3")).send(bytes).unwrap();
    }

    /// Objects put under `incoming/` of the bucket are told to the queue with this ARN.
    pub fn notify(&self, bucket: &str, queue: &str) {
        let order = format!(
            "<NotificationConfiguration><QueueConfiguration><Id>incoming</Id><Queue>{queue}</Queue>\
            <Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>incoming/</Value>\
            </FilterRule></S3Key></Filter></QueueConfiguration></NotificationConfiguration>"
        );
        let request = ureq::put(format!("{}/{bucket}?notification", self.endpoint));
        request.header("Authorization", &authorization("s3")).send(order).unwrap();
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
        let mut request =
            ureq::post(format!("{}/{path}", self.endpoint)).header("Authorization", &authorization("sqs"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send(body.to_string()).unwrap().body_mut().read_to_string().unwrap();
        if answer.is_empty() { Value::Null } else { serde_json::from_str(&answer).unwrap() }
    }
}

/// What tells the emulator which service is meant.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=none"
    )
}

/// Clients of whatever listens there.
pub fn clients(endpoint: &str) -> Clients {
    let endpoint = endpoint.to_owned();
    // the contract's places are opened inside a runtime already
    let opened = std::thread::spawn(move || {
        let settings =
            Settings { region: Some(REGION.into()), endpoint: Some(endpoint), s3: None, sqs: None, ec2: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let credentials = Credentials::new(KEY, KEY, None, None, "tests");
            let sdk = bellows::edge::aws::loader(&settings).credentials_provider(credentials).load().await;
            Clients::of(sdk, &settings).unwrap()
        })
    });
    opened.join().unwrap()
}
