use super::*;

fn life(roster: &Roster, n: u32) -> Option<Life> {
    roster.members().find(|(id, _)| **id == name(n)).map(|(_, member)| member.life)
}

fn ended(n: u32, life: Life, registered: bool) -> Ended {
    Ended { app_tier_id: AppTierId(n), instance_id: name(n), life, registered }
}

#[test]
fn a_life_goes_forward_by_observations_only() {
    let (mut leader, mut roster) = begin(UNLISTED_GRACE);
    launch(&mut leader, &mut roster, &[1], Some(Settlement::Answered(named(&[1]))), AT(1));
    assert_eq!(life(&roster, 1), Some(Life::Booting));
    assert_eq!(roster.reported(&report(1, WorkerState::Ready, 0), AT(26)), Heard::Registered { boot: Some(AT(25)) });
    assert_eq!(roster.reported(&report(1, WorkerState::Ready, 0), AT(27)), Heard::Known);
    assert_eq!(life(&roster, 1), Some(Life::Ready));
    roster.listed(&list(&[(1, State::Pending)]), AT(28), AT(28));
    assert_eq!(life(&roster, 1), Some(Life::Ready), "a stale list takes nothing back");
    assert_eq!(roster.confirmed(AppTierId(1), &name(1)), Stopped::Now);
    assert_eq!(roster.confirmed(AppTierId(1), &name(1)), Stopped::Already);
    roster.reported(&report(1, WorkerState::Ready, 0), AT(29));
    assert_eq!(life(&roster, 1), Some(Life::Retiring), "nor does a late report");
    assert_eq!(roster.ends(&leave(), LATE, AT(30)), [(name(1), Cause::Confirmed)]);
    roster.asked(&name(1), AT(30));
    assert_eq!(life(&roster, 1), Some(Life::Retiring), "asking moves nothing");
    assert!(roster.ends(&leave(), LATE, AT(39)).is_empty());
    assert_eq!(roster.ends(&leave(), LATE, AT(40)).len(), 1, "asked again");
    roster.listed(&list(&[(1, State::ShuttingDown)]), AT(41), AT(41));
    assert_eq!(life(&roster, 1), Some(Life::Terminating));
    assert!(roster.ends(&leave(), LATE, AT(60)).is_empty());
    assert_eq!(roster.listed(&list(&[(1, State::Terminated)]), AT(61), AT(61)), [ended(1, Life::Terminating, true)]);
    assert_eq!(life(&roster, 1), None);
    roster.listed(&list(&[(1, State::Running)]), AT(62), AT(62));
    assert_eq!(life(&roster, 1), None, "the dead stay dead, whatever a stale list says");
    assert_eq!(roster.confirmed(AppTierId(1), &name(1)), Stopped::Already);
}

#[test]
fn an_instance_that_ends_before_it_was_ready_is_a_failed_launch() {
    let (mut leader, mut roster) = begin(Duration::ZERO);
    launch(&mut leader, &mut roster, &[1], Some(Settlement::Answered(named(&[1]))), AT(1));
    assert_eq!(roster.listed(&list(&[(1, State::Terminated)]), AT(2), AT(2)), [ended(1, Life::Booting, false)]);
    assert!(roster.listed(&list(&[(1, State::Terminated)]), AT(3), AT(3)).is_empty(), "told once");
}

#[test]
fn what_is_not_ours_is_ignored() {
    let (_, mut roster) = begin(UNLISTED_GRACE);
    roster.listed(&list(&[(1, State::Running), (2, State::Terminated)]), AT(1), AT(1));
    assert_eq!(life(&roster, 2), None, "the dead of others");
    assert_eq!(roster.reported(&report(9, WorkerState::Ready, 0), AT(1)), Heard::NotOurs);
    assert_eq!(roster.confirmed(AppTierId(9), &name(9)), Stopped::NotOurs);
    let mut forged = report(1, WorkerState::Ready, 0);
    forged.app_tier_id = AppTierId(3);
    assert_eq!(roster.reported(&forged, AT(1)), Heard::NotOurs);
    assert_eq!(roster.confirmed(AppTierId(3), &name(1)), Stopped::NotOurs, "an id that is another's");
    assert_eq!(life(&roster, 1), Some(Life::Booting));
}

