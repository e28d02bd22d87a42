//! Connections of the running program: TLS and its certificates, slow and silent clients, quotas, a stop that waits.

#![allow(clippy::unwrap_used)]

// Each test uses a part of it.
#[allow(dead_code)]
mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Up;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// An authority, and the folder of what it has signed.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), &pem).unwrap();
        Self { folder, issuer: Issuer::new(params, key), pem }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for the loopback interface that ends with this year, and its key, as PEM.
    fn sign(&self, last_year: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The server's, in its place.
    fn place(&self, (certificate, key): &(String, String)) {
        std::fs::write(self.file("server.key"), key).unwrap();
        std::fs::write(self.file("server.pem"), certificate).unwrap();
    }

    fn settings(&self) -> Vec<(String, String)> {
        [("CERTIFICATE", "server.pem"), ("KEY", "server.key"), ("CLIENT_CA", "ca.pem")]
            .map(|(key, name)| (format!("FORETAP_GUARD_{key}_FILE"), self.file(name).display().to_string()))
            .to_vec()
    }

    /// A client that trusts this authority, with a certificate or without.
    fn client(&self, certificate: Option<&(String, String)>) -> ureq::Agent {
        let client = certificate.map(|(certificate, key)| {
            let chain = [Certificate::from_pem(certificate.as_bytes()).unwrap()];
            ClientCert::new_with_certs(&chain, PrivateKey::from_pem(key.as_bytes()).unwrap())
        });
        let roots = RootCerts::new_with_certs(&[Certificate::from_pem(self.pem.as_bytes()).unwrap()]);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder().root_certs(roots).client_cert(client);
        let tls = tls.unversioned_rustls_crypto_provider(provider).build();
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_idle_connections(0);
        config.timeout_global(Some(Duration::from_secs(20))).tls_config(tls).build().into()
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(key, value)| (&**key, &**value)).collect()
}

fn status(agent: &ureq::Agent, url: &str) -> Result<u16, String> {
    agent.get(url).call().map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
}

/// What `foretap up` says when it does not start.
fn refusal(folder: &Path, settings: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.arg("up").env("FORETAP_DATA_FOLDER", folder).env("FORETAP_LOG", "error");
    if !settings.iter().any(|(key, _)| *key == "FORETAP_HTTP_LISTEN") {
        command.env("FORETAP_HTTP_LISTEN", "127.0.0.1:0");
    }
    let ended = command.envs(settings.iter().copied()).output().unwrap();
    assert!(!ended.status.success());
    String::from_utf8(ended.stderr).unwrap()
}

/// The serial number of the certificate that a server shows, by openssl.
fn shown(address: &str) -> String {
    let connect = openssl(&["s_client", "-connect", address], "");
    openssl(&["x509", "-noout", "-serial"], &connect.0).0.trim().to_owned()
}

