use super::*;
use proptest::prelude::*;

mod retiring;

const MS: Duration = Duration::from_millis(1);

fn finished(job: JobId, service: Duration, elsewhere: Duration) -> Event {
    Event::Finished { job, service, elsewhere }
}

fn done(job: JobId) -> Event {
    finished(job, MS, MS)
}

/// Asks, and receives these messages.
fn polled(worker: &mut Worker, brought: &[(JobId, bool)]) -> Vec<Effect> {
    assert!(worker.ask().is_some_and(|asked| asked >= brought.len()), "{worker:?}");
    worker.on(bring(brought))
}

fn bring(brought: &[(JobId, bool)]) -> Event {
    Event::Polled(brought.iter().map(|(job, redelivered)| Delivered { job: *job, redelivered: *redelivered }).collect())
}

#[test]
fn a_redelivered_message_is_worked_on_alone() {
    let mut worker = Worker::new(2);
    assert_eq!(polled(&mut worker, &[(1, false)]), [Effect::Start(1)]);
    assert_eq!(polled(&mut worker, &[(2, true)]), []);
    assert_eq!(worker.in_hand(), 2, "it is in hand while it waits");
    assert_eq!(worker.ask(), None, "no neighbour is taken while one waits to be alone");
    assert_eq!(worker.on(done(1)), [Effect::Start(2)]);
    assert_eq!(worker.ask(), None);
    assert_eq!(worker.on(done(2)), []);
    assert!(worker.ask().is_some());
}

#[test]
fn a_redelivered_message_has_no_neighbour_from_its_own_receive() {
    let mut worker = Worker::new(3);
    assert_eq!(polled(&mut worker, &[(1, true), (2, false)]), [Effect::Start(2)]);
    assert_eq!(worker.on(done(2)), [Effect::Start(1)]);
}

#[test]
fn one_receive_at_a_time_and_none_for_more_than_there_is_room_for() {
    let mut worker = Worker::new(2);
    assert_eq!(worker.ask(), Some(2));
    assert_eq!(worker.ask(), None);
    assert!(!worker.must_end_poll());
    worker.on(Event::Stop);
    assert!(worker.must_end_poll());
    assert_eq!(worker.on(bring(&[])), [Effect::End(End::Drained)]);
}

#[test]
fn a_stopped_worker_finishes_and_ends() {
    let mut worker = Worker::new(2);
    polled(&mut worker, &[(1, false)]);
    assert_eq!(worker.ask(), Some(1));
    assert_eq!(worker.on(Event::Stop), []);
    assert_eq!(worker.on(done(1)), [], "a receive is still under way");
    // what a poll still brings after the stop is worked on too: its receive count has risen already
    assert_eq!(worker.on(bring(&[(2, false)])), [Effect::Start(2)]);
    assert_eq!(worker.ask(), None);
    assert_eq!(worker.on(done(2)), [Effect::End(End::Drained)]);
    assert_eq!(Worker::new(1).on(Event::Stop), [Effect::End(End::Drained)]);
}

#[test]
fn an_overdue_job_gives_the_others_back_and_ends_the_worker() {
    let mut worker = Worker::new(2);
    polled(&mut worker, &[(1, false)]);
    assert_eq!(worker.ask(), Some(1));
    worker.on(bring(&[(2, false)]));
    assert_eq!(worker.on(Event::Overdue { job: 1 }), [Effect::GiveBack(2)]);
    assert_eq!(worker.on(bring(&[(3, false)])), [Effect::GiveBack(3)]);
    assert_eq!(worker.on(done(3)), []);
    assert_eq!(worker.on(done(2)), [Effect::End(End::Stuck)]);
}

#[test]
fn an_overdue_job_gives_back_what_waits_to_be_alone() {
    let mut worker = Worker::new(2);
    polled(&mut worker, &[(1, false)]);
    polled(&mut worker, &[(2, true)]);
    assert_eq!(worker.on(Event::Overdue { job: 1 }), [Effect::GiveBack(2)]);
    assert_eq!(worker.in_hand(), 1);
    assert_eq!(worker.on(done(2)), [Effect::End(End::Stuck)]);
}

