use super::*;

fn object(epoch: u64, owner: &str) -> Control {
    Control { epoch: Epoch(epoch), owner: owner.into(), ..leader().control().clone() }
}

#[test]
fn a_challenger_waits_for_the_ttl_without_a_change() {
    let mut watch = Watch::new("me", TTL);
    let theirs = object(3, "them");
    let mut saw = |etag: &str, now| watch.saw(Some((&theirs, etag)), false, AT(now));
    assert_eq!(saw("a", 10), Next::Wait(TTL));
    assert_eq!(saw("a", 69), Next::Wait(AT(1)));
    assert_eq!(saw("b", 70), Next::Wait(TTL), "a change begins the time anew");
    assert_eq!(saw("b", 129), Next::Wait(AT(1)));
    assert_eq!(saw("b", 130), Next::TakeOver);
}

#[test]
fn who_needs_not_wait() {
    let mut watch = Watch::new("me", TTL);
    assert_eq!(watch.saw(None, false, AT(0)), Next::TakeOver);
    assert_eq!(watch.saw(Some((&object(3, "me"), "a")), false, AT(0)), Next::TakeOver, "our own process before this");
    assert_eq!(watch.saw(Some((&object(3, "them"), "a")), true, AT(0)), Next::TakeOver, "we hold the lock");
    assert_eq!(watch.saw(Some((&object(3, "them"), "a")), false, AT(0)), Next::Wait(TTL));
}

#[test]
fn taking_over_raises_the_epoch_and_keeps_the_rest() {
    let mut theirs = object(3, "them");
    theirs.pause = Some(pause());
    theirs.rest.insert("x".into(), 1.into());
    theirs.report_every_ms = 5;
    let claim = Claim::new(Some((theirs.clone(), "a".into())), "me", TTL, AT(5), WALL);
    assert_eq!(claim.if_match(), Some("a"));
    let ours = Control::parse(&claim.body()).unwrap();
    assert_eq!((ours.epoch, ours.owner.as_str(), ours.renewed_at), (Epoch(4), "me", WALL));
    assert_eq!((ours.pause, ours.rest, ours.report_every_ms), (theirs.pause, theirs.rest, 5));
    let leader = claim.won("b");
    assert_eq!(leader.permit(false, AT(6)).unwrap_err(), Idle::Paused, "a pause outlives its leader");
    assert_eq!(Claim::new(None, "me", TTL, AT(5), WALL).if_match(), None);
}

#[test]
fn a_claim_whose_outcome_is_not_known_is_settled_by_reading() {
    let claim = || Claim::new(Some((object(3, "them"), "a".into())), "me", TTL, AT(5), WALL);
    assert!(claim().read_back(None).is_none());
    assert!(claim().read_back(Some((object(3, "them"), "a".into()))).is_none(), "it did not happen");
    let other = Claim::new(Some((object(3, "them"), "a".into())), "other", TTL, AT(5), WALL);
    let other = Control::parse(&other.body()).unwrap();
    assert!(claim().read_back(Some((other, "b".into()))).is_none(), "somebody else was first");
    let mut landed = Control::parse(&claim().body()).unwrap();
    landed.pause = Some(pause());
    let leader = claim().read_back(Some((landed, "b".into()))).unwrap();
    assert_eq!(leader.epoch(), Epoch(4));
    assert_eq!(leader.permit(false, AT(44)).unwrap_err(), Idle::Paused);
    assert_eq!(leader.permit(false, AT(45)).unwrap_err(), Idle::Lapsed, "counted from before the write");
}

#[test]
fn the_leader_stops_at_two_thirds_and_goes_on_after_a_write() {
    let mut leader = leader();
    assert!(leader.permit(false, AT(39)).unwrap().holds(AT(39)));
    assert!(!leader.permit(false, AT(39)).unwrap().holds(AT(40)));
    assert_eq!(leader.permit(false, AT(40)).unwrap_err(), Idle::Lapsed);
    let attempt = leader.write(AT(45), WALL).unwrap();
    leader.wrote(attempt, "e2");
    assert!(leader.permit(false, AT(84)).is_ok(), "from before the write, not from its end");
    assert_eq!(leader.permit(false, AT(85)).unwrap_err(), Idle::Lapsed);
    assert_eq!(leader.permit(true, AT(50)).unwrap_err(), Idle::DryRun);
}

#[test]
fn a_challenger_never_acts_before_the_leader_has_stopped() {
    // the challenger sees the leader's write at the earliest when it is made
    let leader = leader();
    let mut watch = Watch::new("other", TTL);
    watch.saw(Some((leader.control(), "e1")), false, AT(0));
    for second in 0..200 {
        let takes = watch.saw(Some((leader.control(), "e1")), false, AT(second)) == Next::TakeOver;
        assert!(!(takes && leader.permit(false, AT(second)).is_ok()));
    }
}

#[test]
fn writes_are_rare_and_one_at_a_time() {
    let mut leader = leader();
    assert!(!leader.must_write(AT(19)), "estimates ride along");
    let measured = Estimates { service_us: 7, jobs: 30, ..Estimates::default() };
    leader.set_estimates(measured);
    leader.set_report_every(AT(5));
    assert!(!leader.must_write(AT(19)));
    assert!(leader.must_write(AT(20)));
    let attempt = leader.write(AT(20), WALL).unwrap();
    assert_eq!(Control::parse(&attempt.body()).unwrap().estimates, measured);
    assert!(leader.write(AT(20), WALL).is_none());
    assert!(!leader.must_write(AT(90)));
    leader.refused(attempt);
    assert!(!leader.must_write(AT(20)), "not in a tight loop");
    assert!(leader.must_write(AT(21)), "well before the lease is over");
    write(&mut leader, AT(21), "e3");
    assert_eq!(leader.control().report_every(), AT(5));
    assert!(!leader.must_write(AT(40)));
    assert!(leader.must_write(AT(41)));
}