#[test]
fn orphans_count_until_they_are_gone_and_work_for_nobody() {
    let (leader, mut roster) = begin(Duration::ZERO);
    roster.listed(&list(&[(4, State::ShuttingDown)]), AT(1), AT(1));
    let live = roster.live(&leader.control().intents, AT(1));
    assert_eq!((live.total(), live.serving(), live.terminating), (1, 0, 1));
    assert!(!live.free(5).contains(&AppTierId(4)));
    roster.listed(&[], AT(2), AT(2));
    assert_eq!(roster.live(&leader.control().intents, AT(2)).free(5).len(), 5, "exact lists need no grace");
}

#[test]
fn an_unlisted_instance_counts_for_ten_minutes() {
    let (mut leader, mut roster) = begin(UNLISTED_GRACE);
    launch(&mut leader, &mut roster, &[1, 2], Some(Settlement::Answered(named(&[1]))), AT(1));
    let live = |leader: &Leader, roster: &Roster, now| roster.live(&leader.control().intents, now);
    assert_eq!(live(&leader, &roster, AT(1)).free(3), [AppTierId(2), AppTierId(3)], "a definite answer gave 2 nothing");
    roster.listed(&[], AT(10), AT(12));
    assert_eq!(live(&leader, &roster, AT(12)).total(), 1);
    assert!(roster.listed(&[], AT(609), AT(609)).is_empty());
    assert_eq!(roster.listed(&[], AT(610), AT(611)), [ended(1, Life::Booting, false)]);
    assert_eq!(live(&leader, &roster, AT(611)).total(), 0);
}

#[test]
fn a_list_shows_again_what_an_earlier_one_missed() {
    let (_, mut roster) = begin(UNLISTED_GRACE);
    roster.listed(&list(&[(1, State::Running)]), AT(1), AT(1));
    roster.listed(&[], AT(2), AT(2));
    roster.listed(&list(&[(1, State::Running)]), AT(600), AT(600));
    roster.listed(&[], AT(601), AT(601));
    assert!(roster.listed(&[], AT(700), AT(700)).is_empty());
}

#[test]
fn a_list_under_way_during_a_launch_says_nothing_of_its_instances() {
    let (mut leader, mut roster) = begin(Duration::ZERO);
    launch(&mut leader, &mut roster, &[1], Some(Settlement::Answered(named(&[1]))), AT(5));
    assert!(roster.listed(&[], AT(4), AT(6)).is_empty(), "began before");
    assert!(roster.listed(&[], AT(5), AT(6)).is_empty());
    assert_eq!(roster.listed(&[], AT(6), AT(6)).len(), 1);
}

#[test]
fn launches_that_are_not_settled_count_and_keep_their_ids() {
    let (mut leader, mut roster) = begin(UNLISTED_GRACE);
    launch(&mut leader, &mut roster, &[2, 3], None, AT(1));
    let live = roster.live(&leader.control().intents, AT(9_999));
    assert_eq!((live.intended, live.total(), live.serving()), (2, 2, 2));
    assert_eq!(live.free(4), [AppTierId(1), AppTierId(4)]);
    assert!(!live.known, "nothing was listed");
    // one of them is listed before its launch is answered: it counts once
    roster.listed(&list(&[(3, State::Pending)]), AT(2), AT(2));
    let live = roster.live(&leader.control().intents, AT(2));
    assert_eq!((live.intended, live.booting, live.known), (1, 1, true));
}

