use super::*;
use std::collections::VecDeque;

/// A queue of terminate requests, and the shell around one run through it.
struct Queue {
    visible: VecDeque<Parsed<TerminateRequest>>,
    deletions_fail: bool,
    deleted: usize,
}

impl Queue {
    fn of(sent: &[TerminateRequest]) -> Queue {
        let visible = sent.iter().map(|request| Parsed::Ok(*request)).collect();
        Queue { visible, deletions_fail: false, deleted: 0 }
    }

    fn run(&mut self, mut cancel: Cancel, requests: &mut Requests, wall: Timestamp) -> u32 {
        while let Some(ask) = cancel.ask() {
            let count = (ask as usize).min(self.visible.len());
            let bodies: Vec<_> = self.visible.drain(..count).collect();
            for (met, body) in cancel.met(requests, &bodies, AT(1), wall).into_iter().zip(bodies) {
                match met {
                    Met::TakeBack(nonce) => {
                        self.deleted += usize::from(!self.deletions_fail);
                        cancel.deleted(requests, nonce, !self.deletions_fail, AT(1));
                    }
                    Met::DeleteVoid | Met::DeleteUnreadable => self.deleted += 1,
                    Met::GiveBack => self.visible.push_back(body),
                    Met::GiveBackLong => {}
                }
            }
        }
        cancel.count()
    }
}

#[test]
fn exactly_as_many_are_taken_back_as_are_wanted() {
    // the original, asked for 3, deleted 10
    let (mut requests, sent) = out(0..10);
    let mut queue = Queue::of(&sent);
    let cancel = requests.cancel(&permit(), 3, AT(1));
    assert_eq!(cancel.ask(), Some(3));
    assert_eq!(queue.run(cancel, &mut requests, WALL), 3);
    assert_eq!((queue.deleted, queue.visible.len(), requests.outstanding()), (3, 7, 7));
}

#[test]
fn all_of_ten_are_counted() {
    // the original, asked for 10 of 10, reported 0
    let (mut requests, sent) = out(0..25);
    let mut queue = Queue::of(&sent);
    let cancel = requests.cancel(&permit(), 25, AT(1));
    assert_eq!(cancel.ask(), Some(10));
    assert_eq!(queue.run(cancel, &mut requests, WALL), 25);
    assert_eq!(requests.outstanding(), 0);
}

#[test]
fn what_workers_hold_is_not_cancelled() {
    let (mut requests, sent) = out(0..5);
    let mut queue = Queue::of(&sent[..2]);
    let cancel = requests.cancel(&permit(), 4, AT(1));
    assert_eq!(queue.run(cancel, &mut requests, WALL), 2);
    assert_eq!(requests.outstanding(), 3);
}

#[test]
fn a_confirmation_of_a_cancelled_request_is_told_apart() {
    let ((mut requests, sent), mut roster) = (out(0..1), roster(1));
    let cancel = requests.cancel(&permit(), 1, AT(1));
    Queue::of(&sent).run(cancel, &mut requests, WALL);
    assert_eq!(requests.confirm(&confirm(0, 5, 1), &mut roster, AT(2)), (Nonced::Cancelled, Stopped::Now));
    assert_eq!((requests.outstanding(), requests.counts().cancelled), (0, 1));
}

#[test]
fn a_deletion_that_failed_is_not_counted() {
    let (mut requests, sent) = out(0..3);
    let mut queue = Queue::of(&sent);
    queue.deletions_fail = true;
    let cancel = requests.cancel(&permit(), 2, AT(1));
    assert_eq!(queue.run(cancel, &mut requests, WALL), 0);
    assert_eq!(requests.outstanding(), 3);
}

#[test]
fn a_message_that_is_delivered_twice_counts_once() {
    let (mut requests, sent) = out(0..3);
    let mut queue = Queue::of(&[sent[0], sent[0], sent[1], sent[2]]);
    let cancel = requests.cancel(&permit(), 3, AT(1));
    assert_eq!(queue.run(cancel, &mut requests, WALL), 3);
    assert_eq!((requests.outstanding(), queue.visible.len()), (0, 0));
}

