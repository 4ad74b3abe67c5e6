use super::*;
use crate::control::{Claim, Leader, Permit, Settlement, Spec, TTL};
use crate::message::{Endings, Report, VERSION, WorkerState};
use std::time::Duration;

mod life;

const AT: fn(u64) -> Duration = Duration::from_secs;
const LATE: Deadlines = Deadlines { register: Duration::from_mins(5), hung: Duration::from_secs(30) };

/// A leader that took over an empty place at second 0, and its roster.
fn begin(grace: Duration) -> (Leader, Roster) {
    let leader = Claim::new(None, "me", TTL, AT(0), Timestamp(0)).won("e");
    let roster = Roster::new(leader.control(), grace, AT(0));
    (leader, roster)
}

/// Leave to act at any time.
fn leave() -> Permit {
    Permit { epoch: crate::message::Epoch(1), until: Duration::MAX }
}

fn name(n: u32) -> InstanceId {
    InstanceId(format!("i-{n}"))
}

fn named(of: &[u32]) -> Vec<Named> {
    of.iter().map(|n| Named { app_tier_id: AppTierId(*n), instance_id: name(*n) }).collect()
}

fn instance(n: u32, state: State) -> Instance {
    Instance { app_tier_id: AppTierId(n), instance_id: name(n), state, launched_at: Timestamp(0), token: None }
}

fn list(of: &[(u32, State)]) -> Vec<Instance> {
    of.iter().map(|(n, state)| instance(*n, *state)).collect()
}

fn report(n: u32, state: WorkerState, jobs: u64) -> Report {
    Report {
        v: VERSION,
        app_tier_id: AppTierId(n),
        instance_id: name(n),
        state,
        slots: 2,
        jobs,
        busy_ms: jobs * 10,
        idle_ms: 0,
        boot_ms: 5,
        in_hand: 0,
        endings: Endings::default(),
    }
}

/// Intends and settles a launch.
fn launch(leader: &mut Leader, roster: &mut Roster, of: &[u32], settlement: Option<Settlement>, now: Duration) {
    let token = LaunchToken(uuid::Uuid::from_u128(u128::from(of[0])));
    let ids: Vec<AppTierId> = of.iter().copied().map(AppTierId).collect();
    leader.intend(&leave(), token, &ids, Spec::default()).unwrap();
    if let Some(settlement) = settlement {
        leader.settle(token, &settlement, roster, now);
    }
}
