//! Servers that speak as Amazon's do, which a test starts for itself (`tests/peers/aws.sh`), and a proxy that spoils the way to
//! them.

// Each test uses a part of it.
#![allow(dead_code)]

#[path = "aws.rs"]
pub mod aws;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws::Aws;
use foretap_platform::config::AwsConfig;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The region that all tests name.
pub const REGION: &str = "us-east-1";

/// A server of its own, ended when it is dropped.
pub struct Peer {
    pub name: &'static str,
    pub port: u16,
    aws: Aws,
}

/// Whether tests with these servers are wanted. They take any name and password, which the environment must have.
pub fn is_wanted() -> bool {
    if std::env::var_os("FORETAP_TEST_AWS").is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_TEST_AWS=1");
        eprintln!("skipped: set FORETAP_TEST_AWS=1, AWS_ACCESS_KEY_ID=test and AWS_SECRET_ACCESS_KEY=test");
        return false;
    }
    assert!(
        std::env::var_os("AWS_ACCESS_KEY_ID").is_some(),
        "set AWS_ACCESS_KEY_ID=test, AWS_SECRET_ACCESS_KEY=test"
    );
    true
}

impl Peer {
    /// Starts `moto` or `ministack`.
    pub fn start(name: &'static str) -> Self {
        let aws = Aws::start(name).unwrap();
        Self { name, port: aws.port, aws }
    }

    pub fn endpoint(&self) -> String {
        self.aws.url()
    }

    /// What clients of the other services are made from.
    pub async fn sdk(&self) -> aws_config::SdkConfig {
        self.aws.sdk().await
    }

    pub fn config(&self) -> AwsConfig {
        AwsConfig { region: REGION.to_owned(), endpoint: self.endpoint(), ..AwsConfig::default() }
    }

    /// Makes a bucket, with object versions or without.
    pub fn make_bucket(&self, bucket: &str, is_versioned: bool) {
        self.put(bucket, b"");
        if is_versioned {
            let on = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status></VersioningConfiguration>";
            self.put(&format!("{bucket}?versioning"), on.as_bytes());
        }
    }

    /// Writes an object; `path` is `bucket/key`.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let sent = ureq::put(format!("{}/{path}", self.endpoint())).send(bytes);
        assert!(sent.is_ok(), "PUT {path}: {sent:?}");
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.try_get(path).unwrap()
    }

    /// The bytes at a path; `None` where there is no such object.
    pub fn try_get(&self, path: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        // The servers look for somebody's name, and at no signature; nobody by no name reads an object.
        let somebody = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=none";
        let request = ureq::get(format!("{}/{path}", self.endpoint())).header("Authorization", somebody);
        let mut answer = request.call().ok()?;
        answer.body_mut().as_reader().read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }

    /// Key and version of every version of every object of a bucket; marks of deletion without a version are among them.
    pub fn versions(&self, bucket: &str) -> Vec<(String, String)> {
        let (mut found, mut marker) = (Vec::new(), String::new());
        loop {
            let xml = String::from_utf8(self.get(&format!("{bucket}?versions{marker}"))).unwrap();
            for kind in ["Version", "DeleteMarker"] {
                for part in xml.split(&format!("<{kind}>")).skip(1) {
                    found.push((inner(part, "Key").unwrap(), inner(part, "VersionId").unwrap()));
                }
            }
            let Some(key) = inner(&xml, "NextKeyMarker").filter(|key| !key.is_empty()) else { return found };
            let version = inner(&xml, "NextVersionIdMarker").unwrap_or_default();
            marker = format!("&key-marker={key}&version-id-marker={version}");
        }
    }

    /// Keys of the objects that are there.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let xml = String::from_utf8(self.get(&format!("{bucket}?list-type=2{token}"))).unwrap();
            found.extend(xml.split("<Contents>").skip(1).map(|part| inner(part, "Key").unwrap()));
            let Some(next) = inner(&xml, "NextContinuationToken") else { return found };
            token = format!(
                "&continuation-token={}",
                next.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D")
            );
        }
    }
}

fn inner(xml: &str, tag: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{tag}>"))?;
    rest.split_once('<').map(|(text, _)| text.replace("&amp;", "&"))
}

/// What a proxy does to one connection of a hundred, each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Answers 503 without asking.
    pub busy: u32,
    /// Has the request done, and cuts the connection before its answer.
    pub lost: u32,
    /// Cuts the connection in the middle of the request.
    pub cut: u32,
    /// Has the request done, and answers so late that nobody waits any more.
    pub late: u32,
}

/// A proxy that forwards one request a connection, spoiled at random. Ended with the runtime.
pub struct Proxy {
    pub port: u16,
    /// Connections that were spoiled.
    pub spoiled: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn start(to: u16, faults: Faults, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let spoiled = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&spoiled);
        tokio::spawn(async move {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            while let Ok((from, _)) = listener.accept().await {
                let dice = random.random_range(0..100);
                let spoiled = Arc::clone(&count);
                tokio::spawn(async move {
                    // A connection that breaks is what this is for.
                    let _ = forward(from, to, faults, dice, &spoiled).await;
                });
            }
        });
        Self { port, spoiled }
    }
}

async fn forward(
    mut from: TcpStream,
    to: u16,
    faults: Faults,
    dice: u32,
    spoiled: &AtomicU64,
) -> std::io::Result<()> {
    let Faults { busy, lost, cut, late } = faults;
    let spoil = || spoiled.fetch_add(1, Ordering::Relaxed);
    let request = read_request(&mut from).await?;
    if dice < busy {
        spoil();
        let answer = "HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: 46\r\nconnection: close\r\n\r\n<Error><Code>ServiceUnavailable</Code></Error>";
        return from.write_all(answer.as_bytes()).await;
    }
    let mut peer = TcpStream::connect(("127.0.0.1", to)).await?;
    if dice < busy + cut {
        spoil();
        return peer.write_all(&request[..request.len() / 2]).await;
    }
    peer.write_all(&request).await?;
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).await?;
    if dice < busy + cut + lost {
        spoil();
        return Ok(());
    }
    if dice < busy + cut + lost + late {
        spoil();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    from.write_all(&answer).await
}

/// One request whole; the server is asked to close the connection after its answer.
async fn read_request(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while bytes.len() < end + 4 + length {
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&buffer[..read]);
        }
        bytes.splice(end..end, b"\r\nconnection: close".iter().copied());
        return Ok(bytes);
    }
}
