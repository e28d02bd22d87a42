//! Amazon's services for a test, as moto, ministack or kinesalite have them (`tests/peers/aws.sh`), and a proxy that treats requests
//! badly.
//! Skipped without `FORETAP_TEST_AWS=1`, except in CI.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A server of its own, ended when it is dropped.
pub struct Aws {
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Drop for Aws {
    fn drop(&mut self) {
        script(&["stop", self.folder.path().to_str().unwrap()]);
    }
}

fn script(arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/aws.sh");
    let mut command = Command::new("bash");
    // The server outlives the script: it must not hold our output.
    command.arg(script).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success(), "aws.sh {arguments:?}");
}

impl Aws {
    /// Starts `moto`, `ministack` or `kinesalite`; `None` where no such peer is wanted.
    pub fn start(peer: &str) -> Option<Self> {
        if std::env::var_os("FORETAP_TEST_AWS").is_none() {
            assert!(std::env::var_os("CI").is_none(), "CI sets FORETAP_TEST_AWS=1, has Python 3.11 and Node");
            return None;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let aws = Self { folder: tempfile::tempdir().unwrap(), port };
        script(&["start", peer, aws.folder.path().to_str().unwrap(), &port.to_string()]);
        Some(aws)
    }

    /// The folder with its process id, `pid`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What clients are made from.
    pub async fn sdk(&self) -> SdkConfig {
        sdk(&self.url()).await
    }

    /// Settings of a process that uses it.
    pub fn settings(&self) -> Vec<(String, String)> {
        [
            ("FORETAP_AWS_ENDPOINT", &*self.url()),
            ("FORETAP_AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }
}

/// What clients of this URL are made from.
pub async fn sdk(url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It is done, and the connection is cut before the answer.
    Lost,
    /// The connection is cut before it is done.
    Cut,
    /// It is not answered for so long, and then cut.
    Held(std::time::Duration),
    /// It is refused with this body.
    Refused(String),
    /// Another body is sent on in its place, and what it is answered with goes through this function.
    Changed(String, fn(&str, &str) -> String),
}

/// Decides on a request by its operation, as `PutItem`, and its body.
pub type Judge = Arc<dyn Fn(&str, &str) -> Fate + Send + Sync>;

/// Listens before `aws`, on a port of its own, and returns its URL.
pub async fn proxy(aws: &Aws, judge: Judge) -> String {
    proxy_of(aws, aws, judge).await
}

/// The same before one that has Kinesis, and one that has the rest.
pub async fn proxy_of(kinesis: &Aws, rest: &Aws, judge: Judge) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ports = (kinesis.port, rest.port);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let judge = Arc::clone(&judge);
            tokio::spawn(async move { pass(client, ports, &judge).await });
        }
    });
    url
}

/// One request a connection. An error is a connection that ended: so be it.
async fn pass(mut client: TcpStream, (kinesis, rest): (u16, u16), judge: &Judge) -> std::io::Result<()> {
    let (head, body) = read_request(&mut client).await?;
    let operation = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().starts_with("x-amz-target:").then(|| line.rsplit('.').next())
        })
        .flatten()
        .unwrap_or_default();
    let port = if head.contains("Kinesis_2013") { kinesis } else { rest };
    let text = String::from_utf8_lossy(&body).into_owned();
    let answer = match judge(operation, &text) {
        Fate::Cut => return Ok(()),
        Fate::Held(time) => {
            tokio::time::sleep(time).await;
            return Ok(());
        }
        Fate::Refused(body) => {
            format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        }
        Fate::Lost => {
            forward(port, &head, &body).await?;
            return Ok(());
        }
        Fate::Answered => forward(port, &head, &body).await?,
        Fate::Changed(sent, change) => {
            let answer = forward(port, &head, sent.as_bytes()).await?;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let (_, answered) = answer.split_once("\r\n\r\n").unwrap_or_default();
            let body = change(&text, answered);
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        }
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}

async fn read_request(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length: usize = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or_default();
    while bytes.len() < end + length {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, bytes.split_off(end)))
}

/// Sends a request on over a connection of its own, and returns the whole answer.
async fn forward(port: u16, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    server.write_all(closing(head, Some(body.len())).as_bytes()).await?;
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |end| end + 4);
    let rest = answer.split_off(end);
    let mut whole = closing(&String::from_utf8_lossy(&answer), None).into_bytes();
    whole.extend(rest);
    Ok(whole)
}

/// The same head for a connection that ends after it.
fn closing(head: &str, length: Option<usize>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in head.lines().filter(|line| !line.is_empty()) {
        let name = line.to_ascii_lowercase();
        if name.starts_with("connection:") || (length.is_some() && name.starts_with("content-length:")) {
            continue;
        }
        lines.push(line.to_owned());
    }
    lines.extend(length.map(|length| format!("Content-Length: {length}")));
    lines.push("Connection: close".to_owned());
    lines.join("\r\n") + "\r\n\r\n"
}
