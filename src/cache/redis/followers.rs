//! Who waits for runs of other servers.
//!
//! The end of a run is told once, perhaps before this server has noted that it waits. So the last ends
//! are kept for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::cache::shared::RunToken;

/// How many ends are remembered.
const ENDED_MOST: usize = 256;

/// Who waits for which run.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<WaitingRuns>);

#[derive(Debug, Default)]
struct WaitingRuns {
    /// How many wait for each run, and what wakes them.
    runs: HashMap<RunToken, (usize, Arc<Notify>)>,
    ended: VecDeque<RunToken>,
}

/// A place among those who wait for a run; given up when dropped.
#[derive(Debug)]
pub(super) struct Follower {
    of: Arc<Followers>,
    run: RunToken,
    woken: Arc<Notify>,
}

impl Followers {
    /// Waits for the end of a run; `None` if it has ended.
    pub(super) fn follow(self: &Arc<Self>, run: RunToken) -> Option<Follower> {
        let mut waiting = self.lock();
        if waiting.ended.contains(&run) {
            return None;
        }
        let (count, woken) = waiting.runs.entry(run).or_default();
        *count += 1;
        Some(Follower { of: Arc::clone(self), run, woken: Arc::clone(woken) })
    }

    /// Wakes those who wait for this run.
    pub(super) fn ended(&self, run: RunToken) {
        let mut waiting = self.lock();
        waiting.ended.push_back(run);
        if waiting.ended.len() > ENDED_MOST {
            waiting.ended.pop_front();
        }
        if let Some((_, woken)) = waiting.runs.get(&run) {
            woken.notify_waiters();
        }
    }

    /// Wakes all who wait.
    pub(super) fn wake_all(&self) {
        self.lock().runs.values().for_each(|(_, woken)| woken.notify_waiters());
    }

    fn lock(&self) -> MutexGuard<'_, WaitingRuns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// Waits until the run has ended. What happens before the first poll counts, too.
    pub(super) fn woken(&self) -> impl Future<Output = ()> + use<> {
        let woken = Arc::clone(&self.woken).notified_owned();
        let has_ended = self.of.lock().ended.contains(&self.run);
        async move {
            if !has_ended {
                woken.await;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut waiting = self.of.lock();
        if let Some((count, _)) = waiting.runs.get_mut(&self.run) {
            *count -= 1;
            if *count == 0 {
                waiting.runs.remove(&self.run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn who_waits_is_woken_and_forgotten_and_an_end_is_never_missed() {
        let followers = Arc::new(Followers::default());
        let mut context = Context::from_waker(Waker::noop());
        let follower = followers.follow(RunToken(1)).expect("it goes on");
        let mut woken = pin!(follower.woken());
        assert_eq!(woken.as_mut().poll(&mut context), Poll::Pending);
        followers.ended(RunToken(2));
        assert_eq!(woken.as_mut().poll(&mut context), Poll::Pending);
        followers.ended(RunToken(1));
        assert_eq!(woken.as_mut().poll(&mut context), Poll::Ready(()));
        drop(follower);
        assert!(followers.lock().runs.is_empty());
        assert!(followers.follow(RunToken(1)).is_none(), "it has ended");
        (3..400).for_each(|run| followers.ended(RunToken(run)));
        assert_eq!(followers.lock().ended.len(), ENDED_MOST);
    }
}
