//! Batches: gathered, bounded, and each entry with an outcome of its own.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// What a batch's n-th try does to an entry.
type Rule = fn(entry: &str, tries: usize) -> Result<()>;

/// Ten milliseconds a call.
#[derive(Clone)]
struct Slow {
    rule: Rule,
    calls: Arc<Mutex<Vec<Vec<String>>>>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Slow {
    fn new(rule: Rule) -> Slow {
        Slow { rule, calls: Arc::default(), under_way: Arc::default(), most: Arc::default() }
    }

    fn calls(&self) -> Vec<Vec<String>> {
        self.calls.lock().unwrap().clone()
    }
}

impl Carry for Slow {
    type Entry = String;
    const OPERATION: &'static str = "test";

    fn size(entry: &String) -> usize {
        entry.len()
    }

    async fn carry(&self, entries: &[&String]) -> Result<Vec<Result<()>>> {
        let calls = self.calls();
        let tries = |entry: &&String| calls.iter().flatten().filter(|earlier| earlier == entry).count();
        let outcomes = entries.iter().map(|entry| (self.rule)(entry, tries(entry))).collect();
        self.calls.lock().unwrap().push(entries.iter().map(|entry| (*entry).clone()).collect());
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(outcomes)
    }
}

fn failed(kind: Kind) -> Result<()> {
    Err(Error::new(kind, "test", "as ordered"))
}

/// The outcomes of entries that all come at once, in their order.
async fn all(carrier: &Slow, entries: Vec<String>) -> Vec<std::result::Result<(), Kind>> {
    let batches = Batches::new(&Host::system(), carrier.clone());
    let mut calls = JoinSet::new();
    for (n, entry) in entries.into_iter().enumerate() {
        let batches = batches.clone();
        calls.spawn(async move { (n, batches.carry(entry).await.map_err(|e| e.kind)) });
    }
    let mut outcomes = calls.join_all().await;
    outcomes.sort_by_key(|(n, _)| *n);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_time_share_a_batch() {
    let carrier = Slow::new(|_, _| Ok(()));
    let begun = Instant::now();
    assert!(all(&carrier, numbers(95)).await.iter().all(std::result::Result::is_ok));
    assert_eq!(carrier.calls().len(), 10, "{:?}", carrier.calls());
    assert!(carrier.calls().iter().all(|call| call.len() <= BATCH));
    assert_eq!(carrier.most.load(Ordering::SeqCst), CALLS);
    assert!(begun.elapsed() < Duration::from_millis(40), "{:?}", begun.elapsed());
    // and one alone does not wait for others
    let begun = Instant::now();
    assert_eq!(all(&carrier, numbers(1)).await, [Ok(())]);
    assert!(begun.elapsed() < Duration::from_millis(15));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_no_larger_than_the_service_takes() {
    let carrier = Slow::new(|_, _| Ok(()));
    let entries = (0..7).map(|n| n.to_string().repeat(MAX_BODY / 3)).collect();
    assert_eq!(all(&carrier, entries).await, [Ok(()); 7]);
    assert_eq!(carrier.calls().iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(all(&carrier, vec!["x".repeat(MAX_BODY)]).await, [Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn each_entry_has_its_own_outcome() {
    let carrier = Slow::new(|entry, tries| match (entry, tries) {
        ("1", _) => failed(Kind::Expired),
        ("3", 0..2) => failed(Kind::Throttled),
        ("4", 0) => failed(Kind::Timeout),
        ("4", _) => failed(Kind::Denied),
        ("5", _) => failed(Kind::Unavailable),
        _ => Ok(()),
    });
    let begun = Instant::now();
    let outcomes = all(&carrier, numbers(6)).await;
    let timeout = Err(Kind::Timeout);
    assert_eq!(outcomes, [Ok(()), Err(Kind::Expired), Ok(()), Ok(()), timeout, Err(Kind::Unavailable)]);
    assert!(begun.elapsed() <= DEADLINE);
    let calls = carrier.calls();
    assert_eq!(&calls[1..3], [vec!["3", "4", "5"], vec!["3", "5"]], "only what failed goes again");
    assert!(calls.len() < 40, "{}", calls.len());
}

#[tokio::test(start_paused = true)]
async fn beyond_a_bound_calls_are_refused() {
    let carrier = Slow::new(|_, _| Ok(()));
    let outcomes = all(&carrier, numbers(WAITING + 500)).await;
    let refused = outcomes.iter().filter(|outcome| **outcome == Err(Kind::Throttled)).count();
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(refused > 0 && done >= WAITING && refused + done == WAITING + 500, "{done} done, {refused} refused");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_disturbs_nobody() {
    let carrier = Slow::new(|_, _| Ok(()));
    let batches = Batches::new(&Host::system(), carrier.clone());
    let (left, stayed) = (batches.carry("left".into()), batches.carry("stayed".into()));
    let (left, stayed) = tokio::join!(tokio::time::timeout(Duration::from_millis(5), left), stayed);
    assert!(left.is_err() && stayed.is_ok());
    assert_eq!(carrier.calls(), [vec!["left", "stayed"]]);
}