#[test]
fn ids_that_a_list_gave_no_instance_stay_taken_for_the_grace() {
    let (mut leader, mut roster) = begin(UNLISTED_GRACE);
    launch(&mut leader, &mut roster, &[1, 2], Some(Settlement::Listed(named(&[1]))), AT(1));
    let free = |now| roster.live(&leader.control().intents, now).free(2);
    assert!(free(AT(600)).is_empty());
    assert_eq!(free(AT(601)), [AppTierId(2)]);
}

#[test]
fn a_successor_counts_all_that_its_predecessor_wrote_down() {
    let (mut leader, mut roster) = begin(UNLISTED_GRACE);
    launch(&mut leader, &mut roster, &[1, 2], Some(Settlement::Listed(named(&[1]))), AT(1));
    launch(&mut leader, &mut roster, &[3], None, AT(1));
    let attempt = leader.write(AT(1), Timestamp(0)).unwrap();
    let written = crate::control::Control::parse(&attempt.body()).unwrap();
    let successor = Claim::new(Some((written, "x".into())), "you", TTL, AT(1000), Timestamp(0)).won("y");
    let roster = Roster::new(successor.control(), UNLISTED_GRACE, AT(1000));
    let live = roster.live(&successor.control().intents, AT(1001));
    assert_eq!((live.booting, live.intended), (1, 2));
    assert_eq!(live.free(4), [AppTierId(4)]);
    assert_eq!(roster.live(&successor.control().intents, AT(1600)).free(4), [AppTierId(2), AppTierId(4)]);
}

#[test]
fn two_instances_of_one_id_are_both_counted_and_shown() {
    let (leader, mut roster) = begin(UNLISTED_GRACE);
    let mut twice = list(&[(1, State::Running), (2, State::Running)]);
    twice[1].app_tier_id = AppTierId(1);
    roster.listed(&twice, AT(1), AT(1));
    let live = roster.live(&leader.control().intents, AT(1));
    assert_eq!(live.total(), 2);
    assert_eq!(live.conflicts[&AppTierId(1)], [name(1), name(2)]);
}

#[test]
fn every_instance_counts_where_it_stands() {
    let (leader, mut roster) = begin(UNLISTED_GRACE);
    let states = (1..=8).map(|n| (n, if n > 6 { State::ShuttingDown } else { State::Running }));
    roster.listed(&list(&states.collect::<Vec<_>>()), AT(1), AT(1));
    for n in 3..=6 {
        roster.reported(&report(n, WorkerState::Ready, 0), AT(2));
    }
    for n in 5..=6 {
        roster.confirmed(AppTierId(n), &name(n));
    }
    let live = roster.live(&leader.control().intents, AT(2));
    assert_eq!((live.booting, live.ready, live.retiring, live.terminating), (2, 2, 2, 2));
    assert!(live.conflicts.is_empty());
}

#[test]
fn who_boots_is_seen_with_the_time_since() {
    let (_, mut roster) = begin(UNLISTED_GRACE);
    roster.listed(&list(&[(1, State::Running)]), AT(1), AT(1));
    roster.listed(&list(&[(1, State::Running), (2, State::Pending)]), AT(5), AT(5));
    roster.reported(&report(1, WorkerState::Ready, 0), AT(6));
    assert!(roster.is_booting());
    assert_eq!(roster.booting_for(AT(12)), [AT(7)]);
    roster.reported(&report(2, WorkerState::Ready, 0), AT(13));
    assert!(!roster.is_booting());
}

#[test]
fn a_launch_that_is_over_leaves_nothing_behind() {
    let (mut leader, mut roster) = begin(UNLISTED_GRACE);
    // the second launch has the token of the first, which no controller does: what is left of the first would show
    for (begun, brought) in [(1, 1), (2000, 3)] {
        launch(&mut leader, &mut roster, &[1, 2], Some(Settlement::Listed(named(&[brought]))), AT(begun));
        assert_eq!(roster.live(&leader.control().intents, AT(begun + 599)).free(2), []);
        roster.listed(&list(&[(brought, State::Terminated)]), AT(begun + 599), AT(begun + 599));
        leader.prune(&mut roster, AT(begun + 600));
        assert!(leader.control().intents.is_empty());
    }
}

