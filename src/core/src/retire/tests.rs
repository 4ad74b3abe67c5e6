use super::*;
use crate::control::{Claim, Pause, Permit, TTL};
use crate::message::{Confirm, Epoch, Nonce, Parsed, VERSION};
use crate::pool::{AppTierId, Instance, InstanceId, Roster, State, Stopped, UNLISTED_GRACE};
use uuid::Uuid;

mod cancelling;

const AT: fn(u64) -> Duration = Duration::from_secs;
const WALL: Timestamp = Timestamp(1_000_000);

fn permit() -> Permit {
    Permit { epoch: Epoch(5), until: Duration::MAX }
}

fn nonces(of: std::ops::Range<u128>) -> Vec<Nonce> {
    of.map(|n| Nonce(Uuid::from_u128(n))).collect()
}

/// Requests of epoch 5, with these nonces out; issued at second 0.
fn out(of: std::ops::Range<u128>) -> (Requests, Vec<TerminateRequest>) {
    let mut requests = Requests::new(Epoch(5), AT(60), AT(0));
    let sent = requests.issue(&permit(), &nonces(of), AT(0), WALL);
    (requests, sent)
}

/// A roster with instances 1..=count.
fn roster(count: u32) -> Roster {
    let control = Claim::new(None, "me", TTL, AT(0), WALL).won("e").control().clone();
    let mut roster = Roster::new(&control, UNLISTED_GRACE, AT(0));
    let instances: Vec<Instance> = (1..=count)
        .map(|n| Instance {
            app_tier_id: AppTierId(n),
            instance_id: InstanceId(format!("i-{n}")),
            state: State::Running,
            launched_at: WALL,
            token: None,
        })
        .collect();
    roster.listed(&instances, AT(0), AT(0));
    roster
}

fn confirm(nonce: u128, epoch: u64, instance: u32) -> Confirm {
    Confirm {
        v: VERSION,
        nonce: Nonce(Uuid::from_u128(nonce)),
        epoch: Epoch(epoch),
        app_tier_id: AppTierId(instance),
        instance_id: InstanceId(format!("i-{instance}")),
    }
}

#[test]
fn requests_live_twice_the_longest_job() {
    let (requests, sent) = out(0..3);
    assert_eq!(requests.outstanding(), 3);
    assert!(sent.iter().all(|r| r.expires_at == WALL.plus(AT(120)) && r.epoch == Epoch(5) && r.v == VERSION));
}

#[test]
fn nothing_is_asked_without_leave() {
    let mut requests = Requests::new(Epoch(5), AT(60), AT(0));
    let over = Permit { epoch: Epoch(5), until: AT(3) };
    assert!(requests.issue(&over, &nonces(0..3), AT(3), WALL).is_empty());
    let other = Permit { epoch: Epoch(6), until: AT(9) };
    assert!(requests.issue(&other, &nonces(0..3), AT(3), WALL).is_empty());
    assert_eq!(requests.outstanding(), 0);
    assert_eq!(requests.issue(&over, &nonces(0..3), AT(2), WALL).len(), 3);
    assert!(requests.issue(&over, &nonces(0..3), AT(2), WALL).is_empty(), "a nonce is used once");
    assert_eq!(requests.outstanding(), 3);
}

#[test]
fn a_request_that_surely_was_not_sent_is_not_out() {
    let (mut requests, sent) = out(0..2);
    requests.unsent(sent[0].nonce);
    requests.unsent(sent[0].nonce);
    assert_eq!(requests.outstanding(), 1);
}

#[test]
fn every_instance_of_ours_that_confirms_is_ended_whatever_its_nonce() {
    let ((mut requests, _), mut roster) = (out(0..2), roster(9));
    let mut hear = |confirm: Confirm, now| requests.confirm(&confirm, &mut roster, AT(now));
    assert_eq!(hear(confirm(0, 5, 1), 1), (Nonced::First, Stopped::Now));
    assert_eq!(hear(confirm(0, 5, 1), 1), (Nonced::Duplicate, Stopped::Already));
    assert_eq!(hear(confirm(0, 5, 2), 1), (Nonced::Duplicate, Stopped::Now), "delivered to two: both have stopped");
    assert_eq!(hear(confirm(0, 4, 3), 1), (Nonced::OtherEpoch, Stopped::Now));
    assert_eq!(hear(confirm(77, 5, 4), 1), (Nonced::Forged, Stopped::Now));
    assert_eq!(hear(confirm(1, 5, 99), 1), (Nonced::NotOurs, Stopped::NotOurs));
    let mut other = confirm(1, 5, 6);
    other.app_tier_id = AppTierId(7);
    assert_eq!(hear(other, 1), (Nonced::NotOurs, Stopped::NotOurs));
    assert_eq!(requests.outstanding(), 1, "a forged confirmation uses up no request");
    requests.expire(AT(149));
    assert_eq!(requests.outstanding(), 1);
    requests.expire(AT(150));
    assert_eq!(requests.outstanding(), 0, "expired and 30 s over");
    assert_eq!(requests.confirm(&confirm(1, 5, 8), &mut roster, AT(900)), (Nonced::Late, Stopped::Now));
    let counts = requests.counts();
    assert_eq!((counts.first, counts.duplicate, counts.other_epoch, counts.forged), (1, 2, 1, 1));
    assert_eq!((counts.late, counts.cancelled, counts.not_ours), (1, 0, 2));
}

