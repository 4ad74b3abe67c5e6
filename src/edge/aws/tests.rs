//! What AWS's errors mean to us.

use super::*;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::error::ErrorMetadata;
use std::fmt;
use std::io;

#[derive(Debug)]
struct Refused(ErrorMetadata);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Refused {}

impl ProvideErrorMetadata for Refused {
    fn meta(&self) -> &ErrorMetadata {
        &self.0
    }
}

#[derive(Debug)]
struct Code(u16);

impl Status for Code {
    fn code(&self) -> u16 {
        self.0
    }
}

fn refusal(status: u16, code: &str, message: &str) -> Kind {
    let meta = ErrorMetadata::builder().code(code).message(message).build();
    kind(&SdkError::service_error(Refused(meta), Code(status)))
}

#[test]
fn each_refusal_has_its_kind() {
    let table = [
        (400, "ThrottlingException", "", Kind::Throttled),
        (403, "RequestThrottled", "", Kind::Throttled),
        (503, "SlowDown", "Please reduce your request rate.", Kind::Throttled),
        (503, "RequestLimitExceeded", "", Kind::Throttled),
        (400, "OverLimit", "", Kind::Throttled),
        (429, "", "", Kind::Throttled),
        (500, "InsufficientInstanceCapacity", "", Kind::Full),
        (400, "MaxSpotInstanceCountExceeded", "", Kind::Full),
        (400, "VcpuLimitExceeded", "", Kind::Full),
        (412, "PreconditionFailed", "", Kind::Conflict),
        (412, "", "", Kind::Conflict),
        (409, "ConditionalRequestConflict", "", Kind::Unavailable),
        (400, "IdempotentParameterMismatch", "", Kind::Conflict),
        (404, "NoSuchKey", "", Kind::NotFound),
        (404, "", "", Kind::NotFound),
        (400, "AWS.SimpleQueueService.NonExistentQueue", "", Kind::NotFound),
        (400, "com.amazonaws.sqs#QueueDoesNotExist", "", Kind::NotFound),
        (400, "InvalidInstanceID.NotFound", "", Kind::NotFound),
        (404, "ReceiptHandleIsInvalid", "", Kind::Expired),
        (400, "AWS.SimpleQueueService.MessageNotInflight", "", Kind::Expired),
        (400, "InvalidParameterValue", "Value x for parameter ReceiptHandle is invalid.", Kind::Expired),
        (400, "InvalidParameterValue", "Value x for parameter DelaySeconds is invalid.", Kind::Invalid),
        (403, "AccessDenied", "", Kind::Denied),
        (403, "UnauthorizedOperation", "", Kind::Denied),
        (400, "UnrecognizedClientException", "", Kind::Denied),
        (400, "ExpiredToken", "", Kind::Denied),
        (403, "", "", Kind::Denied),
        (500, "InternalError", "", Kind::Timeout),
        (503, "ServiceUnavailable", "", Kind::Timeout),
        (502, "", "", Kind::Timeout),
        (400, "RequestTimeout", "", Kind::Timeout),
        (400, "InvalidMessageContents", "", Kind::Invalid),
        (400, "", "", Kind::Invalid),
    ];
    for (status, code, message, expected) in table {
        assert_eq!(refusal(status, code, message), expected, "{status} {code} {message}");
    }
}

fn dispatch(error: ConnectorError) -> Kind {
    kind(&SdkError::<Refused, Code>::dispatch_failure(error))
}

#[test]
fn what_got_no_response_may_have_happened_unless_it_never_left() {
    let io = |kind: io::ErrorKind| ConnectorError::io(io::Error::from(kind).into());
    assert_eq!(dispatch(io(io::ErrorKind::ConnectionRefused)), Kind::Unavailable);
    assert_eq!(dispatch(io(io::ErrorKind::NetworkUnreachable)), Kind::Unavailable);
    assert_eq!(dispatch(io(io::ErrorKind::ConnectionReset)), Kind::Timeout);
    assert_eq!(dispatch(io(io::ErrorKind::BrokenPipe)), Kind::Timeout);
    assert_eq!(dispatch(ConnectorError::timeout("late".into())), Kind::Timeout);
    assert_eq!(dispatch(ConnectorError::user("no URI".into())), Kind::Invalid);
    let credentials = |error: CredentialsError| dispatch(ConnectorError::other(error.into(), None));
    assert_eq!(credentials(CredentialsError::not_loaded("none")), Kind::Denied);
    assert_eq!(credentials(CredentialsError::provider_error("the metadata service is busy")), Kind::Unavailable);
    assert_eq!(kind(&SdkError::<Refused, Code>::timeout_error("late")), Kind::Timeout);
    assert_eq!(kind(&SdkError::<Refused, Code>::construction_failure("no")), Kind::Invalid);
    assert_eq!(kind(&SdkError::<Refused, Code>::response_error("cut off", Code(200))), Kind::Timeout);
}

fn failed(kind: Kind) -> Result<u32> {
    Err(Error::new(kind, "test", "as ordered"))
}

/// What comes of tries that end so, and how many there were.
async fn tried(outcomes: &[Result<u32>]) -> (std::result::Result<u32, Kind>, Vec<bool>) {
    let mut told = Vec::new();
    let done = repeated("test", |unsure| {
        let next = match &outcomes[told.len().min(outcomes.len() - 1)] {
            Ok(n) => Ok(*n),
            Err(e) => failed(e.kind),
        };
        told.push(unsure);
        std::future::ready(next)
    });
    let done = done.await.map_err(|e| e.kind);
    (done, told)
}

#[tokio::test(start_paused = true)]
async fn an_effect_that_may_have_happened_is_not_forgotten() {
    assert_eq!(tried(&[failed(Kind::Throttled), Ok(7)]).await, (Ok(7), vec![false, false]));
    assert_eq!(tried(&[failed(Kind::Timeout), Ok(7)]).await, (Ok(7), vec![false, true]));
    assert_eq!(tried(&[failed(Kind::Denied)]).await, (Err(Kind::Denied), vec![false]));
    let (done, told) = tried(&[failed(Kind::Timeout), failed(Kind::Denied)]).await;
    assert_eq!((done, told), (Err(Kind::Timeout), vec![false, true]), "a refusal says nothing of an earlier try");
}

#[tokio::test(start_paused = true)]
async fn tries_end_with_the_deadline() {
    let begun = Instant::now();
    let (done, told) = tried(&[failed(Kind::Throttled)]).await;
    assert_eq!(done, Err(Kind::Throttled));
    assert!((5..40).contains(&told.len()) && begun.elapsed() <= DEADLINE, "{} in {:?}", told.len(), begun.elapsed());
    let never = repeated("test", |_| std::future::pending::<Result<u32>>());
    assert_eq!(never.await.unwrap_err().kind, Kind::Timeout);
}