#[test]
fn who_never_registers_is_ended_after_the_deadline_and_only_if_reports_were_read() {
    let (mut leader, mut roster) = begin(UNLISTED_GRACE);
    launch(&mut leader, &mut roster, &[1], Some(Settlement::Answered(named(&[1]))), AT(10));
    assert!(roster.ends(&leave(), LATE, AT(9_999)).is_empty(), "no report was ever read");
    roster.drained(AT(309));
    assert!(roster.ends(&leave(), LATE, AT(9_999)).is_empty());
    roster.drained(AT(310));
    assert_eq!(roster.ends(&leave(), LATE, AT(310)), [(name(1), Cause::NeverRegistered)]);
    let stopped = Permit { epoch: crate::message::Epoch(1), until: AT(310) };
    assert!(roster.ends(&stopped, LATE, AT(310)).is_empty(), "a permit that is over ends nobody");
}

#[test]
fn who_falls_silent_is_hung() {
    let (_, mut roster) = begin(UNLISTED_GRACE);
    roster.listed(&list(&[(1, State::Running), (2, State::Running)]), AT(1), AT(1));
    roster.reported(&report(1, WorkerState::Ready, 1), AT(10));
    roster.reported(&report(2, WorkerState::Ready, 1), AT(26));
    roster.drained(AT(39));
    assert!(roster.ends(&leave(), LATE, AT(500)).is_empty(), "reads failed since: no silence");
    roster.drained(AT(40));
    assert_eq!(roster.ends(&leave(), LATE, AT(40)), [(name(1), Cause::Hung)]);
    roster.reported(&report(1, WorkerState::Ready, 1), AT(41));
    assert!(roster.ends(&leave(), LATE, AT(41)).is_empty(), "it spoke");
}

#[test]
fn one_of_several_is_hung_only_while_others_are_heard() {
    let (_, mut roster) = begin(UNLISTED_GRACE);
    let ready = |roster: &mut Roster, n, at| roster.reported(&report(n, WorkerState::Ready, 1), AT(at));
    let silent_at = |roster: &mut Roster, at| {
        roster.drained(AT(at));
        roster.ends(&leave(), LATE, AT(at)).len()
    };
    roster.listed(&list(&[(1, State::Running), (2, State::Running)]), AT(1), AT(1));
    ready(&mut roster, 1, 10);
    ready(&mut roster, 2, 11);
    assert_eq!(silent_at(&mut roster, 60), 0, "their reports do not arrive");
    ready(&mut roster, 2, 62);
    ready(&mut roster, 2, 80);
    assert_eq!(silent_at(&mut roster, 91), 0, "they arrive again: the other one has its time to speak");
    assert_eq!(silent_at(&mut roster, 92), 1, "it had");
    ready(&mut roster, 1, 93);
    ready(&mut roster, 2, 94);
    assert_eq!(silent_at(&mut roster, 182), 0, "all are silent");
    assert_eq!(silent_at(&mut roster, 183), 1, "for too long");
}

#[test]
fn a_worker_that_stops_without_confirming_boots_again() {
    let (_, mut roster) = begin(UNLISTED_GRACE);
    roster.listed(&list(&[(1, State::Running)]), AT(1), AT(1));
    roster.reported(&report(1, WorkerState::Ready, 4), AT(2));
    roster.reported(&report(1, WorkerState::Stopping, 4), AT(50));
    assert_eq!(life(&roster, 1), Some(Life::Booting));
    roster.drained(AT(340));
    assert!(roster.ends(&leave(), LATE, AT(340)).is_empty(), "its time to register begins anew");
    assert_eq!(roster.reported(&report(1, WorkerState::Ready, 0), AT(341)), Heard::Known);
    assert_eq!(life(&roster, 1), Some(Life::Ready));
    roster.reported(&report(1, WorkerState::Stopping, 0), AT(342));
    assert_eq!(
        roster.listed(&list(&[(1, State::Terminated)]), AT(343), AT(343)),
        [ended(1, Life::Booting, true)],
        "no failed launch"
    );
}

