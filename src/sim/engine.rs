//! Engines that sleep, boots that take their time, clocks that are wrong: what a process is like in this world.

use super::chaos::{Fault, draw};
use super::truth;
use super::world::World;
use crate::edge::engine::{Failure, Labelled, Receiver};
use crate::edge::host::{Clock, Ending, Entropy, Host};
use bellows_core::answer::{Prediction, Reason};
use bellows_core::pool::Named;
use bytes::Bytes;
use std::future::pending;
use std::time::Duration;
use tokio::time::sleep;

/// What every image of this world begins with: enough for a web tier to take it for one.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";
/// Wall clocks are wrong by so much at most, either way.
const SKEW: u64 = 10 * 60 * 1000;

/// The image of this file name.
pub(super) fn image(file: &str) -> Bytes {
    [PNG, file.as_bytes()].concat().into()
}

/// File names of images that take every process with them that looks at them, and of those that are none.
pub(super) const POISON: &str = "poison";
pub(super) const BROKEN: &str = "broken";

impl World {
    /// The host of a process of this name: in worlds where things go wrong its clock may be, too.
    pub(super) fn new_host(&self, name: &str) -> Host {
        let Some(chaos) = &self.chaos else {
            return Host::new(self.host.clock.clone(), self.host.entropy.clone());
        };
        let clock = match (&self.host.clock, chaos.happens(Fault::SkewedClock, name)) {
            (Clock::Virtual { start, origin }, Some(draw)) => {
                let by = Duration::from_millis(draw / 2 % SKEW);
                let start = if draw % 2 == 0 { start.plus(by) } else { start.minus(by) };
                Clock::Virtual { start, origin: *origin }
            }
            (clock, _) => clock.clone(),
        };
        Host::new(clock, Entropy::seeded(draw(self.settings.seed, 3, name, 0)))
    }

    pub(super) fn boot_of(&self, named: &Named) -> Duration {
        let boot = self.settings.boot;
        let slow = self.chaos.as_ref().and_then(|chaos| chaos.happens(Fault::SlowBoot, &named.instance_id.0));
        slow.map_or(boot, |draw| boot + Duration::from_millis(draw % 60_000))
    }

    pub(super) fn is_never_ready(&self, named: &Named) -> bool {
        self.chaos.as_ref().is_some_and(|chaos| chaos.happens(Fault::NeverReady, &named.instance_id.0).is_some())
    }

    /// An engine that sleeps.
    pub(super) async fn classify(self, mut work: Receiver, host: Host, who: String) {
        while let Some(work) = work.recv().await {
            let file = String::from_utf8_lossy(work.image.get(PNG.len()..).unwrap_or_default()).into_owned();
            let service = self.service_of(&file);
            sleep(service).await;
            let (mut hangs, mut crashes) = (false, false);
            if let Some(chaos) = &self.chaos {
                hangs = chaos.happens(Fault::EngineHangs, &who).is_some();
                crashes = chaos.happens(Fault::EngineCrashes, &who).is_some() || file.starts_with(POISON);
            }
            if crashes {
                host.kill();
                host.end(Ending::Unavailable);
            }
            if hangs || crashes {
                return pending().await;
            }
            let label = if self.chaos.is_some() { truth::label(&file) } else { "thing".into() };
            let predictions = vec![Prediction { index: 0, label, probability: 1.0 }];
            let (sha256, busy) = (String::new(), service);
            let answer = if file.starts_with(BROKEN) {
                let (reason, message) = (Reason::Undecodable, "no image".into());
                Err(Failure::Image { reason, message, sha256, busy })
            } else {
                Ok(Labelled { predictions, sha256, decode_ms: 0.0, infer_ms: busy.as_secs_f64() * 1e3 })
            };
            let _ = work.reply.send(answer);
        }
    }

    /// An image takes between a half and twice the configured time where things go wrong.
    fn service_of(&self, file: &str) -> Duration {
        let service = self.settings.service;
        if self.chaos.is_none() {
            return service;
        }
        let percent = 50 + draw(self.settings.seed, 4, file, 0) % 150;
        service * percent as u32 / 100
    }
}
