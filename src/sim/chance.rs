//! What the world leaves to chance. Drawn by what it is drawn for (a request, a launch, a moment) and not one after the
//! other: so all policies meet one world, whatever they make of it.

use crate::edge::host::{Clock, mix};
use crate::edge::nature::{Event, Nature, Odd};
use crate::edge::queue::Depth;
use crate::edge::queue::memory::Late;
use bellows_core::estimate::Priors;
use bellows_core::time::Timestamp;
use std::time::Duration;

/// Every trace begins up to so much later, by its seed.
const LATEST_START: Duration = Duration::from_mins(1);

/// How the world departs from its means. The default departs from nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Chance {
    /// The queues' counters.
    pub counters: Late,
    /// Standard deviation over mean of the time in the engine, drawn for each request; lognormal.
    pub service_cv: f64,
    /// So much of a boot is not billed: from the launch until the instance is seen as running. None: all of it.
    pub boot_unbilled: Option<Duration>,
    /// Standard deviation over mean of the billed rest of a boot, drawn for each launch; lognormal.
    pub boot_cv: f64,
    /// An instance that ran at all is billed for so long.
    pub least_bill: Duration,
    /// Launches are refused for want of capacity from then until then, counted from the beginning.
    pub refused: Option<(Duration, Duration)>,
    /// What the controller believes before it has measured anything. None: the truth.
    pub priors: Option<Priors>,
}

impl Chance {
    /// How long the `nth` request is in the engine, from 1, where the mean is this.
    pub fn service(&self, mean: Duration, seed: u64, nth: u64) -> Duration {
        vary(mean, self.service_cv, seed, Draw::Service, nth)
    }

    /// The part of the `nth` launch's boot that is not billed, and the rest, where a boot takes so long on average.
    pub fn boot(&self, mean: Duration, seed: u64, nth: u64) -> (Duration, Duration) {
        let unbilled = self.boot_unbilled.unwrap_or(mean).min(mean);
        (unbilled, vary(mean.saturating_sub(unbilled), self.boot_cv, seed, Draw::Boot, nth))
    }
}

/// How much later than its trace says a run of this seed begins: no policy shall win by the phase of its ticks.
pub fn later(seed: u64) -> Duration {
    LATEST_START.mul_f64(fraction(seed, Draw::Arrival, u64::MAX))
}

/// Launches find no capacity for a while; nothing else is odd.
#[derive(Debug)]
pub(super) struct Refused {
    pub clock: Clock,
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Nature for Refused {
    fn odd(&self, odd: Odd, _: &str) -> Option<u64> {
        let now = self.clock.now();
        (odd == Odd::NoCapacity && self.from <= now && now < self.until).then_some(0)
    }

    fn counted(&self, _: &str, exact: Depth) -> Depth {
        exact
    }

    fn written(&self, _: &str, _: &str, _: &str) -> Option<String> {
        None
    }

    fn saw(&self, _: &str, _: Event<'_>) {}
}

/// What a number is drawn for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Draw {
    Service,
    Boot,
    Arrival,
}

/// A fraction in `0.0..1.0`, the `nth` of its kind in this world.
pub(super) fn fraction(seed: u64, draw: Draw, nth: u64) -> f64 {
    let stream = mix(seed ^ (draw as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03));
    (mix(stream ^ mix(nth)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A span that varies about its mean.
pub(super) fn vary(mean: Duration, cv: f64, seed: u64, draw: Draw, nth: u64) -> Duration {
    if cv <= 0.0 {
        return mean;
    }
    let variance = libm::log1p(cv * cv);
    let normal = normal(1.0 - fraction(seed, draw, nth * 2), fraction(seed, draw, nth * 2 + 1));
    mean.mul_f64(libm::exp(libm::sqrt(variance) * normal - variance / 2.0))
}

/// A normally distributed number from two fractions, the first above zero (Box and Muller).
fn normal(first: f64, second: f64) -> f64 {
    libm::sqrt(-2.0 * libm::log(first)) * libm::cos(std::f64::consts::TAU * second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_vary_as_much_as_they_are_told_to_and_never_differ_for_the_same_thing() {
        let mean = Duration::from_secs(2);
        let spans: Vec<f64> = (0..20_000).map(|nth| vary(mean, 0.3, 1, Draw::Service, nth).as_secs_f64()).collect();
        let average = spans.iter().sum::<f64>() / spans.len() as f64;
        let variance = spans.iter().map(|span| (span - average).powi(2)).sum::<f64>() / spans.len() as f64;
        assert!((1.99..2.01).contains(&average), "{average}");
        assert!((0.29..0.31).contains(&(variance.sqrt() / average)), "{variance}");
        assert!(spans.iter().all(|span| *span > 0.0));
        assert_eq!(vary(mean, 0.3, 1, Draw::Service, 5), vary(mean, 0.3, 1, Draw::Service, 5));
        assert_ne!(vary(mean, 0.3, 1, Draw::Service, 5), vary(mean, 0.3, 2, Draw::Service, 5));
        assert_ne!(vary(mean, 0.3, 1, Draw::Service, 5), vary(mean, 0.3, 1, Draw::Boot, 5));
        assert_eq!(vary(mean, 0.0, 1, Draw::Service, 5), mean);
    }
}
