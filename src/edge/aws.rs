//! AWS as all edges meet it: how its clients are made, what its errors mean, and how calls are repeated.
//!
//! Deadlines: connecting 3 s, an answer 10 s (a long poll its wait more), a call with all its tries [`DEADLINE`]. Calls
//! whose repetition does no harm are repeated by the SDK (standard mode: jitter, and a budget of retries a client). Calls
//! with an effect are tried once a go ([`once`]) and repeated by [`repeated`], which does not forget that an earlier try
//! may have happened. Credentials come from the SDK's default chain alone: environment, profile, or the instance's role.

use super::host::Entropy;
use super::{Error, Kind, Result};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::time::Instant;

/// All tries of a call together.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// From the request to the head of its answer.
pub const ANSWER: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(3);
/// AWS closes idle connections; one that we close first is never written to in vain.
const IDLE: Duration = Duration::from_secs(15);
/// Tries of a call that the SDK repeats.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Where AWS is. What is not set is the SDK's to find.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub region: Option<String>,
    /// Another service that speaks these protocols, for all of them; each has its own before it.
    pub endpoint: Option<String>,
    pub s3: Option<String>,
    pub sqs: Option<String>,
    pub ec2: Option<String>,
}

/// One client a service, over shared connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    pub s3: aws_sdk_s3::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub ec2: aws_sdk_ec2::Client,
    /// What they were made from: region, credentials, connections.
    pub sdk: SdkConfig,
}

macro_rules! with_endpoint {
    ($service:ident, $sdk:expr, $endpoint:expr) => {{
        let mut config = $service::config::Builder::from($sdk);
        if let Some(endpoint) = $endpoint {
            config = config.endpoint_url(endpoint);
        }
        $service::Client::from_conf(config.build())
    }};
}

impl Clients {
    /// Makes the clients. Calls none of the services; region and credentials are looked for in environment and profile.
    ///
    /// `Invalid` where there is no region, `Unavailable` where TLS is needed and nobody is trusted.
    pub async fn open(settings: &Settings) -> Result<Clients> {
        Clients::of(loader(settings).load().await, settings)
    }

    /// From what the SDK has loaded.
    pub fn of(sdk: SdkConfig, settings: &Settings) -> Result<Clients> {
        if sdk.region().is_none() {
            let how = "no region; set aws.region, or AWS_REGION in the environment";
            return Err(Error::new(Kind::Invalid, "aws.open", how));
        }
        if !*TRUSTS && needs_tls(&sdk, settings) {
            let how = "no certificate authorities are known here, so AWS cannot be asked over TLS; install them \
                       (Debian: ca-certificates), or name their file in SSL_CERT_FILE";
            return Err(Error::new(Kind::Unavailable, "aws.open", how));
        }
        Ok(Clients {
            s3: s3(&sdk, settings),
            sqs: with_endpoint!(aws_sdk_sqs, &sdk, &settings.sqs),
            ec2: with_endpoint!(aws_sdk_ec2, &sdk, &settings.ec2),
            sdk,
        })
    }
}

/// What the SDK is told before it looks for the rest.
pub fn loader(settings: &Settings) -> ConfigLoader {
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http())
        .retry_config(RetryConfig::standard().with_max_attempts(TRIES).with_max_backoff(LONGEST_PAUSE))
        .timeout_config(timeouts(ANSWER, DEADLINE));
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &settings.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    loader
}

/// Connections, which clients share that are given clones of it. Where no certificate authority is known there is no TLS:
/// the metadata service and emulators do without.
pub fn http() -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new().pool_idle_timeout(IDLE);
    if !*TRUSTS {
        return builder.build_http();
    }
    builder.tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring)).build_https()
}

/// Whether this system knows certificate authorities.
static TRUSTS: LazyLock<bool> = LazyLock::new(|| !rustls_native_certs::load_native_certs().certs.is_empty());

