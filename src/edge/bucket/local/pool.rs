//! A few named threads for file I/O, so that no disk ever blocks the runtime. They start when they are needed and
//! end with the pool.

use crate::edge::{Error, Kind, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Most threads: enough that concurrent fsyncs share the file system's journal commits.
const THREADS: usize = 16;
/// Most jobs that wait for a thread; beyond them a call is `Throttled`.
const JOBS: usize = 1024;
/// How long a call waits for its answer.
const ANSWER: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(super) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} jobs for {} threads, {} of them idle", self.jobs.len(), self.threads, self.idle)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
            } else if state.closed {
                state.threads -= 1;
                return;
            } else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl Pool {
    pub(super) fn new(name: String) -> Pool {
        Pool { shared: Arc::new(Shared { name, state: Mutex::default(), work: Condvar::new() }) }
    }

    /// Runs `job` on one of the threads. Once begun it ends, also where nobody waits for it any more.
    pub(super) async fn run<T, F>(&self, operation: &'static str, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(operation, Box::new(move || drop(reply.send(job()))))?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::new(Kind::Unavailable, operation, "the job was lost")),
            Err(_) => Err(Error::new(Kind::Timeout, operation, format!("no answer from the disk within {ANSWER:?}"))),
        }
    }

    fn submit(&self, operation: &'static str, job: Job) -> Result<()> {
        let mut state = self.shared.lock();
        if state.jobs.len() >= JOBS {
            return Err(Error::new(Kind::Throttled, operation, format!("{JOBS} calls are waiting for the disk")));
        }
        if state.idle <= state.jobs.len() && state.threads < THREADS {
            let shared = Arc::clone(&self.shared);
            let started = thread::Builder::new().name(self.shared.name.clone()).spawn(move || shared.work());
            match started {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    return Err(Error::io(operation, "a thread for the disk", error));
                }
                // the threads there are will do it
                Err(_) => {}
            }
        }
        state.jobs.push_back(job);
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}
