//! Whether an upload is taken, and when to come again where it is not.

use std::time::Duration;

/// Nobody is refused while fewer than this wait.
pub const LEAST_BACKLOG: u64 = 1000;
/// Retry-After lies between one second and this.
const LONGEST_RETRY: Duration = Duration::from_mins(10);

/// The pool as it will work the backlog off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Instances that work now, and those that will once they are up.
    pub ready: u32,
    pub booting: u32,
    pub max: u32,
    /// Images an instance works on at once; one slot's time for one image; an instance's time from launch to ready.
    pub slots: u32,
    pub service: Duration,
    pub boot: Duration,
}

/// An upload at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Take,
    /// 429, with the whole seconds of Retry-After: 1 to 600.
    Refuse {
        retry_after: u64,
    },
}

/// Most requests that may wait: as configured, or what the whole pool clears within `wait`. Never below
/// [`LEAST_BACKLOG`].
pub fn max_backlog(configured: Option<u64>, wait: Duration, capacity: &Capacity) -> u64 {
    let cleared = || wait.as_micros().saturating_mul(slots(capacity.max, capacity)) / micros(capacity.service);
    configured.unwrap_or_else(|| u64::try_from(cleared()).unwrap_or(u64::MAX)).max(LEAST_BACKLOG)
}

/// Judges an upload that brings so many `more` images to those that are `waiting`.
pub fn admit(waiting: u64, more: u64, max_backlog: u64, capacity: &Capacity) -> Admission {
    let limit = max_backlog.max(LEAST_BACKLOG);
    // nobody is refused for what he brings: a lone large batch could never come in
    if waiting < limit {
        return Admission::Take;
    }
    let excess = waiting.saturating_sub(limit).saturating_add(more.max(1));
    let retry = clears(excess, capacity).clamp(Duration::from_secs(1), LONGEST_RETRY);
    let up = u64::from(retry.subsec_nanos() > 0);
    Admission::Refuse { retry_after: retry.as_secs() + up }
}

/// How long the pool takes to work off so many requests: what works now at once, and after a boot what boots; where
/// nothing does either, the first instance after a boot.
fn clears(requests: u64, capacity: &Capacity) -> Duration {
    let work = u128::from(requests).saturating_mul(micros(capacity.service));
    let boot = capacity.boot.as_micros();
    let now = slots(capacity.ready, capacity);
    let later = slots(capacity.ready.saturating_add(capacity.booting).max(1), capacity);
    let before_boot = now.saturating_mul(boot);
    let span = if work <= before_boot {
        work.div_ceil(now.max(1))
    } else {
        boot.saturating_add((work - before_boot.min(work)).div_ceil(later))
    };
    Duration::from_micros(u64::try_from(span).unwrap_or(u64::MAX))
}

fn slots(instances: u32, capacity: &Capacity) -> u128 {
    u128::from(instances) * u128::from(capacity.slots.max(1))
}

/// Whole microseconds, never none.
fn micros(span: Duration) -> u128 {
    span.as_micros().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: Capacity = Capacity {
        ready: 2,
        booting: 0,
        max: 20,
        slots: 1,
        service: Duration::from_millis(500),
        boot: Duration::from_secs(40),
    };

    fn retry(waiting: u64, limit: u64, capacity: &Capacity) -> u64 {
        match admit(waiting, 1, limit, capacity) {
            Admission::Refuse { retry_after } => retry_after,
            Admission::Take => 0,
        }
    }

    #[test]
    fn nobody_is_refused_while_fewer_than_a_thousand_wait() {
        assert_eq!(retry(999, 1, &BASE), 0);
        assert!(retry(1000, 1, &BASE) > 0);
        assert_eq!(retry(1999, 2000, &BASE), 0);
        assert_eq!(admit(0, u64::MAX, 2000, &BASE), Admission::Take);
    }

    #[test]
    fn the_limit_is_what_the_pool_clears_while_people_wait() {
        let wait = Duration::from_mins(5);
        assert_eq!(max_backlog(None, wait, &BASE), 12_000);
        assert_eq!(max_backlog(None, wait, &Capacity { slots: 4, ..BASE }), 48_000);
        assert_eq!(max_backlog(None, wait, &Capacity { service: Duration::from_hours(1), ..BASE }), LEAST_BACKLOG);
        assert_eq!(max_backlog(Some(1500), wait, &BASE), 1500);
        assert_eq!(max_backlog(Some(5), wait, &BASE), LEAST_BACKLOG);
        assert_eq!(max_backlog(None, Duration::MAX, &Capacity { service: Duration::ZERO, ..BASE }), u64::MAX);
    }

    #[test]
    fn the_time_to_come_again_follows_backlog_rate_and_boot() {
        assert_eq!(retry(1000, 1000, &BASE), 1, "one to clear at four a second");
        assert_eq!(retry(1039, 1000, &BASE), 10);
        assert_eq!(retry(1040, 1000, &BASE), 11, "rounded up");
        assert_eq!(retry(1159, 1000, &BASE), 40);
        let booting = Capacity { booting: 8, ..BASE };
        assert_eq!(retry(1159 + 20, 1000, &booting), 41, "after the boot ten work");
        assert_eq!(retry(1159 + 20, 1000, &BASE), 45);
        let empty = Capacity { ready: 0, booting: 4, ..BASE };
        assert_eq!(retry(1000 + 15, 1000, &empty), 42);
        let nothing = Capacity { ready: 0, ..BASE };
        assert_eq!(retry(1000 + 1, 1000, &nothing), 41, "somebody will be launched");
        assert_eq!(retry(u64::MAX, 1000, &BASE), 600);
        let batch = admit(1000, 40, 1000, &BASE);
        assert_eq!(batch, Admission::Refuse { retry_after: 10 });
    }

    proptest! {
        #[test]
        fn any_refusal_names_1_to_600_seconds(
            waiting: u64, more: u64, limit: u64, ready: u32, booting: u32, max: u32, slots: u32,
            service: u64, boot: u64, wait: u64,
        ) {
            let span = Duration::from_nanos;
            let capacity = Capacity { ready, booting, max, slots, service: span(service), boot: span(boot) };
            prop_assert!(max_backlog(None, span(wait), &capacity) >= LEAST_BACKLOG);
            match admit(waiting, more, limit, &capacity) {
                Admission::Take => prop_assert!(waiting < limit.max(LEAST_BACKLOG)),
                Admission::Refuse { retry_after } => {
                    prop_assert!((1..=600).contains(&retry_after) && waiting >= limit.max(LEAST_BACKLOG));
                    prop_assert!(retry(waiting.saturating_add(1), limit, &capacity) >= retry(waiting, limit, &capacity));
                    let longest = Capacity { service: Duration::MAX, boot: Duration::MAX, ..capacity };
                    prop_assert_eq!(admit(waiting, more, limit, &longest), Admission::Refuse { retry_after: 600 });
                }
            }
        }
    }
}
