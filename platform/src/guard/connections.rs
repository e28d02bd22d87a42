//! Connections over TCP, with TLS where there is a certificate: HTTP/1.1 and HTTP/2.
//!
//! `axum::serve` has no limits, so connections are accepted here:
//!
//! | limit | what ends |
//! | --- | --- |
//! | `max_connections` | no further one is accepted until one has ended |
//! | `head_secs` | the TLS handshake, a connection's first byte, and a request's head, from its first byte on |
//! | `idle_secs` | a connection without a request; longer than a balancer keeps it, so that the balancer ends it first |
//! | `max_age_secs` | a connection, give or take a tenth: those behind a balancer spread over new processes |
//! | `drain_secs` | what a stop waits for |
//!
//! A handshake has a task of its own: a silent client holds nobody up.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use foretap::{Error, ErrorKind, Result};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::Certificates;
use crate::config::HttpConfig;

/// Headers of a request, and bytes of them.
const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 128;
/// Between two questions whether an HTTP/2 client is still there, and how long its answer may take.
const PING: Duration = Duration::from_secs(20);
/// After an error of `accept` that is not the client's: no files are left, for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// `certificate ` and the SHA-256 of the certificate that it has shown, where one was asked for.
    pub certificate: Option<Arc<str>>,
}

/// A listening socket.
pub struct Connections {
    listener: TcpListener,
    certificates: Option<Certificates>,
    limits: Limits,
}

#[derive(Debug, Clone)]
struct Limits {
    connections: usize,
    head: Duration,
    idle: Duration,
    age: Duration,
    drain: Duration,
}

impl Connections {
    /// Listens on the settings' address.
    ///
    /// # Errors
    /// It cannot be listened on.
    pub async fn bind(config: &HttpConfig, certificates: Option<Certificates>) -> Result<Self> {
        let listener = TcpListener::bind(&config.listen).await.map_err(|error| {
            Error::new(ErrorKind::Io, format!("cannot listen on {}: {error}", config.listen))
                .field("http.listen")
                .next_step("stop what listens there, or give another address and port")
        })?;
        let limits = Limits {
            connections: config.max_connections,
            head: Duration::from_secs(config.head_secs),
            idle: Duration::from_secs(config.idle_secs),
            age: Duration::from_secs(config.max_age_secs),
            drain: Duration::from_secs(config.drain_secs),
        };
        Ok(Self { listener, certificates, limits })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|error| Error::new(ErrorKind::Io, error.to_string()))
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.certificates.is_some() { "https" } else { "http" }
    }

    /// Answers by `router` until `stop` is done; then nothing is accepted any more, requests that are under way are answered, and
    /// what is left after `drain_secs` is cut.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let (stopping, is_stopping) = watch::channel(false);
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let open = Arc::new(AtomicU64::new(0));
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        builder.http1().max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
        builder.http2().max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD_BYTES as u32);
        let mut tasks = tokio::task::JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            // Those that ended.
            while tasks.try_join_next().is_some() {}
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            let (Ok(place), Ok((stream, address))) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let connection = Connection {
                builder: builder.clone(),
                router: router.clone(),
                certificates: self.certificates.clone(),
                limits: self.limits.clone(),
                is_stopping: is_stopping.clone(),
            };
            let open = Arc::clone(&open);
            tasks.spawn(async move {
                let _place = place;
                metrics::gauge!("foretap_connections").set((open.fetch_add(1, Ordering::Relaxed) + 1) as f64);
                connection.run(stream, address).await;
                metrics::gauge!("foretap_connections").set((open.fetch_sub(1, Ordering::Relaxed) - 1) as f64);
            });
        }
        drop(self.listener);
        stopping.send_replace(true);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.drain, all).await.is_err() {
            tracing::warn!("connections are cut that did not end in time");
        }
    }
}

/// What one connection needs.
struct Connection {
    builder: Builder<TokioExecutor>,
    router: Router,
    certificates: Option<Certificates>,
    limits: Limits,
    is_stopping: watch::Receiver<bool>,
}

/// Why a connection was ended by us.
fn ended(why: &'static str) {
    metrics::counter!("foretap_connections_ended_total", "why" => why).increment(1);
}

