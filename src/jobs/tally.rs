//! How many jobs there are, and how much of what may be kept belongs to whom.
//!
//! Pure. To take a transaction back costs as much as was changed in it, however many owners there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::job::JobState;

/// How many jobs of each pool are in each state.
pub type JobCounts = BTreeMap<Arc<str>, [u64; JobState::ALL.len()]>;

/// How many jobs there are, of each pool and of each owner.
#[derive(Clone, Debug, Default)]
pub struct JobTally {
    pools: JobCounts,
    /// By the name of their key; empty: those who show none.
    owners: BTreeMap<Arc<str>, Holding>,
    /// Jobs of all owners that have not ended.
    open: u64,
    /// What was changed since [`JobTally::begin`], oldest first.
    changes: Vec<Change>,
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

/// What stood in a place before it was changed; `None`: nothing.
#[derive(Clone, Debug)]
enum Change {
    Pool(Arc<str>, Option<[u64; JobState::ALL.len()]>),
    Owner(Arc<str>, Option<Holding>),
    /// Everything: it was counted again.
    All(Box<(JobCounts, BTreeMap<Arc<str>, Holding>, u64)>),
}

impl JobTally {
    /// A transaction begins, which [`JobTally::roll_back`] can take back from now on.
    pub fn begin(&mut self) {
        self.changes.clear();
    }

    /// Takes back all that was changed since [`JobTally::begin`].
    pub fn roll_back(&mut self) {
        while let Some(change) = self.changes.pop() {
            match change {
                Change::Pool(pool, Some(counts)) => drop(self.pools.insert(pool, counts)),
                Change::Pool(pool, None) => drop(self.pools.remove(&pool)),
                Change::Owner(owner, holding) => self.put(owner, holding),
                Change::All(all) => (self.pools, self.owners, self.open) = *all,
            }
        }
    }

    /// Takes over what was counted again.
    pub fn replace(&mut self, counted: Self) {
        let pools = std::mem::replace(&mut self.pools, counted.pools);
        let owners = std::mem::replace(&mut self.owners, counted.owners);
        let open = std::mem::replace(&mut self.open, counted.open);
        self.changes.push(Change::All(Box::new((pools, owners, open))));
    }

    /// Writes what an owner has; `None`: nothing, so they are forgotten.
    fn put(&mut self, owner: Arc<str>, holding: Option<Holding>) {
        let before = match holding {
            Some(holding) => self.owners.insert(owner, holding),
            None => self.owners.remove(&owner),
        };
        self.open -= before.unwrap_or_default().open;
        self.open += holding.unwrap_or_default().open;
    }

    fn change_counts(
        &mut self,
        pool: &Arc<str>,
        change: impl FnOnce(&mut [u64; JobState::ALL.len()]),
    ) {
        self.changes.push(Change::Pool(Arc::clone(pool), self.pools.get(pool).copied()));
        change(self.pools.entry(Arc::clone(pool)).or_default());
    }

    fn change_holding(&mut self, owner: &Arc<str>, change: impl FnOnce(&mut Holding)) {
        let before = self.owners.get(owner).copied();
        self.changes.push(Change::Owner(Arc::clone(owner), before));
        let mut holding = before.unwrap_or_default();
        change(&mut holding);
        self.put(Arc::clone(owner), Some(holding).filter(|holding| holding.jobs > 0));
    }

    /// Adds jobs of one pool, owner and state, with as many bytes in all.
    pub fn add(
        &mut self,
        pool: &Arc<str>,
        owner: &Arc<str>,
        state: JobState,
        jobs: u64,
        bytes: u64,
    ) {
        self.change_counts(pool, |counts| counts[state as usize] += jobs);
        self.change_holding(owner, |holding| {
            holding.jobs += jobs;
            holding.bytes += bytes;
            holding.open += if state.has_ended() { 0 } else { jobs };
        });
    }

