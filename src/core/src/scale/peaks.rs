//! The largest value of a sliding window.

use std::collections::VecDeque;
use std::time::Duration;

/// Values that may still be the largest of the window, with their times: falling. So they are at most as many as there
/// are different values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peaks(VecDeque<(Duration, u32)>);

impl Peaks {
    /// Notes a value and returns the largest within `span`, this one included. A span of nothing keeps nothing.
    pub fn note(&mut self, value: u32, now: Duration, span: Duration) -> u32 {
        while self.0.back().is_some_and(|(_, peak)| *peak <= value) {
            self.0.pop_back();
        }
        self.0.push_back((now, value));
        while self.0.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= span) {
            self.0.pop_front();
        }
        self.0.front().map_or(value, |(_, peak)| *peak)
    }
}
