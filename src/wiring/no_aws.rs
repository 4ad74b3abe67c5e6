//! What stands in the place of AWS in a build without it: words.
#![expect(clippy::unused_async, reason = "as those functions are that it stands for")]

use super::{Ended, NO_AWS};
use crate::config::Config;
use crate::edge::bucket::Bucket;
use std::error::Error;
use tokio::time::Instant;

pub(super) async fn web(_: &Config) -> Ended {
    Err(NO_AWS.into())
}

pub(super) async fn app(_: &Config, _: Instant) -> Ended {
    Err(NO_AWS.into())
}

pub(super) async fn user_data(_: bool) -> Result<Option<String>, Box<dyn Error>> {
    Ok(None)
}

pub(super) async fn output_bucket(_: &Config) -> Result<Bucket, Box<dyn Error>> {
    Err(NO_AWS.into())
}

pub(super) async fn foreign_bucket(name: &str) -> Result<Bucket, Box<dyn Error>> {
    Err(format!(
        "s3://{name} is not part of this build; expected a folder, or a build with AWS: \
        `cargo build --release --features aws`"
    )
    .into())
}
