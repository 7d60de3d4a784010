//! A disk that fails at any one call, or from any call on: what was told is so, and what was refused
//! never was.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::fixture::{Scratch, new_job, settings, start_of};
use super::super::keeper::Keeper;
use super::super::request::{StoreDone, StoreRequest, StoreWork};
use super::super::schema::FileLock;
use super::recording::{CallFaults, calls, calls_fail, faults_end, record};
use super::*;

/// What a job must be once the disk works again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JobFate {
    /// It was refused.
    Absent,
    Waits,
    Runs,
    Ended,
    Canceled,
    /// A cancel failed, so it may be canceled or not.
    CanceledOrNot,
}

struct Story {
    keeper: Keeper,
    jobs: Vec<(NewJob, Option<Job>, JobFate)>,
}

impl Story {
    fn begin(scratch: &Scratch) -> Option<Self> {
        let lock = FileLock::take(&scratch.file()).expect("it can be made");
        let (keeper, _) = Keeper::open(lock, settings(), Arc::default()).ok()?;
        keeper.checkpoint_often();
        Some(Self { keeper, jobs: Vec::new() })
    }

    /// Does these in one group. Returns what each was told; `None`: that it failed.
    fn turn(&mut self, works: Vec<StoreWork>) -> Vec<Option<StoreDone>> {
        let asked = works.into_iter().map(|work| {
            let (tell, told) = oneshot::channel();
            (StoreRequest::new(work, tell), told)
        });
        let (group, tolds): (Vec<_>, Vec<_>) = asked.unzip();
        self.keeper.turn(group);
        tolds.into_iter().map(|mut told| told.try_recv().expect("told").ok()).collect()
    }

    fn accept(&mut self, count: usize) {
        let news: Vec<NewJob> = (0..count)
            .map(|number| {
                let text = vec![b'x'; 3000 * number].into();
                NewJob { idempotent: false, starts_most: 1, text, ..new_job("") }
            })
            .collect();
        let works = news.iter().map(|new| StoreWork::Accept(Box::new(new.clone())));
        let dones = self.turn(works.collect());
        for (new, done) in news.into_iter().zip(dones) {
            self.jobs.push(match done {
                Some(StoreDone::Accepted(Ok(Acceptance::New(job)))) => {
                    (new, Some(job), JobFate::Waits)
                }
                None => (new, None, JobFate::Absent),
                other => panic!("{other:?}"),
            });
        }
    }

    /// Begins the first job that waits.
    fn claim(&mut self) {
        let Some(at) = self.jobs.iter().position(|(.., fate)| *fate == JobFate::Waits) else {
            return;
        };
        let seq = self.jobs[at].1.as_ref().expect("accepted").seq;
        match self.turn(vec![StoreWork::Claim(seq)]).pop().flatten() {
            Some(StoreDone::Claimed(Some((job, _)))) => {
                (self.jobs[at].1, self.jobs[at].2) = (Some(job), JobFate::Runs);
            }
            None => {}
            other => panic!("{other:?}"),
        }
    }

    fn running(&self) -> Option<usize> {
        self.jobs.iter().position(|(.., fate)| *fate == JobFate::Runs)
    }

    /// Ends a job that runs. Who wants that to be written tries until it is.
    fn end(&mut self) {
        let Some(at) = self.running() else { return };
        let start = start_of(self.jobs[at].1.as_ref().expect("begun"));
        let end = JobEnd::Answer { body: vec![b'a'; 6000].into(), form: AnswerForm::Json };
        if self.turn(vec![StoreWork::End(start, end.clone())])[0].is_none() {
            self.works_again();
            assert!(self.turn(vec![StoreWork::End(start, end)])[0].is_some());
        }
        self.jobs[at].2 = JobFate::Ended;
    }

    /// Lets a job that runs wait again, as often as it takes.
    fn give_back(&mut self) {
        let Some(at) = self.running() else { return };
        let start = start_of(self.jobs[at].1.as_ref().expect("begun"));
        if self.turn(vec![StoreWork::GiveBack(start, true)])[0].is_none() {
            self.works_again();
            assert!(self.turn(vec![StoreWork::GiveBack(start, true)])[0].is_some());
        }
        self.jobs[at].2 = JobFate::Waits;
    }

    fn cancel(&mut self) {
        let Some(at) = self.jobs.iter().position(|(.., fate)| *fate == JobFate::Waits) else {
            return;
        };
        let work = StoreWork::Remove(self.jobs[at].0.id, None, true);
        let done = self.turn(vec![work]).pop().flatten();
        self.jobs[at].2 = if done.is_some() { JobFate::Canceled } else { JobFate::CanceledOrNot };
    }

    fn works_again(&mut self) {
        faults_end();
        self.keeper.look_for_ended();
    }

