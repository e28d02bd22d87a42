//! The door: every route by every role, and tokens that are forged or damaged, beside real ones of a real OpenID provider.
//!
//! ```text
//! bash platform/tests/door --json out.json
//! ```
//!
//! Skipped without `FORETAP_TEST_OIDC=1`, which needs Node and npm (`tests/peers/oidc.sh`), except in CI.

#![allow(clippy::unwrap_used)]

// Each test uses a part of it.
#[allow(dead_code)]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use common::Up;
use foretap_platform::guard::{PROTOCOL_ROUTES, ROUTES, Role, Route, may};
use foretap_platform::say;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

/// Try the door
#[derive(Debug, Parser)]
struct Arguments {
    /// Write what was found for machines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is written for machines.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Report {
    routes: usize,
    roles: usize,
    /// Routes that let a role in that may not, or keep one out that may.
    wrong: usize,
    tokens_tried: usize,
    tokens_let_in: usize,
}

const USER: &str = "u00000000000000aa";
const AUDIENCE: &str = "urn:foretap";
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments = Arguments::parse();
    if std::env::var_os("FORETAP_TEST_OIDC").is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_TEST_OIDC=1, and has Node and npm");
        say("skipped: FORETAP_TEST_OIDC=1 starts a real OpenID provider");
        return;
    }
    let provider = Provider::start();
    let folder = tempfile::tempdir().unwrap();
    let issuer = provider.issuer();
    let settings = [
        ("FORETAP_GUARD_AUTHENTICATE", "true"),
        ("FORETAP_GUARD_ISSUER", issuer.as_str()),
        ("FORETAP_GUARD_AUDIENCE", AUDIENCE),
    ];
    let up = Up::start(folder.path(), &settings);
    let door = Door { url: up.client.url().to_owned(), agent: agent() };
    let mut report = Report { routes: all_routes().count(), roles: Role::ALL.len(), ..Report::default() };
    walk(&door, folder.path(), &provider, &mut report);
    one_user_alone(&door, &provider);
    forge(&door, &provider, &mut report);
    rotate(&door, provider);
    up.stop();
    let text = serde_json::to_string_pretty(&report).unwrap();
    say(&text);
    if let Some(file) = &arguments.json {
        std::fs::write(file, text).unwrap();
    }
    assert_eq!((report.wrong, report.tokens_let_in), (0, 0));
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

/// The server under test.
struct Door {
    url: String,
    agent: ureq::Agent,
}

impl Door {
    /// The status of a request, and what it was answered.
    fn ask(&self, method: &str, path: &str, credential: Option<&str>, body: &Value) -> (u16, String) {
        let path = path.replace("{user}", USER).replace("{model}", "foretap").replace("{version}", "1");
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(credential) = credential {
            request = request.header("Authorization", format!("Bearer {credential}"));
        }
        if method == "POST" {
            request = request.header("Content-Type", "application/json");
        }
        let answer = match method {
            "POST" => self.agent.run(request.body(body.to_string()).unwrap()),
            _ => self.agent.run(request.body(()).unwrap()),
        };
        let mut answer = answer.unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    fn status(&self, method: &str, path: &str, credential: Option<&str>) -> u16 {
        self.ask(method, path, credential, &Value::Null).0
    }
}

/// Foretap's own, and those of other servers' protocols.
fn all_routes() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().chain(&PROTOCOL_ROUTES)
}

/// Every route by every role, with an API key and with a token, and by nobody.
fn walk(door: &Door, folder: &Path, provider: &Provider, report: &mut Report) {
    for path in ["/healthz", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(door.status("GET", path, None), 200, "{path} is for anybody");
    }
    assert_eq!(door.status("GET", "/v1/nothing", None), 404);
    let mut tried = |route: &Route, who: &str, credential: Option<&str>, is_allowed: bool| {
        let status = door.status(route.method, route.path, credential);
        let is_in = !matches!(status, 401 | 403);
        let expected = if credential.is_none() { 401 } else { 403 };
        if is_in != is_allowed || (!is_in && status != expected) || status >= 500 {
            report.wrong += 1;
            say(&format!("{} {} by {who}: {status}", route.method, route.path));
        }
    };
    for route in all_routes() {
        tried(route, "nobody", None, false);
    }
    for role in Role::ALL {
        let is_device = role == Role::Device;
        let token_of = if is_device { format!("device-{USER}") } else { role.name().to_owned() };
        for (how, credential) in
            [("key", key(folder, role.name(), is_device)), ("token", provider.token(&token_of))]
        {
            for route in all_routes() {
                let who = format!("{} with a {how}", role.name());
                tried(route, &who, Some(credential.as_str()), may(route.method, route.path, role));
            }
        }
    }
}

