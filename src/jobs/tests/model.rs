//! The tables against a model: whatever is done in whatever order, both say the same.

use std::collections::BTreeMap;

use super::super::fixture::{Scratch, new_job};
use super::super::job::JobStart;
use super::super::order::Rank;
use super::super::schema::{self, FileLock};
use super::super::store::{JobViewer, Store};
use super::super::upkeep::Expired;
use super::*;

const LIMITS: StoreLimits = StoreLimits { length: 40, bytes: 1 << 30 };

/// What the model knows of a job.
#[derive(Clone, Debug, PartialEq)]
struct ModelJob {
    seq: i64,
    state: JobState,
    attempts: u32,
    started: Option<WallTime>,
    due: WallTime,
    expires: WallTime,
    owner: Option<Arc<str>>,
    idempotent: bool,
    starts_most: u32,
    has_answer: bool,
}

impl ModelJob {
    /// Returns the last start of this job, and true, or an earlier one.
    fn some_start(&self, random: &mut fastrand::Rng) -> (JobStart, bool) {
        let (WallTime(last), is_last) = (self.started.unwrap_or_default(), random.u8(..4) > 0);
        (JobStart { seq: self.seq, at: WallTime(last - i64::from(!is_last)) }, is_last)
    }
}

const OWNERS: [Option<&str>; 3] = [None, Some("ann"), Some("bob")];
const WAIT: Duration = Duration::from_secs(40);
const KEEP: Duration = Duration::from_mins(1);

struct World {
    random: fastrand::Rng,
    store: Store,
    lock: FileLock,
    model: BTreeMap<JobId, ModelJob>,
    now: WallTime,
}

impl World {
    fn new(seed: u64, scratch: &Scratch) -> Self {
        let lock = FileLock::take(&scratch.file()).expect("it can be made");
        let store = Store::new(schema::open(&lock).expect("opened")).expect("read");
        let random = fastrand::Rng::with_seed(seed);
        Self { random, store, lock, model: BTreeMap::new(), now: WallTime(1_000_000) }
    }

    fn any(&mut self) -> Option<JobId> {
        let ids: Vec<JobId> = self.model.keys().copied().collect();
        self.random.choice(ids)
    }

    fn step(&mut self) {
        self.now = self.now.after(Duration::from_secs(self.random.u64(..4)));
        let now = self.now;
        match self.random.u8(..12) {
            0..4 => self.accept(),
            4..6 => self.claim_next(),
            6 | 7 => self.end(),
            8 => self.give_back(),
            9 => self.remove(),
            10 => self.retry(),
            _ => {
                let Expired { failed, removed, .. } = self.store.expire(now, 1000).expect("SQL");
                let before = self.model.len();
                self.model.retain(|_, it| !(it.state.has_ended() && it.expires <= now));
                assert_eq!(removed, before - self.model.len());
                let mut count = 0;
                for it in self.model.values_mut() {
                    if it.state == JobState::Queued && it.expires <= now {
                        (it.state, it.expires) = (JobState::Failed, now.after(KEEP));
                        count += 1;
                    }
                }
                assert_eq!(failed.len(), count);
            }
        }
    }

    fn accept(&mut self) {
        let mut new = NewJob {
            id: JobId(self.random.u128(..).to_be_bytes()),
            idempotent: self.random.bool(),
            starts_most: self.random.u32(1..4),
            owner: self.random.choice(OWNERS).expect("there are some").map(Arc::from),
            has_share: self.random.bool(),
            priority_minutes: self.random.i32(-2..3),
            wait: WAIT,
            keep: KEEP,
            ..new_job("x")
        };
        new.text = new.id.to_string().into();
        let open = self.model.values().filter(|it| !it.state.has_ended());
        let (own, open): (Vec<_>, Vec<_>) =
            (open.clone().filter(|it| it.owner == new.owner).collect(), open.collect());
        let expected = if open.len() as u64 >= LIMITS.length {
            Some(JobRefusal::Length(LIMITS.length))
        } else {
            let is_over = new.has_share && own.len() as u64 >= LIMITS.length / 4;
            is_over.then_some(JobRefusal::OwnLength(LIMITS.length / 4))
        };
        match self.store.accept(&new, LIMITS, self.now).expect("SQL") {
            Ok(Acceptance::New(job)) => {
                assert_eq!(expected, None);
                let known = ModelJob {
                    seq: job.seq,
                    state: JobState::Queued,
                    attempts: 0,
                    started: None,
                    due: WallTime(self.now.0 - i64::from(new.priority_minutes) * 60_000),
                    expires: self.now.after(WAIT),
                    owner: new.owner,
                    idempotent: new.idempotent,
                    starts_most: new.starts_most,
                    has_answer: false,
                };
                self.model.insert(new.id, known);
            }
            Err(refusal) => assert_eq!(Some(refusal), expected),
            Ok(other) => panic!("{other:?}"),
        }
    }

    fn claim_next(&mut self) {
        let first = Rank { due: WallTime(i64::MIN), seq: i64::MIN };
        let owner = self.random.choice(OWNERS).expect("there are some");
        let named = owner.unwrap_or_default().into();
        let next = self.store.waiting(("a", &named), first, 1).expect("SQL").pop();
        let waiting = self.model.iter_mut();
        let waiting =
            waiting.filter(|(_, it)| it.state == JobState::Queued && it.owner.as_deref() == owner);
        let expected = waiting.min_by_key(|(_, it)| (it.due, it.seq));
        let Some((id, known)) = expected else { return assert_eq!(next, None) };
        let next = next.expect("one waits");
        let (_, claimed) = self.store.claim(next.turn.seq, self.now).expect("SQL").expect("waits");
        assert_eq!((claimed.start.seq, claimed.idempotent), (known.seq, known.idempotent));
        assert!(known.started < Some(claimed.start.at), "each start has its own time");
        assert_eq!(claimed.lost, known.attempts);
        let again = known.idempotent && known.attempts + 1 < known.starts_most;
        assert_eq!(claimed.may_start_again, again);
        assert_eq!(claimed.question.text, id.to_string());
        (known.state, known.attempts) = (JobState::Running, known.attempts + 1);
        known.started = Some(claimed.start.at);
    }

