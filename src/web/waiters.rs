//! Who waits for which answer in this process.

use bellows_core::answer::Answer;
use bellows_core::key::RequestId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// Cheap to clone. The lock is never held over an await.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<BTreeMap<RequestId, oneshot::Sender<Answer>>>,
    /// Woken when the first waiter comes and when the last one goes.
    changed: Notify,
}

/// One who waits. Leaves the list when dropped, however that comes about.
#[derive(Debug)]
pub(super) struct Waiter {
    id: RequestId,
    list: Waiters,
    answer: oneshot::Receiver<Answer>,
}

impl Waiters {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<RequestId, oneshot::Sender<Answer>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a waiter. Before its message is sent, or a fast answer finds nobody.
    pub(super) fn register(&self, id: RequestId) -> Waiter {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.insert(id, sender);
        if waiting.len() == 1 {
            self.0.changed.notify_one();
        }
        Waiter { id, list: self.clone(), answer }
    }

    /// Hands an answer to whoever waits for it; false where nobody does.
    pub(super) fn deliver(&self, answer: Answer) -> bool {
        let waiter = self.waiting().remove(&answer.request_id());
        waiter.is_some_and(|waiter| waiter.send(answer).is_ok())
    }

    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    /// Returns when somebody waits.
    pub(super) async fn somebody(&self) {
        while self.len() == 0 {
            self.0.changed.notified().await;
        }
    }

    /// Returns when nobody waits.
    pub(super) async fn nobody(&self) {
        while self.len() > 0 {
            self.0.changed.notified().await;
        }
    }
}

impl Waiter {
    /// The answer, once it is here. Never returns where it has been dropped from the list.
    pub(super) async fn answer(&mut self) -> Answer {
        match (&mut self.answer).await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.list.waiting();
        waiting.remove(&self.id);
        if waiting.is_empty() {
            self.list.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bellows_core::answer::Reason;
    use uuid::Uuid;

    fn answer(n: u128) -> Answer {
        Answer::failed(Reason::Expired, "late", RequestId(Uuid::from_u128(n)), "f")
    }

    #[tokio::test(start_paused = true)]
    async fn each_gets_its_own_and_leaves_nothing_behind() {
        let waiters = Waiters::default();
        let mut first = waiters.register(answer(1).request_id());
        let mut second = waiters.register(answer(2).request_id());
        assert!(waiters.deliver(answer(2)));
        assert!(!waiters.deliver(answer(3)), "nobody waits for this one");
        assert!(!waiters.deliver(answer(2)), "a second time nobody waits");
        assert_eq!(second.answer().await, answer(2));
        waiters.deliver(answer(1));
        assert_eq!(first.answer().await, answer(1));
        let third = waiters.register(answer(3).request_id());
        drop((first, second, third));
        assert_eq!(waiters.len(), 0);
        waiters.nobody().await;
    }
}
