//! Whose job goes next in a pool: owners take turns, and the jobs of one go in their order.
//!
//! Pure. What is asked at each turn costs no more with a hundred thousand owners than with one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::job::WallTime;
use super::order::{NextJob, NextJobs, Rank};

/// How many jobs of a pool are known, of all owners together.
const KNOWN_MOST: u32 = 256;
/// How many jobs of one owner are known, however many owners there are.
const KNOWN_LEAST: u32 = 8;

/// The jobs of one pool that go next.
#[derive(Debug, Default)]
pub struct PoolTurns {
    /// Of each owner who has jobs that wait, here or in the file.
    owners: BTreeMap<Arc<str>, NextJobs>,
    /// These owners in the order of their turns; the first one is next.
    turns: VecDeque<Arc<str>>,
    /// When the next job of each owner was accepted, if any is known.
    firsts: BTreeSet<(WallTime, Arc<str>)>,
    /// Owners who had too few known jobs when their jobs last changed.
    wanting: BTreeSet<Arc<str>>,
}

impl PoolTurns {
    /// Notes that an owner may have jobs in the file that wait.
    pub fn expect(&mut self, owner: &Arc<str>) {
        self.know(owner, NextJobs::unknown);
        self.change(owner, |_, _| ());
    }

    /// Adds a job that begins to wait.
    pub fn add(&mut self, job: NextJob) {
        let owner = Arc::clone(&job.owner);
        self.know(&owner, NextJobs::none);
        self.change(&owner, |next, room| next.add(job, room));
    }

    /// Gives an owner who was not known a turn, behind all others.
    fn know(&mut self, owner: &Arc<str>, new: impl FnOnce() -> NextJobs) {
        if !self.owners.contains_key(owner) {
            self.turns.push_back(Arc::clone(owner));
            self.owners.insert(Arc::clone(owner), new());
        }
    }

    /// Changes what is known of the jobs of an owner. At most `room` of them may be known.
    fn change<T>(
        &mut self,
        owner: &str,
        change: impl FnOnce(&mut NextJobs, u32) -> T,
    ) -> Option<T> {
        let room = self.room();
        let (owner, _) = self.owners.get_key_value(owner)?;
        let owner = Arc::clone(owner);
        let next = self.owners.get_mut(&owner)?;
        let before = next.first().map(|job| job.created);
        let result = change(next, room);
        let after = next.first().map(|job| job.created);
        if next.wants(room).is_some() {
            self.wanting.insert(Arc::clone(&owner));
        } else {
            self.wanting.remove(&owner);
        }
        if before != after {
            if let Some(before) = before {
                self.firsts.remove(&(before, Arc::clone(&owner)));
            }
            self.firsts.extend(after.map(|after| (after, owner)));
        }
        Some(result)
    }

    /// How many jobs of one owner may be known.
    fn room(&self) -> u32 {
        (KNOWN_MOST / (self.owners.len() as u32).max(1)).max(KNOWN_LEAST)
    }

    /// Takes out a job that waits no longer.
    pub fn remove(&mut self, owner: &str, turn: Rank) {
        self.change(owner, |next, _| next.remove(turn));
    }

    /// Returns the owners with too few known jobs, and what to ask for.
    pub fn wants(&self) -> impl Iterator<Item = (Arc<str>, Rank, u32)> {
        let room = self.room();
        self.wanting.iter().filter_map(move |owner| {
            let (from, most) = self.owners.get(owner)?.wants(room)?;
            Some((Arc::clone(owner), from, most))
        })
    }

    /// Adds the jobs of an owner that were asked for.
    pub fn extend(&mut self, owner: &str, jobs: Vec<NextJob>, most: u32) {
        self.change(owner, |next, _| next.extend(jobs, most));
    }

    /// Takes the job that goes next.
    pub fn take(&mut self) -> Option<NextJob> {
        for _ in 0..self.turns.len() {
            let owner = self.turns.pop_front()?;
            let taken = self.change(&owner, |next, _| (next.take(), next.is_over()));
            let Some((taken, is_over)) = taken else { continue };
            if is_over {
                self.owners.remove(&owner);
            } else {
                self.turns.push_back(owner);
            }
            if taken.is_some() {
                return taken;
            }
        }
        None
    }