#[test]
fn a_new_epoch_has_none_out_and_clears_the_queue() {
    let mut requests = Requests::new(Epoch(6), AT(60), AT(0));
    assert_eq!(requests.outstanding(), 0);
    assert!(requests.must_sweep(AT(0)));
    assert!(!requests.must_sweep(AT(0)), "once");
    assert!(!requests.must_sweep(AT(149)));
    assert!(requests.must_sweep(AT(150)), "and again, when what a worker held then is visible");
    assert!(!requests.must_sweep(AT(999)));
    let leave = Permit { epoch: Epoch(6), until: Duration::MAX };
    requests.issue(&leave, &nonces(0..1), AT(1000), WALL);
    requests.expire(AT(1149));
    assert!(!requests.must_sweep(AT(1149)));
    requests.expire(AT(1150));
    assert!(requests.must_sweep(AT(1150)), "a forgotten request may still lie there");
    assert!(!requests.must_sweep(AT(1299)) && requests.must_sweep(AT(1300)));
}

#[test]
fn more_requests_in_the_queue_than_are_out_are_cleared_away() {
    let (mut requests, _) = out(0..2);
    assert!(requests.must_sweep(AT(0)));
    requests.counted(2);
    assert!(!requests.must_sweep(AT(0)));
    requests.counted(3);
    assert!(requests.must_sweep(AT(0)) && !requests.must_sweep(AT(0)));
}

#[test]
fn a_request_whose_worker_died_after_confirming_is_cleared_away() {
    let ((mut requests, _), mut roster) = (out(0..1), roster(1));
    assert!(requests.must_sweep(AT(0)) && requests.must_sweep(AT(150)));
    requests.confirm(&confirm(0, 5, 9), &mut roster, AT(200));
    assert!(!requests.must_sweep(AT(1000)), "a stranger clears nothing");
    requests.confirm(&confirm(0, 5, 1), &mut roster, AT(200));
    assert!(!requests.must_sweep(AT(349)));
    assert!(requests.must_sweep(AT(350)));
    assert!(!requests.must_sweep(AT(351)));
}

#[test]
fn fates_are_remembered_for_a_while_and_in_bounds() {
    let ((mut requests, _), mut roster) = (out(0..1), roster(2));
    requests.confirm(&confirm(0, 5, 1), &mut roster, AT(1));
    requests.expire(AT(1800));
    assert_eq!(requests.confirm(&confirm(0, 5, 2), &mut roster, AT(1800)).0, Nonced::Duplicate);
    requests.expire(AT(1801));
    assert_eq!(requests.confirm(&confirm(0, 5, 2), &mut roster, AT(1801)).0, Nonced::Forged);

    let (mut requests, _) = out(0..10_002);
    requests.expire(AT(150));
    requests.issue(&permit(), &nonces(20_000..20_001), AT(150), WALL);
    requests.expire(AT(151));
    assert_eq!(requests.outstanding(), 1, "one that is out is never forgotten for want of room");
    assert_eq!(requests.confirm(&confirm(1, 5, 1), &mut roster, AT(151)).0, Nonced::Forged);
    assert_eq!(requests.confirm(&confirm(2, 5, 1), &mut roster, AT(151)).0, Nonced::Late);
    assert_eq!(requests.confirm(&confirm(20_000, 5, 1), &mut roster, AT(151)).0, Nonced::First);
}

#[test]
fn a_worker_judges_by_the_leaders_clock_and_epoch() {
    let base = Claim::new(None, "me", TTL, AT(0), WALL).won("e").control().clone();
    let control = Control { epoch: Epoch(5), ..base };
    let request = |epoch, expires_at| TerminateRequest {
        v: VERSION,
        nonce: Nonce(Uuid::from_u128(1)),
        epoch: Epoch(epoch),
        expires_at: Timestamp(expires_at),
    };
    let paused = control.clone().with_pause(Some(Pause { since: WALL, by: String::new() }));
    assert_eq!(judge(&request(5, WALL.0 + 1), Some(&control)), Verdict::Retire);
    assert_eq!(judge(&request(5, WALL.0), Some(&control)), Verdict::Discard, "expired");
    assert_eq!(judge(&request(4, WALL.0 + 1), Some(&control)), Verdict::Discard, "of an older epoch");
    assert_eq!(judge(&request(6, WALL.0 + 1), Some(&control)), Verdict::GiveBack, "of nobody's epoch");
    assert_eq!(judge(&request(5, WALL.0 + 1), Some(&paused)), Verdict::GiveBack);
    assert_eq!(judge(&request(4, WALL.0 + 1), Some(&paused)), Verdict::Discard, "void is void");
    assert_eq!(judge(&request(5, WALL.0 + 1), None), Verdict::GiveBack);
}

#[test]
fn looks_come_by_time_and_after_empty_receives() {
    let mut looks = Looks::new(AT(5), AT(0));
    assert_eq!(looks.due(), AT(5), "also under load");
    looks.looked(AT(6));
    assert_eq!(looks.due(), AT(11));
    looks.empty_receive(AT(7));
    assert_eq!(looks.due(), AT(7));
    looks.empty_receive(AT(9));
    assert_eq!(looks.due(), AT(7), "an overdue look is not put off");
    assert_eq!(Looks::new(AT(90), AT(0)).due(), AT(15), "rarer in large pools");
}

#[test]
fn an_unrenewed_object_ends_an_idle_instance_after_a_quarter_of_an_hour() {
    let control = Claim::new(None, "me", TTL, AT(0), WALL).won("e").control().clone();
    let renewed = Control { revision: 2, ..control.clone() };
    let mut unrenewed = Unrenewed::new(AT(10));
    assert!(!unrenewed.ends(AT(909)) && unrenewed.ends(AT(910)), "never read at all");
    unrenewed.saw(&control, AT(20));
    unrenewed.saw(&control, AT(100));
    assert!(!unrenewed.ends(AT(919)) && unrenewed.ends(AT(920)));
    unrenewed.saw(&renewed, AT(919));
    assert!(!unrenewed.ends(AT(920)));
}
