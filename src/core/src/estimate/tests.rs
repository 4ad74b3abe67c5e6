use super::*;
use crate::message::{Endings, VERSION, WorkerState};
use crate::pool::AppTierId;
use proptest::prelude::*;
use uuid::Uuid;

const AT: fn(u64) -> Duration = Duration::from_secs;
const MS: fn(u64) -> Duration = Duration::from_millis;
const PRIORS: Priors = Priors { service: Duration::from_millis(100), boot: Duration::from_secs(40) };

fn meter() -> Meter {
    Meter::new(PRIORS, &Estimates::default(), AT(60))
}

fn report(instance: u32, jobs: u64, busy_ms: u64) -> Report {
    Report {
        v: VERSION,
        app_tier_id: AppTierId(instance),
        instance_id: InstanceId(format!("i-{instance}")),
        state: WorkerState::Ready,
        slots: 1,
        jobs,
        busy_ms,
        idle_ms: 0,
        boot_ms: 0,
        in_hand: 0,
        endings: Endings::default(),
    }
}

fn web(id: u128, accepted_total: u64, answered_total: u64) -> WebReport {
    let web_id = Uuid::from_u128(id);
    WebReport { v: VERSION, web_id, accepted_total, answered_total, oldest_submitted_at: None }
}

/// Reports of one worker whose jobs take so long each.
fn work(meter: &mut Meter, instance: u32, reports: std::ops::RangeInclusive<u64>, jobs: u64, each_ms: u64) {
    for n in reports {
        meter.reported(&report(instance, n * jobs, n * jobs * each_ms));
    }
}

#[test]
fn the_prior_is_believed_until_twenty_jobs_were_seen() {
    let mut meter = meter();
    meter.reported(&report(1, 19, 19 * 150));
    assert_eq!((meter.service(), meter.estimates(AT(0)).service_us), (MS(100), 0));
    meter.reported(&report(1, 20, 20 * 150));
    assert_eq!(meter.service(), MS(150));
    assert_eq!(meter.estimates(AT(0)).jobs, 20);
}

#[test]
fn a_far_truth_is_reached_in_a_few_reports() {
    let mut meter = meter();
    meter.reported(&report(1, 100, 100 * 2000));
    assert_eq!(meter.service(), MS(500), "five times the last value at most");
    work(&mut meter, 1, 2..=12, 100, 2000);
    assert!(meter.service() > MS(1900), "{:?}", meter.service());
    work(&mut meter, 2, 1..=30, 100, 10);
    assert!(meter.service() < MS(20), "{:?}", meter.service());
}

#[test]
fn what_varies_by_chance_hardly_moves_it_and_a_change_does() {
    let mut meter = meter();
    work(&mut meter, 1, 1..=2, 15, 100);
    let (jobs, busy_ms) = (30, 3000);
    meter.reported(&report(1, jobs + 15, busy_ms + 15 * 120));
    assert!(meter.service() < MS(102), "{:?}", meter.service());
    meter.reported(&report(1, jobs + 30, busy_ms + 15 * 120 + 15 * 200));
    assert!(meter.service() > MS(140), "{:?}", meter.service());
}

#[test]
fn doubled_lost_and_reordered_reports_and_restarts_do_no_harm() {
    let mut meter = meter();
    for n in [1, 2, 2, 5, 3, 5, 6, 6, 1, 2, 9] {
        meter.reported(&report(1, n * 40, n * 40 * 50));
        assert_eq!(meter.service(), MS(50));
    }
    // jobs and time that contradict one another measure nothing
    meter.reported(&report(1, 9_000, 1));
    meter.reported(&report(1, 9_000, 1));
    assert_eq!(meter.service(), MS(50));
}

#[test]
fn outliers_and_zeros_move_little_or_nothing() {
    let mut meter = meter();
    work(&mut meter, 1, 1..=3, 40, 50);
    let jobs = meter.estimates(AT(0)).jobs;
    meter.reported(&report(2, 1000, 0));
    assert_eq!((meter.service(), meter.estimates(AT(0)).jobs), (MS(50), jobs), "no time is no measurement");
    meter.reported(&report(2, 1000, 50_000));
    assert_eq!((meter.service(), meter.estimates(AT(0)).jobs), (MS(50), jobs + 1000), "it counts with what follows");
    meter.reported(&report(3, 0, 70_000));
    assert_eq!(meter.service(), MS(50), "no jobs are no measurement");
    meter.reported(&report(4, 1, u64::MAX));
    assert!(meter.service() < MS(60), "{:?}", meter.service());
    meter.reported(&report(5, u64::MAX, u64::MAX));
    assert!(meter.service() < MS(600));
}

