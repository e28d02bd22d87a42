//! Bodies that are read to their end although the request was answered before.
//!
//! Over HTTP/1 a server that answers early and closes the connection with something unread on it makes the kernel reset it, and the
//! answer may be lost on the way: nginx then says 502 where the server said 401. Over HTTP/2 the stream is reset after such an
//! answer, and curl says that instead of the answer. So what still comes is read and thrown away, for a short time, and then the
//! answer is sent (RFC 9112, 9.6). A stream of gRPC has no end to wait for.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{Version, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};

/// For how long a body is read that nobody wants, and how much of it, at most.
const LINGER: Duration = Duration::from_secs(2);
const MOST_BYTES: usize = 64 << 20;

/// A body that can be read on after whoever was to read it has answered.
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    fn with<T>(&self, work: impl FnOnce(Pin<&mut Body>) -> T) -> T {
        work(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl hyper::body::Body for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.with(|body| body.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}

/// Answers once the request's body was read, whoever answered before.
pub(super) async fn linger(request: Request, next: Next) -> Response {
    let headers = request.headers();
    // Who expects to be told to go on has sent nothing yet.
    let waits = request.version() <= Version::HTTP_11 && headers.contains_key(header::EXPECT);
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_grpc = content_type.is_some_and(|content_type| content_type.starts_with("application/grpc"));
    if waits || is_grpc || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = Arc::new(Mutex::new(body));
    let shared = Body::new(Shared(Arc::clone(&body)));
    let response = next.run(Request::from_parts(parts, shared)).await;
    let rest = read_on(Shared(body));
    // One that is still being sent then is cut: the connection is closed.
    let _ = tokio::time::timeout(LINGER, rest).await;
    response
}

async fn read_on(mut body: Shared) {
    let mut bytes = 0;
    while bytes < MOST_BYTES && !body.is_end_stream() {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}
