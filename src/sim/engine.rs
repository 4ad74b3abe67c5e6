//! Engines that sleep, boots that take their time, clocks that are wrong: what a process is like in this world.

use super::chaos::{Fault, draw};
use super::truth;
use super::world::World;
use crate::edge::engine::{Failure, Labelled, Receiver};
use crate::edge::host::{Clock, Ending, Entropy, Host};
use bellows_core::answer::{Prediction, Reason};
use bellows_core::pool::{InstanceId, Named};
use bytes::Bytes;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

    /// How much longer than planned an instance boots.
    pub(super) fn slowed(&self, id: &InstanceId) -> Duration {
        let slow = self.chaos.as_ref().and_then(|chaos| chaos.happens(Fault::SlowBoot, &id.0));
        slow.map_or(Duration::ZERO, |draw| Duration::from_millis(draw % 60_000))
    }

    pub(super) fn is_never_ready(&self, named: &Named) -> bool {
        self.chaos.as_ref().is_some_and(|chaos| chaos.happens(Fault::NeverReady, &named.instance_id.0).is_some())
    }

    /// An engine that sleeps.
    pub(super) async fn classify(self, mut work: Receiver, busy: Arc<AtomicBool>, host: Host, who: String) {
        while let Some(work) = work.recv().await {
            busy.store(true, Ordering::Relaxed);
            let file = String::from_utf8_lossy(work.image.get(PNG.len()..).unwrap_or_default()).into_owned();
            let service = self.service(&work.image);
            sleep(service).await;
            busy.store(false, Ordering::Relaxed);
            if self.is_last(&file, &host, &who) {
                return pending().await;
            }
            let _ = work.reply.send(self.answer(&file, service));
        }
    }

    /// Whether the engine never answers this one, or any after it.
    fn is_last(&self, file: &str, host: &Host, who: &str) -> bool {
        let Some(chaos) = &self.chaos else { return false };
        if chaos.happens(Fault::EngineCrashes, who).is_some() || file.starts_with(POISON) {
            host.kill();
            host.end(Ending::Unavailable);
            return true;
        }
        chaos.happens(Fault::EngineHangs, who).is_some()
    }

    fn answer(&self, file: &str, service: Duration) -> Result<Labelled, Failure> {
        let sha256 = String::new();
        if self.chaos.is_some() && file.starts_with(BROKEN) {
            let (reason, message) = (Reason::Undecodable, "no image".into());
            return Err(Failure::Image { reason, message, sha256, busy: service });
        }
        let label = if self.chaos.is_some() { truth::label(file) } else { "thing".into() };
        let predictions = vec![Prediction { index: 0, label, probability: 1.0 }];
        Ok(Labelled { predictions, sha256, decode_ms: 0.0, infer_ms: service.as_secs_f64() * 1e3 })
    }

    /// How long the engine takes for an image: drawn by the number that is the image's only content, so that it is the
    /// same whoever works on it, and when; where things go wrong by its name.
    fn service(&self, image: &[u8]) -> Duration {
        let settings = &self.settings;
        if self.chaos.is_some() {
            let name = String::from_utf8_lossy(image);
            return settings.service * (50 + draw(settings.seed, 4, &name, 0) % 150) as u32 / 100;
        }
        let nth = image.try_into().map_or(0, u64::from_le_bytes);
        self.chance.service(settings.service, settings.seed, nth)
    }
}