#[test]
fn quick_jobs_are_measured_below_a_millisecond() {
    let mut meter = meter();
    for n in 1..200u64 {
        meter.reported(&report(1, n * 7, n * 7 / 3));
    }
    assert!((MS(0)..MS(1)).contains(&meter.service()), "{:?}", meter.service());
}

#[test]
fn boots_are_counted_by_quantile() {
    let mut meter = meter();
    assert_eq!((meter.boot(), meter.boot_p90()), (AT(40), AT(40)));
    meter.booted(AT(30));
    assert_eq!((meter.boot(), meter.boot_p90()), (AT(30), AT(30)), "one says more than the prior");
    for boot in 21..=39 {
        meter.booted(AT(boot));
    }
    assert_eq!((meter.boot(), meter.boot_p90()), (AT(30), AT(37)));
    meter.booted(Duration::ZERO);
    assert_eq!(meter.estimates(AT(0)).boots, 20, "no time is no boot");
    meter.booted(Duration::MAX);
    assert_eq!(meter.boots.quantile(100), AT(150), "five times the median");
    for _ in 0..32 {
        meter.booted(AT(10));
    }
    assert_eq!(meter.boot_p90(), AT(10), "the old ones are forgotten");
}

#[test]
fn the_last_32_boots_are_remembered() {
    let mut meter = meter();
    meter.booted(AT(20));
    for _ in 1..32 {
        meter.booted(AT(10));
    }
    assert_eq!(meter.boots.quantile(100), AT(20));
    meter.booted(AT(10));
    assert_eq!(meter.boots.quantile(100), AT(10));
}

#[test]
fn a_successor_goes_on_with_what_was_measured() {
    let mut meter = meter();
    work(&mut meter, 1, 1..=3, 40, 50);
    for boot in [20, 25, 60] {
        meter.booted(AT(boot));
    }
    let estimates = meter.estimates(AT(0));
    let next = Meter::new(PRIORS, &estimates, AT(60));
    assert_eq!((next.service(), next.boot(), next.boot_p90()), (MS(50), AT(25), AT(60)));
    assert_eq!(next.estimates(AT(0)), estimates);
    let nonsense = Estimates { service_us: u64::MAX, jobs: 20, boots: 1, boot_p50_ms: u64::MAX, ..estimates };
    let next = Meter::new(PRIORS, &nonsense, AT(60));
    assert_eq!((next.service(), next.boot()), (LONGEST, LONGEST));
    let little = Estimates { service_us: 7, jobs: 19, boots: 0, ..estimates };
    let next = Meter::new(PRIORS, &little, AT(60));
    assert_eq!((next.service(), next.boot()), (PRIORS.service, PRIORS.boot));
}

#[test]
fn an_instance_that_is_gone_is_forgotten() {
    let mut meter = meter();
    work(&mut meter, 1, 1..=1, 40, 50);
    meter.gone(&InstanceId("i-1".into()));
    work(&mut meter, 1, 1..=1, 40, 50);
    assert_eq!(meter.estimates(AT(0)).jobs, 80, "its name comes never again: these are new jobs");
}

#[test]
fn arrivals_are_counted_by_window() {
    let mut meter = meter();
    meter.own(10, 0, AT(100));
    meter.own(12, 0, AT(189));
    meter.own(17, 0, AT(200));
    meter.heard(&web(1, 500, 500), AT(200));
    meter.heard(&web(1, 503, 500), AT(205));
    assert_eq!(meter.arrivals(AT(205)), Arrivals { fast: 8, recent: 10, slow: 20 });
    assert_eq!(meter.arrivals(AT(218)), Arrivals { fast: 3, recent: 10, slow: 20 });
    assert_eq!(meter.arrivals(AT(221)), Arrivals { fast: 0, recent: 8, slow: 10 });
    assert_eq!(meter.arrivals(AT(325)), Arrivals::default(), "a rate that is over is none");
    assert_eq!(meter.estimates(AT(205)).arrivals_ks, 166);
}

#[test]
fn a_web_process_heard_late_counts_with_what_is_open() {
    let mut meter = meter();
    meter.heard(&web(1, 1_000_000, 999_993), AT(5));
    assert_eq!((meter.arrivals(AT(5)).slow, meter.unanswered(AT(5))), (7, 7));
    meter.heard(&web(2, 3, 9), AT(5));
    assert_eq!(meter.unanswered(AT(5)), 7, "more answers than requests are nonsense, and nothing is open");
}

#[test]
fn doubled_and_late_reports_of_web_processes_do_no_harm() {
    let mut meter = meter();
    for (accepted, answered) in [(5, 0), (5, 0), (9, 3), (7, 1), (9, 3), (12, 5)] {
        meter.heard(&web(1, accepted, answered), AT(1));
    }
    assert_eq!((meter.arrivals(AT(1)).fast, meter.unanswered(AT(1))), (12, 7));
}

