//! What somebody who knows the future would do: a course of seats that keeps a deadline for all requests at the least
//! price, and a policy that follows it. The bound's own reckoning (`bound`), so it is hopeful: work is there from the
//! start of its slot, and pulled whole by whoever is free. What it costs and keeps is to be seen by running it; with a
//! deadline some seconds short it lies close above the bound.

use super::bound::{Grid, Slot, World, slots};
use super::peers::{Ending, Policy, Sight, Wish};

/// Seats for each slot that answer all `requests` (sorted; arrives at, takes so long, in seconds) within the deadline.
/// None where `world.max` instances are too few for it, or more than 255.
pub fn seats(requests: &[(f64, f64)], world: World, deadline_seconds: f64, grid: Grid) -> Option<Vec<u32>> {
    let slots = slots(requests, deadline_seconds, grid);
    // The minimum of a bill counts as if every instance were used for about as long as that is.
    let launch = world.boot_billed_seconds.max(world.minimum_bill_seconds - world.boot_billed_seconds);
    let course = Course { seats: u8::try_from(world.max).ok()?, units: grid.units as usize, launch, grid };
    course.choices(&slots).map(|choices| course.follow(&slots, &choices))
}

struct Course {
    seats: u8,
    units: usize,
    launch: f64,
    grid: Grid,
}

impl Course {
    /// For each slot, for each number of units that wait before it and of seats held before it, the seats to take.
    fn choices(&self, slots: &[Slot]) -> Option<Vec<Vec<u8>>> {
        let width = usize::from(self.seats) + 1;
        // The least that is still to be paid, by units left and seats held; nothing is left after the last slot.
        let mut to_pay = vec![0.0; width];
        let mut choices = Vec::with_capacity(slots.len());
        for (number, slot) in slots.iter().enumerate().rev() {
            let waiting = if number == 0 { 0 } else { slots[number - 1].left };
            let (mut pay, mut choice) = (vec![f64::INFINITY; (waiting + 1) * width], vec![0; (waiting + 1) * width]);
            for (units, (pay, choice)) in pay.chunks_mut(width).zip(choice.chunks_mut(width)).enumerate() {
                let after = |seats: u8| {
                    let left = (units + slot.arrived).saturating_sub(usize::from(seats) * self.units);
                    // More than may be left is not there.
                    let rest = to_pay.get(left * width + usize::from(seats));
                    rest.map_or(f64::INFINITY, |rest| f64::from(seats) * self.grid.slot_seconds + rest)
                };
                self.best(after, pay, choice);
            }
            to_pay = pay;
            choices.push(choice);
        }
        choices.reverse();
        to_pay[0].is_finite().then_some(choices)
    }

    /// For each number of seats held, the best to take: more at the price of a launch each, fewer for nothing.
    fn best(&self, after: impl Fn(u8) -> f64, pay: &mut [f64], choice: &mut [u8]) {
        let (mut fewer, mut fewest) = (f64::INFINITY, 0);
        for held in 0..=self.seats {
            let total = after(held);
            if total < fewer {
                (fewer, fewest) = (total, held);
            }
            (pay[usize::from(held)], choice[usize::from(held)]) = (fewer, fewest);
        }
        let (mut more, mut most) = (f64::INFINITY, self.seats);
        for held in (0..=self.seats).rev() {
            more += self.launch;
            let total = after(held);
            if total < more {
                (more, most) = (total, held);
            }
            if more < pay[usize::from(held)] {
                (pay[usize::from(held)], choice[usize::from(held)]) = (more, most);
            }
        }
    }

    fn follow(&self, slots: &[Slot], choices: &[Vec<u8>]) -> Vec<u32> {
        let width = usize::from(self.seats) + 1;
        let (mut held, mut waiting) = (0, 0);
        let take = |(slot, choice): (&Slot, &Vec<u8>)| {
            held = usize::from(choice[waiting * width + held]);
            waiting = (waiting + slot.arrived).saturating_sub(held * self.units);
            held as u32
        };
        slots.iter().zip(choices).map(take).collect()
    }
}