#[test]
fn quiet_is_what_all_working_slots_have_in_common() {
    let (_, mut roster) = begin(UNLISTED_GRACE);
    assert_eq!(roster.quiet(), None, "nobody is there");
    roster.listed(&list(&[(1, State::Running)]), AT(1), AT(1));
    assert_eq!(roster.quiet(), None, "booting: not known");
    let ready = |n, jobs| report(n, WorkerState::Ready, jobs);
    roster.reported(&ready(1, 3), AT(2));
    assert_eq!(roster.quiet(), Some(Duration::ZERO));
    roster.reported(&ready(1, 3), AT(50));
    assert_eq!(roster.quiet(), Some(AT(48)));
    let mut busy = ready(1, 3);
    busy.in_hand = 1;
    roster.reported(&busy, AT(60));
    assert_eq!(roster.quiet(), Some(Duration::ZERO), "it has something in hand");
    roster.reported(&ready(1, 4), AT(70));
    roster.reported(&ready(1, 4), AT(80));
    assert_eq!(roster.quiet(), Some(AT(10)));
    roster.listed(&list(&[(1, State::Running), (2, State::ShuttingDown)]), AT(81), AT(81));
    assert_eq!(roster.quiet(), Some(AT(10)), "who is leaving takes nothing");
    roster.listed(&list(&[(1, State::Running), (3, State::Running)]), AT(82), AT(82));
    assert_eq!(roster.quiet(), None);
    roster.reported(&ready(3, 0), AT(83));
    roster.reported(&ready(3, 0), AT(85));
    assert_eq!(roster.quiet(), Some(AT(2)));
}

#[test]
fn slots_are_what_workers_report() {
    let (_, mut roster) = begin(UNLISTED_GRACE);
    assert_eq!((roster.slots(4), roster.slots(0)), (4, 1));
    roster.listed(&list(&[(1, State::Running), (2, State::Running)]), AT(1), AT(1));
    roster.reported(&report(1, WorkerState::Ready, 0), AT(2));
    let mut broken = report(2, WorkerState::Ready, 0);
    broken.slots = 0;
    assert_eq!(roster.slots(4), 2);
    roster.reported(&broken, AT(2));
    assert_eq!(roster.slots(4), 1);
}

#[test]
fn deadlines_follow_boot_and_report_interval() {
    assert_eq!(Deadlines::new(AT(40), AT(5)), Deadlines { register: AT(300), hung: AT(30) });
    assert_eq!(Deadlines::new(AT(200), AT(30)), Deadlines { register: AT(600), hung: AT(180) });
    assert_eq!(Deadlines::new(Duration::MAX, Duration::MAX).hung, Duration::MAX);
}

#[test]
fn the_dead_are_forgotten_in_the_end() {
    let (_, mut roster) = begin(Duration::ZERO);
    roster.listed(&list(&[(1, State::Running)]), AT(1), AT(1));
    roster.listed(&list(&[(1, State::Terminated)]), AT(2), AT(2));
    roster.listed(&[], AT(1801), AT(1801));
    assert_eq!(roster.confirmed(AppTierId(1), &name(1)), Stopped::Already, "a confirmation may come 15 minutes late");
    roster.listed(&[], AT(1802), AT(1802));
    assert_eq!(roster.confirmed(AppTierId(1), &name(1)), Stopped::NotOurs);
}

#[test]
fn the_list_has_an_age() {
    let (_, mut roster) = begin(Duration::ZERO);
    assert_eq!(roster.list_age(AT(5)), None);
    roster.listed(&[], AT(6), AT(8));
    assert_eq!(roster.list_age(AT(9)), Some(AT(3)), "from the beginning of the call");
}
