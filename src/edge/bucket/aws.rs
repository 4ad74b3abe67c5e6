//! Buckets on S3, by name. Ages and what was left half-written are the bucket's own lifecycle rules' business.
//!
//! Where S3 is less exact than the contract: an object may lie below another one's key, times are whole seconds, and
//! equal contents have equal etags (who writes by compare-and-swap never writes the same twice).

use super::{Api, Etag, Meta, Object, Put};
use crate::edge::aws::{Clients, error, once, repeated};
use crate::edge::{Error, Kind, Result};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use bellows_core::time::Timestamp;
use bytes::Bytes;
use std::sync::Arc;

/// Most keys in a page, as S3 has it.
const PAGE: usize = 1000;

/// A bucket on S3. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Repeats what does no harm.
    client: Client,
    /// Tries once.
    once: Client,
    name: Arc<str>,
    largest: u64,
}

/// Under which condition a write is made.
#[derive(Clone, Copy)]
enum If<'a> {
    Absent,
    Version(&'a Etag),
}

impl Bucket {
    /// A handle on the bucket `name`. Calls nothing. Objects of more than `largest` bytes are not read.
    pub fn open(clients: &Clients, name: &str, largest: u64) -> Bucket {
        let once = Client::from_conf(clients.s3.config().to_builder().retry_config(once()).build());
        Bucket { client: clients.s3.clone(), once, name: name.into(), largest }
    }

    fn place(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    /// From an error of a call about `key`. Without leave to list a bucket, S3 calls what is absent forbidden.
    fn failed<E>(&self, operation: &'static str, key: &str, e: SdkError<E, HttpResponse>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut error = error(operation, &self.place(key), e);
        if error.kind == Kind::Denied {
            error.detail.push_str("; where the object is absent: is s3:ListBucket granted?");
        }
        error
    }

    fn write(&self, client: &Client, key: &str, bytes: &Bytes) -> PutObjectFluentBuilder {
        client.put_object().bucket(&*self.name).key(key).body(ByteStream::from(bytes.clone()))
    }

    /// A conditional write; none where the condition does not hold. A try that may have happened and left its own
    /// contents there has happened: its successor would find the condition broken by itself.
    async fn write_if(&self, operation: &'static str, key: &str, when: If<'_>, bytes: Bytes) -> Result<Option<Etag>> {
        repeated(operation, |unsure| {
            let call = self.write(&self.once, key, &bytes);
            let call = match when {
                If::Absent => call.if_none_match("*"),
                If::Version(etag) => call.if_match(&etag.0),
            };
            let bytes = &bytes;
            async move {
                let error = match call.send().await {
                    Ok(written) => return etag(operation, written.e_tag).map(Some),
                    Err(e) => self.failed(operation, key, e),
                };
                match (error.kind, when) {
                    (Kind::Conflict, _) | (Kind::NotFound, If::Version(_)) if unsure => {
                        let there = self.read(operation, key).await?;
                        Ok(there.filter(|object| object.bytes == bytes).map(|object| object.etag))
                    }
                    (Kind::Conflict, _) | (Kind::NotFound, If::Version(_)) => Ok(None),
                    _ => Err(error),
                }
            }
        })
        .await
    }

    /// One try to read an object with its contents.
    async fn read(&self, operation: &'static str, key: &str) -> Result<Option<Object>> {
        let got = match self.once.get_object().bucket(&*self.name).key(key).send().await {
            Ok(got) => got,
            Err(SdkError::ServiceError(e)) if e.err().is_no_such_key() => return Ok(None),
            Err(e) => return Err(self.failed(operation, key, e)),
        };
        let size = got.content_length.unwrap_or_default().try_into().unwrap_or(0);
        if size > self.largest {
            let detail = format!("{} has {size} bytes, expected at most {}", self.place(key), self.largest);
            return Err(Error::new(Kind::Invalid, operation, detail));
        }
        let (etag, modified) = (etag(operation, got.e_tag)?, moment(got.last_modified));
        // the answer says how long it is, and HTTP gives no more than that
        let bytes = got.body.collect().await.map_err(|e| {
            Error::new(Kind::Timeout, operation, format!("{} broke off: {e}", self.place(key))).caused_by(e)
        })?;
        Ok(Some(Object { bytes: bytes.into_bytes(), etag, modified }))
    }
}

impl Api for Bucket {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        let written = self.write(&self.client, key, &bytes).send().await;
        written.map(drop).map_err(|e| self.failed("bucket.put", key, e))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<Put> {
        let written = self.write_if("bucket.put_if_absent", key, If::Absent, bytes).await?;
        Ok(if written.is_some() { Put::Created } else { Put::Exists })
    }

    async fn compare_and_swap(&self, key: &str, expected: Option<&Etag>, bytes: Bytes) -> Result<Etag> {
        const OPERATION: &str = "bucket.compare_and_swap";
        let written = self.write_if(OPERATION, key, expected.map_or(If::Absent, If::Version), bytes).await?;
        written.ok_or_else(|| {
            Error::new(Kind::Conflict, OPERATION, format!("{} is not in the expected version", self.place(key)))
        })
    }

    async fn get(&self, key: &str) -> Result<Option<Object>> {
        repeated("bucket.get", |_| self.read("bucket.get", key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Meta>> {
        const OPERATION: &str = "bucket.list";
        let (mut listed, mut next) = (Vec::new(), None);
        while listed.len() < limit {
            // no more than a page
            let most = i32::try_from((limit - listed.len()).min(PAGE)).unwrap_or(1);
            let call = self.client.list_objects_v2().bucket(&*self.name).prefix(prefix).max_keys(most);
            let call = call.set_start_after(after.map(str::to_owned)).set_continuation_token(next);
            let page = call.send().await.map_err(|e| self.failed(OPERATION, prefix, e))?;
            let objects = page.contents.unwrap_or_default().into_iter();
            listed.extend(objects.filter_map(|object| {
                let size = object.size.unwrap_or_default().try_into().unwrap_or(0);
                Some(Meta { key: object.key?, size, modified: moment(object.last_modified) })
            }));
            next = page.next_continuation_token;
            if next.is_none() {
                break;
            }
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let deleted = self.client.delete_object().bucket(&*self.name).key(key).send().await;
        deleted.map(drop).map_err(|e| self.failed("bucket.delete", key, e))
    }
}

fn etag(operation: &'static str, etag: Option<String>) -> Result<Etag> {
    etag.map(Etag).ok_or_else(|| Error::new(Kind::Timeout, operation, "an answer without an etag"))
}

fn moment(at: Option<DateTime>) -> Timestamp {
    let ms = at.and_then(|at| at.to_millis().ok()).unwrap_or_default();
    Timestamp(ms.try_into().unwrap_or(0))
}