/// Follows a course of seats, launching a boot ahead.
pub struct Clairvoyant {
    /// Instances that exist, for each slot.
    live: Vec<u32>,
    slot_seconds: u64,
}

impl Clairvoyant {
    /// Slots are whole seconds; a boot takes `boot_seconds` from launch to work.
    pub fn new(seats: &[u32], slot_seconds: u64, boot_seconds: u64, max: u32) -> Clairvoyant {
        let ahead = boot_seconds.div_ceil(slot_seconds) as usize;
        let added: Vec<u32> = (0..seats.len())
            .map(|slot| seats[slot].saturating_sub(slot.checked_sub(1).map_or(0, |before| seats[before])))
            .collect();
        let live = (0..seats.len())
            .map(|slot| (seats[slot] + added.iter().skip(slot + 1).take(ahead).sum::<u32>()).min(max))
            .collect();
        Clairvoyant { live, slot_seconds }
    }
}

impl Policy for Clairvoyant {
    fn period_seconds(&self) -> u64 {
        self.slot_seconds
    }

    /// One instance stays for what is left when the course is over.
    fn tick(&mut self, now_seconds: u64, sight: &Sight) -> Wish {
        let planned = self.live.get((now_seconds / self.slot_seconds) as usize).copied();
        let wanted = planned.unwrap_or(u32::from(sight.concurrency > 0.0));
        Wish { wanted, ending: Ending::Random { grace_seconds: 120 } }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bound::{Promise, instance_seconds};
    use super::*;

    const WORLD: World = World { max: 20, boot_billed_seconds: 25.0, minimum_bill_seconds: 60.0 };
    const GRID: Grid = Grid { slot_seconds: 2.0, units: 1 };

    fn burst(at: f64, requests: usize) -> Vec<(f64, f64)> {
        vec![(at, 2.0); requests]
    }

    fn bound(requests: &[(f64, f64)], deadline_seconds: f64) -> f64 {
        instance_seconds(requests, WORLD, Promise { deadline_seconds, late_share: 0.0 }, GRID).unwrap()
    }

    /// What a course is billed, with each seat that comes a launch.
    fn bill(seats: &[u32]) -> f64 {
        let (mut launches, mut held) = (0, 0);
        for &seats in seats {
            launches += seats.saturating_sub(held);
            held = seats;
        }
        f64::from(launches) * WORLD.boot_billed_seconds + 2.0 * f64::from(seats.iter().sum::<u32>())
    }

    #[test]
    fn a_burst_takes_as_few_as_keep_the_deadline() {
        let course = seats(&burst(0.0, 150), WORLD, 100.0, GRID).unwrap();
        assert_eq!(course.iter().sum::<u32>(), 150);
        assert_eq!(course.iter().max(), Some(&3));
        assert_eq!(seats(&burst(0.0, 150), WORLD, 14.0, GRID), None);
    }

    /// The course keeps the deadline slot by slot, and is never below the bound.
    #[test]
    fn a_course_is_above_the_bound() {
        let mut requests = burst(0.0, 30);
        requests.extend(burst(70.0, 40));
        requests.extend(burst(300.0, 10));
        let course = seats(&requests, WORLD, 30.0, GRID).unwrap();
        let (mut waiting, slots) = (0, slots(&requests, 30.0, GRID));
        for (slot, &seats) in slots.iter().zip(&course) {
            waiting = (waiting + slot.arrived).saturating_sub(seats as usize);
            assert!(waiting <= slot.left);
        }
        assert_eq!(waiting, 0);
        assert!(bound(&requests, 30.0) <= bill(&course));
    }

    #[test]
    fn instances_are_launched_a_boot_ahead() {
        let mut clairvoyant = Clairvoyant::new(&[0, 0, 0, 2, 2, 1, 0], 10, 20, 20);
        let course = [0, 10, 20, 30, 40, 50, 60, 70].map(|now| clairvoyant.tick(now, &Sight::default()).wanted);
        assert_eq!(course, [0, 2, 2, 2, 2, 1, 0, 0]);
    }
}
