//! Questions over gRPC by gRPC's own Python client, beside the same ones over HTTP. The first run brings the client
//! (`tests/peers/requirements-grpc.txt`); skipped without `FORETAP_TEST_GRPC=1`, except in CI.

#![allow(clippy::unwrap_used)]

// Each test uses a part of it.
#[allow(dead_code)]
mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use common::{Up, events, json_event};
use foretap_platform::serve::{PredictContext, PredictRequest};
use serde_json::{Value, json};

/// A Python with gRPC in it, made where it is missing.
fn python() -> Option<PathBuf> {
    if std::env::var_os("FORETAP_TEST_GRPC").is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_TEST_GRPC=1");
        return None;
    }
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let made = Command::new("bash").arg(peers.join("venv.sh")).args(["grpc"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(String::from_utf8(made.stdout).unwrap().trim().into())
}

/// The running client.
struct Rpc {
    child: Child,
    asked: ChildStdin,
    found: BufReader<ChildStdout>,
}

impl Rpc {
    fn start(python: &Path, url: &str, token: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/grpc_client.py");
        let mut command = Command::new(python);
        command.arg(script).args([url, token]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (asked, found) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, asked, found }
    }

    fn call(&mut self, request: &Value) -> Value {
        writeln!(self.asked, "{request}").unwrap();
        let mut line = String::new();
        self.found.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect(&line)
    }

    /// Its only answer.
    fn answer(&mut self, request: &Value) -> Value {
        let mut found = self.call(request);
        assert_eq!(found["code"], "OK", "{found}");
        found["answers"][0].take()
    }

    fn refusal(&mut self, request: &Value) -> (String, String) {
        let found = self.call(request);
        (found["code"].as_str().unwrap().to_owned(), found["details"].as_str().unwrap().to_owned())
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn answers_are_those_of_http_to_the_bit() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let events = events(2, 6);
    let (sent, last) = events.split_at(events.len() - 5);
    up.client.send(sent, "k1", (500, None), |_| {}).unwrap();
    up.client.flush().unwrap();
    let user = last[0].user;
    let at_us = last.last().unwrap().at_us + 60_000_000;
    let of_theirs: Vec<_> = last.iter().filter(|event| event.user == user).collect();
    let mut rpc = Rpc::start(&python, up.client.url(), "");
    let context = json!({ "utc_offset_secs": 3_600, "battery_percent": 40, "charging": true, "network": "NETWORK_WIFI" });
    let message = json!({
        "user": user.to_string(),
        // JSON of Protobuf has such numbers as texts.
        "at_us": at_us.to_string(),
        "apps": 5,
        "context": context,
        "events": of_theirs.iter().map(|event| {
            let event = event.to_proto();
            json!({
                "user": event.user,
                "at_us": event.at_us.to_string(),
                "utc_offset_secs": event.utc_offset_secs,
                "signal": event.signal,
                "app": event.app,
                "number": event.number,
                "place": event.place,
                "battery_percent": event.battery_percent,
                "charging": event.charging,
                "network": event.network,
            })
        }).collect::<Vec<_>>(),
    });
    let answer = rpc.answer(&json!({ "call": "Predict", "messages": [message] }));
    let question = PredictRequest {
        user: user.to_string(),
        at: Some(jiff::Timestamp::from_microsecond(at_us).unwrap().to_string()),
        apps: Some(5),
        context: Some(PredictContext {
            utc_offset_secs: 3_600,
            battery_percent: Some(40),
            charging: Some(true),
            network: Some("wifi".to_owned()),
            place: None,
        }),
        events: of_theirs.iter().map(|event| json_event(event)).collect(),
        ..Default::default()
    };
    let over_http = up.client.predict(&question).unwrap();
    let count = over_http.apps.len();
    assert!(count > 2 && answer["apps"].as_array().unwrap().len() == count, "{answer}");
    for (one, other) in answer["apps"].as_array().unwrap().iter().zip(&over_http.apps) {
        assert_eq!(
            (one["app"].as_str(), one["probability"].as_f64()),
            (Some(&*other.app), Some(other.probability))
        );
    }
    assert_eq!(answer["confidence"].as_f64(), Some(over_http.confidence));
    assert_eq!((answer["known"].as_bool(), answer["degraded"].as_bool()), (Some(true), Some(false)));

    // What was opened, once.
    let feedback =
        json!({ "call": "Feedback", "messages": [{ "answer_id": answer["answer_id"], "opened": "a.mail" }] });
    rpc.answer(&feedback);
    let (code, details) = rpc.refusal(&feedback);
    assert!(code == "INVALID_ARGUMENT" && details.contains("answer_id"), "{code}: {details}");

    // A stream: a bad question is refused alone, and the order is kept.
    let asked = json!([{ "user": user.to_string() }, { "user": "me@example.org" }, { "user": user.to_string(), "apps": 21 },
        { "user": "u00000000000000ff", "apps": 1 }]);
    let found = rpc.call(&json!({ "call": "PredictEach", "messages": asked }));
    let outcomes = found["answers"].as_array().unwrap();
    assert_eq!((found["code"].as_str(), outcomes.len()), (Some("OK"), 4), "{found}");
    assert_eq!(outcomes[0]["answer"]["known"], true);
    assert_eq!(outcomes[1]["problem"]["field"], "user");
    assert_eq!(
        (&outcomes[2]["problem"]["field"], &outcomes[2]["problem"]["status"]),
        (&json!("apps"), &json!(400))
    );
    assert_eq!(outcomes[3]["answer"]["known"], false);

    for (message, expected) in [
        (json!({}), "user"),
        (json!({ "user": user.to_string(), "at_us": "1" }), "at"),
        (
            json!({ "user": user.to_string(), "context": { "battery_percent": 101 } }),
            "context.battery_percent",
        ),
        (
            json!({ "user": user.to_string(), "events": [{ "user": "u00000000000000ff", "at_us": "1", "signal": 4 }] }),
            "events[0]",
        ),
    ] {
        let (code, details) = rpc.refusal(&json!({ "call": "Predict", "messages": [message] }));
        assert!(code == "INVALID_ARGUMENT" && details.contains(expected), "{code}: {details}");
    }
    up.stop();
}

#[test]
fn who_asks_is_known_as_in_http() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    // All that the program and its libraries can say.
    let settings = [("FORETAP_GUARD_AUTHENTICATE", "true"), ("FORETAP_LOG", "trace")];
    let key = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
        command
            .args(["keys", "make", "--note", "a test"])
            .args(arguments)
            .env("FORETAP_DATA_FOLDER", folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
    };
    let device = key(&["--role", "device", "--user", "u00000000000000aa"]);
    let analyst = key(&["--role", "analyst"]);
    let logs = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.arg("up").stderr(logs.reopen().unwrap());
    let up = Up::start_by(command, folder.path(), &settings);
    let theirs = json!({ "call": "Predict", "messages": [{ "user": "u00000000000000aa" }] });
    let others = json!({ "call": "Predict", "messages": [{ "user": "u00000000000000bb" }] });
    let mut rpc = Rpc::start(&python, up.client.url(), &device);
    let answer = rpc.answer(&theirs);
    assert_eq!(rpc.refusal(&others).0, "PERMISSION_DENIED");
    let streamed = json!({ "call": "PredictEach", "messages": [{ "user": "u00000000000000bb" }] });
    assert_eq!(rpc.refusal(&streamed).0, "PERMISSION_DENIED");
    assert_eq!(Rpc::start(&python, up.client.url(), "").refusal(&theirs).0, "UNAUTHENTICATED");
    assert_eq!(Rpc::start(&python, up.client.url(), &analyst).refusal(&theirs).0, "PERMISSION_DENIED");
    // An answer's feedback is its own user's.
    let feedback = json!({ "call": "Feedback", "messages": [{ "answer_id": answer["answer_id"] }] });
    let other = key(&["--role", "device", "--user", "u00000000000000bb"]);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(Rpc::start(&python, up.client.url(), &other).refusal(&feedback).0, "PERMISSION_DENIED");
    rpc.answer(&feedback);

    // Over HTTP/1.1, too, where it belongs and where it does not.
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("{}/v1/predict", up.client.url());
    for (url, credential, body) in [
        (url.clone(), format!("Bearer {device}"), r#"{"user":"u00000000000000aa"}"#.to_owned()),
        (url.clone(), format!("Bearer {device}x"), String::new()),
        (url.clone(), format!("Basic {device}"), String::new()),
        (url, format!("Bearer {device}"), format!("{{\"user\":\"{device}\"}}")),
    ] {
        let mut answer = agent.post(&url).header("Authorization", credential).send(body).unwrap();
        assert!(!answer.body_mut().read_to_string().unwrap().contains(&device));
    }
    up.stop();
    let logged = std::fs::read(logs.path()).unwrap();
    assert!(logged.len() > 10_000, "it was told to say everything");
    for (number, key) in [&device, &analyst, &other].into_iter().enumerate() {
        assert!(!holds(&logged, key), "key {number} is in the log");
        assert!(
            files(folder.path()).iter().all(|file| !holds(&std::fs::read(file).unwrap(), key)),
            "{number}"
        );
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
