//! Headless Chromium, driven over its DevTools protocol (the stable part of 1.3): one WebSocket, one
//! request at a time. A page is asked by evaluating an expression and awaiting what it promises.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// How long Chromium may take to start, and to answer anything.
const PATIENCE: Duration = Duration::from_secs(90);
/// Console lines kept of a page, to be shown beside an error.
const CONSOLE_LINES: usize = 40;
/// The programs looked for, when `CHROMIUM` names none: scripts/setup looks for the same.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const FLAGS: &[&str] = &[
    "--headless",
    "--remote-debugging-port=0",
    // Tests run as root in containers, where the sandbox cannot be set up.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    // Nothing but the page under test uses the network.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    // A microphone without a person who allows it, and sound without one who clicks.
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
];

/// Resolves once the page and its scripts are loaded.
const LOADED: &str = "new Promise((done) => document.readyState === 'complete' \
    ? done() : addEventListener('load', () => done()))";

/// A running Chromium, ended and cleaned up when dropped.
pub(crate) struct Chromium {
    process: Child,
    profile: PathBuf,
    socket: WebSocket<TcpStream>,
    last_id: u64,
    console: VecDeque<String>,
}

/// One page (tab) of a [`Chromium`].
pub(crate) struct Page {
    session: String,
}

/// The Chromium of this machine: what the variable `CHROMIUM` names, or one on the path.
pub(crate) fn find() -> Option<PathBuf> {
    let names = match std::env::var_os("CHROMIUM") {
        Some(name) => vec![name],
        None => PROGRAMS.iter().map(OsString::from).collect(),
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Joining an absolute name leaves that name alone.
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

impl Chromium {
    /// Starts `program` with a profile of its own, called `name`.
    pub(crate) fn start(program: &Path, name: &str) -> Result<Self, String> {
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("chromium-{name}-{}", std::process::id()));
        let mut process = Command::new(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let connected = listening(&mut process).and_then(|url| connect(&url));
        match connected {
            Ok(socket) => {
                Ok(Self { process, profile, socket, last_id: 0, console: VecDeque::new() })
            }
            Err(error) => {
                end(&mut process, &profile);
                Err(format!("Chromium did not start: {error}"))
            }
        }
    }

    /// Opens a page at `url` and waits until it is loaded, its scripts included.
    pub(crate) fn open(&mut self, url: &str) -> Result<Page, String> {
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", attach)?;
        let session = attached["sessionId"].as_str().ok_or("no session")?.to_owned();
        self.call(Some(&session), "Runtime.enable", json!({}))?;
        // It answers once the new document is there: what is evaluated next is evaluated in it.
        let navigated = self.call(Some(&session), "Page.navigate", json!({ "url": url }))?;
        if let Some(error) = navigated["errorText"].as_str() {
            return Err(format!("{url}: {error}"));
        }
        let page = Page { session };
        self.evaluate(&page, LOADED)?;
        Ok(page)
    }

    /// The value of `expression` in `page`, awaited when it is a promise.
    ///
    /// # Errors
    ///
    /// What the expression throws or its promise is rejected with, and the last lines of the console.
    pub(crate) fn evaluate(&mut self, page: &Page, expression: &str) -> Result<Value, String> {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call(Some(&page.session), "Runtime.evaluate", params)?;
        let Some(details) = answer.get("exceptionDetails") else {
            return Ok(answer["result"].get("value").cloned().unwrap_or(Value::Null));
        };
        let exception = &details["exception"];
        let text = exception["description"]
            .as_str()
            .or_else(|| exception["value"].as_str())
            .or_else(|| details["text"].as_str())
            .unwrap_or("an exception without a text");
        let console: Vec<&str> = self.console.iter().map(String::as_str).collect();
        Err(format!("{expression}: {text}\nconsole:\n{}", console.join("\n")))
    }

    /// One command and its answer. Events that come before it are looked at and let go.
    fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        self.last_id += 1;
        let mut request = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = session {
            request["sessionId"] = json!(session);
        }
        let failed = |error: tungstenite::Error| format!("{method}: {error}");
        self.socket.send(Message::text(request.to_string())).map_err(failed)?;
        loop {
            let Message::Text(text) = self.socket.read().map_err(failed)? else { continue };
            let mut answer: Value =
                serde_json::from_str(&text).map_err(|error| format!("{method}: {error}"))?;
            if answer["id"] == json!(self.last_id) {
                return match answer.get("error") {
                    None => Ok(answer["result"].take()),
                    Some(error) => Err(format!("{method}: {error}")),
                };
            }
            self.note(&answer);
        }
    }

    /// Keeps what a page writes to its console or throws.
    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let line = match event["method"].as_str() {
            Some("Runtime.consoleAPICalled") => params["args"].to_string(),
            Some("Runtime.exceptionThrown") => params["exceptionDetails"].to_string(),
            _ => return,
        };
        if self.console.len() == CONSOLE_LINES {
            self.console.pop_front();
        }
        self.console.push_back(line);
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked, it ends its helpers too, lets go of its profile, and then of the connection.
        if self.call(None, "Browser.close", json!({})).is_ok() {
            while self.socket.read().is_ok() {}
        }
        end(&mut self.process, &self.profile);
    }
}

/// Ends what is left of a Chromium and of its profile.
fn end(process: &mut Child, profile: &Path) {
    let _ = process.kill();
    let _ = process.wait();
    let _ = std::fs::remove_dir_all(profile);
}

/// The address that Chromium says it listens on, on its standard error, which is read to its end
/// lest Chromium be held up by it.
fn listening(process: &mut Child) -> Result<String, String> {
    let output = process.stderr.take().ok_or("no standard error")?;
    let (found, find) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some((_, url)) = line.split_once("DevTools listening on ") {
                let _ = found.send(url.trim().to_owned());
            }
        }
    });
    find.recv_timeout(PATIENCE).map_err(|_| "it did not say where it listens".to_owned())
}

fn connect(url: &str) -> Result<WebSocket<TcpStream>, String> {
    let authority = url
        .strip_prefix("ws://")
        .and_then(|rest| rest.split('/').next())
        .ok_or_else(|| format!("{url} is no WebSocket address"))?;
    let stream = TcpStream::connect(authority).map_err(|error| format!("{url}: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let (socket, _) =
        tungstenite::client(url, stream).map_err(|error| format!("{url}: {error}"))?;
    Ok(socket)
}
