use super::*;
use crate::pool::{AppTierId, Instance, InstanceId, LaunchToken, Named, Roster, State, UNLISTED_GRACE};
use proptest::prelude::*;
use uuid::Uuid;

mod lease;

const AT: fn(u64) -> Duration = Duration::from_secs;
const WALL: Timestamp = Timestamp(1_000_000);

fn token(n: u128) -> LaunchToken {
    LaunchToken(Uuid::from_u128(n))
}

fn ids(of: &[u32]) -> Vec<AppTierId> {
    of.iter().copied().map(AppTierId).collect()
}

fn named(of: &[u32]) -> Vec<Named> {
    of.iter().map(|n| Named { app_tier_id: AppTierId(*n), instance_id: InstanceId(format!("i-{n}")) }).collect()
}

fn pause() -> Pause {
    Pause { since: Timestamp(7), by: "kim".into() }
}

/// A leader that took over an empty place at second 0.
pub(super) fn leader() -> Leader {
    Claim::new(None, "me", TTL, AT(0), WALL).won("e1")
}

/// Writes what the leader has to write.
pub(super) fn write(leader: &mut Leader, now: Duration, etag: &str) {
    let attempt = leader.write(now, WALL.plus(now)).unwrap();
    leader.wrote(attempt, etag);
}

fn permit(leader: &Leader, now: Duration) -> Permit {
    leader.permit(false, now).unwrap()
}

#[test]
fn unknown_fields_survive_and_contents_give_the_same_bytes() {
    let mut control = leader().control().clone();
    control.estimates = Estimates { service_us: 7, jobs: 30, ..Estimates::default() };
    control.rest.insert("colour".into(), serde_json::json!({ "deep": [1, 2], "price": 3_689_348.073_709_552 }));
    let bytes = control.to_bytes();
    let read = Control::parse(&bytes).unwrap();
    assert_eq!(read, control);
    assert_eq!(read.to_bytes(), bytes);
}

#[test]
fn a_worker_reads_what_it_needs_and_no_launches() {
    let mut control = Control { pause: Some(pause()), report_every_ms: 50_000, ..leader().control().clone() };
    let needed = control.clone();
    control.estimates = Estimates { service_us: 7, jobs: 30, ..Estimates::default() };
    control.rest.insert("colour".into(), serde_json::json!([1, 2]));
    let text = String::from_utf8(control.to_bytes()).unwrap();
    let crowded = text.replace("\"intents\": []", "\"intents\": [{\"anything\": 1}]");
    assert_ne!(text, crowded);
    assert_eq!(Control::glance(crowded.as_bytes()).unwrap(), needed);
    let version = |v: &str| Control::glance(text.replacen("\"v\": 1", v, 1).as_bytes()).unwrap_err();
    assert_eq!(version("\"v\": 2"), Unreadable::OtherVersion(2));
    assert!(matches!(version("\"w\": 1"), Unreadable::Broken(_)));
    assert!(matches!(Control::glance(b"{"), Err(Unreadable::Broken(_))));
}

#[test]
fn large_pools_report_seldom() {
    let cases = [(5, 8, 5_000), (30, 600, 30_000), (30, 1000, 50_000), (30, u32::MAX, 214_748_364_750)];
    for (least, live, expected) in cases {
        assert_eq!(report_every(AT(least), live).as_millis(), expected);
    }
}

#[test]
fn what_does_not_read_is_no_empty_object() {
    assert!(matches!(Control::parse(b"{"), Err(Unreadable::Broken(_))));
    assert!(matches!(Control::parse(b"{}"), Err(Unreadable::Broken(_))));
    assert!(matches!(Control::parse(b"{\"v\":1}"), Err(Unreadable::Broken(_))));
    assert_eq!(Control::parse(b"{\"v\":2,\"epoch\":\"new\"}"), Err(Unreadable::OtherVersion(2)));
    let newer = String::from_utf8(leader().control().to_bytes()).unwrap();
    let broken = newer.replace("\"service_us\": 0", "\"service_us\": null");
    assert_ne!(broken, newer);
    assert_eq!(Control::parse(broken.as_bytes()).unwrap().estimates, Estimates::default(), "estimates are worth less");
}

#[test]
fn a_launch_is_called_only_once_it_is_written_down() {
    let (mut leader, mut roster) = (leader(), Roster::new(leader().control(), UNLISTED_GRACE, AT(0)));
    let leave = permit(&leader, AT(1));
    leader.intend(&leave, token(1), &ids(&[1, 2]), Spec::default()).unwrap();
    assert!(leader.launches(&leave, AT(1)).is_empty());
    assert!(leader.must_write(AT(1)));
    let attempt = leader.write(AT(1), WALL).unwrap();
    assert!(leader.launches(&leave, AT(1)).is_empty(), "the write is under way");
    leader.wrote(attempt, "e2");
    assert!(!leader.must_write(AT(2)));
    assert_eq!(leader.launches(&leave, AT(2))[0].ids, ids(&[1, 2]));
    assert_eq!(leader.launches(&leave, AT(2)).len(), 1, "and again unchanged until it is settled");
    assert!(leader.settle(token(1), &Settlement::Answered(named(&[1])), &mut roster, AT(3)));
    assert!(leader.launches(&leave, AT(3)).is_empty(), "a settled one is not called again");
    assert!(leader.must_write(AT(3)));
    assert_eq!(leader.control().intents[0].ids, ids(&[1]), "an id that got no instance is free");
    assert!(leader.launches(&leave, AT(40)).is_empty(), "the permit is over");
}