    fn end(&mut self) {
        let Some(id) = self.any() else { return };
        let known = self.model.get_mut(&id).expect("chosen of these");
        let good = self.random.bool();
        let end = if good { answer("a") } else { JobEnd::Failure(Failure::Internal) };
        let (start, is_last) = known.some_start(&mut self.random);
        let job = self.store.end(start, &end, self.now).expect("SQL").expect("there");
        if known.state == JobState::Running && is_last {
            known.state = if good { JobState::Succeeded } else { JobState::Failed };
            known.expires = self.now.after(KEEP);
            known.has_answer = good;
        }
        assert_eq!(job.state, known.state);
    }

    fn give_back(&mut self) {
        let Some(id) = self.any() else { return };
        let known = self.model.get_mut(&id).expect("chosen of these");
        let forgets = self.random.bool();
        let (start, is_last) = known.some_start(&mut self.random);
        let job = self.store.give_back(start, forgets, self.now).expect("SQL");
        let is_given_back = known.state == JobState::Running && is_last;
        // What was given back already is said again: the first time may not have been heard.
        assert_eq!(job.is_some(), is_given_back || known.state == JobState::Queued);
        if is_given_back {
            (known.state, known.expires) = (JobState::Queued, self.now.after(WAIT));
            known.attempts -= u32::from(forgets);
        }
    }

    fn remove(&mut self) {
        let Some(id) = self.any() else { return };
        let known = self.model.get_mut(&id).expect("chosen of these");
        let removal = self.store.remove(id, JobViewer::Operator, self.now).expect("SQL");
        if known.state.has_ended() {
            assert!(matches!(removal, JobRemoval::Removed(_)));
            self.model.remove(&id);
        } else {
            assert!(matches!(removal, JobRemoval::Canceled(_)));
            (known.state, known.expires) = (JobState::Canceled, self.now.after(KEEP));
        }
    }

    fn retry(&mut self) {
        let Some(id) = self.any() else { return };
        let known = self.model.get_mut(&id).expect("chosen of these");
        let (_, changed) = self.store.retry(id, self.now).expect("SQL").expect("there");
        let may = matches!(known.state, JobState::Failed | JobState::Canceled);
        assert_eq!(changed, may);
        if changed {
            (known.state, known.attempts) = (JobState::Queued, 0);
            known.expires = self.now.after(WAIT);
        }
    }

    /// The server ends and another begins.
    fn restarted(self) -> Self {
        let Self { random, store, lock, mut model, now } = self;
        drop(store);
        let mut store = Store::new(schema::open(&lock).expect("opened")).expect("read");
        store.recover(now).expect("SQL");
        for known in model.values_mut().filter(|it| it.state == JobState::Running) {
            let again = known.idempotent && known.attempts < known.starts_most;
            known.state = if again { JobState::Queued } else { JobState::Failed };
            known.expires = now.after(if again { WAIT } else { KEEP });
        }
        Self { random, store, lock, model, now }
    }

    fn compare(&self, seed: u64) {
        let filter = JobFilter { limit: 10_000, ..JobFilter::default() };
        let mut said = BTreeMap::new();
        for job in self.store.list(&filter).expect("SQL") {
            let kept = self.store.result(job.id, JobViewer::Operator).expect("SQL").expect("there");
            let model = self.model.get(&job.id);
            let known = ModelJob {
                seq: job.seq,
                state: job.state,
                attempts: job.attempts,
                started: job.started,
                due: job.due,
                expires: job.expires,
                owner: job.owner,
                // These are seen by what comes of them.
                idempotent: model.is_some_and(|it| it.idempotent),
                starts_most: model.map_or(0, |it| it.starts_most),
                has_answer: kept.answer.is_some(),
            };
            said.insert(job.id, known);
        }
        assert_eq!(said, self.model, "seed {seed}");
        let mut counts = [0; JobState::ALL.len()];
        for known in self.model.values() {
            counts[known.state as usize] += 1;
        }
        let posted = self.store.tally.pools().get("a").copied().unwrap_or_default();
        assert_eq!(posted, counts, "seed {seed}");
        assert_eq!(
            self.store.tally.owners(),
            self.store.counted().expect("SQL").owners(),
            "seed {seed}"
        );
    }
}

#[test]
fn the_tables_say_what_the_model_says() {
    for seed in 0..12 {
        let scratch = Scratch::new();
        let mut world = World::new(seed, &scratch);
        for _ in 0..25 {
            let connection = world.store.connection();
            connection.execute_batch("BEGIN IMMEDIATE").expect("SQL");
            let model = world.model.clone();
            world.store.tally.begin();
            for _ in 0..world.random.usize(1..12) {
                world.step();
            }
            // A group that fails has never been.
            if world.random.u8(..6) == 0 {
                world.store.connection().execute_batch("ROLLBACK").expect("SQL");
                world.model = model;
                world.store.tally.roll_back();
            } else {
                world.store.connection().execute_batch("COMMIT").expect("SQL");
            }
            world.compare(seed);
            if world.random.u8(..5) == 0 {
                world = world.restarted();
                world.compare(seed);
            }
        }
    }
}
