//! What nobody can beat: a lower bound on the instance-seconds of any policy, one that knows the future included, that
//! answers all requests but a share of them within a deadline.
//!
//! # Why it is a bound
//!
//! Take any run, with at most `max` instances at a time. An instance is *of use* from the moment it takes work to its
//! end, for some time `y`; its bill is at least `max(minimum, billed + y)`, `billed` being the part of a boot that is
//! paid. Cut time into slots of `h` seconds with `2 h <= billed`.
//!
//! 1. *Seats.* Spans of use, of which at most `max` overlap anywhere, can be dealt to `max` seats so that on each seat
//!    none overlap (interval graphs are perfect). A seat is taken in each slot that one of its spans touches; `n` seats
//!    taken in a slot serve at most `n h` seconds of work in it. A span touches fewer than `y / h + 2` slots. So a run
//!    of taken slots made of `m` spans, priced at `billed - 2 h` once and `h` a slot, comes to less than the sum of the
//!    `y` plus `billed - 2 h + 2 h m`, which is at most what the spans are billed, `m billed + sum of y`, because
//!    `2 h (m - 1) <= billed (m - 1)`. Nothing is asked of when a boot began: a boot takes no time, only money.
//! 2. *Minimum.* `max(minimum, x) >= a minimum + (1 - a) x` for every `a` in [0, 1]: with `a minimum + (1 - a)(billed -
//!    2 h)` a run of slots and `(1 - a) h` a slot the price stays at or below the bill, for each such `a`.
//! 3. *Work.* Let `A(t)` be the work that has arrived by `t`, in units. Between the ends `s < t` of two slots the seats
//!    hold `C` units, a whole number. By `s` no more was done than had arrived, and by `t` all is done that arrived by
//!    `t - D`, in whatever order: `C >= A(t - D) - A(s)`, so `C >= ceil(A(t - D) - A(s)) >= ceil A(t - D) - ceil A(s)`.
//!    These inequalities are all that the programme asks: if `ceil A` arrives and is worked off as early as can be,
//!    what is left at `t` is the largest of `ceil A(t) - ceil A(s) - C` over all `s`, and it may be at most
//!    `ceil A(t) - ceil A(t - D)`.
//! 4. *Late ones.* For the others alone `C >= A'(t - D) - A'(s)` holds. Let the units of each late request, rounded up,
//!    vanish in the slot in which it arrives: as `ceil(x + y) <= ceil x + ceil y`, 3. then holds for all with what
//!    vanished between `s` and `t` added to `C`. So with a price `p` on a vanished unit, and `p L` off the total, where
//!    `L` are the units of the longest `share` of the requests, some choice costs no more than the run: for each `p`.
//!
//! The least total over all courses of seats and vanished units is found exactly, by dynamic programming over (seats,
//! backlog), so it is a lower bound for each `a` and `p`; the largest of them is returned. Service times are the ones
//! drawn, known beforehand; stale counters, polls, the unpaid part of a boot and the wait of a request inside its slot
//! cost nothing here, so no policy gets there.

/// The part of the world that a bound needs.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub max: u32,
    /// Seconds of a boot that are billed.
    pub boot_billed_seconds: f64,
    /// Seconds that any instance is billed at least.
    pub minimum_bill_seconds: f64,
}

/// What the policy is held to: all requests but `late_share` (0.01 for a p99) are answered within `deadline_seconds`.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    pub deadline_seconds: f64,
    pub late_share: f64,
}

/// How finely it is reckoned; a finer grid bounds more closely and takes longer. Slots are at most half of what is
/// billed of a boot, and cut into so many units of work.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub slot_seconds: f64,
    pub units: u32,
}

/// Of a run of slots, whatever its length, and of each of its slots.
#[derive(Clone, Copy, Debug)]
struct Prices {
    launch: f64,
    slot: f64,
    vanish: f64,
}

/// One slot: the units that arrive in it, and the most that may be left at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) arrived: usize,
    pub(super) left: usize,
}

/// Shares of the minimum bill, and prices of a vanished unit, that are tried: each of one with each of the other, since
/// going back and forth between the two stops short of the best pair on small traces.
const SHARES: [f64; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
const PRICE_STEPS: u32 = 12;

/// The least instance-seconds billed for `requests`, sorted by arrival: (arrives at, takes so long), both in seconds.
/// None where none may be late and `max` instances are too few.
///
/// # Panics
/// With a grid whose slots are longer than half of what is billed of a boot: nothing would be proven.
pub fn instance_seconds(requests: &[(f64, f64)], world: World, promise: Promise, grid: Grid) -> Option<f64> {
    assert!(2.0 * grid.slot_seconds <= world.boot_billed_seconds, "slots too long for a bound: {grid:?}");
    let slots = slots(requests, promise.deadline_seconds, grid);
    let late = late_units(requests, promise.late_share, grid);
    let once = world.boot_billed_seconds - 2.0 * grid.slot_seconds;
    let total = |share: f64, vanish: f64| {
        let launch = share * world.minimum_bill_seconds + (1.0 - share) * once;
        let prices = Prices { launch, slot: (1.0 - share) * grid.slot_seconds, vanish };
        least(&slots, world.max, grid.units as usize, prices) - if late > 0.0 { vanish * late } else { 0.0 }
    };
    let best = |share: f64| {
        if late > 0.0 {
            // Above the price of an instance for a single unit nothing ever vanishes.
            peak(|vanish| total(share, vanish), world.minimum_bill_seconds + grid.slot_seconds)
        } else {
            total(share, f64::INFINITY)
        }
    };
    Some(SHARES.map(best).into_iter().fold(0.0, f64::max)).filter(|total| total.is_finite())
}

pub(super) fn slots(requests: &[(f64, f64)], deadline: f64, grid: Grid) -> Vec<Slot> {
    let unit = grid.unit_nanos();
    let (mut arrived, mut due) = (Arrived::new(requests), Arrived::new(requests));
    let end = requests.last().map_or(0.0, |&(at, _)| at + deadline);
    let (mut slots, mut before) = (Vec::new(), 0);
    for slot in 1..=(end / grid.slot_seconds).ceil() as u64 {
        let time = slot as f64 * grid.slot_seconds;
        // What arrives as a slot ends is nothing to work on in it; what is due then is to be done by it.
        let so_far = arrived.until(|at| at < time).div_ceil(unit);
        let done = due.until(|at| at <= time - deadline).div_ceil(unit);
        slots.push(Slot { arrived: (so_far - before) as usize, left: (so_far - done) as usize });
        before = so_far;
    }
    slots
}

/// The nanoseconds of work that arrived by a time; asked for with times that grow. Whole numbers: whole units stay so.
struct Arrived<'a> {
    requests: std::slice::Iter<'a, (f64, f64)>,
    next: Option<&'a (f64, f64)>,
    nanos: u64,
}

