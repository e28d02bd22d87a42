//! What a phone does, for tests, demonstrations and operators: logs are sent as batches, questions asked over HTTP.

use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use foretap::data::{Log, Timestamp, Vocabulary};
use foretap::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ureq::tls::{RootCerts, TlsConfig};

use crate::serve::{
    AcceptedEvents, BatchAnswer, BatchRequest, BatchResponse, FeedbackRequest, PredictRequest,
    PredictResponse, Problem, RefusedEvent, StatusBody,
};
use crate::wire::{self, Encoding, PhoneEvent};

/// Where a server listens.
#[derive(Debug, Clone)]
pub struct Client {
    url: String,
    agent: ureq::Agent,
    /// The value of `Authorization`. It is never printed.
    authorization: Option<Credential>,
}

/// A header's value that is never printed.
#[derive(Clone)]
struct Credential(String);

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// Environment variables: an API key or a token, and the file of the authority's certificate where it is not the public web's.
pub const TOKEN: &str = "FORETAP_TOKEN";
/// See [`TOKEN`].
pub const CA_FILE: &str = "FORETAP_CA_FILE";

/// How often a request is sent again to a server that cannot take it at the moment.
const ATTEMPTS: u32 = 8;
/// Refused events that are kept to be shown.
const SHOWN: usize = 5;

/// What became of what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    /// Events that were accepted.
    pub accepted: u64,
    /// Events that were refused.
    pub refused: u64,
    /// Why the first of them were.
    pub reasons: Vec<RefusedEvent>,
    /// Requests.
    pub batches: u64,
    /// The last one's position: for [`PredictRequest::after`].
    pub position: u64,
}

/// All events of a log as phones would send them: in the order of their times, each with its number in its second.
pub fn phone_events(log: &Log, vocabulary: &Vocabulary) -> Vec<PhoneEvent> {
    let mut events = Vec::with_capacity(log.events().len());
    for person in log.users() {
        let mut last: Option<(Timestamp, u32)> = None;
        for event in person {
            let number = last.filter(|(at, _)| *at == event.at).map_or(0, |(_, number)| number + 1);
            last = Some((event.at, number));
            events.push(PhoneEvent::of_event(event, number, vocabulary));
        }
    }
    // Stable: one person's events of a time stay in their order.
    events.sort_by_key(|event| event.at_us);
    events
}

impl Client {
    /// Of the server at `url`, such as `http://127.0.0.1:8310`.
    ///
    /// # Errors
    /// The file of the authority's certificate, which the environment names, cannot be read.
    pub fn of_environment(url: &str) -> Result<Self> {
        let ca_file = std::env::var_os(CA_FILE).map(std::path::PathBuf::from);
        let client = Self::with(url, crate::guard::client_tls(ca_file.as_deref())?);
        Ok(match std::env::var(TOKEN) {
            Ok(token) => client.authorized(&token),
            Err(_) => client,
        })
    }

    /// The same without a credential, of a server whose certificate is the public web's where it has one.
    pub fn new(url: &str) -> Self {
        Self::with(url, crate::guard::client_tls_of(RootCerts::WebPki))
    }

    /// Where the server listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same with an API key or a token.
    pub fn authorized(self, token: &str) -> Self {
        Self { authorization: Some(Credential(format!("Bearer {}", token.trim()))), ..self }
    }

