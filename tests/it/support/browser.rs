//! A browser without a window, driven by its `DevTools` protocol over a pipe
//! (<https://chromedevtools.github.io/devtools-protocol/>): a message is JSON with a NUL at its end.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::parts::{self, Part};

/// Debian's package of the same name has it.
pub(crate) const PROGRAM: &str = "chromium-headless-shell";
/// For one answer, and for something to be seen.
const PATIENCE: Duration = Duration::from_mins(2);

/// The browser with one page; it ends when dropped.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    next: u64,
    session: Option<String>,
    /// Exceptions, errors in its log, refusals by policies.
    troubles: Vec<String>,
    _profile: TempDir,
}

/// Whether there is one.
pub(crate) fn is_there() -> bool {
    parts::all_there(&[Part::Program(PROGRAM)])
}

impl Browser {
    /// Starts it, with a blank page.
    pub(crate) fn start() -> Self {
        let profile = tempfile::Builder::new().prefix("ephemon-it-").tempdir().unwrap();
        // The protocol's pipes are descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(parts::program(PROGRAM).unwrap())
            .args(["--no-sandbox", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (message_tx, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if message_tx.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            input,
            messages,
            next: 0,
            session: None,
            troubles: Vec::new(),
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, &json!({}));
        }
        browser.call(
            "Page.addScriptToEvaluateOnNewDocument",
            &json!({"source": "window.violations = []; \
                document.addEventListener('securitypolicyviolation', \
                (event) => window.violations.push(event.violatedDirective))"}),
        );
        browser
    }

    /// Goes to an address.
    pub(crate) fn open(&mut self, url: &str) {
        let gone = self.call("Page.navigate", &json!({"url": url}));
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let answer = self.call(
            "Runtime.evaluate",
            &json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        );
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true, or anything like it.
    pub(crate) fn until(&mut self, expression: &str) {
        let begin = Instant::now();
        while self.value(&format!("!!({expression})")) != Value::Bool(true) {
            if begin.elapsed() > PATIENCE {
                let text = self.value("document.body.innerText");
                panic!("never: {expression}\n{}\n{text}", self.troubles.join("\n"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A window of this size; `scheme` is `light` or `dark`.
    pub(crate) fn look(&mut self, width: u32, height: u32, scheme: &str) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}),
        );
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// A picture of the window, as PNG.
    pub(crate) fn picture(&mut self, file: &Path) {
        let answer = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        let bytes = BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    /// Exceptions, errors in the browser's log, and refusals by the page's policy, so far.
    pub(crate) fn troubles(&mut self) -> Vec<String> {
        let refused = self.value("window.violations");
        let refused = refused.as_array().unwrap().iter().map(|what| format!("refused: {what}"));
        let mut troubles = self.troubles.clone();
        troubles.extend(refused);
        troubles
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.clone().into();
        }
        let mut text = serde_json::to_vec(&message).unwrap();
        text.push(0);
        self.input.write_all(&text).unwrap();
        loop {
            let message = self.messages.recv_timeout(PATIENCE);
            let message = message.unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == self.next {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.troubles.push(params["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.troubles.push(params["entry"].to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        self.child.wait().ok();
    }
}
