//! `bellows pause` and `bellows resume`: set and lift the pause in the control object, which the controller reads at
//! every tick. Neither needs a running service: a pause outlives it.

use super::load;
use crate::config::{Config, ConfigArgs};
use crate::edge::bucket::Bucket;
use crate::edge::host::Host;
use crate::edge::{self, Kind};
use crate::exit::Exit;
use crate::wiring;
use bellows_core::control::{Control, Pause as Standstill};
use bellows_core::key;
use bytes::Bytes;
use std::time::Duration;

/// The controller writes the same object: whoever comes second reads again.
const TRIES: u32 = 10;
const PAUSE_AFTER_CONFLICT: Duration = Duration::from_millis(100);
const LONGEST_NAME: usize = 64;

/// Let the pool of this configuration stand still: until `bellows resume` nothing is launched, asked to go, or ended.
///
/// Uploads are still accepted and wait; workers that are there go on working. A pause outlives the service.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    pub config: ConfigArgs,

    /// Who pauses it, for those who wonder; without it the user's name
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub by: Option<String>,
}

/// Let the pool of this configuration follow the queue again.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    pub config: ConfigArgs,
}

fn name(text: &str) -> Result<String, String> {
    let fine = text.len() <= LONGEST_NAME && !text.chars().any(char::is_control);
    if fine { Ok(text.into()) } else { Err(format!("expected at most {LONGEST_NAME} bytes of text")) }
}

pub fn pause(args: &Pause) -> Exit {
    let user = || std::env::var("USER").ok().and_then(|user| name(&user).ok());
    let by = args.by.clone().or_else(user).unwrap_or_default();
    let pause = Standstill { since: Host::system().clock.now(), by };
    change(&args.config, Some(&pause), |before| match before {
        Some(standing) if *standing != pause => format!("the pool is paused already, {}", since(standing)),
        _ => "the pool is paused: nothing is launched or ended until `bellows resume`".into(),
    })
}

pub fn resume(args: &Resume) -> Exit {
    change(&args.config, None, |before| match before {
        Some(standing) => format!("the pool follows the queue again; it was paused {}", since(standing)),
        None => "the pool is not paused".into(),
    })
}

/// Since when, and by whom.
fn since(pause: &Standstill) -> String {
    let by = if pause.by.is_empty() { String::new() } else { format!(" by {}", pause.by) };
    format!("since {}{by}", pause.since)
}

/// Changes the control object of this configuration and prints what `says` of the pause that stood before.
fn change(config: &ConfigArgs, pause: Option<&Standstill>, says: impl FnOnce(Option<&Standstill>) -> String) -> Exit {
    let config = match load(config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match set_in(&config, pause) {
        Ok(before) => {
            println!("{}", says(before.as_ref()));
            Exit::Success
        }
        Err(why) => {
            eprintln!("bellows: {why}");
            Exit::Unavailable
        }
    }
}

fn set_in(config: &Config, pause: Option<&Standstill>) -> Result<Option<Standstill>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no runtime: {e}"))?;
    runtime.block_on(async {
        let bucket = wiring::output_bucket(config).await.map_err(|e| e.to_string())?;
        set(&bucket, pause).await
    })
}

/// Sets or lifts the pause; the one that was found.
async fn set(bucket: &Bucket, pause: Option<&Standstill>) -> Result<Option<Standstill>, String> {
    let (mut found, mut last) = (None, None);
    for _ in 0..TRIES {
        let Some(object) = bucket.get(key::CONTROL).await.map_err(|e| in_words(&e))? else {
            return Err("no controller has led this pool yet: there is nothing to pause or resume. \
                `bellows run` starts one; is this its configuration (--state-dir, --config)?"
                .into());
        };
        let control = Control::parse(&object.bytes).map_err(|e| format!("{}: {e}", key::CONTROL))?;
        let before = control.pause.clone();
        found = before.clone().or(found);
        let after = control.with_pause(pause.cloned());
        if after.pause == before {
            return Ok(found);
        }
        let body = Bytes::from(after.to_bytes());
        match bucket.compare_and_swap(key::CONTROL, Some(&object.etag), body).await {
            Ok(_) => return Ok(found),
            // beaten by somebody, or not known whether it was written: what is there now tells
            Err(e) if e.kind == Kind::Conflict || e.retryable() => last = Some(e),
            Err(e) => return Err(in_words(&e)),
        }
        tokio::time::sleep(PAUSE_AFTER_CONFLICT).await;
    }
    Err(last.map_or_else(String::new, |e| format!("the control object was not written in {TRIES} tries: {e}")))
}

fn in_words(e: &edge::Error) -> String {
    match e.kind {
        Kind::Denied => format!("the control object may not be read or written by this user: {}", e.detail),
        _ => format!("the control object cannot be read or written: {e}"),
    }
}