#[test]
fn unanswered_ends_with_the_counter_lag() {
    let mut meter = meter();
    meter.own(10, 4, AT(0));
    assert_eq!(meter.unanswered(AT(59)), 6);
    assert_eq!(meter.unanswered(AT(60)), 0, "by now the counters show it");
    meter.own(12, 4, AT(61));
    assert_eq!(meter.unanswered(AT(61)), 2);
    meter.own(12, 12, AT(62));
    assert_eq!(meter.unanswered(AT(62)), 0);
    let mut exact = Meter::new(PRIORS, &Estimates::default(), Duration::ZERO);
    exact.own(10, 0, AT(0));
    assert_eq!(exact.unanswered(AT(0)), 0, "exact counters show it at once");
}

#[test]
fn only_so_many_instances_are_measured() {
    let mut meter = meter();
    for instance in 0..=10_000 {
        meter.reported(&report(instance, 1, 50));
    }
    assert_eq!(meter.estimates(AT(0)).jobs, 10_000);
}

#[test]
fn only_so_many_sources_and_numbers_are_kept() {
    let mut meter = meter();
    for id in 0..200 {
        meter.heard(&web(id, 1, 0), AT(0));
    }
    assert_eq!(meter.arrivals(AT(0)).fast, 64);
    meter.heard(&web(900, 1, 0), AT(600));
    assert_eq!(meter.arrivals(AT(600)).fast, 1, "silent ones make room");
    for n in 0..100_000u64 {
        meter.own(n, 0, MS(n * 10));
    }
    assert_eq!(meter.traffic.kept(), 480, "a number for each quarter of a second of two minutes");
}

proptest! {
    /// Whatever is reported, in whatever order, estimates stay finite, above zero, and near their last value.
    #[test]
    fn no_report_moves_an_estimate_far(reports in proptest::collection::vec((0u32..5, any::<u64>(), any::<u64>(), any::<bool>()), 0..100)) {
        let mut meter = meter();
        for (instance, jobs, busy, small) in reports {
            let before = meter.service().as_secs_f64();
            let (jobs, busy) = if small { (jobs % 100, busy % 10_000) } else { (jobs, busy) };
            meter.reported(&report(instance, jobs, busy));
            let after = meter.service().as_secs_f64();
            prop_assert!(after >= (before * 0.199).min(1e-6) && after <= before * 5.001);
            meter.booted(Duration::from_nanos(busy));
            prop_assert!(meter.boot_p90() >= meter.boot() && meter.boot() >= SHORTEST && meter.boot_p90() <= LONGEST);
            let estimates = meter.estimates(AT(0));
            let restored = Meter::new(PRIORS, &estimates, AT(60));
            prop_assert!(restored.service() >= SHORTEST && restored.service() <= LONGEST);
        }
    }

    #[test]
    fn unanswered_is_never_more_than_arrived(told in proptest::collection::vec((0u128..3, 0u64..50, 0u64..50, 0u64..30), 0..100)) {
        let (mut meter, mut now) = (meter(), AT(0));
        for (id, accepted, answered, pause) in told {
            now += AT(pause);
            if id == 0 { meter.own(accepted, answered, now) } else { meter.heard(&web(id, accepted, answered), now) }
            let arrivals = meter.arrivals(now);
            prop_assert!(arrivals.fast <= arrivals.recent && arrivals.recent <= arrivals.slow);
            prop_assert!(meter.unanswered(now) <= arrivals.slow);
        }
    }
}

#[test]
fn endings_count_once_from_a_worker_s_first_report_on() {
    let mut meter = meter();
    let endings = |given_back, duplicate, lease_lost| Endings { given_back, duplicate, lease_lost };
    let mut told = |instance, endings| meter.reported(&Report { endings, ..report(instance, 0, 0) });
    // another leader has counted these
    assert_eq!(told(1, endings(9, 9, 9)), Endings::default());
    assert_eq!(told(1, endings(11, 9, 10)), endings(2, 0, 1));
    assert_eq!(told(1, endings(11, 9, 10)), Endings::default(), "doubled");
    assert_eq!(told(2, Endings::default()), Endings::default());
    assert_eq!(told(2, endings(0, 3, 0)), endings(0, 3, 0));
    // a new process on the same machine
    assert_eq!(told(1, Endings::default()), Endings::default());
    assert_eq!(told(1, endings(1, 0, 0)), endings(1, 0, 0));
    meter.gone(&InstanceId("i-1".into()));
    assert_eq!(meter.reported(&Report { endings: endings(5, 5, 5), ..report(1, 0, 0) }), Endings::default());
}