    fn with(url: &str, tls: TlsConfig) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(150)))
            .http_status_as_error(false)
            .tls_config(tls)
            .build();
        Self { url: url.trim_end_matches('/').to_owned(), agent: config.into(), authorization: None }
    }

    /// Sends events, `batch` at a time; `speed` seconds of the log pass in one second, or as fast as it goes without it.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses a batch whole.
    pub fn send(
        &self,
        events: &[PhoneEvent],
        key_id: &str,
        (batch, speed): (usize, Option<f64>),
        mut progress: impl FnMut(u64),
    ) -> Result<Sent> {
        let (started, mut sent) = (Instant::now(), Sent::default());
        let first_us = events.first().map_or(0, |event| event.at_us);
        for part in events.chunks(batch.max(1)) {
            if let (Some(speed), Some(event)) = (speed, part.last()) {
                let due = Duration::from_secs_f64((event.at_us - first_us) as f64 / 1e6 / speed);
                std::thread::sleep(due.saturating_sub(started.elapsed()));
            }
            let body = gzip(&wire::encode(key_id, part))?;
            let headers = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "gzip")];
            let answer: AcceptedEvents = read(&self.post("/v1/events", &headers, &body)?)?;
            sent.accepted += answer.accepted as u64;
            sent.refused += answer.refused as u64;
            sent.batches += 1;
            sent.position = answer.position;
            let room = SHOWN - sent.reasons.len().min(SHOWN);
            sent.reasons.extend(answer.reasons.into_iter().take(room));
            progress(part.len() as u64);
        }
        Ok(sent)
    }

    /// Sends a batch that is written already.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses the batch whole.
    pub fn send_batch(&self, batch: &[u8], encoding: Encoding) -> Result<AcceptedEvents> {
        read(&self.post("/v1/events", &[("Content-Type", encoding.content_type())], batch)?)
    }

    /// Asks what is opened next.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses the question.
    pub fn predict(&self, request: &PredictRequest) -> Result<PredictResponse> {
        read(&self.post_json("/v1/predict", request)?)
    }

    /// Asks what is opened next by each of several people, or by one at several times: at most a hundred questions.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses them all.
    pub fn predict_batch(&self, questions: Vec<PredictRequest>) -> Result<Vec<BatchAnswer>> {
        let batch = BatchRequest { questions };
        let answered: BatchResponse = read(&self.post_json("/v1/predict:batch", &batch)?)?;
        Ok(answered.answers)
    }

    /// Says what was opened after an answer.
    ///
    /// # Errors
    /// The server cannot be reached, or knows no such answer.
    pub fn feedback(&self, request: &FeedbackRequest) -> Result<()> {
        self.post_json("/v1/feedback", request).map(|_| ())
    }

    /// Has lake and store commit all that was sent before.
    ///
    /// # Errors
    /// The server cannot be reached, or cannot commit.
    pub fn flush(&self) -> Result<()> {
        self.post("/v1/flush", &[], &[]).map(|_| ())
    }

    /// Whether the server does its work.
    ///
    /// # Errors
    /// It cannot be reached, or says what is wrong.
    pub fn health(&self) -> Result<()> {
        self.get("/healthz").map(|_| ())
    }

    /// Whether the server takes requests.
    ///
    /// # Errors
    /// It cannot be reached, or is starting or stopping.
    pub fn ready(&self) -> Result<()> {
        self.get("/readyz").map(|_| ())
    }

    /// Figures of the server.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn status(&self) -> Result<StatusBody> {
        read(&self.get("/v1/status")?)
    }

    /// All that is held of a person, as JSON.
    ///
    /// # Errors
    /// The server cannot be reached, or the id is none.
    pub fn export(&self, user: &str) -> Result<serde_json::Value> {
        read(&self.get(&format!("/v1/people/{user}"))?)
    }

    /// Forgets a person, and returns the report as JSON.
    ///
    /// # Errors
    /// The server cannot be reached, the id is none, or a part could not be done: call it again.
    pub fn forget(&self, user: &str) -> Result<serde_json::Value> {
        read(&self.post(&format!("/v1/people/{user}/forget"), &[], &[])?)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>> {
        let mut request = self.agent.get(&format!("{}{path}", self.url));
        if let Some(Credential(value)) = &self.authorization {
            request = request.header("Authorization", value);
        }
        let answer = request.call();
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(MAX_ANSWER);
        let bytes = body.read_to_vec().map_err(|error| self.unreachable(&error))?;
        if status == 200 { Ok(bytes) } else { Err(refused(path, status, &bytes)) }
    }

    fn post_json(&self, path: &str, body: &impl Serialize) -> Result<Vec<u8>> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::new(ErrorKind::Data, format!("cannot be written as JSON: {error}")))?;
        self.post(path, &[("Content-Type", "application/json")], &body)
    }

    /// A request and the body of its answer. Where the server cannot take it at the moment it is sent again, later each time;
    /// events that were kept all the same are known by their identity.
    fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>> {
        let url = format!("{}{path}", self.url);
        let mut pause = Duration::from_millis(100);
        for attempt in 1..=ATTEMPTS {
            let mut request = self.agent.post(&url);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(Credential(value)) = &self.authorization {
                request = request.header("Authorization", value);
            }
            let mut answer = match request.send(body) {
                Ok(answer) => answer,
                Err(error) if attempt == ATTEMPTS || path != "/v1/events" => {
                    return Err(self.unreachable(&error));
                }
                Err(_) => {
                    std::thread::sleep(pause);
                    pause *= 2;
                    continue;
                }
            };
            let status = answer.status().as_u16();
            let bytes = answer.body_mut().read_to_vec().map_err(|error| self.unreachable(&error))?;
            match status {
                200..300 => return Ok(bytes),
                429 | 503 if attempt < ATTEMPTS => {
                    std::thread::sleep(pause);
                    pause *= 2;
                }
                _ => return Err(refused(path, status, &bytes)),
            }
        }
        Err(Error::new(ErrorKind::Io, format!("{path} could not be done")))
    }

    fn unreachable(&self, error: &ureq::Error) -> Error {
        Error::new(ErrorKind::Io, format!("cannot reach {}: {error}", self.url))
            .next_step("start it with `foretap up`, or name another by --url")
    }
}

