//! Launches that fail: pauses that grow, and places without capacity that are left alone for a while.

use std::collections::BTreeMap;
use std::time::Duration;

/// Growing pauses between launches that fail, so that a broken launch does no harm.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
    failed_at: Duration,
}

/// The pause after the first failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Backoff {
    /// Counts a failure at `now` since process start: how long not to try.
    pub fn failed(&mut self, now: Duration) -> Duration {
        self.failed_at = now;
        let pause = (FIRST_PAUSE * 2u32.saturating_pow(self.failures.min(16))).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// The pause where one place of several has refused: the others do not wait for it. Planning says when all have.
    pub fn elsewhere() -> Duration {
        FIRST_PAUSE
    }

    /// What was launched then works. Of failures since it says nothing.
    pub fn succeeded(&mut self, launched_at: Duration) {
        if launched_at >= self.failed_at {
            self.failures = 0;
        }
    }
}

/// Where a launch may go: a machine type in a zone, on one of its markets. Empty: the launch template says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub instance_type: String,
    /// A subnet, which lies in one zone.
    pub subnet: String,
    pub spot: bool,
}

impl Place {
    /// All places in order of preference: spot before on-demand, where both may be had, and of each the types in their
    /// order in every subnet.
    pub fn all(instance_types: &[String], subnets: &[String], spot: bool, fallback: bool) -> Vec<Place> {
        let or_templates = |given: &[String]| if given.is_empty() { vec![String::new()] } else { given.to_vec() };
        let (types, subnets) = (or_templates(instance_types), or_templates(subnets));
        let markets: &[bool] = match (spot, fallback) {
            (false, _) => &[false],
            (true, false) => &[true],
            (true, true) => &[true, false],
        };
        let pairs = types.iter().flat_map(|one| subnets.iter().map(move |subnet| (one, subnet)));
        let of_market = |spot: &bool| {
            let (spot, pairs) = (*spot, pairs.clone());
            pairs.map(move |(one, subnet)| Place { instance_type: one.clone(), subnet: subnet.clone(), spot })
        };
        markets.iter().flat_map(of_market).collect()
    }
}

/// Places that had no capacity of late (Karpenter's habit): others are tried meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Refusals(BTreeMap<Place, Duration>);

/// How long a place without capacity is left alone.
const REMEMBERED: Duration = Duration::from_mins(3);

impl Refusals {
    /// `place` had no capacity at `now`.
    pub fn refused(&mut self, place: Place, now: Duration) {
        self.0.retain(|_, at| now.saturating_sub(*at) < REMEMBERED);
        self.0.insert(place, now);
    }

    /// The first of `places`, best first, that has not refused of late; none: wait, everything is full.
    pub fn first_usable<'a>(&self, places: &'a [Place], now: Duration) -> Option<&'a Place> {
        places.iter().find(|place| self.0.get(place).is_none_or(|at| now.saturating_sub(*at) >= REMEMBERED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_a_success_forgets_them() {
        let (mut backoff, at) = (Backoff::default(), Duration::from_secs);
        let pauses: Vec<u64> = (0..10).map(|second| backoff.failed(at(second)).as_millis() as u64).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        backoff.succeeded(at(8));
        assert_eq!(backoff.failed(at(10)), LONGEST_PAUSE, "it was launched before the last failure");
        backoff.succeeded(at(10));
        assert_eq!(backoff.failed(at(11)), FIRST_PAUSE);
    }

    #[test]
    fn a_full_zone_blocks_no_other_and_is_tried_again() {
        let place = |zone: &str| Place { instance_type: "c7g.large".into(), subnet: zone.into(), spot: false };
        let (places, mut refusals) = ([place("a"), place("b")], Refusals::default());
        let at = Duration::from_secs;
        assert_eq!(refusals.first_usable(&places, at(0)), Some(&places[0]));
        refusals.refused(place("a"), at(10));
        assert_eq!(refusals.first_usable(&places, at(11)), Some(&places[1]));
        refusals.refused(place("b"), at(20));
        assert_eq!(refusals.first_usable(&places, at(189)), None);
        assert_eq!(refusals.first_usable(&places, at(190)), Some(&places[0]));
    }

    #[test]
    fn spot_comes_before_on_demand_and_a_type_before_the_next() {
        let texts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (types, subnets) = (texts(&["large", "small"]), texts(&["a", "b"]));
        let shown = |spot, fallback| {
            let places = Place::all(&types, &subnets, spot, fallback);
            let word = |p: Place| format!("{}-{}{}", p.instance_type, p.subnet, if p.spot { "-spot" } else { "" });
            places.into_iter().map(word).collect::<Vec<_>>().join(" ")
        };
        let (spot, on_demand) =
            ("large-a-spot large-b-spot small-a-spot small-b-spot", "large-a large-b small-a small-b");
        assert_eq!((shown(false, true), shown(true, false)), (on_demand.into(), spot.into()));
        assert_eq!(shown(true, true), format!("{spot} {on_demand}"));
        assert_eq!(Place::all(&[], &[], false, true), [Place::default()], "as the template says");
    }
}