/// Runs openssl, and returns what it says and whether it succeeded.
fn openssl(arguments: &[&str], input: &str) -> (String, bool) {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

#[test]
fn tls_is_1_3_and_its_certificate_is_renewed_whole() {
    let authority = Authority::new();
    let next_year = i32::from(jiff::Zoned::now().year()) + 1;
    let first = authority.sign(next_year);
    authority.place(&first);
    let folder = tempfile::tempdir().unwrap();
    let settings = authority.settings();
    let up = Up::start(folder.path(), &borrowed(&settings));
    let url = up.client.url().to_owned();
    let address = url.strip_prefix("https://").unwrap().to_owned();
    let agent = authority.client(None);
    let health = format!("{url}/healthz");
    assert_eq!(status(&agent, &health), Ok(200));
    for (version, is_taken) in [("-tls1_3", true), ("-tls1_2", false), ("-tls1_1", false)] {
        let (said, is_fine) = openssl(&["s_client", version, "-connect", &address], "");
        assert_eq!(is_fine && said.contains("BEGIN CERTIFICATE"), is_taken, "{version}: {said}");
    }
    let at_first = shown(&address);
    // A new certificate with the old key, one that has expired, and one that is none: the first goes on.
    for (certificate, key) in [
        (authority.sign(next_year).0, first.1.clone()),
        authority.sign(2020),
        ("no certificate".to_owned(), first.1.clone()),
    ] {
        authority.place(&(certificate, key));
        std::thread::sleep(Duration::from_secs(6));
        assert_eq!(shown(&address), at_first);
        assert_eq!(status(&agent, &health), Ok(200));
    }
    authority.place(&authority.sign(next_year));
    let started = Instant::now();
    while shown(&address) == at_first {
        assert!(started.elapsed() < Duration::from_secs(20), "the new certificate is shown");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(status(&agent, &health), Ok(200));
    up.stop();
    // At a start nothing of before could go on.
    authority.place(&authority.sign(2020));
    let error = refusal(folder.path(), &borrowed(&settings));
    assert!(error.contains("has expired") && error.contains("server.pem"), "{error}");
}

#[test]
fn a_service_is_known_by_its_certificate() {
    let authority = Authority::new();
    let year = i32::from(jiff::Zoned::now().year()) + 1;
    authority.place(&authority.sign(year));
    let folder = tempfile::tempdir().unwrap();
    let mut settings = authority.settings();
    settings.push(("FORETAP_GUARD_AUTHENTICATE".to_owned(), "true".to_owned()));
    let up = Up::start(folder.path(), &borrowed(&settings));
    let ask = |agent: &ureq::Agent| {
        let request = agent.post(&format!("{}/v1/predict", up.client.url()));
        let answer = request.send(r#"{"user":"u00000000000000aa"}"#);
        answer.map(|answer| answer.status().as_u16()).map_err(|error| error.to_string())
    };
    let certificate = authority.sign(year);
    assert_eq!(ask(&authority.client(Some(&certificate))), Ok(200));
    assert_eq!(
        status(&authority.client(Some(&certificate)), &format!("{}/metrics", up.client.url())),
        Ok(403)
    );
    assert_eq!(ask(&authority.client(None)), Ok(401));
    // Of another authority: the handshake fails.
    let other = Authority::new().sign(year);
    assert!(ask(&authority.client(Some(&other))).is_err());
    up.stop();
}

/// Sends some bytes, and returns how long the server kept the connection, and what it answered.
fn kept(url: &str, sent: &[u8], then: impl Fn(&mut TcpStream)) -> (Duration, String) {
    let address = url.split("://").nth(1).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let started = Instant::now();
    stream.write_all(sent).unwrap();
    then(&mut stream);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    (started.elapsed(), String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn slow_and_silent_clients_are_cut_and_others_do_not_notice() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("FORETAP_HTTP_HEAD_SECS", "2"),
        ("FORETAP_HTTP_IDLE_SECS", "4"),
        ("FORETAP_HTTP_REQUEST_SECS", "3"),
    ];
    let up = Up::start(folder.path(), &settings);
    let url = up.client.url();
    // A thousand sockets that say nothing.
    let address = url.split("://").nth(1).unwrap();
    let silent: Vec<TcpStream> = (0..1_000).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut slowest = Duration::ZERO;
    for _ in 0..200 {
        let started = Instant::now();
        up.client.health().unwrap();
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    let nothing = |_: &mut TcpStream| {};
    let drips = |stream: &mut TcpStream| {
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(300));
            if stream.write_all(b"x").is_err() {
                break;
            }
        }
    };
    let head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n";
    let whole = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let posted = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n";
    type Case<'a> = (&'a str, &'a [u8], &'a dyn Fn(&mut TcpStream), (u64, u64), &'a str);
    let cases: [Case<'_>; 5] = [
        ("silent", b"", &nothing, (2, 4), ""),
        ("a head that stops", head, &nothing, (2, 4), ""),
        ("a head that drips", head, &drips, (2, 8), ""),
        ("idle after an answer", whole, &nothing, (4, 7), "200 OK"),
        ("a body that drips", posted, &drips, (3, 12), "408 Request Timeout"),
    ];
    for (name, sent, then, (least, most), expected) in cases {
        let (kept, answer) = kept(url, sent, then);
        let limits = Duration::from_secs(least) - Duration::from_millis(200)..Duration::from_secs(most);
        assert!(limits.contains(&kept), "{name}: {kept:?} {answer}");
        assert!(answer.contains(expected), "{name}: {answer}");
    }
    // By now they are gone.
    for mut stream in silent.into_iter().take(10) {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
    // A head that is too large, and one of too many lines.
    for line in ["x".repeat(100_000), "a: b\r\n".repeat(500)] {
        let sent = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nx: {line}\r\n\r\n");
        let (_, answer) = kept(url, sent.as_bytes(), nothing);
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    up.stop();
}

#[test]
fn a_stop_says_so_first_answers_on_and_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("FORETAP_HTTP_UNREADY_SECS", "2"), ("FORETAP_HTTP_DRAIN_SECS", "2")];
    let mut up = Up::start(folder.path(), &settings);
    let url = up.client.url().to_owned();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    assert_eq!(status(&agent, &format!("{url}/readyz")), Ok(200));
    // A client that keeps its connection and one that is silent hold nothing up.
    let idle = TcpStream::connect(url.split("://").nth(1).unwrap()).unwrap();
    let started = Instant::now();
    let pid = up.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(status(&agent, &format!("{url}/readyz")), Ok(503), "readiness fails first");
    let event = r#"{"version":1,"key_id":"k1","events":[{"user":"u00000000000000aa","at":"2026-11-20T08:00:00Z","signal":"unlock"}]}"#;
    let sent = agent.post(&format!("{url}/v1/events")).content_type("application/json").send(event).unwrap();
    assert_eq!(sent.status().as_u16(), 202, "what comes meanwhile is accepted");
    assert!(up.child.wait().unwrap().success());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(idle);
    let up = Up::start(folder.path(), &[]);
    up.client.flush().unwrap();
    assert_eq!(up.client.status().unwrap().people, Some(1), "and kept");
    up.stop();
}

#[test]
fn each_caller_has_a_quota() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("FORETAP_GUARD_AUTHENTICATE", "true"),
        ("FORETAP_GUARD_REQUESTS_PER_SEC", "5"),
        ("FORETAP_GUARD_BURST", "10"),
    ];
    let up = Up::start(folder.path(), &settings);
    let keys: Vec<String> = ["one", "two"]
        .map(|note| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
            command.args(["keys", "make", "--role", "analyst", "--note", note]);
            let made = command.env("FORETAP_DATA_FOLDER", folder.path()).output().unwrap();
            String::from_utf8(made.stdout).unwrap().trim().to_owned()
        })
        .to_vec();
    std::thread::sleep(Duration::from_millis(1_500));
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let ask = |key: &str| {
        let request = agent.get(&format!("{}/v1/status", up.client.url()));
        let answer = request.header("Authorization", format!("Bearer {key}")).call().unwrap();
        let wait = answer.headers().get("Retry-After").map(|wait| wait.to_str().unwrap().to_owned());
        (answer.status().as_u16(), wait)
    };
    let answers: Vec<(u16, Option<String>)> = (0..30).map(|_| ask(&keys[0])).collect();
    let let_in = answers.iter().filter(|(status, _)| *status == 200).count();
    assert!((10..20).contains(&let_in), "{let_in}");
    assert!(answers.contains(&(429, Some("1".to_owned()))), "{answers:?}");
    assert_eq!(ask(&keys[1]).0, 200, "another one's is another");
    // Revoked: worth nothing, a second later.
    let id = keys[1].split('_').nth(1).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.args(["keys", "revoke", id]).env("FORETAP_DATA_FOLDER", folder.path());
    assert!(command.status().unwrap().success());
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(ask(&keys[1]).0, 401);
    // The keys themselves are nowhere.
    let kept = std::fs::read_to_string(folder.path().join("api-keys.json")).unwrap();
    assert!(keys.iter().all(|key| !kept.contains(key.rsplit('_').next().unwrap())), "{kept}");
    up.stop();
}

