//! A disk that loses power at any moment keeps what was promised before.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::fixture::{Scratch, new_job, settings, start_of};
use super::super::keeper::Keeper;
use super::super::request::{StoreDone, StoreRequest, StoreWork};
use super::super::schema::FileLock;
use super::recording::{Noted, after_power_loss, promise, put, record, recorded};
use super::*;

/// What somebody was told.
#[derive(Clone, Debug)]
enum Pledge {
    Accepted(JobId),
    /// It may not run twice, and runs.
    Begun(JobId),
    Ended(JobId),
    Canceled(JobId),
    Removed(JobId),
}

struct Life {
    keeper: Keeper,
    random: fastrand::Rng,
    told: Vec<Pledge>,
    waiting: Vec<Job>,
    running: Vec<Job>,
    ended: Vec<Job>,
}

impl Life {
    fn turn(&mut self, works: Vec<StoreWork>) -> Vec<StoreDone> {
        let (group, tolds): (Vec<_>, Vec<_>) = works
            .into_iter()
            .map(|work| {
                let (tell, told) = oneshot::channel();
                (StoreRequest::new(work, tell), told)
            })
            .unzip();
        self.keeper.turn(group);
        tolds.into_iter().map(|mut told| told.try_recv().expect("told").expect("written")).collect()
    }

    fn tell(&mut self, told: Pledge) {
        promise(self.told.len());
        self.told.push(told);
    }

    fn step(&mut self) {
        match self.random.u8(..10) {
            0..4 => {
                let count = self.random.usize(1..5);
                let news = (0..count).map(|_| {
                    let length = self.random.usize(..9000);
                    let mut new = NewJob { idempotent: false, starts_most: 1, ..new_job("") };
                    let text = format!("{} {}", new.id, "x".repeat(length));
                    new.text = text.into();
                    StoreWork::Accept(Box::new(new))
                });
                let news = news.collect();
                for done in self.turn(news) {
                    let StoreDone::Accepted(Ok(Acceptance::New(job))) = done else {
                        panic!("{done:?}")
                    };
                    self.tell(Pledge::Accepted(job.id));
                    self.waiting.push(job);
                }
            }
            4..6 if !self.waiting.is_empty() => {
                let job = self.waiting.swap_remove(self.random.usize(..self.waiting.len()));
                let done = self.turn(vec![StoreWork::Claim(job.seq)]).pop();
                let Some(StoreDone::Claimed(Some((job, _)))) = done else { panic!("{done:?}") };
                self.tell(Pledge::Begun(job.id));
                self.running.push(job);
            }
            6..8 if !self.running.is_empty() => {
                let job = self.running.swap_remove(self.random.usize(..self.running.len()));
                let body = vec![b'a'; self.random.usize(..9000)].into();
                let end = JobEnd::Answer { body, form: AnswerForm::Json };
                self.turn(vec![StoreWork::End(start_of(&job), end)]);
                self.tell(Pledge::Ended(job.id));
                self.ended.push(job);
            }
            8 if !self.waiting.is_empty() => {
                let job = self.waiting.swap_remove(self.random.usize(..self.waiting.len()));
                self.turn(vec![StoreWork::Remove(job.id, None, true)]);
                self.tell(Pledge::Canceled(job.id));
            }
            9 if !self.ended.is_empty() => {
                let job = self.ended.swap_remove(self.random.usize(..self.ended.len()));
                self.turn(vec![StoreWork::Remove(job.id, None, true)]);
                self.tell(Pledge::Removed(job.id));
            }
            _ => {}
        }
    }
}

