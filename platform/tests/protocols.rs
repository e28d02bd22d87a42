//! The protocols of other model servers: asked by HTTP as they are written, and by the servers' own clients, beside the same
//! questions to `POST /v1/predict`; what is wrong, and limits. The first run brings the clients
//! (`tests/peers/requirements-clients.txt`); that test is skipped without `FORETAP_TEST_CLIENTS=1`, except in CI.

#![allow(clippy::unwrap_used)]

// Each test uses a part of it.
#[allow(dead_code)]
mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Up, events};
use foretap_platform::serve::PredictRequest;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];
const CSV: &[(&str, &str)] = &[("Content-Type", "text/csv")];
const LINES: &[(&str, &str)] = &[("Content-Type", "application/jsonlines")];
const NOBODY: &str = "u00000000000000aa";

/// The running program, and people whose events it has.
struct Asked {
    up: Up,
    agent: ureq::Agent,
    _folder: tempfile::TempDir,
    users: Vec<String>,
    at: String,
}

impl Asked {
    fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(folder.path(), settings);
        let events = events(3, 3);
        let sent = up.client.send(&events, "k1", (500, None), |_| {}).unwrap();
        assert_eq!(sent.refused, 0);
        up.client.flush().unwrap();
        let mut users: Vec<String> = events.iter().map(|event| event.user.to_string()).collect();
        users.sort();
        users.dedup();
        // Somebody whom it does not know, too.
        users.push(NOBODY.to_owned());
        let last_us = events.last().unwrap().at_us;
        let at = jiff::Timestamp::from_microsecond(last_us + 1_000_000).unwrap().to_string();
        Self { up, agent: agent(), _folder: folder, users, at }
    }

    fn send(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
        reply(&self.agent, "POST", &format!("{}{path}", self.up.client.url()), headers, Some(body.as_ref()))
    }

    fn get(&self, path: &str) -> Reply {
        reply(&self.agent, "GET", &format!("{}{path}", self.up.client.url()), &[], None)
    }

    fn question(&self, user: &str, apps: usize) -> PredictRequest {
        let at = Some(self.at.clone());
        PredictRequest { user: user.to_owned(), at, apps: Some(apps), ..PredictRequest::default() }
    }

    /// What `POST /v1/predict` answers each user, as tests/peers/clients.py prints rows.
    fn expected(&self, apps: usize) -> Vec<Value> {
        let answers =
            self.users.iter().map(|user| self.up.client.predict(&self.question(user, apps)).unwrap());
        answers.map(|answer| row(&serde_json::to_value(answer).unwrap())).collect()
    }
}

/// A connection each: one that is refused before its body has come is closed.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).max_idle_connections(0).build().into()
}

