//! Examples from buildkite/buildkite-agent-scaler, scaler/scaler_test.go.

use super::*;

/// What those tests leave out is off.
const PLAIN: Settings = Settings { scale_out_cooldown_seconds: 0, availability_threshold: 0.0, ..DEFAULT };
const IN: ScaleIn = ScaleIn { cooldown_seconds: 0, factor: 1.0 };

/// A group of up to 100 with `desired` instances, all in service, of which `ready` have their agents connected.
fn after(settings: Settings, desired: u32, ready: u32, scheduled: u64, running: u64) -> u32 {
    let mut buildkite = Buildkite::new(settings, 100);
    buildkite.desired = desired;
    let starting = desired.saturating_sub(ready);
    let sight = Sight { visible: scheduled, in_flight: running, starting, ready, ..Sight::default() };
    buildkite.tick(1000, &sight).wanted
}

fn agents(per_instance: u32) -> Settings {
    Settings { agents_per_instance: per_instance, ..PLAIN }
}

/// TestScalingOutWithoutError.
#[test]
fn as_many_instances_as_jobs_need() {
    assert_eq!(after(agents(1), 2, 2, 10, 2), 12);
    assert_eq!(after(agents(4), 1, 1, 10, 2), 3);
    assert_eq!(after(agents(2), 1, 1, 10, 2), 6);
    assert_eq!(after(agents(5), 1, 1, 10, 2), 3);
    assert_eq!(after(agents(20), 1, 1, 10, 2), 1);
    assert_eq!(after(Settings { instance_buffer: 10, ..agents(1) }, 12, 12, 10, 2), 22);
    assert_eq!(after(agents(1), 2, 2, 1000, 0), 100); // the group's maximum
}

#[test]
fn the_factor_is_of_what_is_added() {
    let factor = |scale_out_factor| Settings { scale_out_factor, ..agents(1) };
    assert_eq!(after(factor(0.5), 2, 2, 10, 2), 7);
    assert_eq!(after(factor(0.1), 11, 11, 10, 2), 12);
    assert_eq!(after(factor(5.0), 0, 0, 10, 0), 50);
    assert_eq!(after(factor(2.0), 4, 4, 10, 2), 20);
}

#[test]
fn the_cool_down_holds_it_back() {
    let mut buildkite = Buildkite::new(Settings { scale_out_cooldown_seconds: 300, ..agents(1) }, 100);
    let jobs = |visible, ready| Sight { visible, ready, ..Sight::default() };
    assert_eq!(buildkite.tick(0, &jobs(4, 0)).wanted, 4);
    assert_eq!(buildkite.tick(290, &jobs(12, 4)).wanted, 4);
    assert_eq!(buildkite.tick(300, &jobs(12, 4)).wanted, 12);
}

/// TestScalingInWithoutError.
#[test]
fn the_way_in_without_the_stack() {
    let with = |scale_in| Settings { scale_in: Some(scale_in), ..agents(1) };
    let tenth = ScaleIn { factor: 0.1, ..IN };
    assert_eq!(after(with(tenth), 10, 10, 0, 0), 9);
    assert_eq!(after(with(tenth), 1, 1, 0, 0), 0); // rounded so that zero is reached
    assert_eq!(after(Settings { instance_buffer: 10, ..with(IN) }, 30, 30, 10, 5), 25);
    assert_eq!(after(with(ScaleIn { factor: 5.0, ..IN }), 20, 20, 10, 0), 0);
    let mut cooling = Buildkite::new(with(ScaleIn { cooldown_seconds: 300, ..IN }), 100);
    (cooling.desired, cooling.last_in) = (10, Some(900));
    let idle = Sight { ready: 10, ..Sight::default() };
    assert_eq!(cooling.tick(1190, &idle).wanted, 10);
    assert_eq!(cooling.tick(1200, &idle).wanted, 0);
}

/// TestAvailabilityBasedScaling; a fraction of an instance's agents cannot be said here, so theirs is in instances.
#[test]
fn few_agents_get_one_instance_more_once_the_group_has_converged() {
    let settings = Settings { availability_threshold: 0.5, ..agents(4) };
    assert_eq!(after(settings, 3, 1, 2, 0), 4); // 33 %: one more than the three, though the jobs need one
    assert_eq!(after(settings, 3, 2, 5, 2), 3); // 67 %
    assert_eq!(after(settings, 3, 1, 20, 0), 5); // the jobs need more than that
    assert_eq!(after(settings, 0, 0, 5, 0), 2);
    assert_eq!(after(agents(4), 3, 1, 2, 0), 3); // switched off
    let mut converging = Buildkite::new(settings, 100);
    converging.desired = 3;
    let sight = Sight { visible: 2, pending: 1, starting: 2, ..Sight::default() };
    assert_eq!(converging.tick(0, &sight).wanted, 3);
}

/// The stack: the scaler never scales in; an instance whose agent was idle takes the desired capacity down with it.
#[test]
fn instances_end_of_themselves() {
    let mut buildkite = Buildkite::new(DEFAULT, 20);
    let begun = buildkite.tick(0, &Sight { visible: 8, ..Sight::default() });
    assert_eq!(begun, Wish { wanted: 8, ending: Ending::Idle { after_seconds: 600 } });
    assert_eq!(buildkite.tick(600, &Sight { ready: 8, ..Sight::default() }).wanted, 8);
    assert_eq!(buildkite.tick(610, &Sight { ready: 5, ended_idle: 3, ..Sight::default() }).wanted, 5);
    assert_eq!(buildkite.tick(620, &Sight { ended_idle: 8, ..Sight::default() }).wanted, 0);
}