/// Looks whether what was told before the power was lost is so. What comes `next` may be done, too.
fn holds(connection: &Connection, told: &[Pledge], next: Option<&Pledge>, case: &str) {
    let mut last: BTreeMap<JobId, &Pledge> = BTreeMap::new();
    for told in told {
        let (Pledge::Accepted(id)
        | Pledge::Begun(id)
        | Pledge::Ended(id)
        | Pledge::Canceled(id)
        | Pledge::Removed(id)) = told;
        last.insert(*id, told);
    }
    if let Some(Pledge::Removed(id)) = next {
        last.remove(id);
    }
    for (id, told) in last {
        let sql = "SELECT state, (SELECT text FROM question WHERE job = seq), \
                   (SELECT length(body) FROM answer WHERE job = seq) FROM job WHERE id = ?1";
        let found = connection.query_row(sql, [id.0], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Option<i64>>(2)?))
        });
        if matches!(told, Pledge::Removed(_)) {
            assert!(found.is_err(), "{told:?} is there again, {case}");
            continue;
        }
        let (state, text, answer) =
            found.unwrap_or_else(|error| panic!("{told:?}: {error}, {case}"));
        assert!(
            text.starts_with(id.to_string().as_bytes()),
            "{told:?} has another question, {case}"
        );
        let good = match told {
            Pledge::Accepted(_) | Pledge::Removed(_) => true,
            // It ran, perhaps to its end, and never waits again.
            Pledge::Begun(_) => state != JobState::Queued as i64,
            Pledge::Ended(_) => state == JobState::Succeeded as i64 && answer.is_some(),
            Pledge::Canceled(_) => state == JobState::Canceled as i64,
        };
        assert!(good, "{told:?} is in state {state}, {case}");
    }
}

/// The log is brought into the file every few pages, so that power is lost in the middle of that, too.
#[test]
fn whatever_the_disk_loses_with_the_power_what_was_told_is_so() {
    for seed in 0..2 {
        let scratch = Scratch::new();
        record();
        let lock = FileLock::take(&scratch.file()).expect("it can be made");
        let (keeper, _) = Keeper::open(lock, settings(), Arc::default()).expect("opened");
        keeper.checkpoint_often();
        let opened = recorded();
        let (told, waiting, running, ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let random = fastrand::Rng::with_seed(seed);
        let mut life = Life { keeper, random, told, waiting, running, ended };
        (0..50).for_each(|_| life.step());
        let events = recorded();
        let syncs = events.iter().filter(|event| matches!(event, Noted::Sync(_))).count();
        assert!(syncs > 40, "{syncs} syncs");
        let Life { mut random, told, .. } = life;
        let mut is_told = 0;
        for (at, event) in events.iter().enumerate() {
            if let Noted::Promise(number) = event {
                is_told = number + 1;
            }
            if !random.u8(..4).is_multiple_of(4) {
                continue;
            }
            let case = format!("seed {seed}, lost after event {at}");
            let story: Vec<_> = opened.iter().chain(&events[..=at]).cloned().collect();
            let after = Scratch::new();
            put(&after_power_loss(&story, &mut random), after.path());
            let lock =
                FileLock::take(&after.file()).unwrap_or_else(|error| panic!("{error}, {case}"));
            let opened = Keeper::open(lock, settings(), Arc::default());
            drop(opened.unwrap_or_else(|error| panic!("{error}, {case}")));
            let connection = Connection::open(after.file()).expect("nobody has it");
            let check =
                connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
            assert_eq!(check.as_deref(), Ok("ok"), "{case}");
            holds(&connection, &told[..is_told], told.get(is_told), &case);
        }
    }
}

/// A server that never came to an end of its first start leaves what the next one can begin with.
#[test]
fn power_may_be_lost_in_the_middle_of_the_first_start() {
    let scratch = Scratch::new();
    record();
    let lock = FileLock::take(&scratch.file()).expect("it can be made");
    let keeper = Keeper::open(lock, settings(), Arc::default()).expect("opened");
    let events = recorded();
    let mut random = fastrand::Rng::with_seed(7);
    for at in 0..=events.len() {
        for _ in 0..4 {
            let after = Scratch::new();
            put(&after_power_loss(&events[..at], &mut random), after.path());
            let lock = FileLock::take(&after.file());
            let lock = lock.unwrap_or_else(|error| panic!("{error}, lost before event {at}"));
            let opened = Keeper::open(lock, settings(), Arc::default());
            drop(opened.unwrap_or_else(|error| panic!("{error}, lost before event {at}")));
        }
    }
    drop(keeper);
}