    fn live(&mut self) {
        self.accept(3);
        self.claim();
        self.accept(2);
        self.end();
        self.claim();
        self.give_back();
        self.cancel();
        self.keeper.look_for_ended();
        self.claim();
        self.accept(1);
        self.end();
    }

    /// Looks whether all is as it must be, in this server and in the next.
    fn judge(mut self, scratch: &Scratch, case: &str) {
        self.works_again();
        for (new, ..) in &self.jobs {
            let work = StoreWork::Look(new.id, None);
            let told = {
                let (tell, mut told) = oneshot::channel();
                self.keeper.turn(vec![StoreRequest::new(work, tell)]);
                told.try_recv().expect("told")
            };
            assert!(told.is_ok(), "{case}");
        }
        // And it goes on.
        self.accept(1);
        let jobs = std::mem::take(&mut self.jobs);
        drop(self);
        let connection = Connection::open(scratch.file()).expect("nobody has it");
        let check =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        assert_eq!(check.as_deref(), Ok("ok"), "{case}");
        for (new, job, fate) in jobs {
            let sql = "SELECT state, attempts, (SELECT length(text) FROM question WHERE job = seq), \
                       (SELECT count(*) FROM answer WHERE job = seq) FROM job WHERE id = ?1";
            let found = connection.query_row(sql, [new.id.0], |row| {
                let numbers = [row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
                Ok(numbers)
            });
            let Ok([state, attempts, length, answers]) = found else {
                assert_eq!(fate, JobFate::Absent, "{job:?} is lost, {case}");
                continue;
            };
            assert_eq!(length as usize, new.text.len(), "{case}");
            let expected: &[[i64; 3]] = match fate {
                JobFate::Absent => &[],
                JobFate::Waits => &[[0, 0, 0]],
                JobFate::Runs => &[[1, 1, 0]],
                JobFate::Ended => &[[2, 1, 1]],
                JobFate::Canceled => &[[4, 0, 0]],
                JobFate::CanceledOrNot => &[[0, 0, 0], [4, 0, 0]],
            };
            let is = [state, attempts, answers];
            assert!(expected.contains(&is), "{fate:?} is {is:?}, {case}: {job:?}");
        }
        let odd = "SELECT count(*) FROM question WHERE job NOT IN (SELECT seq FROM job)";
        let odd = connection.query_row(odd, [], |row| row.get::<_, i64>(0));
        assert_eq!(odd, Ok(0), "{case}");
    }
}

fn every_kind() -> impl Iterator<Item = (bool, bool)> {
    [(false, false), (false, true), (true, false), (true, true)].into_iter()
}

#[test]
fn whichever_call_fails_what_was_told_is_so_and_what_was_refused_is_not() {
    for (lasts, is_full) in every_kind() {
        for first in 1.. {
            let case = format!("call {first} fails, lasts: {lasts}, full: {is_full}");
            let scratch = Scratch::new();
            record();
            faults_end();
            let mut story = Story::begin(&scratch).expect("nothing fails yet");
            calls_fail(CallFaults { first, lasts, is_full });
            story.live();
            let is_over = calls() < first;
            let has_refused = story.jobs.iter().any(|(.., fate)| *fate == JobFate::Absent);
            // Where one call fails, each of a group that does not fit is tried alone.
            assert!(first > 1 || has_refused || (is_full && !lasts), "{case}");
            story.judge(&scratch, &case);
            if is_over {
                assert!(first > 40, "{first} calls are few");
                break;
            }
        }
    }
}

#[test]
fn whichever_call_fails_of_the_first_start_the_next_one_succeeds() {
    for (lasts, is_full) in every_kind() {
        for first in 1.. {
            let scratch = Scratch::new();
            record();
            calls_fail(CallFaults { first, lasts, is_full });
            let story = Story::begin(&scratch);
            let is_over = calls() < first;
            faults_end();
            drop(story);
            let mut story = Story::begin(&scratch).expect("nothing fails now");
            story.accept(1);
            story.judge(&scratch, &format!("call {first} failed, lasts: {lasts}"));
            if is_over {
                assert!(first > 5, "{first} calls are few");
                break;
            }
        }
    }
}

/// What waits is there, and goes on once there is room.
#[test]
fn a_server_starts_though_the_disk_is_full() {
    let scratch = Scratch::new();
    record();
    faults_end();
    let mut story = Story::begin(&scratch).expect("nothing fails yet");
    story.accept(2);
    let jobs = std::mem::take(&mut story.jobs);
    drop(story);
    calls_fail(CallFaults { first: 1, lasts: true, is_full: true });
    let mut story = Story::begin(&scratch).expect("nothing has to be written");
    story.jobs = jobs;
    story.accept(1);
    let fates: Vec<_> = story.jobs.iter().map(|(.., fate)| *fate).collect();
    assert_eq!(fates, [JobFate::Waits, JobFate::Waits, JobFate::Absent]);
    story.judge(&scratch, "the disk was full");
}