/// Whether one of the services is asked over TLS.
fn needs_tls(sdk: &SdkConfig, settings: &Settings) -> bool {
    let services = [("S3", &settings.s3), ("SQS", &settings.sqs), ("EC2", &settings.ec2)];
    services.into_iter().any(|(service, set)| {
        let of_environment = std::env::var(format!("AWS_ENDPOINT_URL_{service}")).ok();
        let endpoint = set.as_deref().or(of_environment.as_deref()).or(sdk.endpoint_url());
        endpoint.is_none_or(|url| !url.starts_with("http://"))
    })
}

fn s3(sdk: &SdkConfig, settings: &Settings) -> aws_sdk_s3::Client {
    let of_environment =
        ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"].iter().any(|name| std::env::var_os(name).is_some());
    let elsewhere = settings.s3.is_some() || settings.endpoint.is_some() || of_environment;
    // other services seldom have a host name for each bucket
    let mut config = aws_sdk_s3::config::Builder::from(sdk).force_path_style(elsewhere);
    if let Some(endpoint) = settings.s3.as_ref().or(settings.endpoint.as_ref()) {
        // the SDK puts the bucket right behind an endpoint's path
        config = config.endpoint_url(format!("{}/", endpoint.trim_end_matches('/')));
    }
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Deadlines of a try, and of all tries of a call together.
pub fn timeouts(answer: Duration, deadline: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(answer)
        .operation_attempt_timeout(answer + CONNECT)
        .operation_timeout(deadline)
        .build()
}

/// For a call that the SDK shall not repeat: one try.
pub fn once() -> RetryConfig {
    RetryConfig::disabled()
}

/// A failed call as the edges tell it. The one place that decides what an error of AWS means; its text names code and
/// request id.
pub fn error<E>(operation: &'static str, what: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let (code, detail) = (error.code().map(str::to_owned), format!("{what}: {}", in_words(&error)));
    Error { code, ..Error::new(kind(&error), operation, detail).caused_by(error) }
}

/// Code and message where the service gave them, else whatever the causes say, in one line.
fn in_words<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: Status + std::fmt::Debug + 'static,
{
    if let SdkError::ServiceError(refused) = error {
        let (code, message) = (refused.err().code().unwrap_or("no code"), refused.err().message().unwrap_or_default());
        return format!("{code} (status {}) {message}", refused.raw().code()).trim_end().to_owned();
    }
    let mut words = error.to_string();
    let mut next = StdError::source(error);
    while let Some(cause) = next {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        next = cause.source();
    }
    words
}

/// What a failed call means.
///
/// `Unavailable`: it did not get there, and nothing happened. `Timeout`: it may have happened: no answer, a broken one,
/// or any 5xx. Every other kind is the service's own word that it did nothing, in this try.
pub fn kind<E, R>(error: &SdkError<E, R>) -> Kind
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    SdkError<E, R>: StdError,
    R: Status + std::fmt::Debug + 'static,
{
    match error {
        SdkError::ServiceError(refused) => {
            kind_of_refusal(refused.err().code(), refused.err().message(), refused.raw().code())
        }
        SdkError::ConstructionFailure(_) => Kind::Invalid,
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(connector) if connector.is_user() => Kind::Invalid,
            _ => kind_of_dispatch(error),
        },
        // a timeout; a response that broke off; what later versions of the SDK may add
        _ => Kind::Timeout,
    }
}

/// The status code of a response.
pub trait Status {
    fn code(&self) -> u16;
}

impl Status for HttpResponse {
    fn code(&self) -> u16 {
        self.status().as_u16()
    }
}

/// Why a request got no response: no credentials, no connection, or a connection that broke with the request on it.
fn kind_of_dispatch(error: &(dyn StdError + 'static)) -> Kind {
    use std::io::ErrorKind as E;
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(credentials) = cause.downcast_ref::<CredentialsError>() {
            return match credentials {
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => Kind::Denied,
                _ => Kind::Unavailable,
            };
        }
        let unreached = [E::ConnectionRefused, E::HostUnreachable, E::NetworkUnreachable, E::AddrNotAvailable];
        if cause.downcast_ref::<std::io::Error>().is_some_and(|e| unreached.contains(&e.kind())) {
            return Kind::Unavailable;
        }
        next = cause.source();
    }
    Kind::Timeout
}