/// Several servers with one store. Each user is asked about at the same one of them, which so has that person in memory, by rendezvous
/// hashing (Thaler and Ravishankar 1998): where one goes, only its own users go elsewhere. Events may be sent to any.
#[derive(Debug, Clone)]
pub struct Servers {
    clients: Vec<Client>,
}

impl Servers {
    /// # Errors
    /// There is none.
    pub fn new(clients: Vec<Client>) -> Result<Self> {
        if clients.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no server is named"));
        }
        Ok(Self { clients })
    }

    /// The servers, the one for this user first.
    pub fn of(&self, user: &str) -> Vec<&Client> {
        let mut ranked: Vec<_> = self
            .clients
            .iter()
            .map(|client| {
                let hash = Sha256::new().chain_update(&client.url).chain_update([0]).chain_update(user);
                (hash.finalize(), client)
            })
            .collect();
        ranked.sort_by_key(|(hash, _)| *hash);
        ranked.into_iter().map(|(_, client)| client).collect()
    }

    /// Asks what is opened next: the user's own server, and the next one where it cannot be reached.
    ///
    /// # Errors
    /// None can be reached, or one refuses the question.
    pub fn predict(&self, request: &PredictRequest) -> Result<PredictResponse> {
        let mut last = None;
        for client in self.of(&request.user) {
            match client.predict(request) {
                Err(error) if error.kind() == ErrorKind::Io => last = Some(error),
                answered => return answered,
            }
        }
        Err(last.unwrap_or_else(|| Error::new(ErrorKind::Config, "no server is named")))
    }
}

/// Bytes of an answer, at most: all that is held of a person may be large.
const MAX_ANSWER: u64 = 1 << 30;

fn refused(path: &str, status: u16, body: &[u8]) -> Error {
    let refused: Problem = serde_json::from_slice(body).unwrap_or(Problem {
        title: String::new(),
        status,
        detail: String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
        field: None,
    });
    let error = Error::new(ErrorKind::Data, format!("{path} answered {status}: {}", refused.detail));
    let error = match status {
        401 => error.next_step(format!("give an API key or a token in the environment variable {TOKEN}")),
        _ => error,
    };
    match refused.field {
        Some(field) => error.field(field),
        None => error,
    }
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = out.write_all(bytes).and_then(|()| out.finish());
    packed.map_err(|error| Error::new(ErrorKind::Io, format!("cannot compress a batch: {error}")))
}

fn read<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        Error::new(ErrorKind::Data, format!("the server's answer cannot be read: {error}"))
            .next_step("use the same version of foretap on both sides")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn users_keep_their_server_where_another_goes() {
        let url = |number: usize| format!("http://127.0.0.1:{number}");
        let servers = Servers::new((0..4).map(|number| Client::new(&url(number))).collect()).unwrap();
        let fewer = Servers::new((0..3).map(|number| Client::new(&url(number))).collect()).unwrap();
        let users: Vec<String> = (0..4_000_u64).map(|user| format!("u{user:016x}")).collect();
        let mut counts = [0; 4];
        for user in &users {
            let order = servers.of(user);
            let first = (0..4).find(|number| order[0].url() == url(*number)).unwrap();
            counts[first] += 1;
            let rest: Vec<&str> = order.iter().map(|client| client.url()).filter(|u| *u != url(3)).collect();
            let now: Vec<&str> = fewer.of(user).iter().map(|client| client.url()).collect();
            assert_eq!(rest, now, "{user}");
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        assert!(Servers::new(Vec::new()).is_err());
    }
}
