//! How many jobs there are, and how much of what may be kept belongs to whom.
//!
//! Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::job::JobState;

/// How many jobs of each pool are in each state.
pub type JobCounts = BTreeMap<Arc<str>, [u64; JobState::ALL.len()]>;

/// How many jobs there are, of each pool and of each owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobTally {
    /// Of each pool.
    pub pools: JobCounts,
    /// Of each owner who has any; without a name: of those who show no key.
    pub owners: BTreeMap<Arc<str>, Holding>,
}

/// What one owner has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Jobs that are kept.
    pub jobs: u64,
    /// Those of them that have not ended.
    pub open: u64,
    /// Bytes of their questions and answers.
    pub bytes: u64,
}

impl JobTally {
    /// Adds jobs of one pool, owner and state, with as many bytes in all.
    pub fn add(&mut self, pool: Arc<str>, owner: Arc<str>, state: JobState, jobs: u64, bytes: u64) {
        self.pools.entry(pool).or_default()[state as usize] += jobs;
        let holding = self.owners.entry(owner).or_default();
        holding.jobs += jobs;
        holding.bytes += bytes;
        if !state.has_ended() {
            holding.open += jobs;
        }
    }

    /// Counts a job of this pool and owner in another state.
    pub fn change(&mut self, pool: &Arc<str>, owner: &str, from: JobState, to: JobState) {
        let counts = self.pools.entry(Arc::clone(pool)).or_default();
        counts[from as usize] = counts[from as usize].saturating_sub(1);
        counts[to as usize] += 1;
        if let Some(holding) = self.owners.get_mut(owner) {
            match (from.has_ended(), to.has_ended()) {
                (false, true) => holding.open = holding.open.saturating_sub(1),
                (true, false) => holding.open += 1,
                _ => {}
            }
        }
    }

    /// Counts the bytes of an answer.
    pub fn grow(&mut self, owner: &str, bytes: u64) {
        if let Some(holding) = self.owners.get_mut(owner) {
            holding.bytes += bytes;
        }
    }

    /// Takes out a job that was kept in this state, with so many bytes.
    pub fn remove(&mut self, pool: &str, owner: &str, state: JobState, bytes: u64) {
        if let Some(counts) = self.pools.get_mut(pool) {
            counts[state as usize] = counts[state as usize].saturating_sub(1);
        }
        let Some(holding) = self.owners.get_mut(owner) else { return };
        holding.jobs = holding.jobs.saturating_sub(1);
        holding.bytes = holding.bytes.saturating_sub(bytes);
        if !state.has_ended() {
            holding.open = holding.open.saturating_sub(1);
        }
        if holding.jobs == 0 {
            self.owners.remove(owner);
        }
    }

    /// Returns how many jobs have not ended.
    pub fn open(&self) -> u64 {
        self.owners.values().map(|holding| holding.open).sum()
    }

    /// Returns what an owner has.
    pub fn of(&self, owner: &str) -> Holding {
        self.owners.get(owner).copied().unwrap_or_default()
    }
}
