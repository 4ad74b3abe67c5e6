//! As many instances as may be, from the first second to the last request: the price of never waiting for a boot.

use super::{Ending, Policy, Sight, Wish};

pub struct Fixed {
    instances: u32,
    until_seconds: u64,
}

impl Fixed {
    pub fn new(instances: u32, until_seconds: u64) -> Fixed {
        Fixed { instances, until_seconds }
    }
}

impl Policy for Fixed {
    fn period_seconds(&self) -> u64 {
        1
    }

    /// Once the last request has arrived the pool is kept until nothing waits, so that no request is lost to the end
    /// of the run.
    fn tick(&mut self, now_seconds: u64, sight: &Sight) -> Wish {
        let over = now_seconds >= self.until_seconds && sight.concurrency <= 0.0;
        let wanted = if over { 0 } else { self.instances };
        Wish { wanted, ending: Ending::Random { grace_seconds: 120 } }
    }
}