impl Connection {
    async fn run(self, stream: TcpStream, address: SocketAddr) {
        // Answers are small, and nothing follows that they could wait for.
        let _ = stream.set_nodelay(true);
        let Some(certificates) = &self.certificates else {
            return self.answer(stream, Peer { address, certificate: None }).await;
        };
        let acceptor = TlsAcceptor::from(certificates.current());
        match tokio::time::timeout(self.limits.head, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let certificate = shown.map(|certificate| {
                    let digest = Sha256::digest(certificate);
                    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("certificate {digits}").into()
                });
                self.answer(stream, Peer { address, certificate }).await;
            }
            Ok(Err(error)) => {
                ended("handshake");
                tracing::debug!(%error, "a TLS handshake failed");
            }
            Err(_) => ended("slow handshake"),
        }
    }

    async fn answer<S>(mut self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new());
        let router = TowerToHyperService::new(self.router.clone());
        let watched = Arc::clone(&activity);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let request_is_open = Open::new(&watched);
            request.extensions_mut().insert(peer.clone());
            let answered = router.call(request.map(Body::new));
            async move {
                let _open = request_is_open;
                answered.await
            }
        });
        let stream = Watched { stream, activity: Arc::clone(&activity) };
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let oldest = Instant::now() + jittered(self.limits.age);
        let mut is_ending = false;
        loop {
            // A head that begins meanwhile is looked at in time, too.
            let mut due = activity.due(&self.limits).0.min(Instant::now() + self.limits.head);
            if !is_ending {
                due = due.min(oldest);
            }
            tokio::select! {
                done = connection.as_mut() => {
                    if let Err(error) = done {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    return;
                }
                _ = self.is_stopping.wait_for(|stopping| *stopping), if !is_ending => {
                    connection.as_mut().graceful_shutdown();
                    is_ending = true;
                }
                () = tokio::time::sleep_until(due) => {
                    let now = Instant::now();
                    if !is_ending && oldest <= now {
                        ended("age");
                        connection.as_mut().graceful_shutdown();
                        is_ending = true;
                    }
                    let (due, why) = activity.due(&self.limits);
                    if due <= now {
                        return ended(why);
                    }
                }
            }
        }
    }
}

/// A time, give or take a tenth.
fn jittered(time: Duration) -> Duration {
    // The last bytes of such an id are random.
    let random = uuid::Uuid::now_v7().as_u64_pair().1 % 1_000;
    time.mul_f64(0.9 + random as f64 / 5_000.0)
}

/// What a connection does.
struct Activity(Mutex<Doing>);

struct Doing {
    /// Requests that are being answered.
    requests: u32,
    since: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was read since the connection began.
    New,
    /// A request's head is being read.
    Head,
    /// The last request was answered, and nothing was read since.
    Idle,
    /// It speaks HTTP/2, where bytes come between requests, too.
    Http2,
}

impl Activity {
    fn new() -> Self {
        Self(Mutex::new(Doing { requests: 0, since: Instant::now(), state: State::New }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Doing) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has_read(&self, bytes: &[u8]) {
        self.with(|doing| match doing.state {
            // Its preface begins so, and no method of HTTP/1.1 does.
            State::New if bytes.starts_with(b"PRI") => doing.state = State::Http2,
            State::New | State::Idle if doing.requests == 0 => {
                (doing.state, doing.since) = (State::Head, Instant::now());
            }
            _ => {}
        });
    }

    /// When the connection has to be ended unless something happens before, and why.
    fn due(&self, limits: &Limits) -> (Instant, &'static str) {
        self.with(|doing| match (doing.requests, doing.state) {
            (1.., _) => (Instant::now() + limits.idle, "idle"),
            (0, State::New) => (doing.since + limits.head, "silent"),
            (0, State::Head) => (doing.since + limits.head, "slow head"),
            (0, State::Idle | State::Http2) => (doing.since + limits.idle, "idle"),
        })
    }
}

/// One request that is being answered.
struct Open(Arc<Activity>);

impl Open {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.with(|doing| doing.requests += 1);
        Self(Arc::clone(activity))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.with(|doing| {
            doing.requests -= 1;
            doing.since = Instant::now();
            if doing.state != State::Http2 {
                doing.state = State::Idle;
            }
        });
    }
}

/// A stream whose reads are noticed.
struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.has_read(&buffer.filled()[before..]);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