    /// Counts a job of this pool and owner in another state.
    pub fn change(&mut self, pool: &Arc<str>, owner: &Arc<str>, from: JobState, to: JobState) {
        self.change_counts(pool, |counts| {
            counts[from as usize] = counts[from as usize].saturating_sub(1);
            counts[to as usize] += 1;
        });
        if from.has_ended() != to.has_ended() {
            self.change_holding(owner, |holding| {
                holding.open =
                    if to.has_ended() { holding.open.saturating_sub(1) } else { holding.open + 1 };
            });
        }
    }

    /// Counts the bytes of an answer.
    pub fn grow(&mut self, owner: &Arc<str>, bytes: u64) {
        self.change_holding(owner, |holding| holding.bytes += bytes);
    }

    /// Takes out a job that was kept in this state, with so many bytes.
    pub fn remove(&mut self, pool: &Arc<str>, owner: &Arc<str>, state: JobState, bytes: u64) {
        self.change_counts(pool, |counts| {
            counts[state as usize] = counts[state as usize].saturating_sub(1);
        });
        self.change_holding(owner, |holding| {
            holding.jobs = holding.jobs.saturating_sub(1);
            holding.bytes = holding.bytes.saturating_sub(bytes);
            holding.open = holding.open.saturating_sub(u64::from(!state.has_ended()));
        });
    }

    /// Returns how many jobs of each pool are in each state.
    pub fn pools(&self) -> &JobCounts {
        &self.pools
    }

    /// Returns true if there are no jobs.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Returns how many jobs have not ended.
    pub fn open(&self) -> u64 {
        self.open
    }

    /// Returns what an owner has.
    pub fn of(&self, owner: &str) -> Holding {
        self.owners.get(owner).copied().unwrap_or_default()
    }

    /// Returns what each owner has who has anything.
    #[cfg(test)]
    pub fn owners(&self) -> &BTreeMap<Arc<str>, Holding> {
        &self.owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [JobState; 5] = JobState::ALL;

    /// Whatever was changed in a transaction that is taken back, all is as it was before.
    #[test]
    fn what_is_taken_back_has_never_been() {
        for seed in 0..100 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut tally, mut earlier) = (JobTally::default(), None);
            let mut any =
                |names: &[&str]| -> Arc<str> { names[random.usize(..names.len())].into() };
            for step in 0..200_u64 {
                let (before, other) = (tally.clone(), earlier.replace(tally.clone()));
                let other = other.unwrap_or_default();
                tally.begin();
                for _ in 0..step % 5 {
                    let (pool, owner) = (any(&["a", "b"]), any(&["", "ann", "bob", "cy"]));
                    let state = STATES[step as usize % 5];
                    match step % 7 {
                        0 | 4 => tally.add(&pool, &owner, state, 1, step),
                        1 | 5 => tally.change(&pool, &owner, STATES[step as usize / 5 % 5], state),
                        2 => tally.grow(&owner, step),
                        3 => tally.replace(other.clone()),
                        _ => tally.remove(&pool, &owner, state, step / 2),
                    }
                }
                let open: u64 = tally.owners.values().map(|holding| holding.open).sum();
                assert_eq!(tally.open(), open, "seed {seed}");
                if step % 3 == 0 {
                    tally.roll_back();
                    assert_eq!(
                        (&tally.pools, &tally.owners, tally.open),
                        (&before.pools, &before.owners, before.open),
                        "seed {seed}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_transaction_costs_what_it_changes_however_many_owners_there_are() {
        let mut tally = JobTally::default();
        let pool: Arc<str> = "a".into();
        for number in 0..10_000 {
            tally.begin();
            tally.add(&pool, &format!("owner {number}").into(), JobState::Queued, 1, 10);
        }
        tally.begin();
        tally.change(&pool, &"owner 7".into(), JobState::Queued, JobState::Succeeded);
        tally.grow(&"owner 7".into(), 5);
        assert_eq!(tally.changes.len(), 3);
        tally.roll_back();
        assert_eq!((tally.open(), tally.of("owner 7").bytes), (10_000, 10));
    }
}
