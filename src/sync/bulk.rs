//! Work on large texts, which would hold up every other task of its thread.
//!
//! What takes a moment for a short text takes a second for one of many MiB, if each of its bytes is
//! looked at. Such work gets a thread of its own. Only so many run at a time as there are processors:
//! the others wait for their turn, in order.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

/// A text longer than this is large.
pub const LARGE: usize = 256 << 10;
/// How long a thread waits for more work: to start one costs as much as the work on a small megabyte.
const STAYS: Duration = Duration::from_secs(1);

static FREE: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism();
    Semaphore::new(processors.map_or(1, usize::from))
});

static BENCH: Bench = Bench { waiting: Mutex::new(Benched::new()), more: Condvar::new() };

type Job = Box<dyn FnOnce() + Send>;

/// The threads that wait for work.
struct Bench {
    waiting: Mutex<Benched>,
    more: Condvar,
}

struct Benched {
    /// Work that threads were woken for.
    jobs: VecDeque<Job>,
    /// How many threads wait.
    threads: usize,
}

/// Does this work on a thread of its own, and returns its result. Where the system gives no thread,
/// it is done here. If nobody waits for the result any longer, the work is done all the same.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let permit = FREE.acquire().await.expect("it is never closed");
    let (send, result) = oneshot::channel();
    BENCH.give(Box::new(move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        drop(permit);
        send.send(done).ok();
    }));
    match result.await.expect("the work is always done") {
        Ok(done) => done,
        Err(panic) => resume_unwind(panic),
    }
}

impl Benched {
    const fn new() -> Self {
        Self { jobs: VecDeque::new(), threads: 0 }
    }
}

impl Bench {
    /// Gives a job to a thread that waits, or to a new one.
    fn give(&'static self, job: Job) {
        let mut waiting = self.lock();
        waiting.jobs.push_back(job);
        if waiting.threads >= waiting.jobs.len() {
            self.more.notify_one();
            return;
        }
        drop(waiting);
        let thread = std::thread::Builder::new().name("large-text".to_owned());
        if thread.spawn(|| self.work()).is_err()
            && let Some(job) = { self.lock().jobs.pop_front() }
        {
            job();
        }
    }

    /// What a thread does until there has been no work for a while.
    fn work(&self) {
        let mut waiting = self.lock();
        loop {
            while let Some(job) = waiting.jobs.pop_front() {
                drop(waiting);
                job();
                waiting = self.lock();
            }
            waiting.threads += 1;
            let is_idle = |waiting: &mut Benched| waiting.jobs.is_empty();
            let waited = self.more.wait_timeout_while(waiting, STAYS, is_idle);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
            waiting.threads -= 1;
            if waiting.jobs.is_empty() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Benched> {
        // Whole after each step.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::current;

    use tokio_util::task::TaskTracker;

    use super::*;

    /// One test, because the places are those of the whole process.
    #[tokio::test]
    async fn work_runs_on_other_threads_and_no_more_of_it_than_there_are_processors() {
        its_fault_is_ours().await;
        the_last_one_waits().await;
    }

    async fn its_fault_is_ours() {
        let here = current().id();
        assert_ne!(apart(move || current().id()).await, here);
        let faulty = TaskTracker::new().spawn(apart(|| -> u8 { panic!("a fault") }));
        assert!(faulty.await.expect_err("a panic").is_panic());
        assert_eq!(apart(|| 5).await, 5, "its place is free again");
    }

    #[test]
    fn a_thread_waits_for_more_and_others_are_started_while_it_works() {
        static OWN: Bench = Bench { waiting: Mutex::new(Benched::new()), more: Condvar::new() };
        let (send, ids) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let give = |waits: Option<std::sync::mpsc::Receiver<()>>| {
            let send = send.clone();
            OWN.give(Box::new(move || {
                send.send(current().id()).expect("the test waits");
                waits.map(|waits| waits.recv());
            }));
            ids.recv().expect("a thread")
        };
        let first = give(None);
        while OWN.lock().threads == 0 {
            std::thread::yield_now();
        }
        assert_eq!(give(Some(ends)), first, "it has waited");
        assert_ne!(give(None), first, "it works");
        end.send(()).expect("it waits");
    }

    async fn the_last_one_waits() {
        let most = FREE.available_permits();
        let (begun, mut begins) = tokio::sync::mpsc::channel(most + 1);
        let (end, ends) = std::sync::mpsc::sync_channel::<()>(most + 1);
        let ends = Arc::new(Mutex::new(ends));
        let tasks = TaskTracker::new();
        for _ in 0..=most {
            let (begun, ends) = (begun.clone(), Arc::clone(&ends));
            tasks.spawn(apart(move || {
                begun.blocking_send(()).expect("the test waits");
                ends.lock().expect("no panic").recv().expect("an end");
            }));
        }
        for _ in 0..most {
            begins.recv().await.expect("a beginning");
        }
        tokio::task::yield_now().await;
        assert!(begins.try_recv().is_err(), "one waits");
        end.send(()).expect("they wait");
        begins.recv().await.expect("the last begins");
        (0..most).for_each(|_| end.send(()).expect("they wait"));
        tasks.close();
        tasks.wait().await;
    }
}