/// An API key made by the program itself.
fn key(folder: &Path, role: &str, is_device: bool) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.args(["keys", "make", "--role", role, "--note", "a test"]).env("FORETAP_DATA_FOLDER", folder);
    if is_device {
        command.args(["--user", USER]);
    }
    let made = command.stderr(Stdio::null()).output().unwrap();
    assert!(made.status.success());
    // The running server sees it within a second.
    std::thread::sleep(Duration::from_millis(1_200));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// A device speaks for its own user, and for nobody else.
fn one_user_alone(door: &Door, provider: &Provider) {
    let device = provider.token(&format!("device-{USER}"));
    let service = provider.token("service");
    let event = |user: &str| json!({ "user": user, "at": "2026-11-20T08:00:00Z", "signal": "unlock" });
    let other = "u00000000000000bb";
    let batch = |users: &[&str]| {
        let events: Vec<Value> = users.iter().map(|user| event(user)).collect();
        ("/v1/events", json!({ "version": 1, "key_id": "k1", "events": events }))
    };
    let question = |user: &str| ("/v1/predict", json!({ "user": user }));
    for ((path, body), expected) in [
        (batch(&[USER]), 202),
        (batch(&[USER, other]), 403),
        (batch(&[other]), 403),
        (batch(&[]), 403),
        (question(USER), 200),
        (question(other), 403),
    ] {
        let (status, answer) = door.ask("POST", path, Some(&device), &body);
        assert_eq!(status, expected, "{path} {body}: {answer}");
        let (status, answer) = door.ask("POST", path, Some(&service), &body);
        assert!(status < 300 || body["events"] == json!([]), "{path} {body}: {answer}");
    }
    // What was answered about somebody is theirs, too.
    let (_, answer) = door.ask("POST", "/v1/predict", Some(&service), &json!({ "user": other }));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let feedback = json!({ "answer_id": answer["answer_id"], "opened": null });
    assert_eq!(door.ask("POST", "/v1/feedback", Some(&device), &feedback).0, 403);
    assert_eq!(door.ask("POST", "/v1/feedback", Some(&service), &feedback).0, 202, "it still waits");
    let (status, problem) = door.ask("POST", "/v1/predict", None, &json!({ "user": other }));
    let problem: Value = serde_json::from_str(&problem).unwrap();
    assert_eq!((status, &problem["status"], &problem["title"]), (401, &json!(401), &json!("Unauthorized")));
}

/// Tokens that are no tokens of this issuer, for this audience, at this time, and one that is, made the same way.
fn forge(door: &Door, provider: &Provider, report: &mut Report) {
    let elsewhere = Provider::start();
    let forger = Forger::of(provider, &elsewhere);
    let try_it = |name: &str, token: &str| {
        let (status, answer) = door.ask("GET", "/v1/status", Some(token), &Value::Null);
        assert!(status < 500, "{name}: {status} {answer}");
        assert!(!answer.contains(&forger.kid), "{name}: {answer}");
        status
    };
    assert_eq!(try_it("a sound one", &forger.signed(json!({}), json!({}))), 200);
    assert_eq!(try_it("the issuer's own", &provider.token("admin")), 200);
    for (name, token) in forger.forged(provider, &elsewhere) {
        let status = try_it(name, &token);
        report.tokens_tried += 1;
        if status != 401 {
            report.tokens_let_in += 1;
            say(&format!("a token that is {name}: {status}"));
        }
    }
}