#[derive(Debug)]
struct Reply {
    status: u16,
    content_type: String,
    json_length: Option<usize>,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn reply(
    agent: &ureq::Agent,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Reply {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = match body {
        Some(body) => agent.run(request.body(body).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    };
    let mut answer = answer.unwrap();
    let header = |name: &str| {
        answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    Reply {
        status: answer.status().as_u16(),
        content_type: header("content-type"),
        json_length: header("inference-header-content-length").parse().ok(),
        body: answer.body_mut().read_to_vec().unwrap(),
    }
}

/// Of an answer as `POST /v1/predict` writes it.
fn row(answer: &Value) -> Value {
    let apps: Vec<Value> = answer["apps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|app| json!([app["app"], app["probability"]]))
        .collect();
    json!({ "apps": apps, "confidence": answer["confidence"], "abstains": answer["abstains"] })
}

/// Of the outputs by row: those that fill up shorter answers are left out.
fn of_outputs(columns: &Value) -> Vec<Value> {
    let rows = columns["confidence"].as_array().unwrap().len();
    let pairs = |row: usize| {
        let names = columns["app"][row].as_array().unwrap();
        let pairs = names.iter().zip(columns["probability"][row].as_array().unwrap());
        pairs.filter(|(name, _)| **name != "").map(|(name, share)| json!([name, share])).collect::<Vec<_>>()
    };
    let one = |row: usize| {
        let (confidence, abstains) = (&columns["confidence"][row], &columns["abstains"][row]);
        json!({ "apps": pairs(row), "confidence": confidence, "abstains": abstains })
    };
    (0..rows).map(one).collect()
}

/// An input of the Open Inference Protocol.
fn column(name: &str, shape: Value, datatype: &str, data: Value) -> Value {
    json!({ "name": name, "shape": shape, "datatype": datatype, "data": data })
}

/// A body of the Open Inference Protocol with the columns as JSON.
fn tensors(users: &[String], at: &str, apps: usize) -> Value {
    let rows = users.len();
    json!({ "id": "7", "inputs": [
        column("user", json!([rows]), "BYTES", json!(users)),
        column("at", json!([rows, 1]), "BYTES", json!(vec![[at]; rows])),
        column("apps", json!([1]), "INT32", json!([apps])),
    ]})
}

#[test]
fn rows_are_answered_as_predict_answers_them_to_the_bit() {
    let asked = Asked::start(&[]);
    let expected = asked.expected(5);
    assert_ne!(expected[0], expected[3], "people differ");
    let (users, at) = (&asked.users, &asked.at);
    let questions: Vec<Value> =
        users.iter().map(|user| serde_json::to_value(asked.question(user, 5)).unwrap()).collect();
    let rows = |answers: &Value| answers.as_array().unwrap().iter().map(row).collect::<Vec<_>>();

    // SageMaker.
    let listed = asked.send("/invocations", JSON, json!(questions).to_string());
    assert_eq!((rows(&listed.json()), &*listed.content_type), (expected.clone(), "application/json"));
    let one = asked.send("/models/foretap/invoke", JSON, questions[0].to_string());
    assert_eq!(row(&one.json()), expected[0]);
    let lines = questions.iter().map(|question| format!("{question}\n")).collect::<String>();
    let lines = asked.send("/invocations", LINES, lines);
    let answers: Vec<Value> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows(&json!(answers)), expected);
    let csv = users.iter().map(|user| format!("{user},{at},5\r\n")).collect::<String>();
    let csv = asked.send("/invocations", CSV, csv);
    let of_field = |field: &str| match field.parse::<f64>() {
        Ok(number) => json!(number),
        Err(_) => serde_json::from_str(field).unwrap_or(json!(field)),
    };
    let of_line = |line: &str| {
        let fields: Vec<Value> = line.split(',').map(of_field).collect();
        let apps: Vec<&[Value]> = fields[2..].chunks(2).collect();
        json!({ "abstains": fields[0], "confidence": fields[1], "apps": apps })
    };
    assert_eq!(csv.text().lines().map(of_line).collect::<Vec<_>>(), expected);
    assert_eq!(csv.content_type, "text/csv");
    assert!(csv.text().ends_with("true,0\n"), "nothing is known of the last one: {}", csv.text());
    let accept = [("Content-Type", "text/csv"), ("Accept", "application/json")];
    let as_json = asked.send("/invocations", &accept, format!("{},{at},5", users[0]));
    assert_eq!(rows(&as_json.json()), expected[..1]);

    // TorchServe.
    let answers = asked.send("/predictions/foretap", &[], json!(questions).to_string());
    assert_eq!(rows(&answers.json()), expected);
    let one = asked.send("/predictions/foretap/1", JSON, questions[3].to_string());
    assert_eq!(row(&one.json()), expected[3]);

    // TensorFlow Serving.
    let predict = "/v1/models/foretap:predict";
    let instances = asked.send(predict, &[], json!({ "instances": questions }).to_string());
    let predictions = instances.json()["predictions"].as_array().unwrap().clone();
    let column = |name: &str| json!(predictions.iter().map(|one| &one[name]).collect::<Vec<_>>());
    let columns = json!({ "app": column("app"), "probability": column("probability"),
        "confidence": column("confidence"), "abstains": column("abstains") });
    assert_eq!(of_outputs(&columns), expected);
    let inputs = json!({ "signature_name": "serving_default",
        "inputs": { "user": users, "at": vec![at; users.len()], "apps": [5] } });
    let columns = asked.send("/v1/models/foretap/versions/1:predict", JSON, inputs.to_string());
    assert_eq!(of_outputs(&columns.json()["outputs"]), expected);

    // Open Inference Protocol: JSON.
    let body = tensors(users, at, 5);
    let infer = asked.send("/v2/models/foretap/infer", JSON, body.to_string());
    let infer = infer.json();
    assert_eq!((&infer["id"], &infer["model_version"]), (&json!("7"), &json!("1")));
    let width = infer["outputs"][0]["shape"][1].as_u64().unwrap() as usize;
    let columns: serde_json::Map<String, Value> = infer["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|output| {
            let data = output["data"].as_array().unwrap();
            let nested = output["shape"].as_array().unwrap().len() == 2;
            let data = if nested { json!(data.chunks(width).collect::<Vec<_>>()) } else { json!(data) };
            (output["name"].as_str().unwrap().to_owned(), data)
        })
        .collect();
    assert_eq!(of_outputs(&Value::Object(columns)), expected);

    // And bytes: 64 bits of each probability.
    let mut body = json!({ "inputs": [
        { "name": "user", "shape": [1], "datatype": "BYTES", "parameters": { "binary_data_size": 21 } },
        { "name": "at", "shape": [1], "datatype": "BYTES", "data": [at] },
        { "name": "apps", "shape": [1], "datatype": "INT32", "parameters": { "binary_data_size": 4 } },
    ], "outputs": [{ "name": "probability", "parameters": { "binary_data": true } }, { "name": "known" }] })
    .to_string()
    .into_bytes();
    let length = body.len().to_string();
    body.extend([&17_u32.to_le_bytes()[..], users[0].as_bytes(), &5_u32.to_le_bytes()].concat());
    let headers = [("Inference-Header-Content-Length", &*length)];
    let infer = asked.send("/v2/models/foretap/versions/1/infer", &headers, &body);
    assert_eq!((infer.status, &*infer.content_type), (200, "application/octet-stream"));
    let (head, bytes) = infer.body.split_at(infer.json_length.unwrap());
    let head: Value = serde_json::from_slice(head).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], bytes.len());
    assert_eq!(head["outputs"][1]["data"], json!([true]));
    let shares: Vec<f64> =
        bytes.chunks(8).map(|share| f64::from_le_bytes(share.try_into().unwrap())).collect();
    let apps = expected[0]["apps"].as_array().unwrap();
    assert_eq!(json!(shares), json!(apps.iter().map(|app| &app[1]).collect::<Vec<_>>()));
    asked.up.stop();
}

#[test]
fn models_are_described_and_probes_answer() {
    let asked = Asked::start(&[]);
    let url = "models/000001/bundle.foretap";
    for (path, pointer, expected) in [
        ("/ping", "/status", json!("Healthy")),
        ("/models", "/models", json!([{ "modelName": "foretap", "modelUrl": url }])),
        ("/models/foretap", "/0/modelUrl", json!(url)),
        ("/models/foretap/1", "/0/modelVersion", json!("1")),
        ("/models/foretap/all", "/0/workers/0/status", json!("READY")),
        ("/v2/health/live", "/live", json!(true)),
        ("/v2/health/ready", "/ready", json!(true)),
        ("/v2", "/extensions", json!(["binary_tensor_data"])),
        ("/v2/models/foretap", "/versions", json!(["1"])),
        ("/v2/models/foretap/versions/1", "/inputs/2/datatype", json!("INT32")),
        ("/v2/models/foretap/ready", "/ready", json!(true)),
        ("/v2/models/foretap/versions/1/ready", "/name", json!("foretap")),
        ("/v1/models/foretap", "/model_version_status/0/state", json!("AVAILABLE")),
        ("/v1/models/foretap/versions/1", "/model_version_status/0/version", json!("1")),
        ("/v1/models/foretap/metadata", "/model_spec/version", json!("1")),
        (
            "/v1/models/foretap/versions/1/metadata",
            "/metadata/signature_def/signature_def/serving_default/outputs/probability/dtype",
            json!("DT_DOUBLE"),
        ),
    ] {
        let found = asked.get(path);
        assert_eq!((found.status, found.json().pointer(pointer)), (200, Some(&expected)), "{path}");
    }
    // Models come from the registry alone.
    let load = |body: Value| asked.send("/models", JSON, body.to_string());
    assert_eq!(load(json!({ "model_name": "foretap", "url": "/opt/ml/models/x" })).status, 409);
    let other = load(json!({ "model_name": "other", "url": "/opt/ml/models/x" }));
    assert_eq!((other.status, &other.json()["type"]), (405, &json!("MethodNotAllowedException")));
    assert!(other.text().contains("foretap approve"));
    let delete = |name: &str| {
        let url = format!("{}/models/{name}", asked.up.client.url());
        reply(&asked.agent, "DELETE", &url, &[], None).status
    };
    assert_eq!((delete("foretap"), delete("other")), (405, 404));
    asked.up.stop();
}

#[test]
fn a_stop_is_seen_by_every_probe_while_answers_go_on() {
    let mut asked = Asked::start(&[("FORETAP_HTTP_UNREADY_SECS", "3")]);
    let pid = asked.up.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    std::thread::sleep(std::time::Duration::from_millis(500));
    let (ping, ready) = (asked.get("/ping"), asked.get("/v2/health/ready"));
    assert_eq!((ping.status, ping.json()), (503, json!({ "status": "Unhealthy" })));
    assert_eq!((ready.status, ready.json()), (503, json!({ "ready": false })));
    assert_eq!(asked.get("/v2/health/live").status, 200);
    let body = tensors(&asked.users, &asked.at, 3).to_string();
    assert_eq!(asked.send("/v2/models/foretap/infer", JSON, body).status, 200);
    assert_eq!(asked.send("/invocations", CSV, &asked.users[0]).status, 200);
    assert!(asked.up.child.wait().unwrap().success());
}

/// How a protocol writes errors: the field of the sentence.
fn sentence(path: &str, found: &Reply) -> String {
    let json = found.json();
    assert_eq!(found.content_type, "application/json", "{path}: {}", found.text());
    let is_exception =
        ["/invocations", "/models", "/predictions"].iter().any(|start| path.starts_with(start));
    if is_exception {
        assert_eq!(json["code"], found.status, "{path}: {json}");
        assert!(json["type"].as_str().unwrap().ends_with("Exception"), "{path}: {json}");
        return json["message"].as_str().unwrap().to_owned();
    }
    assert_eq!(json.as_object().unwrap().len(), 1, "{path}: {json}");
    json["error"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_wrong_is_refused_with_a_sentence_in_the_protocol_s_shape() {
    let asked = Asked::start(&[]);
    let user = &asked.users[0];
    let instances = |rows: Value| json!({ "instances": rows }).to_string();
    let infer = |inputs: Value| json!({ "inputs": inputs }).to_string();
    let of_users =
        |shape: Value, datatype: &str, data: Value| infer(json!([column("user", shape, datatype, data)]));
    let users = || column("user", json!([1]), "BYTES", json!([user]));
    let of_apps = |data: Value| infer(json!([users(), column("apps", json!([1]), "INT32", data)]));
    let (sagemaker, torchserve) = ("/invocations", "/predictions/foretap");
    let (tensorflow, inference) = ("/v1/models/foretap:predict", "/v2/models/foretap/infer");
    for (path, headers, body, status, expected) in [
        (sagemaker, JSON, String::new(), 400, "a question is"),
        (sagemaker, JSON, "{".to_owned(), 400, "EOF"),
        (sagemaker, JSON, r#"{"user": "me@example.org"}"#.to_owned(), 400, "field `user`: no keyed hash"),
        (sagemaker, JSON, format!(r#"["{user}", "me@example.org"]"#), 400, "field `[1].user`"),
        (sagemaker, JSON, format!(r#"[{{"user": "{user}", "apps": 21}}]"#), 400, "field `[0].apps`"),
        (sagemaker, JSON, format!(r#"{{"user": "{user}", "apps": NaN}}"#), 400, "field `body`"),
        (sagemaker, JSON, format!(r#"{{"user": "{user}", "apps": 1e400}}"#), 400, "field `body`"),
        (sagemaker, JSON, format!(r#"{{"user": "{user}", "model": "x"}}"#), 400, "unknown field `model`"),
        (sagemaker, LINES, format!("\"{user}\"\n\n\"{user}\"\n"), 400, "line 2"),
        (sagemaker, CSV, format!("{user}\n{user},yesterday"), 400, "line 2: at"),
        (sagemaker, CSV, "user,at,apps\n".to_owned(), 400, "line 1: apps"),
        (sagemaker, CSV, format!("{user},,-1"), 400, "line 1: apps"),
        (sagemaker, CSV, String::new(), 400, "no row"),
        (sagemaker, &[("Content-Type", "application/x-npy")], user.clone(), 415, "send `Content-Type"),
        (sagemaker, &[("Accept", "image/png")], format!("\"{user}\""), 406, "accept `text/csv`"),
        (sagemaker, &[("Content-Encoding", "br")], user.clone(), 415, "plain"),
        ("/models/other/invoke", JSON, format!("\"{user}\""), 404, "no such model"),
        (torchserve, JSON, "7".to_owned(), 400, "a question is"),
        ("/predictions/foretap/2", JSON, format!("\"{user}\""), 404, "version 1 is live"),
        ("/predictions/other", JSON, format!("\"{user}\""), 404, "no such model"),
        (torchserve, &[("Content-Type", "multipart/form-data; boundary=X")], user.clone(), 400, "`data`"),
        (tensorflow, JSON, "{}".to_owned(), 400, "either `instances` or `inputs`"),
        (tensorflow, JSON, r#"{"instances": [], "inputs": []}"#.to_owned(), 400, "either"),
        (tensorflow, JSON, instances(json!([])), 400, "no row"),
        (tensorflow, JSON, instances(json!([user, 7])), 400, "`instances[1]`"),
        (tensorflow, JSON, instances(json!([{ "user": "x" }])), 400, "`instances[0].user`"),
        (tensorflow, JSON, r#"{"instances": "x", "signature_name": "z"}"#.to_owned(), 400, "signature"),
        (
            tensorflow,
            JSON,
            format!(r#"{{"inputs": {{"user": ["{user}"], "at": []}}}}"#),
            400,
            "field `at`: 0",
        ),
        (tensorflow, JSON, format!(r#"{{"inputs": {{"user": ["{user}", "x"]}}}}"#), 400, "field `user[1]`"),
        ("/v1/models/foretap:classify", JSON, instances(json!([user])), 404, "`:predict` is there"),
        ("/v1/models/other:predict", JSON, instances(json!([user])), 404, "no such model"),
        ("/v1/models/foretap/versions/2:predict", JSON, instances(json!([user])), 404, "version 1 is live"),
        (inference, JSON, "{}".to_owned(), 400, "missing field `inputs`"),
        (inference, JSON, infer(json!([])), 400, "`user` is missing"),
        (inference, JSON, of_users(json!([1]), "INT32", json!([7])), 400, "datatype INT32, where BYTES"),
        (inference, JSON, of_users(json!([1, 2]), "BYTES", json!([])), 400, "shape [1, 2]"),
        (inference, JSON, of_users(json!([2]), "BYTES", json!([user])), 400, "1 values"),
        (inference, JSON, of_users(json!([i64::MAX]), "BYTES", json!([user])), 413, "more than 1000"),
        (inference, JSON, of_apps(json!([1.5])), 400, "input `apps`"),
        (inference, JSON, of_apps(json!([99])), 400, "`apps[0]`"),
        (inference, JSON, of_users(json!([1]), "BYTES", json!(["x"])), 400, "`user[0]`"),
        (
            inference,
            JSON,
            infer(json!([column("who", json!([1]), "BYTES", json!(["x"]))])),
            400,
            "no such input",
        ),
        (
            inference,
            &[("Inference-Header-Content-Length", "99999")],
            infer(json!([users()])),
            400,
            "no length",
        ),
        (inference, &[("Inference-Header-Content-Length", "-5")], infer(json!([users()])), 400, "no length"),
        ("/v2/models/other/infer", JSON, infer(json!([users()])), 404, "no such model"),
        ("/v2/models/foretap/versions/two/infer", JSON, infer(json!([users()])), 404, "version 1 is live"),
        ("/v2/models/%ff/infer", JSON, infer(json!([users()])), 400, ""),
    ] {
        let found = asked.send(path, headers, &body);
        let said = sentence(path, &found);
        assert_eq!(found.status, status, "{path} {body}: {said}");
        assert!(said.contains(expected) && !said.contains("me@example"), "{path} {body}: {said}");
    }
    for path in [
        "/models/other",
        "/models/foretap/2",
        "/v1/models/other",
        "/v1/models/foretap/versions/2/metadata",
        "/v2/models/other/ready",
        "/v2/models/foretap/versions/2",
    ] {
        let found = asked.get(path);
        assert_eq!(found.status, 404, "{path}");
        sentence(path, &found);
    }
    for path in [sagemaker, inference] {
        let found = asked.get(path);
        assert_eq!((found.status, sentence(path, &found).is_empty()), (405, false));
    }
    asked.up.stop();
}

#[test]
fn limits_hold_at_the_row_and_at_the_byte() {
    let settings = [("FORETAP_HTTP_MAX_ROWS", "3"), ("FORETAP_HTTP_MAX_BODY_BYTES", "4000")];
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &settings);
    let agent = agent();
    let send = |path: &str, headers: &[(&str, &str)], body: &str| {
        let url = format!("{}{path}", up.client.url());
        reply(&agent, "POST", &url, headers, Some(body.as_bytes()))
    };
    let body = |path: &str, rows: usize| {
        let users = vec![NOBODY.to_owned(); rows];
        match path {
            "/v1/models/foretap:predict" => json!({ "instances": users }).to_string(),
            "/v2/models/foretap/infer" => tensors(&users, "", 3).to_string(),
            _ => json!(users).to_string(),
        }
    };
    let paths =
        ["/invocations", "/predictions/foretap", "/v1/models/foretap:predict", "/v2/models/foretap/infer"];
    for path in paths {
        for (rows, status) in [(2, 200), (3, 200), (4, 413), (50, 413)] {
            let found = send(path, JSON, &body(path, rows));
            assert_eq!(found.status, status, "{path}, {rows} rows: {}", found.text());
            if status == 413 {
                assert!(sentence(path, &found).contains("more than 3"), "{path}");
            }
        }
        let fitting = body(path, 1);
        for (bytes, status) in [(3_999, 200), (4_000, 200), (4_001, 413)] {
            let padded = format!("{fitting}{}", " ".repeat(bytes - fitting.len()));
            let found = send(path, JSON, &padded);
            assert_eq!(found.status, status, "{path}, {bytes} bytes: {}", found.text());
        }
    }
    for (rows, status) in [(3, 200), (4, 413)] {
        assert_eq!(send("/invocations", CSV, &format!("{NOBODY}\n").repeat(rows)).status, status);
        let inputs = json!({ "inputs": vec![NOBODY; rows] }).to_string();
        assert_eq!(send("/v1/models/foretap:predict", JSON, &inputs).status, status);
    }
    up.stop();
}

/// As SageMaker's batch transform sends them.
#[test]
fn ten_thousand_lines_are_answered_in_their_order() {
    let asked = Asked::start(&[("FORETAP_HTTP_MAX_ROWS", "10000")]);
    let lines: String =
        (0..10_000).map(|row| format!("{},{}\n", asked.users[row % asked.users.len()], asked.at)).collect();
    let found = asked.send("/invocations", CSV, lines);
    assert_eq!(found.status, 200, "{}", found.text());
    let expected: Vec<String> =
        asked.expected(3).iter().map(|row| row["apps"][0][0].as_str().unwrap_or("").to_owned()).collect();
    let text = found.text();
    let firsts: Vec<&str> = text.lines().map(|line| line.split(',').nth(2).unwrap_or("")).collect();
    assert_eq!(firsts.len(), 10_000);
    assert!(expected.iter().any(|first| *first != expected[0]), "people differ");
    assert!(firsts.iter().enumerate().all(|(row, first)| *first == expected[row % expected.len()]));
    asked.up.stop();
}

#[test]
fn the_settings_say_which_protocols_and_under_which_name() {
    let folder = tempfile::tempdir().unwrap();
    let status = |settings: &[(&str, &str)], asked: &[(&str, u16)]| {
        let up = Up::start(folder.path(), settings);
        let agent = agent();
        let found = asked.iter().map(|(path, _)| {
            let found = reply(&agent, "GET", &format!("{}{path}", up.client.url()), &[], None);
            (*path, found.status)
        });
        assert_eq!(found.collect::<Vec<_>>(), asked);
        let described = reply(&agent, "GET", &format!("{}/models/apps", up.client.url()), &[], None);
        up.stop();
        described.json()
    };
    let none =
        [("/ping", 404), ("/v2", 404), ("/v1/models/foretap", 404), ("/models", 404), ("/healthz", 200)];
    status(&[("FORETAP_HTTP_PROTOCOLS", "")], &none);
    let some = [("/ping", 200), ("/v2", 404), ("/models/apps", 200), ("/models/foretap", 404)];
    let settings = [("FORETAP_HTTP_PROTOCOLS", "sagemaker"), ("FORETAP_HTTP_MODEL_NAME", "apps")];
    let described = status(&settings, &some);
    // An object where SageMaker alone asks.
    assert_eq!(described, json!({ "modelName": "apps", "modelUrl": "models/000001/bundle.foretap" }));
}

#[test]
fn a_device_asks_for_its_own_user_and_nobody_asks_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[("FORETAP_GUARD_AUTHENTICATE", "true")]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.args(["keys", "make", "--role", "device", "--user", NOBODY, "--note", "a test"]);
    let made = command.env("FORETAP_DATA_FOLDER", folder.path()).stderr(Stdio::null()).output().unwrap();
    let key = format!("Bearer {}", String::from_utf8(made.stdout).unwrap().trim());
    // The running server sees it within a second.
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let agent = agent();
    let other = "u00000000000000bb";
    let body = |path: &str, users: &[&str]| match path {
        "/v1/models/foretap:predict" => json!({ "instances": users }).to_string(),
        "/v2/models/foretap/infer" => {
            json!({ "inputs": [column("user", json!([users.len()]), "BYTES", json!(users))] }).to_string()
        }
        _ => json!(users).to_string(),
    };
    for path in [
        "/invocations",
        "/models/foretap/invoke",
        "/predictions/foretap",
        "/v1/models/foretap:predict",
        "/v2/models/foretap/infer",
    ] {
        let url = format!("{}{path}", up.client.url());
        let ask = |key: Option<&str>, users: &[&str]| {
            let mut headers = JSON.to_vec();
            headers.extend(key.map(|key| ("Authorization", key)));
            reply(&agent, "POST", &url, &headers, Some(body(path, users).as_bytes()))
        };
        for (key, users, status) in [
            (Some(&*key), &[NOBODY, NOBODY][..], 200),
            (Some(&*key), &[NOBODY, other], 403),
            (Some("Bearer ft_wrong"), &[NOBODY], 401),
            (None, &[NOBODY], 401),
        ] {
            let found = ask(key, users);
            assert_eq!(found.status, status, "{path}: {}", found.text());
            if status != 200 {
                assert!(!sentence(path, &found).is_empty());
            }
        }
    }
    for path in ["/ping", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(reply(&agent, "GET", &format!("{}{path}", up.client.url()), &[], None).status, 200);
    }
    for path in ["/models", "/v2", "/v1/models/foretap"] {
        assert_eq!(reply(&agent, "GET", &format!("{}{path}", up.client.url()), &[], None).status, 401);
    }
    up.stop();
}

#[test]
fn damaged_requests_are_refused_or_answered_and_never_fail() {
    let asked = Asked::start(&[]);
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let users = &asked.users;
    let question = serde_json::to_value(asked.question(&users[0], 4)).unwrap();
    let mut binary = json!({ "inputs": [
        { "name": "user", "shape": [2], "datatype": "BYTES", "parameters": { "binary_data_size": 42 } },
        { "name": "apps", "shape": [2, 1], "datatype": "INT32", "parameters": { "binary_data_size": 8 } },
    ], "parameters": { "binary_data_output": true } })
    .to_string()
    .into_bytes();
    let length = binary.len().to_string();
    for user in &users[..2] {
        binary.extend([&17_u32.to_le_bytes()[..], user.as_bytes()].concat());
    }
    binary.extend([3, 0, 0, 0, 20, 0, 0, 0]);
    let form = format!("--X\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n{question}\r\n--X--\r\n");
    // Path, headers, body.
    type Sent<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<u8>);
    let bodies: Vec<Sent<'_>> = vec![
        ("/invocations", JSON.to_vec(), json!([question, users[1]]).to_string().into_bytes()),
        ("/invocations", LINES.to_vec(), format!("{question}\n\"{}\"\n", users[1]).into_bytes()),
        ("/invocations", CSV.to_vec(), format!("{},{},3\n{}\n", users[0], asked.at, users[3]).into_bytes()),
        ("/predictions/foretap", JSON.to_vec(), question.to_string().into_bytes()),
        (
            "/predictions/foretap",
            vec![("Content-Type", "multipart/form-data; boundary=X")],
            form.into_bytes(),
        ),
        (
            "/v1/models/foretap:predict",
            JSON.to_vec(),
            json!({ "instances": [question, users[1]] }).to_string().into_bytes(),
        ),
        (
            "/v1/models/foretap:predict",
            JSON.to_vec(),
            json!({ "inputs": { "user": users, "apps": 3 } }).to_string().into_bytes(),
        ),
        ("/v2/models/foretap/infer", JSON.to_vec(), tensors(users, &asked.at, 5).to_string().into_bytes()),
        ("/v2/models/foretap/infer", vec![("Inference-Header-Content-Length", &*length)], binary),
    ];
    let (mut answered, mut refused) = (0, 0);
    for round in 0..3_000 {
        let (path, headers, body) = &bodies[round % bodies.len()];
        let mut body = body.clone();
        let damages = if round % 10 == 0 { 0 } else { random.random_range(1..4) };
        for _ in 0..damages {
            let at = random.random_range(0..body.len().max(1)).min(body.len().saturating_sub(1));
            match random.random_range(0..6) {
                0 if !body.is_empty() => body[at] = random.random(),
                1 => body.truncate(at),
                2 => body.insert(at, random.random()),
                3 if !body.is_empty() => drop(body.remove(at)),
                4 => {
                    let part = body[at.min(body.len())..(at + 30).min(body.len())].to_vec();
                    body.splice(at..at, part);
                }
                _ => {
                    // A digit becomes a large or a negative number, or none.
                    let digits = body.iter().position(|byte| byte.is_ascii_digit());
                    let other = [&b"-1"[..], b"99999999999999999999", b"NaN", b"1e999", b"null"];
                    let other = other[random.random_range(0..other.len())];
                    if let Some(digit) = digits {
                        body.splice(digit..=digit, other.iter().copied());
                    }
                }
            }
        }
        let found = asked.send(path, headers, &body);
        match found.status {
            200 => answered += 1,
            400..500 if damages > 0 => {
                refused += 1;
                assert!(!sentence(path, &found).is_empty());
            }
            status => {
                assert_eq!(status, 200, "{path}: {:?} {}", String::from_utf8_lossy(&body), found.text())
            }
        }
    }
    assert!(answered > 300 && refused > 1_000, "{answered} answered, {refused} refused");
    asked.up.stop();
}

/// A Python with the clients, made where it is missing.
fn python() -> Option<PathBuf> {
    if std::env::var_os("FORETAP_TEST_CLIENTS").is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_TEST_CLIENTS=1");
        return None;
    }
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    let made = Command::new("bash").arg(peers.join("venv.sh")).args(["clients"]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(String::from_utf8(made.stdout).unwrap().trim().into())
}

#[test]
fn the_servers_own_clients_understand_the_same_probabilities() {
    let Some(python) = python() else { return };
    let asked = Asked::start(&[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/clients.py");
    let mut command = Command::new(python);
    command.arg(script).arg(asked.up.client.url()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let question = json!({ "users": asked.users, "at": asked.at, "apps": 5 });
    write!(child.stdin.take().unwrap(), "{question}").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Value = serde_json::from_str(text.lines().last().unwrap()).expect(&text);
    let expected = json!(asked.expected(5));
    let rows = found["rows"].as_object().unwrap();
    assert_eq!(rows.len(), 10);
    for (client, rows) in rows {
        assert_eq!(*rows, expected, "{client}");
    }
    let model = json!({ "models": [{ "modelName": "foretap", "modelUrl": "models/000001/bundle.foretap" }] });
    let said = &found["said"];
    for (what, expected) in [
        ("triton live", json!(true)),
        ("triton ready", json!(true)),
        ("triton model ready", json!(true)),
        ("triton version ready", json!(true)),
        ("triton other version ready", json!(false)),
        ("triton other model ready", json!(false)),
        ("triton server", json!(["binary_tensor_data"])),
        ("triton versions", json!(["1"])),
        (
            "triton outputs",
            json!(["app", "probability", "confidence", "abstains", "known", "degraded", "answer_id"]),
        ),
        ("kserve live", json!(true)),
        ("kserve ready", json!(true)),
        ("kserve model ready", json!(true)),
        ("kserve other model ready", json!(false)),
        ("kserve 1 model ready", json!(true)),
        ("torchserve health", json!({ "status": "Healthy" })),
        ("torchserve models", model),
        ("torchserve model", json!("1")),
        ("torchserve version", json!("READY")),
    ] {
        assert_eq!(said[what], expected, "{what}");
    }
    // Status and sentence, as Triton's client reads them.
    let errors: Vec<(&str, &str)> = said["triton errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error[0].as_str().unwrap(), error[1].as_str().unwrap()))
        .collect();
    let expected =
        [("404", "no such model"), ("404", "version 1"), ("400", "user[0]"), ("400", "datatype INT32")];
    assert_eq!(errors.len(), expected.len());
    for ((status, said), (expected, part)) in errors.iter().zip(expected) {
        assert!(*status == expected && said.contains(part), "{status} {said}");
    }
    asked.up.stop();
}
