//! Means over the last seconds, and the largest of the last decisions.
//!
//! After knative/serving: pkg/autoscaler/aggregation/bucketing.go (`TimedFloat64Buckets`, a bucket a second) and
//! pkg/autoscaler/aggregation/max (`TimeWindow`).

use std::collections::VecDeque;

/// What was recorded in each of the last seconds.
pub struct Buckets {
    window_seconds: u64,
    /// Second and value, one each at most, oldest first.
    values: VecDeque<(u64, f64)>,
    /// The first record since the last silence of a whole window.
    first: u64,
}

impl Buckets {
    pub fn new(window_seconds: u64) -> Buckets {
        Buckets { window_seconds, values: VecDeque::new(), first: 0 }
    }

    pub fn record(&mut self, now: u64, value: f64) {
        match self.values.back_mut() {
            Some((at, held)) if *at == now => *held += value,
            Some((at, _)) if now - *at < self.window_seconds => self.values.push_back((now, value)),
            _ => {
                self.values = VecDeque::from([(now, value)]);
                self.first = now;
            }
        }
        self.values.retain(|(at, _)| at + self.window_seconds > now);
    }

    /// Whether nothing has been recorded for longer than the window.
    pub fn is_empty(&self, now: u64) -> bool {
        self.values.back().is_none_or(|(at, _)| now - at > self.window_seconds)
    }

    /// The mean over the window's seconds since the first record and up to the last one: seconds without one in
    /// between count as zero, those after the last do not count.
    pub fn mean(&self, now: u64) -> f64 {
        let Some(&(last, _)) = self.values.back() else { return 0.0 };
        let silent = now - last;
        if silent >= self.window_seconds {
            return 0.0;
        }
        let sum: f64 =
            self.values.iter().filter(|(at, _)| at + self.window_seconds > now).map(|(_, value)| value).sum();
        let seconds = (last - self.first + 1).min(self.window_seconds - silent);
        (sum / seconds as f64 * 1e6).round() / 1e6
    }
}

/// The largest number of the last `window_seconds`, in steps of `STEP_SECONDS`.
pub struct Largest {
    steps: u64,
    values: VecDeque<(u64, u32)>,
}

const STEP_SECONDS: u64 = 2;

impl Largest {
    pub fn new(window_seconds: u64) -> Largest {
        Largest { steps: window_seconds.div_ceil(STEP_SECONDS), values: VecDeque::new() }
    }

    pub fn with(&mut self, now: u64, value: u32) -> u32 {
        let step = now / STEP_SECONDS;
        self.values.retain(|&(at, held)| at + self.steps > step && held > value);
        self.values.push_back((step, value));
        self.values.front().map_or(value, |&(_, largest)| largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was recorded in seconds one after the other, from this one on.
    fn recorded(window_seconds: u64, first: u64, values: impl IntoIterator<Item = f64>) -> Buckets {
        let mut buckets = Buckets::new(window_seconds);
        for (second, value) in (first..).zip(values) {
            buckets.record(second, value);
        }
        buckets
    }

    /// The example in the comment of `WeightedFloat64Buckets.WindowAverage` for the plain mean.
    #[test]
    fn the_mean_of_four_seconds() {
        assert_eq!(recorded(4, 0, [10.0, 10.0, 5.0, 5.0]).mean(3).to_bits(), 7.5_f64.to_bits());
    }

    /// The comment of `TimedFloat64Buckets.WindowAverage`: first written 6 s ago in a window of 60 s, the mean is over
    /// those; last written 10 s ago, it is over the first 50; gaps in between are zero.
    #[test]
    fn partial_windows() {
        assert_eq!(recorded(60, 100, [3.0; 6]).mean(105).to_bits(), 3.0_f64.to_bits());
        assert_eq!(recorded(60, 100, [3.0; 60]).mean(169).to_bits(), 3.0_f64.to_bits());
        let mut gap = recorded(60, 0, [4.0]);
        gap.record(3, 4.0);
        assert_eq!(gap.mean(3).to_bits(), 2.0_f64.to_bits());
    }

    /// TestTimedFloat64BucketsSimple: what comes within a second adds up.
    #[test]
    fn records_of_one_second_add_up() {
        let mut buckets = recorded(120, 7, [1.0]);
        buckets.record(7, 10.0);
        assert_eq!(buckets.mean(7).to_bits(), 11.0_f64.to_bits());
    }

    #[test]
    fn a_silent_window_starts_anew() {
        let mut buckets = recorded(60, 0, [60.0]);
        assert!(!buckets.is_empty(60) && buckets.is_empty(61));
        assert_eq!(buckets.mean(60).to_bits(), 0.0_f64.to_bits());
        buckets.record(100, 6.0);
        assert_eq!(buckets.mean(100).to_bits(), 6.0_f64.to_bits());
    }

    #[test]
    fn the_largest_scrolls_out() {
        let mut largest = Largest::new(10);
        assert_eq!([largest.with(0, 4), largest.with(2, 3), largest.with(8, 0)], [4, 4, 4]);
        assert_eq!([largest.with(10, 0), largest.with(12, 0)], [3, 0]);
    }
}