impl<'a> Arrived<'a> {
    fn new(requests: &'a [(f64, f64)]) -> Self {
        let mut requests = requests.iter();
        Arrived { next: requests.next(), requests, nanos: 0 }
    }

    fn until(&mut self, passed: impl Fn(f64) -> bool) -> u64 {
        while let Some(&(_, work)) = self.next.filter(|&&(at, _)| passed(at)) {
            self.nanos += nanos(work);
            self.next = self.requests.next();
        }
        self.nanos
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

impl Grid {
    fn unit_nanos(self) -> u64 {
        nanos(self.slot_seconds) / u64::from(self.units)
    }
}

/// The units of work that the longest `share` of the requests have, each rounded up.
fn late_units(requests: &[(f64, f64)], share: f64, grid: Grid) -> f64 {
    let mut units: Vec<u64> = requests.iter().map(|&(_, work)| nanos(work).div_ceil(grid.unit_nanos())).collect();
    units.sort_unstable_by(|a, b| b.cmp(a));
    let late = (share * requests.len() as f64).floor() as usize;
    units.iter().take(late).sum::<u64>() as f64
}

/// The largest value of a concave function between 0 and `end`, by golden sections.
fn peak(value: impl Fn(f64) -> f64, end: f64) -> f64 {
    const SECTION: f64 = 0.618_033_988_749_894_9;
    let (mut low, mut high) = (0.0, end);
    let (mut left, mut right) = (high - SECTION * (high - low), low + SECTION * (high - low));
    let (mut at_left, mut at_right) = (value(left), value(right));
    let mut best = value(low).max(at_left).max(at_right);
    for _ in 0..PRICE_STEPS {
        if at_left < at_right {
            (low, left, at_left) = (left, right, at_right);
            right = low + SECTION * (high - low);
            at_right = value(right);
            best = best.max(at_right);
        } else {
            (high, right, at_right) = (right, left, at_left);
            left = high - SECTION * (high - low);
            at_left = value(left);
            best = best.max(at_left);
        }
    }
    best
}

/// The least total of all courses of seats and vanished units; infinite where none does.
fn least(slots: &[Slot], max: u32, units: usize, prices: Prices) -> f64 {
    let seats = max as usize + 1;
    // By seats taken, then by units left.
    let mut totals = vec![vec![f64::INFINITY]; seats];
    totals[0][0] = 0.0;
    let mut next = totals.clone();
    for slot in slots {
        change_seats(&mut totals, prices.launch);
        for (taken, (from, to)) in totals.iter().zip(&mut next).enumerate() {
            serve(from, to, taken * units, slot, taken as f64 * prices.slot, prices.vanish);
        }
        std::mem::swap(&mut totals, &mut next);
    }
    totals.into_iter().flatten().fold(f64::INFINITY, f64::min)
}

/// More seats at the price of a launch each, fewer for nothing.
fn change_seats(totals: &mut [Vec<f64>], launch: f64) {
    for taken in 1..totals.len() {
        let (below, above) = totals.split_at_mut(taken);
        for (there, here) in below[taken - 1].iter().zip(&mut above[0]) {
            *here = here.min(there + launch);
        }
    }
    for taken in (1..totals.len()).rev() {
        let (below, above) = totals.split_at_mut(taken);
        for (there, here) in above[0].iter().zip(&mut below[taken - 1]) {
            *here = here.min(*there);
        }
    }
}

/// One slot with so many units of `capacity`: what is left may not be more than the slot allows, unless it vanishes.
fn serve(from: &[f64], to: &mut Vec<f64>, capacity: usize, slot: &Slot, price: f64, vanish: f64) {
    let most = (from.len() - 1 + slot.arrived).saturating_sub(capacity);
    to.clear();
    to.resize(most.max(slot.left) + 1, f64::INFINITY);
    for (left, total) in from.iter().enumerate() {
        let left = (left + slot.arrived).saturating_sub(capacity);
        to[left] = to[left].min(total + price);
    }
    if vanish.is_finite() {
        for left in (1..to.len()).rev() {
            to[left - 1] = to[left - 1].min(to[left] + vanish);
        }
    }
    to.truncate(slot.left + 1);
}

#[cfg(test)]
mod tests;
