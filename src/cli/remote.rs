//! What the commands that ask a server share: which one, and as whom.

use super::http::reachable;
use super::load;
use crate::client::{Client, Field, Target};
use crate::config::{ConfigArgs, Span};
use crate::edge::host::Host;
use crate::exit::Exit;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer};
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

/// As whom a server is asked.
#[derive(Debug, clap::Args)]
pub struct Identity {
    /// The token to show, or @FILE to read it from (a command line is seen by everybody on the machine)
    #[arg(long, value_name = "TOKEN|@FILE")]
    token: Option<String>,
}

/// Why a command cannot begin, and how the process ends.
pub type Refused = (Exit, String);

/// A mistake on the command line.
pub fn usage(why: impl Display) -> Refused {
    (Exit::Usage, why.to_string())
}

/// Public and metrics listener of the server that this configuration is of.
pub fn configured(config: &ConfigArgs) -> Result<(Target, Target), Refused> {
    // what is wrong with it is told already
    let config = load(config).map_err(|exit| (exit, "no URL is given, and the configuration names none".into()))?;
    let target = |listen: SocketAddr| format!("http://{}/", reachable(listen)).parse().map_err(usage);
    Ok((target(config.web.listen.0)?, target(config.metrics.listen.0)?))
}

/// Runs a command that speaks to a server, on one thread: what it asks has the processors.
pub fn run(command: impl Future<Output = Result<Exit, Refused>>) -> Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(command),
        Err(e) => Err((Exit::Unavailable, format!("no runtime: {e}"))),
    };
    ended.unwrap_or_else(|(exit, why)| {
        eprintln!("bellows: {why}");
        exit
    })
}

impl Identity {
    /// A client of `target`, which must be reachable.
    pub async fn client(&self, target: Target, host: &Host, field: Field) -> Result<Client, Refused> {
        let mut client = Client::new(target, host.clone(), field);
        if let Some(token) = &self.token {
            let token = match token.strip_prefix('@') {
                Some(file) => std::fs::read_to_string(file).map_err(|e| usage(format!("--token @{file}: {e}")))?,
                None => token.clone(),
            };
            client = client.with_token(&token).map_err(usage)?;
        }
        client.reach().await.map_err(|e| (Exit::Unavailable, format!("{e}; `bellows run` starts the service")))?;
        Ok(client)
    }
}

/// A duration as the configuration spells it.
pub fn span(text: &str) -> Result<Duration, String> {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    Span::deserialize(text).map(|span| span.0).map_err(|e| e.to_string())
}
