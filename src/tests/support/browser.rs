//! A headless Chromium, told what to do over its DevTools pipe: messages of JSON, each ended by a NUL.

use super::eventually;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PROGRAMS: [&str; 4] = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
const LIMIT: Duration = Duration::from_mins(1);

/// One page of a browser of its own.
pub struct Page {
    browser: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    sent: u64,
    events: VecDeque<Value>,
    _profile: tempfile::TempDir,
}

/// The browser that is here; `None`, and a word about it, where none is. CI does not pass by without one.
fn program() -> Option<&'static str> {
    let here = |name: &&&str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
    let found = PROGRAMS.iter().find(here).copied();
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "no Chromium: .ci/setup installs one");
    if found.is_none() {
        println!("skipped: no Chromium is here (Debian: apt install chromium-headless-shell)");
    }
    found
}

impl Page {
    /// An empty page, `width` wide.
    pub fn open(width: u32, height: u32, scheme: &str) -> Option<Page> {
        let profile = tempfile::tempdir().unwrap();
        // the browser reads its orders from descriptor 3 and answers on 4; it sees our own page only, and its sandbox does
        // not start for root
        let mut browser = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", program()?, "--headless"])
            .args([
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (browser.stdin.take().unwrap(), browser.stdout.take().unwrap());
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let _ = send.send(serde_json::from_slice(&message).unwrap());
            }
        });
        let events = VecDeque::new();
        let mut page = Page { browser, input, messages, session: None, sent: 0, events, _profile: profile };
        page.attach(width, height, scheme);
        Some(page)
    }

    fn attach(&mut self, width: u32, height: u32, scheme: &str) {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = self.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log", "DOM"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &scheme);
    }

    fn next(&mut self, until: Instant) -> Value {
        let left = until.saturating_duration_since(Instant::now());
        self.messages.recv_timeout(left).unwrap_or_else(|e| panic!("the browser says nothing: {e}"))
    }

    /// One order, and what comes of it. What else the browser says is kept.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        let until = Instant::now() + LIMIT;
        loop {
            let mut answer = self.next(until);
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push_back(answer);
        }
    }

    pub fn visit(&mut self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
        eventually("the page is there", LIMIT, || self.value("document.readyState") == "complete");
    }

    /// The value of a script's expression.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", &asked);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    pub fn wait_for(&mut self, expression: &str) {
        eventually(expression, LIMIT, || self.value(expression) == true);
    }

    /// Chooses files in the input that `selector` finds, as a person would.
    pub fn choose(&mut self, selector: &str, files: &[&Path]) {
        let document = self.call("DOM.getDocument", &json!({}))["root"]["nodeId"].clone();
        let found = self.call("DOM.querySelector", &json!({ "nodeId": document, "selector": selector }));
        self.call("DOM.setFileInputFiles", &json!({ "nodeId": found["nodeId"], "files": files }));
    }

    pub fn press(&mut self, key: &str, code: u32) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// The whole page as a PNG, in base64.
    pub fn picture(&mut self) -> String {
        let size = self.call("Page.getLayoutMetrics", &json!({}))["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let shot = json!({ "format": "png", "clip": clip, "captureBeyondViewport": true });
        self.call("Page.captureScreenshot", &shot)["data"].as_str().unwrap().to_owned()
    }

    /// Everything that the browser has reported by this name so far.
    pub fn reported(&self, method: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["method"] == method).map(|event| &event["params"]).collect()
    }

    /// What the console shows as an error; breaches of the content security policy are among it.
    pub fn errors(&self) -> Vec<&Value> {
        let logged = self.reported("Log.entryAdded").into_iter().filter(|e| e["entry"]["level"] == "error");
        let said = self.reported("Runtime.consoleAPICalled").into_iter().filter(|e| e["type"] == "error");
        logged.chain(said).chain(self.reported("Runtime.exceptionThrown")).collect()
    }

    /// Where the page has asked for anything.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.reported("Network.requestWillBeSent").into_iter();
        sent.filter_map(|event| event["request"]["url"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}
