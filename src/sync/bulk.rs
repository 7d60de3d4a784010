//! Work on large texts, which would hold up every other task of its thread.
//!
//! What takes a moment for a short text takes a second for one of many MiB, if each of its bytes is
//! looked at. Such work gets a thread of its own. Only so many run at a time as there are processors:
//! the others wait for their turn, in order.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

/// A text longer than this is large.
pub const LARGE: usize = 256 << 10;

static FREE: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism();
    Semaphore::new(processors.map_or(1, usize::from))
});

/// Does this work on a thread of its own, and returns its result. Where the system gives no thread,
/// it is done here. If nobody waits for the result any longer, the work is done all the same.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let permit = FREE.acquire().await.expect("it is never closed");
    let (send, result) = oneshot::channel();
    let job = move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        drop(permit);
        send.send(done).ok();
    };
    // If no thread can be started, what was to run there is lost.
    let job = Arc::new(Mutex::new(Some(job)));
    let theirs = Arc::clone(&job);
    let take = |job: &Mutex<Option<_>>| job.lock().unwrap_or_else(PoisonError::into_inner).take();
    let thread = std::thread::Builder::new().name("large-text".to_owned());
    let started = thread.spawn(move || {
        if let Some(job) = take(&theirs) {
            job();
        }
    });
    if started.is_err()
        && let Some(job) = take(&job)
    {
        job();
    }
    match result.await.expect("the work is always done") {
        Ok(done) => done,
        Err(panic) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
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