#[test]
fn intents_are_checked() {
    let mut leader = leader();
    let leave = permit(&leader, AT(0));
    let many: Vec<u32> = (1..=41).collect();
    let mut intend = |n, of: &[u32]| leader.intend(&leave, token(n), &ids(of), Spec::default());
    assert_eq!(intend(1, &[]), Err(IntentError::Ids(0)));
    assert_eq!(intend(1, &many), Err(IntentError::Ids(41)));
    assert_eq!(intend(1, &[3, 3]), Err(IntentError::Taken(AppTierId(3))));
    assert_eq!(intend(1, &many[..40]), Ok(()));
    assert_eq!(intend(1, &[41]), Err(IntentError::TokenUsed));
    assert_eq!(intend(2, &[40]), Err(IntentError::Taken(AppTierId(40))));
    assert_eq!(intend(2, &[41]), Ok(()));
}

#[test]
fn an_intent_is_forgotten_when_its_instances_are_gone_and_its_ids_free() {
    let mut leader = leader();
    let mut roster = Roster::new(leader.control(), UNLISTED_GRACE, AT(0));
    let leave = permit(&leader, AT(0));
    for n in 1..=3 {
        leader.intend(&leave, token(u128::from(n)), &ids(&[n, n + 10]), Spec::default()).unwrap();
    }
    leader.settle(token(1), &Settlement::Answered(Vec::new()), &mut roster, AT(1));
    leader.settle(token(2), &Settlement::Answered(named(&[2, 12])), &mut roster, AT(1));
    leader.settle(token(3), &Settlement::Listed(named(&[3])), &mut roster, AT(1));
    leader.prune(&mut roster, AT(2));
    let left = |leader: &Leader| leader.control().intents.iter().map(|i| i.token.0.as_u128()).collect::<Vec<_>>();
    assert_eq!(left(&leader), [2, 3], "a refusal leaves nothing");
    let dead: Vec<Instance> = named(&[2, 12, 3])
        .into_iter()
        .map(|Named { app_tier_id, instance_id }| Instance {
            app_tier_id,
            instance_id,
            state: State::Terminated,
            launched_at: WALL,
            token: None,
        })
        .collect();
    roster.listed(&dead, AT(3), AT(3));
    leader.prune(&mut roster, AT(3));
    assert_eq!(left(&leader), [3], "its second id may have an instance that no list shows yet");
    leader.prune(&mut roster, AT(1) + UNLISTED_GRACE);
    assert!(left(&leader).is_empty());
}

#[test]
fn a_list_settles_only_with_what_it_shows() {
    let instance = |n: u32, token: Option<LaunchToken>, state| Instance {
        app_tier_id: AppTierId(n),
        instance_id: InstanceId(format!("i-{n}")),
        state,
        launched_at: WALL,
        token,
    };
    assert_eq!(Settlement::from_list(token(1), &[]), None, "an empty list settles nothing");
    let listed = [
        instance(1, Some(token(1)), State::Running),
        instance(2, Some(token(2)), State::Running),
        instance(3, None, State::Running),
        instance(4, Some(token(1)), State::Terminated),
    ];
    assert_eq!(Settlement::from_list(token(1), &listed), Some(Settlement::Listed(named(&[1, 4]))));
    assert_eq!(Settlement::from_list(token(9), &listed), None);
    let mut leader = leader();
    leader.intend(&permit(&leader, AT(0)), token(8), &ids(&[3, 4, 5]), Spec::default()).unwrap();
    let exact = Settlement::from_exact_list(&leader.control().intents[0], &listed);
    assert_eq!(exact, Settlement::Answered(named(&[3])));
}

#[test]
fn an_answer_after_a_list_completes_it() {
    let mut leader = leader();
    let mut roster = Roster::new(leader.control(), UNLISTED_GRACE, AT(0));
    leader.intend(&permit(&leader, AT(0)), token(1), &ids(&[1, 2, 3]), Spec::default()).unwrap();
    leader.settle(token(1), &Settlement::Listed(named(&[2])), &mut roster, AT(1));
    assert_eq!(leader.control().intents[0].ids_without_instance().collect::<Vec<_>>(), ids(&[1, 3]));
    leader.settle(token(1), &Settlement::Answered(named(&[1, 2])), &mut roster, AT(2));
    leader.settle(token(1), &Settlement::Answered(named(&[1, 2])), &mut roster, AT(2));
    assert_eq!(leader.control().intents[0].ids, ids(&[1, 2]));
    assert_eq!(leader.control().intents[0].instances.len(), 2);
    assert!(!leader.settle(token(7), &Settlement::Answered(named(&[9])), &mut roster, AT(3)));
    assert_eq!(roster.live(&leader.control().intents, AT(3)).total(), 3, "what nobody intended counts, too");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
        let _ = Control::parse(&bytes);
        let _ = Control::parse(text.as_bytes());
    }
}
