//! Entries in plain words.

use super::{Decided, Happened, What};
use crate::pool::Cause;
use crate::scale::{Actions, Clamp, Rule};
use std::fmt::Write;

pub(super) fn of(what: &What) -> String {
    match what {
        What::Decided(decided) => {
            let parts = [demand(decided), pool(decided), rule(decided)];
            format!("{}; {}{}: {}", parts[..2].join(", "), parts[2], clamp(decided), outcome(decided))
        }
        What::Happened(happened) => event(happened),
    }
}

fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("{number} {one}") } else { format!("{number} {many}") }
}

fn instances(number: impl Into<u64>) -> String {
    count(number.into(), "instance", "instances")
}

fn demand(decided: &Decided) -> String {
    if decided.demand == 0 && decided.inputs.stuck {
        let visible = decided.inputs.counters.visible;
        return format!("nobody receives what the queue counts as {}", count(visible, "request", "requests"));
    }
    match decided.demand {
        0 => "no request waits".into(),
        1 => "1 request waits or is worked on".into(),
        demand => format!("{demand} requests wait or are worked on"),
    }
}

fn pool(decided: &Decided) -> String {
    let inputs = &decided.inputs;
    let booting = inputs.booting.saturating_add(inputs.intended);
    let ending = inputs.retiring.saturating_add(inputs.terminating);
    let mut text = format!("{} of {} ready", inputs.ready, instances(inputs.max));
    let others = [(booting, "booting"), (ending, "ending"), (inputs.outstanding, "asked to retire")];
    for (number, how) in others.into_iter().filter(|(number, _)| *number > 0) {
        // writing to a string does not fail
        let _ = write!(text, ", {number} {how}");
    }
    text
}

fn rule(decided: &Decided) -> String {
    let (need, inputs) = (decided.need, &decided.inputs);
    match decided.rule {
        Rule::PerRequest => match inputs.slots {
            0 | 1 => format!("per-request needs {need} (one for each request)"),
            slots => format!("per-request needs {need} (one for {slots} requests)"),
        },
        Rule::Backlog => {
            let (service, target) = (seconds(inputs.service_us), seconds(inputs.target_ms.saturating_mul(1000)));
            format!("backlog needs {need} (an image takes {service}, the target is {target})")
        }
        Rule::Deadline => {
            let (service, boot) = (seconds(inputs.service_us), seconds(inputs.boot_ms.saturating_mul(1000)));
            format!("deadline needs {need} (an image takes {service}, a boot {boot})")
        }
    }
}

fn clamp(decided: &Decided) -> String {
    let (inputs, wanted) = (&decided.inputs, decided.wanted);
    match decided.clamp {
        None => String::new(),
        Some(Clamp::Max) => format!(", pool.max_instances allows {}", inputs.max),
        Some(Clamp::Min) => format!(", pool.min_instances keeps {wanted}"),
        Some(Clamp::Hold) => {
            let hold = seconds(inputs.hold_ms.saturating_mul(1000));
            format!(", {wanted} are kept until they were not needed for {hold} (pool.hold)")
        }
        Some(Clamp::Stale) => ", nobody is asked to go while queue or pool cannot be read".into(),
        Some(Clamp::Unlisted) => ", nothing is launched before the pool could be listed".into(),
        Some(Clamp::Room) => {
            let ending = inputs.retiring.saturating_add(inputs.terminating);
            format!(", {} still ending count towards pool.max_instances {}", instances(ending), inputs.max)
        }
        Some(Clamp::Ids) => ", no more app-tier ids are free".into(),
        Some(Clamp::Backoff) => ", launches wait because the last one failed".into(),
        Some(Clamp::Paused) => ", but the pool is paused".into(),
        Some(Clamp::DryRun) => ", but this is a dry run".into(),
        Some(Clamp::Lease) => ", but the lease is not ours to act on".into(),
    }
}

fn outcome(decided: &Decided) -> String {
    let mut parts = Vec::new();
    if !decided.done.is_none() {
        parts.push(actions(decided.done, ["took back", "launched", "asked"]));
    }
    if decided.missed.cancel > 0 {
        let held = count(u64::from(decided.missed.cancel), "terminate request is", "terminate requests are");
        parts.push(format!("{held} held by workers already"));
    }
    if decided.missed.launch > 0 {
        parts.push(format!("{} could not be launched", decided.missed.launch));
    }
    if decided.missed.request > 0 {
        parts.push(format!("{} could not be asked to retire", decided.missed.request));
    }
    if !decided.withheld.is_none() {
        parts.push(actions(decided.withheld, ["would have taken back", "would have launched", "would have asked"]));
    }
    if parts.is_empty() { "nothing to do".into() } else { parts.join("; ") }
}

/// What was cancelled, launched and asked for, with these verbs.
fn actions(actions: Actions, [take, launch, ask]: [&str; 3]) -> String {
    let mut parts = Vec::new();
    if actions.cancel > 0 {
        let requests = count(u64::from(actions.cancel), "terminate request", "terminate requests");
        parts.push(format!("{take} {requests}"));
    }
    if actions.launch > 0 {
        parts.push(format!("{launch} {}", instances(actions.launch)));
    }
    if actions.request > 0 {
        parts.push(format!("{ask} {} to retire", instances(actions.request)));
    }
    parts.join(", ")
}

fn event(happened: &Happened) -> String {
    match happened {
        Happened::TookOver { epoch } => format!("this controller leads the pool now (epoch {})", epoch.0),
        Happened::Paused { by } if by.is_empty() => "the pool was paused".into(),
        Happened::Paused { by } => format!("the pool was paused by {by}"),
        Happened::Resumed => "the pool was resumed".into(),
        Happened::Ended { instance_id, cause } => {
            let why = match cause {
                Cause::Confirmed => "it has retired",
                Cause::NeverRegistered => "it never became ready",
                Cause::Hung => "it stopped reporting",
            };
            format!("instance {} is ended: {why}", instance_id.0)
        }
        Happened::Gone { instance_id } => format!("instance {} is gone", instance_id.0),
        Happened::LaunchFailed { detail } => format!("a launch failed: {detail}"),
    }
}

/// Microseconds as people say them.
pub(super) fn seconds(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => {
            let (whole, tenths) = (micros / 1_000_000, micros / 100_000 % 10);
            if tenths == 0 { format!("{whole} s") } else { format!("{whole}.{tenths} s") }
        }
        _ => match (micros / 60_000_000, micros / 1_000_000 % 60) {
            (minutes, 0) => format!("{minutes} min"),
            (minutes, rest) => format!("{minutes} min {rest} s"),
        },
    }
}