/// New keys are known without a restart; while the issuer is away, its last ones go on.
fn rotate(door: &Door, provider: Provider) {
    let before = provider.token("admin");
    provider.stop();
    assert_eq!(door.status("GET", "/v1/status", Some(&before)), 200, "the issuer is away");
    std::fs::remove_file(provider.folder.path().join("keys.json")).unwrap();
    provider.begin();
    let started = Instant::now();
    let after = provider.token("admin");
    while door.status("GET", "/v1/status", Some(&after)) != 200 {
        assert!(started.elapsed() < PATIENCE, "new keys are known within {PATIENCE:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(door.status("GET", "/v1/status", Some(&before)), 401, "the old key is gone");
}

/// A real OpenID provider, ended when it is dropped.
struct Provider {
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Provider {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let provider = Self { folder: tempfile::tempdir().unwrap(), port };
        provider.begin();
        provider
    }

    fn begin(&self) {
        self.script(&["start", self.folder.path().to_str().unwrap(), &self.port.to_string()]);
    }

    fn stop(&self) {
        self.script(&["stop", self.folder.path().to_str().unwrap()]);
    }

    fn script(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/oidc.sh");
        let mut command = Command::new("bash");
        // The server outlives the script: it must not hold our output.
        command.arg(script).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "oidc.sh {arguments:?}");
    }

    fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// An access token by client credentials.
    fn token(&self, client: &str) -> String {
        let credentials = encoded(format!("{client}:secret").as_bytes(), true);
        let request = agent()
            .post(&format!("{}/token", self.issuer()))
            .header("Authorization", format!("Basic {credentials}"));
        let form = [("grant_type", "client_credentials"), ("resource", AUDIENCE), ("scope", "api")];
        let mut answer = request.send_form(form).unwrap();
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// What it signs with: the private key, its name and its public part.
    fn key(&self) -> (EncodingKey, Value) {
        let read = |name: &str| std::fs::read(self.folder.path().join(name)).unwrap();
        let mut set: Value = serde_json::from_slice(&read("keys.json")).unwrap();
        let mut key = set["keys"][0].take();
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            key.as_object_mut().unwrap().remove(private);
        }
        (EncodingKey::from_rsa_der(&read("keys.json.der")), key)
    }
}

/// Makes tokens: by the issuer's own key, so that each is wrong in one way alone, and by another's.
struct Forger {
    issuer: String,
    key: EncodingKey,
    public: Value,
    kid: String,
    others: EncodingKey,
    others_public: Value,
}

impl Forger {
    fn of(provider: &Provider, elsewhere: &Provider) -> Self {
        let ((key, public), (others, others_public)) = (provider.key(), elsewhere.key());
        let kid = public["kid"].as_str().unwrap().to_owned();
        Self { issuer: provider.issuer(), key, public, kid, others, others_public }
    }

    fn header(&self, changes: Value) -> Value {
        merged(json!({ "alg": "RS256", "typ": "at+jwt", "kid": self.kid }), changes)
    }

    /// An administrator's, for ten minutes; `null` takes a claim away.
    fn claims(&self, changes: Value) -> Value {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iss": self.issuer, "aud": AUDIENCE, "sub": "admin", "foretap_role": "admin", "iat": now, "exp": now + 600
        });
        merged(claims, changes)
    }

    fn signed(&self, header: Value, claims: Value) -> String {
        signed(&self.header(header), &self.claims(claims), Algorithm::RS256, &self.key)
    }

    fn forged(&self, provider: &Provider, elsewhere: &Provider) -> Vec<(&'static str, String)> {
        let now = jiff::Timestamp::now().as_second();
        let claims = |name: &'static str, changes: Value| (name, self.signed(json!({}), changes));
        let header = |name: &'static str, changes: Value| (name, self.signed(changes, json!({})));
        let by_other = |name: &'static str, changes: Value| {
            (name, signed(&self.header(changes), &self.claims(json!({})), Algorithm::RS256, &self.others))
        };
        let by_secret = |name: &'static str, secret: &[u8]| {
            let key = EncodingKey::from_secret(secret).unwrap();
            let header = self.header(json!({ "alg": "HS256" }));
            (name, signed(&header, &self.claims(json!({})), Algorithm::HS256, &key))
        };
        let unsigned = |name: &'static str, alg: &str| {
            let parts = [self.header(json!({ "alg": alg })), self.claims(json!({}))];
            let [header, claims] = parts.map(|part| encoded(part.to_string().as_bytes(), false));
            (name, format!("{header}.{claims}."))
        };
        let good = self.signed(json!({}), json!({}));
        let part = |number: usize| good.split('.').nth(number).unwrap();
        let (first, second, third) = (part(0), part(1), part(2));
        let others_kid = self.others_public["kid"].clone();
        let tampered = encoded(self.claims(json!({ "sub": "somebody" })).to_string().as_bytes(), false);
        vec![
            unsigned("unsigned", "none"),
            unsigned("unsigned in capitals", "NONE"),
            by_secret(
                "signed with the public key as a secret",
                self.public["n"].as_str().unwrap().as_bytes(),
            ),
            by_secret("signed with the key set as a secret", self.public.to_string().as_bytes()),
            by_secret("signed with a guessed secret", b"secret"),
            by_other("signed by another key", json!({})),
            by_other("signed by another key under its own name", json!({ "kid": others_kid })),
            by_other("with a key of its own inside", json!({ "jwk": self.others_public })),
            by_other(
                "with an address of keys",
                json!({ "kid": others_kid, "jku": format!("{}/jwks", elsewhere.issuer()) }),
            ),
            by_other(
                "with an address of a certificate",
                json!({ "x5u": format!("{}/x", elsewhere.issuer()) }),
            ),
            ("of another issuer", elsewhere.token("admin")),
            header("named like a path", json!({ "kid": "../../../../etc/passwd" })),
            header("named like a query", json!({ "kid": "' OR '1'='1" })),
            header("named like an address", json!({ "kid": format!("{}/jwks", self.issuer) })),
            header("named at length", json!({ "kid": "k".repeat(4_000) })),
            header("named by a number", json!({ "kid": 7 })),
            header("named by nothing", json!({ "kid": "" })),
            header("without a name", json!({ "kid": null })),
            header("for another algorithm of its key", json!({ "alg": "RS512" })),
            header("said to be of another kind of key", json!({ "alg": "ES256" })),
            header("with an extension", json!({ "crit": ["exp"] })),
            (
                "by another algorithm that the key could do",
                signed(
                    &self.header(json!({ "alg": "PS256" })),
                    &self.claims(json!({})),
                    Algorithm::PS256,
                    &self.key,
                ),
            ),
            claims("expired", json!({ "exp": now - 7_200 })),
            claims("just expired", json!({ "exp": now - 70 })),
            claims("without an end", json!({ "exp": null })),
            claims("with an end in words", json!({ "exp": "tomorrow" })),
            claims("not valid yet", json!({ "nbf": now + 600 })),
            claims("said to be of another issuer", json!({ "iss": elsewhere.issuer() })),
            claims("of almost the issuer", json!({ "iss": format!("{}/", self.issuer) })),
            claims("without an issuer", json!({ "iss": null })),
            claims("for another audience", json!({ "aud": "urn:another" })),
            claims("for other audiences", json!({ "aud": ["urn:another", "urn:foretap2"] })),
            claims("for nobody", json!({ "aud": null })),
            claims("without a subject", json!({ "sub": null })),
            claims("without a role", json!({ "foretap_role": null })),
            claims("of a role that is none", json!({ "foretap_role": "root" })),
            claims("of a role in capitals", json!({ "foretap_role": "ADMIN" })),
            claims("of several roles", json!({ "foretap_role": ["admin"] })),
            claims("a device's without a user", json!({ "foretap_role": "device" })),
            claims("a device's of no user", json!({ "foretap_role": "device", "foretap_user": "jane" })),
            claims("oversized", json!({ "padding": "x".repeat(9_000) })),
            ("of a client without a role", provider.token("nobody")),
            ("changed after it was signed", format!("{first}.{tampered}.{third}")),
            ("without a signature", format!("{first}.{second}.")),
            ("cut", good[..good.len() - 10].to_owned()),
            ("longer than it was", format!("{good}AA")),
            ("of two parts", format!("{first}.{second}")),
            ("of one part", first.to_owned()),
            ("of five parts", format!("{good}.{second}.{third}")),
            ("two in one", format!("{good},{good}")),
            ("no JSON", format!("{}.{}.{third}", encoded(b"header", false), encoded(b"claims", false))),
            ("an unknown API key", format!("ft_{}_{}", "a".repeat(12), "b".repeat(64))),
            ("a cut API key", "ft_".to_owned()),
        ]
    }
}

/// One object with the entries of another; `null` takes one away.
fn merged(mut object: Value, changes: Value) -> Value {
    let entries = object.as_object_mut().unwrap();
    let Value::Object(changes) = changes else { return object };
    for (name, value) in changes {
        if value.is_null() {
            entries.remove(&name);
        } else {
            entries.insert(name, value);
        }
    }
    object
}

fn signed(header: &Value, claims: &Value, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = [header, claims].map(|part| encoded(part.to_string().as_bytes(), false)).join(".");
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// Base64, with padding or for URLs.
fn encoded(bytes: &[u8], is_padded: bool) -> String {
    let letters: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').collect();
    let of = |six: u32| match six {
        62 => {
            if is_padded {
                '+'
            } else {
                '-'
            }
        }
        63 => {
            if is_padded {
                '/'
            } else {
                '_'
            }
        }
        six => char::from(letters[six as usize]),
    };
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            if place <= three.len() {
                text.push(of(bits >> (18 - 6 * place) & 63));
            } else if is_padded {
                text.push('=');
            }
        }
    }
    text
}