    /// Returns when the job was accepted that has waited longest, of those that go next.
    pub fn oldest(&self) -> Option<WallTime> {
        self.firsts.first().map(|(created, _)| *created)
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::JobId;
    use super::*;

    const OWNERS: [&str; 5] = ["", "ann", "bob", "cy", "di"];

    /// All the jobs that wait, as the file has them.
    #[derive(Default)]
    struct File(BTreeMap<&'static str, BTreeMap<Rank, NextJob>>);

    impl File {
        fn fill(&self, turns: &mut PoolTurns) {
            let wants: Vec<_> = turns.wants().collect();
            for (owner, from, most) in wants {
                let waiting = self.0.get(&*owner).into_iter().flatten();
                let behind = waiting.map(|(_, job)| job.clone()).filter(|job| job.turn > from);
                turns.extend(&owner, behind.take(most as usize).collect(), most);
            }
        }

        fn put(&mut self, owner: &'static str, job: NextJob) {
            self.0.entry(owner).or_default().insert(job.turn, job);
        }

        fn waits(&self, owner: &str) -> bool {
            self.0.get(owner).is_some_and(|jobs| !jobs.is_empty())
        }
    }

    fn job(owner: &str, due: i64, seq: i64) -> NextJob {
        let turn = Rank { due: WallTime(due), seq };
        NextJob { turn, id: JobId([0; 16]), created: WallTime(due), owner: owner.into() }
    }

    impl PoolTurns {
        /// What is kept beside the owners says the same as they do.
        fn check(&self) {
            let firsts = self.owners.values().filter_map(NextJobs::first);
            assert_eq!(self.oldest(), firsts.map(|job| job.created).min());
            for (owner, next) in &self.owners {
                let is_asked_for = self.wants().any(|(other, ..)| other == *owner);
                let has_none =
                    next.count() == 0 && !next.is_over() && next.wants(KNOWN_LEAST).is_some();
                assert!(is_asked_for || !has_none, "{owner} would wait for ever");
            }
            assert!(self.wanting.iter().all(|owner| self.owners.contains_key(owner)));
        }
    }

    /// Jobs of several owners come and go in any order, and one of the owners has most of them. The
    /// one who is served is always served their first, and nobody is passed over twice.
    #[test]
    fn each_owner_has_a_turn_before_another_has_two() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut file, mut turns) = (File::default(), PoolTurns::default());
            for seq in 0..random.i64(..900) {
                let owner =
                    if random.u8(..4) > 0 { "ann" } else { random.choice(OWNERS).expect("some") };
                file.put(owner, job(owner, random.i64(..50), seq));
                turns.expect(&owner.into());
            }
            // How often each of those who wait was passed over by each of the others.
            let mut passed: BTreeMap<(&str, &str), u32> = BTreeMap::new();
            let mut count = 0;
            for seq in 900..2900 {
                turns.check();
                file.fill(&mut turns);
                let owner = random.choice(OWNERS).expect("there are some");
                match random.u8(..8) {
                    0..3 => {
                        let job = job(owner, random.i64(..60), seq);
                        file.put(owner, job.clone());
                        turns.add(job);
                    }
                    3 => {
                        let first = file.0.get_mut(owner).and_then(BTreeMap::pop_last);
                        if let Some((turn, _)) = first {
                            turns.remove(owner, turn);
                        }
                    }
                    _ => {
                        let Some(taken) = turns.take() else {
                            assert!(!OWNERS.iter().any(|owner| file.waits(owner)), "seed {seed}");
                            passed.clear();
                            continue;
                        };
                        let served =
                            OWNERS.into_iter().find(|it| *it == &*taken.owner).expect("one");
                        let first = file.0.get_mut(served).and_then(BTreeMap::pop_first);
                        assert_eq!(first.map(|(_, job)| job), Some(taken), "seed {seed}");
                        passed.retain(|(waits, _), _| *waits != served);
                        for waits in OWNERS.into_iter().filter(|it| *it != served) {
                            if file.waits(waits) {
                                let times = passed.entry((waits, served)).or_default();
                                *times += 1;
                                assert!(*times < 2, "{served} twice before {waits}, seed {seed}");
                            } else {
                                passed.retain(|(other, _), _| *other != waits);
                            }
                        }
                        count += 1;
                    }
                }
            }
            assert!(count > 500);
        }
    }

    #[test]
    fn what_is_known_of_many_owners_is_little_of_each() {
        let mut turns = PoolTurns::default();
        for number in 0..100 {
            for seq in 0..300 {
                turns.add(job(&format!("owner {number}"), 0, seq * 100 + number));
            }
        }
        let known: usize = turns.owners.values().map(NextJobs::count).sum();
        assert!(known <= 100 * KNOWN_LEAST as usize + KNOWN_MOST as usize * 8, "{known}");
    }
}