/// What the service's own code and status say. Codes come first: EC2 sends throttling and lack of capacity as 5xx.
fn kind_of_refusal(code: Option<&str>, message: Option<&str>, status: u16) -> Kind {
    let code = code.unwrap_or_default();
    // SQS's JSON protocol and its older query protocol name the same errors differently
    let code = code.rsplit_once('#').map_or(code, |(_, name)| name);
    let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "SlowDown"
        | "EC2ThrottledException"
        | "KmsThrottled"
        | "KMS.ThrottlingException"
        | "OverLimit" => Kind::Throttled,
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "UnfulfillableCapacity"
        | "MaxSpotInstanceCountExceeded"
        | "InstanceLimitExceeded"
        | "VcpuLimitExceeded"
        | "SpotMaxPriceTooLow" => Kind::Full,
        // S3: two conditional writes met, and neither this one nor perhaps the other was made
        "ConditionalRequestConflict" | "OperationAborted" => Kind::Unavailable,
        "PreconditionFailed" | "IdempotentParameterMismatch" => Kind::Conflict,
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => Kind::Expired,
        // SQS words a lease that has run out as a bad parameter
        "InvalidParameterValue" if message.is_some_and(|text| text.contains("ReceiptHandle")) => Kind::Expired,
        "NoSuchKey" | "NoSuchBucket" | "NotFound" | "NonExistentQueue" | "QueueDoesNotExist" => Kind::NotFound,
        "RequestTimeout" | "RequestTimeoutException" => Kind::Timeout,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "AuthFailure"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidSecurity"
        | "OptInRequired"
        | "KmsAccessDenied" => Kind::Denied,
        code if code.ends_with(".NotFound") => Kind::NotFound,
        _ => match status {
            401 | 403 => Kind::Denied,
            404 => Kind::NotFound,
            408 | 500.. => Kind::Timeout,
            409 | 412 => Kind::Conflict,
            429 => Kind::Throttled,
            _ => Kind::Invalid,
        },
    }
}

/// What one failed entry of a batch means; `senders` where SQS says that the sender is at fault.
pub fn kind_of_entry(code: &str, message: Option<&str>, senders: bool) -> Kind {
    kind_of_refusal(Some(code), message, if senders { 400 } else { 500 })
}

/// When a call is tried again: pauses grow, with jitter, until [`DEADLINE`] is over.
#[derive(Debug)]
pub struct Tries {
    end: Instant,
    pause: Duration,
}

impl Tries {
    /// The first try is now.
    pub fn begin() -> Tries {
        Tries { end: Instant::now() + DEADLINE, pause: FIRST_PAUSE }
    }

    /// When the last try has to be over.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// When to try again; none where the deadline comes first.
    pub fn again(&mut self) -> Option<Instant> {
        let again = Instant::now() + self.pause.mul_f64(0.5 + Entropy::System.fraction());
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        (again < self.end).then_some(again)
    }
}

/// A call with an effect, tried until it succeeds, is refused for good, or [`DEADLINE`] is over. `call` is told whether
/// an earlier try may have happened, and answers for its own.
///
/// Where an earlier try may have happened the last error is `Timeout`, whatever it says itself.
pub async fn repeated<T, F>(operation: &'static str, mut call: impl FnMut(bool) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let (mut tries, mut unsure) = (Tries::begin(), false);
    loop {
        let error = match tokio::time::timeout_at(tries.end(), call(unsure)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error,
            Err(_) => Error::new(Kind::Timeout, operation, format!("no answer within {DEADLINE:?}")),
        };
        unsure |= error.kind == Kind::Timeout;
        let again = if error.retryable() { tries.again() } else { None };
        let Some(again) = again else {
            return Err(if unsure { Error { kind: Kind::Timeout, ..error } } else { error });
        };
        tracing::debug!(%error, "will be tried again");
        tokio::time::sleep_until(again).await;
    }
}

#[cfg(test)]
mod tests;