#[test]
fn void_requests_are_cleared_away_and_not_counted() {
    let (mut requests, sent) = out(0..2);
    let older = TerminateRequest { epoch: Epoch(4), ..sent[0] };
    let forged = TerminateRequest { nonce: Nonce(Uuid::from_u128(99)), ..sent[0] };
    let mut queue = Queue::of(&[older, forged, sent[0], sent[1]]);
    queue.visible.push_front(Parsed::Unreadable(String::new()));
    let cancel = requests.cancel(&permit(), 2, AT(1));
    assert_eq!(queue.run(cancel, &mut requests, WALL), 2);
    assert_eq!((queue.deleted, queue.visible.len()), (5, 0));
}

#[test]
fn others_messages_are_given_back() {
    let (mut requests, sent) = out(0..2);
    let newer = TerminateRequest { epoch: Epoch(6), ..sent[0] };
    let mut cancel = requests.cancel(&permit(), 1, AT(1));
    let bodies = [Parsed::Ok(newer), Parsed::OtherVersion(2), Parsed::Ok(sent[0]), Parsed::Ok(sent[1])];
    let met = cancel.met(&mut requests, &bodies, AT(1), WALL);
    assert_eq!(met, [Met::GiveBack, Met::GiveBackLong, Met::TakeBack(sent[0].nonce), Met::GiveBack]);
    assert_eq!(cancel.ask(), None, "enough, if the deletion succeeds");
}

#[test]
fn an_empty_receive_ends_a_run_and_no_leave_begins_none() {
    let (mut requests, _) = out(0..2);
    let mut cancel = requests.cancel(&permit(), 2, AT(1));
    assert!(cancel.met(&mut requests, &[], AT(1), WALL).is_empty());
    assert_eq!(cancel.ask(), None);
    let over = Permit { epoch: Epoch(5), until: AT(1) };
    assert_eq!(requests.cancel(&over, 2, AT(1)).ask(), None);
    let other = Permit { epoch: Epoch(6), until: AT(9) };
    assert_eq!(requests.cancel(&other, 2, AT(1)).ask(), None);
    assert_eq!(requests.cancel(&permit(), 0, AT(1)).ask(), None);
    assert_eq!(requests.cancel(&permit(), 9, AT(1)).ask(), Some(2), "no more than are out");
}

#[test]
fn a_sweep_deletes_what_is_void_and_nothing_else() {
    let (mut requests, sent) = out(0..12);
    let older = TerminateRequest { epoch: Epoch(4), ..sent[0] };
    let mut all = vec![older; 15];
    all.extend(&sent);
    let mut queue = Queue::of(&all);
    assert_eq!(queue.run(Cancel::sweep(), &mut requests, WALL), 0);
    assert_eq!((queue.deleted, queue.visible.len(), requests.outstanding()), (15, 12, 12));
    // at their expiry they are void by the leader's clock
    assert_eq!(queue.run(Cancel::sweep(), &mut requests, WALL.plus(AT(120))), 0);
    assert_eq!((queue.deleted, queue.visible.len()), (27, 0));
    assert_eq!(requests.outstanding(), 12, "still out for those who hold one");
}

#[test]
fn a_sweep_that_found_something_is_followed_by_another() {
    let (mut requests, sent) = out(0..1);
    let older = TerminateRequest { epoch: Epoch(4), ..sent[0] };
    assert!(requests.must_sweep(AT(0)) && requests.must_sweep(AT(150)));
    let run = |requests: &mut Requests, sent: &[TerminateRequest]| Queue::of(sent).run(Cancel::sweep(), requests, WALL);
    run(&mut requests, &sent);
    assert!(!requests.must_sweep(AT(900)), "nothing void was there");
    run(&mut requests, &[older]);
    assert!(!requests.must_sweep(AT(150)));
    assert!(requests.must_sweep(AT(151)));
}

#[test]
fn a_run_ends_however_much_there_is() {
    let (mut requests, sent) = out(0..1);
    let older = TerminateRequest { epoch: Epoch(4), ..sent[0] };
    let (mut sweep, mut receives) = (Cancel::sweep(), 0);
    while sweep.ask().is_some() {
        sweep.met(&mut requests, &[Parsed::Ok(older)], AT(1), WALL);
        receives += 1;
    }
    assert_eq!(receives, 500);
}
