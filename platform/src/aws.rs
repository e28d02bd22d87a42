//! Amazon's clients are configured in one place: region, endpoint, time limits, retries; and their errors become ours, with what
//! an operator does next.
//!
//! Credentials come by the SDK's own chain: environment, profile file, or the role of the machine, container or pod. No setting
//! holds them.

use std::future::Future;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls;
use foretap::{Error, ErrorKind};

use crate::config::AwsConfig;

/// What every client is made from.
pub async fn sdk_config(config: &AwsConfig) -> SdkConfig {
    let attempt = Duration::from_secs(config.attempt_secs);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(attempt)
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .build();
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(config.attempts));
    if !config.region.is_empty() {
        loader = loader.region(Region::new(config.region.clone()));
    }
    if !config.endpoint.is_empty() {
        loader = loader.endpoint_url(&config.endpoint);
    }
    loader.load().await
}

/// Codes of a service that is busy or failed for the moment. Nothing is known of whether it did what it was asked.
const PASSING: [&str; 13] = [
    "InternalFailure",
    "InternalFailureException",
    "InternalServerError",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "KMSInternalException",
    "KMSThrottlingException",
];

/// Whether the same request may do better in a moment.
pub(crate) fn is_passing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
        SdkError::ServiceError(found) => {
            found.raw().status().as_u16() >= 500
                || found.err().code().is_some_and(|code| PASSING.contains(&code))
        }
        _ => false,
    }
}

/// Sends a request until it is answered for good, at most `attempts` times, and waits longer each time. The SDK's own retries
/// know neither which cancelled transactions are worth another attempt nor that nothing else may wait for a busy person.
///
/// # Errors
/// The last attempt's.
pub(crate) async fn retrying<T, E, Sent>(
    attempts: u32,
    may_pass: impl Fn(&SdkError<E>) -> bool,
    send: impl Fn() -> Sent,
) -> Result<T, SdkError<E>>
where
    Sent: Future<Output = Result<T, SdkError<E>>>,
{
    let mut attempt = 1;
    loop {
        match send().await {
            Err(error) if attempt < attempts && may_pass(&error) => wait(attempt).await,
            answered => return answered,
        }
        attempt += 1;
    }
}

/// Waits for a random part of a time that doubles, so that those who were refused together do not come back together.
pub(crate) async fn wait(attempt: u32) {
    const FIRST_MS: u64 = 25;
    const LONGEST_MS: u64 = 5_000;
    let most_ms = FIRST_MS.saturating_mul(1 << attempt.min(16)).min(LONGEST_MS);
    // The last bytes of such an id are random.
    let random = u64::from_le_bytes(uuid::Uuid::now_v7().as_u64_pair().1.to_le_bytes());
    tokio::time::sleep(Duration::from_millis(1 + random % most_ms)).await;
}

/// An error of a service that was asked to do something.
pub(crate) fn failed<E>(doing: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = match &error {
        SdkError::ServiceError(found) => found.err().code().unwrap_or("unknown").to_owned(),
        _ => String::new(),
    };
    let message = match &error {
        SdkError::ServiceError(found) => match found.err().message() {
            Some(message) => format!("{code}: {message}"),
            None => code.clone(),
        },
        _ => DisplayErrorContext(&error).to_string(),
    };
    Error::new(ErrorKind::Io, format!("cannot {doing}: {message}")).next_step(next_step(&code)).source(error)
}

/// What the SDK says of a request that lacks something.
pub(crate) fn incomplete(error: BuildError) -> Error {
    Error::new(ErrorKind::Config, format!("a request to Amazon is incomplete: {error}"))
        .next_step("see the names of tables and streams in the settings: none may be empty")
}

/// What an operator does about a service's error.
fn next_step(code: &str) -> &'static str {
    match code {
        "" => {
            "see whether `region` and `endpoint` of [aws] are right, the network lets it through, and there are credentials: \
             in the environment, in a profile, or by a role"
        }
        "AccessDeniedException" => {
            "permit it to this role: see \"State in DynamoDB\" in the platform's README"
        }
        "DisabledException" | "KMSInvalidStateException" => {
            "enable the KMS key, or cancel its deletion: without it nothing of the store can be read or written"
        }
        "NotFoundException" => "see whether `kms_key` of [store] and `region` of [aws] are right",
        "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException" => {
            "give other credentials, in the environment, in a profile, or by a role"
        }
        "ProvisionedThroughputExceededException" | "RequestLimitExceeded" | "ThrottlingException" => {
            "give the table more capacity, or bill it on demand; or give more `attempts` in [aws]"
        }
        "ResourceNotFoundException" => "see whether `table` of [store] and `region` of [aws] are right",
        _ => "see what the service says, and its status page",
    }
}