#[test]
fn nobody_is_let_in_from_elsewhere_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let error = refusal(folder.path(), &[("FORETAP_HTTP_LISTEN", "0.0.0.0:0")]);
    assert!(error.contains("guard.authenticate") && error.contains("authenticate = true"), "{error}");
    for (settings, expected) in [
        ([("FORETAP_GUARD_KEY_FILE", "x.pem")], "guard.key_file"),
        ([("FORETAP_GUARD_CLIENT_CA_FILE", "x.pem")], "guard.client_ca_file"),
        ([("FORETAP_GUARD_ISSUER", "http://example.org")], "guard.issuer"),
    ] {
        let error = refusal(folder.path(), &settings);
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// nginx before a server; stopped when it is dropped.
struct Nginx {
    folder: tempfile::TempDir,
    url: String,
}

impl Nginx {
    /// `None` where it is not wanted: `FORETAP_TEST_NGINX=1` brings Debian's package, except in CI, which has to have it.
    fn before(url: &str) -> Option<Self> {
        if std::env::var_os("FORETAP_TEST_NGINX").is_none() {
            assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_TEST_NGINX=1");
            return None;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let server = url.rsplit(':').next().unwrap();
        let started = Self::script(&["start", folder.path().to_str().unwrap(), &free.to_string(), server]);
        Some(Self { folder, url: started.trim().to_owned() })
    }

    fn script(arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/nginx.sh");
        let output = Command::new("bash").arg(script).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        Self::script(&["stop", self.folder.path().to_str().unwrap()]);
    }
}

#[test]
fn refusals_reach_clients_through_nginx_while_their_bodies_are_still_sent() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("FORETAP_GUARD_AUTHENTICATE", "true"),
        ("FORETAP_HTTP_MAX_BODY_BYTES", "4000000"),
        ("FORETAP_ANSWER_AT_ONCE", "1"),
        ("FORETAP_ANSWER_MAX_WAITING", "0"),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretap"));
    command.args(["keys", "make", "--role", "service", "--note", "a test"]);
    let made = command.env("FORETAP_DATA_FOLDER", folder.path()).output().unwrap();
    let key = format!("Bearer {}", String::from_utf8(made.stdout).unwrap().trim());
    let up = Up::start(folder.path(), &settings);
    let Some(nginx) = Nginx::before(up.client.url()) else { return };
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let large = vec![b' '; 3_000_000];
    let send = |path: &str, credential: Option<&str>, body: &[u8]| {
        let mut request =
            agent.post(&format!("{}{path}", nginx.url)).header("Content-Type", "application/json");
        if let Some(credential) = credential {
            request = request.header("Authorization", credential);
        }
        request.send(body).unwrap().status().as_u16()
    };
    for _ in 0..30 {
        assert_eq!(send("/v1/events", None, &large), 401);
        assert_eq!(send("/v1/events", Some(&key), &[&large[..], &large[..]].concat()), 413);
        assert_eq!(send("/v1/predict", Some(&key), &large), 413);
        assert_eq!(send("/v1/predict", Some(&key), br#"{"user":"u0000000000000001"}"#), 200);
    }
    // Questions that are refused since too many are asked: the client hears it from the server.
    let counts = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let asked = || send("/v1/predict", Some(&key), br#"{"user":"u0000000000000001"}"#);
                    (0..50).map(|_| asked()).collect::<Vec<u16>>()
                })
            })
            .collect();
        askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect::<Vec<u16>>()
    });
    assert!(counts.iter().all(|status| [200, 503].contains(status)), "{counts:?}");
    assert!(counts.contains(&200) && counts.contains(&503), "some of each");
    drop(nginx);
    up.stop();
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Questions that are asked and taken back at once, on one connection, until the server ends it or `most` were: how many.
fn cancelled(address: &str, most: u32) -> u32 {
    const HEADERS: (u8, u8) = (1, 4);
    const RST_STREAM: u8 = 3;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    start.extend(frame(4, 0, 0, &[]));
    connection.write_all(&start).unwrap();
    // HPACK: POST and http from its table, path and authority as they are.
    let mut head = vec![0x83, 0x86, 0x04, 11];
    head.extend(b"/v1/predict");
    head.extend([0x01, 1, b'a']);
    for number in 0..most {
        let stream = 2 * number + 1;
        let mut both = frame(HEADERS.0, HEADERS.1, stream, &head);
        both.extend(frame(RST_STREAM, 0, stream, &CANCEL));
        if connection.write_all(&both).is_err() {
            return number;
        }
    }
    most
}

#[test]
fn ten_thousand_cancelled_questions_harm_nobody_else() {
    const CANCELLED: u32 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(folder.path(), &[]);
    let address = up.client.url().trim_start_matches("http://").to_owned();
    let question = foretap_platform::serve::PredictRequest {
        user: "u0000000000000001".to_owned(),
        ..Default::default()
    };
    let ask = || {
        let asked = Instant::now();
        up.client.predict(&question).unwrap();
        asked.elapsed()
    };
    ask();
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let (mut sent, mut connections) = (0, 0);
            while sent < CANCELLED {
                sent += cancelled(&address, CANCELLED - sent).max(1);
                connections += 1;
            }
            connections
        });
        let mut slowest = Duration::ZERO;
        while !attacker.is_finished() {
            slowest = slowest.max(ask());
        }
        attacker.join().unwrap();
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    });
    assert!(ask() < Duration::from_secs(1));
    up.stop();
}
