//! The jobs of one owner in a pool that go next, in their order, of however many there are in the
//! file.
//!
//! Pure. A few are known here; what comes behind them is asked for when they run low.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::job::{JobId, WallTime};

/// Where a job stands among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Earlier ones go first.
    pub due: WallTime,
    /// Of those with the same `due`, the one that came first.
    pub seq: i64,
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextJob {
    /// Where it stands.
    pub turn: Rank,
    /// Its name.
    pub id: JobId,
    /// When it was accepted.
    pub created: WallTime,
    /// Who asked; empty: somebody without a key.
    pub owner: Arc<str>,
}

/// The jobs of one owner in a pool that go next.
#[derive(Debug)]
pub struct NextJobs {
    known: BTreeMap<Rank, NextJob>,
    /// Every job up to here is known, or was taken; `None`: so are all there are.
    horizon: Option<Rank>,
}

impl NextJobs {
    /// Nothing is known yet, and there may be more.
    pub fn unknown() -> Self {
        let first = Rank { due: WallTime(i64::MIN), seq: i64::MIN };
        Self { known: BTreeMap::new(), horizon: Some(first) }
    }

    /// There are none, neither here nor in the file.
    pub fn none() -> Self {
        Self { known: BTreeMap::new(), horizon: None }
    }

    /// Adds a job that begins to wait. At most `room` are known after that.
    pub fn add(&mut self, job: NextJob, room: u32) {
        if self.horizon.is_some_and(|horizon| job.turn > horizon) {
            // It is found when it is asked for.
            return;
        }
        self.known.insert(job.turn, job);
        while self.count() > room as usize {
            self.known.pop_last();
            let last = self.known.last_key_value().map(|(turn, _)| *turn);
            self.horizon = last;
        }
    }

    /// Returns how many are known.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Returns true if no job waits, neither here nor in the file.
    pub fn is_over(&self) -> bool {
        self.known.is_empty() && self.horizon.is_none()
    }

    /// Adds the jobs behind the horizon, as the file has them; `most` were asked for.
    pub fn extend(&mut self, jobs: Vec<NextJob>, most: u32) {
        if self.horizon.is_none() {
            return;
        }
        let last = jobs.last().map(|job| job.turn);
        self.horizon = if (jobs.len() as u32) < most { None } else { last };
        self.known.extend(jobs.into_iter().map(|job| (job.turn, job)));
    }

    /// Returns from where on and how many jobs should be asked for, if `room` may be known; `None`:
    /// enough are known.
    pub fn wants(&self, room: u32) -> Option<(Rank, u32)> {
        let known = self.count() as u32;
        let horizon = self.horizon.filter(|_| known < room / 4)?;
        Some((horizon, room - known))
    }

    /// The job that goes next.
    pub fn first(&self) -> Option<&NextJob> {
        self.known.first_key_value().map(|(_, job)| job)
    }

    /// Takes the job that goes next.
    pub fn take(&mut self) -> Option<NextJob> {
        self.known.pop_first().map(|(_, job)| job)
    }

    /// Takes out a job that waits no longer.
    pub fn remove(&mut self, turn: Rank) {
        self.known.remove(&turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u32 = 256;

    fn job(due: i64, seq: i64) -> NextJob {
        let turn = Rank { due: WallTime(due), seq };
        NextJob { turn, id: JobId([0; 16]), created: WallTime(due), owner: "".into() }
    }

    /// Jobs come, go and are given back in any order; each is taken once, and always one that no
    /// waiting job goes before.
    #[test]
    fn it_gives_what_sorting_all_of_them_would() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut next = NextJobs::unknown();
            let mut waiting: BTreeMap<Rank, NextJob> = BTreeMap::new();
            let mut seq = 0;
            for _ in 0..random.usize(..900) {
                seq += 1;
                let job = job(random.i64(..50), seq);
                waiting.insert(job.turn, job.clone());
            }
            let (mut taken, mut count) = (Vec::new(), 0);
            for _ in 0..3000 {
                if let Some((from, most)) = next.wants(ROOM) {
                    let behind = waiting.range(from..).map(|(_, job)| job.clone());
                    let behind = behind.filter(|job| job.turn > from).take(most as usize);
                    next.extend(behind.collect(), most);
                }
                match random.u8(..8) {
                    0..3 => {
                        seq += 1;
                        let job = job(random.i64(..60), seq);
                        waiting.insert(job.turn, job.clone());
                        next.add(job, ROOM);
                    }
                    3 => {
                        let turn = random.choice(waiting.keys().copied().collect::<Vec<_>>());
                        if let Some(turn) = turn {
                            waiting.remove(&turn);
                            next.remove(turn);
                        }
                    }
                    4 if !taken.is_empty() => {
                        let back: NextJob = taken.swap_remove(random.usize(..taken.len()));
                        waiting.insert(back.turn, back.clone());
                        next.add(back, ROOM);
                    }
                    _ => {
                        let first = waiting.pop_first().map(|(_, job)| job);
                        assert_eq!(next.take(), first, "seed {seed}");
                        taken.extend(first);
                        count += 1;
                    }
                }
                assert!(next.count() <= ROOM as usize);
            }
            assert!(count > 500);
        }
    }
}