#[test]
fn a_pause_that_somebody_set_is_merged_and_written_again() {
    let mut leader = leader();
    let paused = leader.control().clone().with_pause(Some(pause()));
    let leave = permit(&leader, AT(1));
    leader.intend(&leave, token(1), &ids(&[1]), Spec::default()).unwrap();
    let attempt = leader.write(AT(1), WALL).unwrap();
    leader.unsure(attempt);
    assert!(leader.must_read() && leader.write(AT(1), WALL).is_none());
    assert_eq!(leader.read(Some((paused, "p".into()))), Standing::Leading);
    assert_eq!(leader.permit(false, AT(1)).unwrap_err(), Idle::Paused);
    assert!(leader.must_write(AT(1)), "at once: the conflict is explained");
    let attempt = leader.write(AT(1), WALL).unwrap();
    assert_eq!(attempt.if_match(), "p");
    let written = Control::parse(&attempt.body()).unwrap();
    assert_eq!((written.pause.is_some(), written.intents.len()), (true, 1));
}

#[test]
fn a_pause_is_heard_by_reading_alone_and_lifted_likewise() {
    let mut leader = leader();
    let free = leader.control().clone();
    leader.read(Some((free.clone().with_pause(Some(pause())), "p".into())));
    assert_eq!(leader.permit(false, AT(1)).unwrap_err(), Idle::Paused);
    assert!(!leader.must_write(AT(1)), "it is written already");
    leader.read(Some((free, "q".into())));
    assert!(leader.permit(false, AT(1)).is_ok());
}

#[test]
fn our_own_pause_is_not_undone_by_an_older_object() {
    let mut leader = leader();
    let before = leader.control().clone();
    leader.set_pause(Some(pause()));
    assert_eq!(leader.permit(false, AT(1)).unwrap_err(), Idle::Paused, "at once");
    let attempt = leader.write(AT(1), WALL).unwrap();
    leader.unsure(attempt);
    leader.read(Some((before, "e1".into())));
    assert!(leader.control().pause.is_some());
    assert!(!leader.must_write(AT(1)));
    assert!(leader.must_write(AT(2)));
    leader.set_pause(Some(Pause { since: Timestamp(99), by: "lee".into() }));
    assert_eq!(leader.control().pause, Some(pause()), "a pause that stands keeps its beginning");
    leader.set_pause(None);
    assert!(leader.permit(false, AT(1)).is_ok(), "lifted, and never written");
}

#[test]
fn a_write_that_timed_out_counts_if_it_is_read_back() {
    let mut leader = leader();
    let attempt = leader.write(AT(30), WALL).unwrap();
    let landed = Control::parse(&attempt.body()).unwrap();
    leader.unsure(attempt);
    assert_eq!(leader.permit(false, AT(41)).unwrap_err(), Idle::Lapsed);
    leader.read(Some((landed, "e2".into())));
    assert!(leader.permit(false, AT(69)).is_ok());
    assert!(!leader.must_write(AT(49)));
    assert!(leader.must_write(AT(50)));
}

#[test]
fn a_read_beside_a_write_decides_nothing() {
    let mut leader = leader();
    let before = leader.control().clone();
    leader.set_pause(Some(pause()));
    let attempt = leader.write(AT(1), WALL).unwrap();
    assert_eq!(leader.read(Some((before, "e1".into()))), Standing::Leading);
    assert!(leader.write(AT(1), WALL).is_none(), "it is still under way");
    leader.wrote(attempt, "e2");
    assert!(!leader.must_write(AT(2)));
    assert!(leader.control().pause.is_some());
}

#[test]
fn anything_else_is_the_end_of_the_lease() {
    let others = [Some((object(2, "them"), "x".to_owned())), Some((object(2, "me"), "x".to_owned())), None];
    for other in others {
        let mut leader = leader();
        let attempt = leader.write(AT(1), WALL).unwrap();
        leader.unsure(attempt);
        assert_eq!(leader.read(other), Standing::Lost);
        assert_eq!(leader.permit(false, AT(1)).unwrap_err(), Idle::Lost);
        assert!(leader.write(AT(2), WALL).is_none() && !leader.must_write(AT(99)) && !leader.must_read());
        let own = leader.control().clone();
        assert_eq!(leader.read(Some((own, "y".into()))), Standing::Lost, "for good");
    }
}

#[test]
fn a_lost_leader_launches_nothing_even_with_an_old_permit() {
    let mut leader = leader();
    let leave = permit(&leader, AT(1));
    leader.intend(&leave, token(1), &ids(&[1]), Spec::default()).unwrap();
    write(&mut leader, AT(1), "e2");
    assert_eq!(leader.launches(&leave, AT(1)).len(), 1);
    leader.read(None);
    assert!(leader.launches(&leave, AT(1)).is_empty());
}

#[test]
fn a_permit_of_another_epoch_is_none() {
    let (mut leader, older) = (leader(), permit(&leader(), AT(1)));
    let older = Permit { epoch: Epoch(older.epoch().0 - 1), ..older };
    assert_eq!(leader.intend(&older, token(1), &ids(&[1]), Spec::default()), Err(IntentError::NoLeave));
    leader.intend(&permit(&leader, AT(1)), token(1), &ids(&[1]), Spec::default()).unwrap();
    write(&mut leader, AT(1), "e2");
    assert!(leader.launches(&older, AT(1)).is_empty());
}