#[test]
fn as_many_messages_a_session_are_held_as_keep_it_busy() {
    let mut worker = Worker::new(2);
    assert_eq!(worker.room(), 2);
    polled(&mut worker, &[(1, false)]);
    worker.on(finished(1, MS * 100, MS * 30));
    assert_eq!(worker.room(), 4);
    for job in 2..60 {
        polled(&mut worker, &[(job, false)]);
        worker.on(finished(job, MS * 2000, MS * 3));
    }
    assert_eq!(worker.room(), 2);
    for (elsewhere, capacity) in [(0, 2), (90, 4), (180, 6), (1_000_000, 8)] {
        let mut worker = Worker::new(2);
        polled(&mut worker, &[(1, false)]);
        worker.on(finished(1, MS * 100, MS * elsewhere));
        assert_eq!(worker.room(), capacity, "{elsewhere} ms elsewhere beside 100 ms of service");
    }
    let mut instant = Worker::new(1);
    polled(&mut instant, &[(1, false)]);
    instant.on(finished(1, Duration::ZERO, MS));
    assert_eq!(instant.room(), 4, "no service time at all is no reason for no bound");
}

#[test]
fn the_newest_job_counts_a_tenth() {
    let mut worker = Worker::new(1);
    worker.on(finished(1, MS * 1000, MS * 300));
    assert_eq!((worker.service, worker.elsewhere), (1.0, 0.3), "there is nothing else to go by");
    worker.on(finished(2, MS * 2000, MS * 100));
    assert!((worker.service - 1.1).abs() < 1e-9 && (worker.elsewhere - 0.28).abs() < 1e-9, "{worker:?}");
}

#[test]
fn only_an_instance_without_work_leaves_a_pool_that_nobody_leads() {
    let mut worker = Worker::new(1);
    polled(&mut worker, &[(1, false)]);
    assert_eq!(worker.on(Event::Abandoned), []);
    worker.on(done(1));
    assert!(worker.ask().is_some());
    assert_eq!(worker.on(Event::Abandoned), []);
    assert_eq!(worker.on(bring(&[(2, false)])), [Effect::Start(2)], "what its last receive brings is worked on");
    assert_eq!(worker.on(done(2)), [Effect::End(End::Retired)]);
}

#[test]
fn a_machine_that_is_taken_away_finishes_what_it_works_on_and_gives_back_the_rest() {
    let mut worker = Worker::new(2);
    polled(&mut worker, &[(1, false)]);
    polled(&mut worker, &[(2, true)]);
    assert_eq!(worker.on(Event::Evicted), [Effect::GiveBack(2)]);
    assert_eq!(worker.on(Event::Evicted), [], "it is told once more");
    assert_eq!(worker.ask(), None);
    assert_eq!(worker.on(done(2)), []);
    assert_eq!(worker.on(Event::Stop), [], "its system shuts down meanwhile");
    assert_eq!(worker.on(done(1)), [Effect::End(End::Retired)]);

    let mut polling = Worker::new(1);
    assert_eq!(polling.ask(), Some(1));
    assert_eq!(polling.on(Event::Evicted), []);
    assert!(polling.must_end_poll());
    assert_eq!(polling.on(bring(&[(1, false)])), [Effect::GiveBack(1)], "what its last receive brings is not begun");
    assert_eq!(polling.on(done(1)), [Effect::End(End::Retired)]);

    let mut idle = Worker::new(1);
    assert_eq!(idle.on(Event::Asked(Verdict::Retire)), [Effect::JudgeAgain]);
    assert_eq!(idle.on(Event::Evicted), [Effect::GiveRequestBack, Effect::End(End::Retired)], "somebody else retires");
    let mut stopped = Worker::new(1);
    polled(&mut stopped, &[(1, false)]);
    stopped.on(Event::Stop);
    assert_eq!(stopped.on(Event::Evicted), []);
    assert_eq!(stopped.on(done(1)), [Effect::End(End::Retired)], "the instance goes, too");
}
