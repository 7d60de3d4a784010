//! A real browser without a driver: Chromium takes JSON that ends with NUL on its descriptor 3,
//! and writes it on descriptor 4 (the protocol of its developer tools).

use std::cell::{Cell, RefCell};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE_MOST, eventually, shell, skipped};

/// No network but loopback, where every `*.example` is, and nothing that asks or updates. A key that
/// is pressed before the first picture of a page counts: otherwise Chromium drops it.
const OPTIONS: &str = "--headless --no-sandbox --ignore-certificate-errors --allow-pre-commit-input --disable-gpu --disable-quic --no-first-run \
     --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
     --disable-dev-shm-usage --host-resolver-rules='MAP *.example 127.0.0.1'";

static TURN: Mutex<()> = Mutex::new(());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A browser with one page. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Browser {
    child: Child,
    input: RefCell<ChildStdin>,
    messages: Receiver<Value>,
    session: String,
    asked: Cell<u64>,
    /// The events that came so far.
    events: RefCell<Vec<Value>>,
    profile: PathBuf,
    /// Two browsers at once would keep a small machine from everything else.
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts a browser with an empty page. Without Chromium the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        if shell("chromium --version >/dev/null 2>&1").0 != 0 {
            skipped("chromium is not installed", "`apt-get install chromium` does it");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let name =
            format!("browser-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let profile = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut child = chromium(&profile);
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("messages are JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            input: RefCell::new(input),
            messages,
            session: String::new(),
            asked: Cell::default(),
            events: RefCell::default(),
            profile,
            _turn: turn,
        };
        let page = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        session["sessionId"].as_str().expect("a text").clone_into(&mut browser.session);
        for domain in ["Page", "Log", "Runtime", "Network", "Performance"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        // Keys reach it whichever window is in front.
        browser.call("Emulation.setFocusEmulationEnabled", &json!({ "enabled": true }));
        Some(browser)
    }

    /// Starts a browser that shows this address.
    pub(crate) fn open(address: &str) -> Option<Self> {
        let browser = Self::start()?;
        browser.navigate(address);
        Some(browser)
    }

    /// Goes to another address.
    pub(crate) fn navigate(&self, address: &str) {
        self.call("Page.navigate", &json!({ "url": address }));
    }

    /// Calls a method of the protocol, and returns its result.
    pub(crate) fn call(&self, method: &str, parameters: &Value) -> Value {
        let id = self.asked.get() + 1;
        self.asked.set(id);
        let mut question = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            question["sessionId"] = json!(self.session);
        }
        let text = format!("{question}\0");
        self.input.borrow_mut().write_all(text.as_bytes()).expect("the browser reads");
        loop {
            let message = self.messages.recv_timeout(PATIENCE_MOST).expect("it answers");
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.borrow_mut().push(message);
        }
    }

    /// Evaluates an expression in the page, and waits for it if it is a promise.
    pub(crate) fn evaluate(&self, expression: &str) -> Value {
        let parameters =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", &parameters);
        let failure = &result["exceptionDetails"];
        assert!(failure.is_null(), "{expression}: {failure}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    pub(crate) fn wait_until(&self, expression: &str) {
        let is_so = || (self.evaluate(expression) == true).then_some(());
        eventually(expression, is_so, || format!(" on the page:\n{}", self.text()));
    }

    /// Returns what a person reads on the page.
    pub(crate) fn text(&self) -> String {
        self.evaluate("document.body?.innerText ?? ''").as_str().unwrap_or_default().to_owned()
    }

    /// Presses a key: a letter, or `Enter`, `Escape`, `ArrowLeft`.
    pub(crate) fn press(&self, key: &str) {
        let (text, code) = match key {
            "Enter" => ("\r", 13),
            "Escape" => ("", 27),
            "ArrowLeft" => ("", 37),
            letter => (letter, 0),
        };
        let down =
            json!({ "type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", &down);
        let up = json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", &up);
    }

    /// Sets the size of the window, and what the page is told that its reader likes.
    pub(crate) fn look(&self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", &json!({ "features": [scheme] }));
    }

    /// Returns the parameters of all events of this name that came so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        // What is already on its way comes before the next answer.
        self.evaluate("0");
        let events = self.events.borrow();
        let named = events.iter().filter(|event| event["method"] == name);
        named.map(|event| event["params"].clone()).collect()
    }

    /// Returns what the browser complains of: errors of scripts, of the console, of the policy, and
    /// dialogs that a script has opened. That a request failed is no complaint.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        for name in
            ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"]
        {
            found.extend(self.events(name));
        }
        let logged = self.events("Log.entryAdded").into_iter().map(|event| event["entry"].clone());
        found.extend(logged.filter(|entry| entry["source"] != "network"));
        found.iter().map(Value::to_string).collect()
    }

    /// Returns one number that the browser counts about its page.
    pub(crate) fn measure(&self, name: &str) -> f64 {
        let measured = self.call("Performance.getMetrics", &json!({}));
        let metrics = measured["metrics"].as_array().expect("a list");
        let found = metrics.iter().find(|metric| metric["name"] == name);
        found.expect("it counts this")["value"].as_f64().expect("a number")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The processes of its pages end when it does.
        drop(self.child.kill());
        drop(self.child.wait());
        // They may still write there.
        let gone = || std::fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists();
        let limit = Duration::from_secs(5);
        let watch = std::time::Instant::now();
        while !gone() && watch.elapsed() < limit {
            std::thread::yield_now();
        }
    }
}

/// Starts Chromium, whose descriptors 3 and 4 are our two pipes.
#[expect(clippy::disallowed_methods, reason = "tests start programs as users do")]
fn chromium(profile: &std::path::Path) -> Child {
    let line = format!(
        "exec chromium {OPTIONS} --user-data-dir='{}' --remote-debugging-pipe about:blank \
         3<&0 4>&1 </dev/null >/dev/null 2>&1",
        profile.display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).stdin(Stdio::piped()).stdout(Stdio::piped());
    shell.spawn().expect("there is a shell")
}
