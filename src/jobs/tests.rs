//! The file and its thread, as those above use them.

mod deaths;
mod faults;
mod model;
mod power;
mod recording;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Scratch, new_job, settings};
use super::job::AnswerForm;
use super::*;
use crate::base::{Failure, Reply, ReplyForm};

fn answer(body: &'static str) -> JobEnd {
    let reply = Reply { body: body.into(), form: ReplyForm::Plain };
    JobEnd::of(Ok(reply), "text/plain", 1000)
}

/// Does the work with a desk, and closes the file after it.
fn with_desk<T>(
    scratch: &Scratch,
    settings: KeeperSettings,
    work: impl AsyncFnOnce(&JobDesk) -> T,
) -> T {
    let (desk, thread) = open(&scratch.file(), settings).expect("it can be opened");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.expect("a runtime").block_on(async {
        // Where nobody is told, the test does not wait for ever.
        tokio::time::timeout(Duration::from_mins(1), work(&desk)).await
    });
    let result = result.expect("it takes far less than a minute");
    drop(desk);
    thread.join();
    result
}

async fn accepted(desk: &JobDesk, new: NewJob) -> Job {
    match desk.accept(new).await.expect("it can be written").expect("there is room") {
        Acceptance::New(job) | Acceptance::Known(job) => job,
    }
}

/// Takes the next job of the pool as soon as it is known, and claims it.
async fn begun(desk: &JobDesk) -> ClaimedJob {
    loop {
        if let Some(next) = desk.board().take("a") {
            return desk.claim(next.turn.seq).await.expect("written").expect("it waits");
        }
        desk.board().one_came().await;
    }
}

/// Does the work with a desk and a job that has begun.
pub fn with_begun_job(work: impl AsyncFnOnce(&JobDesk, JobId, ClaimedJob)) {
    with_desk(&Scratch::new(), settings(), async |desk| {
        let id = accepted(desk, new_job("x")).await.id;
        let claimed = begun(desk).await;
        work(desk, id, claimed).await;
    });
}

#[test]
fn a_job_is_found_from_its_acceptance_to_its_removal() {
    let scratch = Scratch::new();
    let job = with_desk(&scratch, settings(), async |desk| {
        let job = accepted(desk, new_job("one")).await;
        assert_eq!((job.state, job.attempts), (JobState::Queued, 0));
        let claimed = begun(desk).await;
        assert_eq!((claimed.start.seq, &*claimed.question.text), (job.seq, &b"one"[..]));
        let seen = desk.look(job.id, None).await.expect("read").expect("there");
        assert_eq!((seen.state, seen.attempts), (JobState::Running, 1));
        desk.end(claimed.start, answer("1")).await.expect("written");
        job
    });
    with_desk(&scratch, settings(), async |desk| {
        let kept = desk.result(job.id, None).await.expect("read").expect("there");
        assert_eq!(kept.job.state, JobState::Succeeded);
        assert_eq!(kept.answer, Some((AnswerForm::Plain("text/plain".into()), "1".into())));
        let removed = desk.remove(job.id, None).await.expect("written");
        assert!(matches!(removed, JobRemoval::Removed(_)));
        assert_eq!(desk.look(job.id, None).await.expect("read"), None);
        assert_eq!(desk.remove(job.id, None).await, Ok(JobRemoval::Unknown));
    });
}

#[test]
fn what_ran_when_the_server_ended_runs_again_only_if_it_may() {
    let scratch = Scratch::new();
    let ids = with_desk(&scratch, settings(), async |desk| {
        let mut ids = Vec::new();
        for (text, idempotent) in [("once", false), ("twice", true)] {
            let new = NewJob { idempotent, starts_most: 2, ..new_job(text) };
            ids.push(accepted(desk, new).await.id);
            begun(desk).await;
        }
        ids
    });
    with_desk(&scratch, settings(), async |desk| {
        let once = desk.look(ids[0], None).await.expect("read").expect("there");
        assert_eq!((once.state, once.attempts), (JobState::Failed, 1));
        assert_eq!(once.failure, Some(Failure::ServerEnded), "{once:?}");
        let twice = desk.look(ids[1], None).await.expect("read").expect("there");
        assert_eq!((twice.state, twice.attempts), (JobState::Queued, 1));
        begun(desk).await;
    });
    // The second start was its last.
    with_desk(&scratch, settings(), async |desk| {
        let twice = desk.look(ids[1], None).await.expect("read").expect("there");
        assert_eq!((twice.state, twice.attempts), (JobState::Failed, 2));
        assert_eq!(desk.board().take("a"), None);
    });
}

#[test]
fn the_order_is_that_of_acceptance_shifted_by_priority() {
    let scratch = Scratch::new();
    with_desk(&scratch, settings(), async |desk| {
        for (text, priority_minutes) in [("b", 0), ("a", 1), ("c", 0), ("d", -1)] {
            accepted(desk, NewJob { priority_minutes, ..new_job(text) }).await;
        }
        for expected in ["a", "b", "c", "d"] {
            assert_eq!(begun(desk).await.question.text, expected);
        }
    });
}

#[test]
fn the_same_key_finds_the_same_job_and_another_question_is_refused() {
    let scratch = Scratch::new();
    let keyed = |text: &str, hash, owner: Option<&str>| NewJob {
        repeat: Some(RepeatKey { text: "k".into(), hash: [hash; 32] }),
        owner: owner.map(Arc::from),
        ..new_job(text)
    };
    with_desk(&scratch, settings(), async |desk| {
        let job = accepted(desk, keyed("one", 1, None)).await;
        // Two connections at once.
        let (one, other) =
            tokio::join!(desk.accept(keyed("one", 1, None)), desk.accept(keyed("one", 1, None)));
        for again in [one, other] {
            let Ok(Ok(Acceptance::Known(again))) = again else { panic!("{again:?}") };
            assert_eq!(again.id, job.id);
        }
        let other = desk.accept(keyed("two", 2, None)).await;
        assert_eq!(other, Ok(Err(JobRefusal::KeyReused)));
        let owned = accepted(desk, keyed("two", 2, Some("ann"))).await;
        assert_ne!(owned.id, job.id, "the keys of each caller are their own");
        assert_eq!(desk.board().waiting(), 2);
    });
}

#[test]
fn a_job_with_an_owner_is_there_for_nobody_else() {
    let scratch = Scratch::new();
    with_desk(&scratch, settings(), async |desk| {
        let ann: Option<Arc<str>> = Some("ann".into());
        let id = accepted(desk, NewJob { owner: ann.clone(), ..new_job("x") }).await.id;
        for other in [None, Some("bob".into())] {
            assert_eq!(desk.look(id, other.clone()).await, Ok(None));
            assert_eq!(desk.result(id, other.clone()).await, Ok(None));
            assert_eq!(desk.remove(id, other).await, Ok(JobRemoval::Unknown));
        }
        assert!(desk.look(id, ann).await.expect("read").is_some());
        assert!(matches!(desk.remove_any(id).await, Ok(JobRemoval::Canceled(_))));
    });
}

#[test]
fn more_than_what_may_be_kept_is_refused() {
    let scratch = Scratch::new();
    let few = KeeperSettings { limits: StoreLimits { length: 2, bytes: 1 << 20 }, ..settings() };
    with_desk(&scratch, few, async |desk| {
        let large = NewJob { text: vec![b'x'; 2 << 20].into(), ..new_job("") };
        assert_eq!(desk.accept(large).await, Ok(Err(JobRefusal::Bytes(1 << 20))));
        let first = accepted(desk, new_job("1")).await;
        accepted(desk, new_job("2")).await;
        assert_eq!(desk.accept(new_job("3")).await, Ok(Err(JobRefusal::Length(2))));
        desk.remove(first.id, None).await.expect("written");
        accepted(desk, new_job("3")).await;
    });
}

#[test]
fn a_disk_without_room_takes_no_new_job_and_knows_the_old_ones() {
    let scratch = Scratch::new();
    let keyed = |hash| NewJob {
        repeat: Some(RepeatKey { text: "k".into(), hash: [hash; 32] }),
        ..new_job("x")
    };
    let known = with_desk(&scratch, settings(), async |desk| accepted(desk, keyed(1)).await);
    let no_disk_has_that = KeeperSettings { result: 1 << 50, ..settings() };
    with_desk(&scratch, no_disk_has_that, async |desk| {
        assert_eq!(desk.accept(new_job("4")).await, Ok(Err(JobRefusal::Disk)));
        assert_eq!(accepted(desk, keyed(1)).await.id, known.id);
        assert_eq!(desk.accept(keyed(2)).await, Ok(Err(JobRefusal::KeyReused)));
    });
}

#[test]
fn whichever_comes_first_of_an_end_and_a_cancel_is_final() {
    let scratch = Scratch::new();
    with_desk(&scratch, settings(), async |desk| {
        let id = accepted(desk, new_job("x")).await.id;
        let claimed = begun(desk).await;
        assert!(matches!(desk.remove(id, None).await, Ok(JobRemoval::Canceled(_))));
        desk.end(claimed.start, answer("late")).await.expect("written");
        let kept = desk.result(id, None).await.expect("read").expect("there");
        assert_eq!((kept.job.state, kept.answer), (JobState::Canceled, None));
        desk.give_back(claimed.start, true).await.expect("written");
        assert_eq!(desk.board().take("a"), None);
        // A canceled job that waits is not begun.
        let id = accepted(desk, new_job("y")).await.id;
        desk.remove(id, None).await.expect("written");
        assert_eq!(desk.board().take("a"), None);
    });
}

/// The run that was canceled hears of all that at once.
#[test]
fn a_run_ends_whose_job_was_canceled_and_begun_again_and_the_new_one_goes_on() {
    let scratch = Scratch::new();
    with_desk(&scratch, settings(), async |desk| {
        let id = accepted(desk, NewJob { idempotent: false, ..new_job("x") }).await.id;
        let mut watches = [desk.board().watch(id), desk.board().watch(id)];
        let first = begun(desk).await.start;
        desk.remove(id, None).await.expect("written");
        desk.retry(id).await.expect("written");
        let second = begun(desk).await.start;
        let [old, new] = &mut watches;
        old.until_unwanted(first).await;
        tokio::select! {
            biased;
            () = new.until_unwanted(second) => panic!("its start is the last one"),
            () = std::future::ready(()) => {}
        }
        desk.remove(id, None).await.expect("written");
        new.until_unwanted(second).await;
    });
}

#[test]
fn those_who_watch_a_job_are_told_of_each_change() {
    let scratch = Scratch::new();
    with_desk(&scratch, settings(), async |desk| {
        let id = accepted(desk, new_job("x")).await.id;
        let mut watch = desk.board().watch(id);
        let claimed = begun(desk).await;
        let job = watch.changed().await.expect("open").expect("there");
        assert_eq!(job.state, JobState::Running);
        desk.end(claimed.start, answer("1")).await.expect("written");
        let job = watch.changed().await.expect("open").expect("there");
        assert_eq!(job.state, JobState::Succeeded);
        desk.remove(id, None).await.expect("written");
        assert_eq!(watch.changed().await, Ok(None));
        desk.board().close();
        assert_eq!(watch.changed().await, Err(Closing));
        assert_eq!(desk.board().watch(id).changed().await, Err(Closing));
    });
}

#[test]
fn what_waited_or_was_kept_too_long_goes() {
    let scratch = Scratch::new();
    let brief = |text| NewJob { wait: Duration::ZERO, keep: Duration::ZERO, ..new_job(text) };
    with_desk(&scratch, settings(), async |desk| {
        let id = accepted(desk, brief("x")).await.id;
        let mut watch = desk.board().watch(id);
        let job = watch.changed().await.expect("open").expect("there");
        assert!(matches!(job.failure, Some(Failure::QueueTimeout { .. })), "{job:?}");
        assert_eq!(desk.board().take("a"), None);
        let running = NewJob { wait: Duration::from_mins(1), ..brief("y") };
        let id = accepted(desk, running).await.id;
        let claimed = begun(desk).await;
        let mut watch = desk.board().watch(id);
        desk.end(claimed.start, answer("1")).await.expect("written");
        assert!(watch.changed().await.expect("open").is_some());
        while desk.look(id, None).await.expect("read").is_some() {
            tokio::time::timeout(Duration::from_millis(50), watch.changed()).await.ok();
        }
    });
}

#[test]
fn operators_list_retry_and_back_up() {
    let scratch = Scratch::new();
    let copy = scratch.path().join("copy.db");
    with_desk(&scratch, settings(), async |desk| {
        let mut ids = Vec::new();
        for text in ["1", "2", "3"] {
            ids.push(accepted(desk, new_job(text)).await.id);
        }
        desk.remove(ids[1], None).await.expect("written");
        let listed = async |filter: JobFilter| -> Vec<JobId> {
            let jobs = desk.list(filter).await.expect("read");
            jobs.into_iter().map(|job| job.id).collect()
        };
        let all = JobFilter { limit: 10, ..JobFilter::default() };
        assert_eq!(listed(all.clone()).await, [ids[2], ids[1], ids[0]]);
        let after = JobFilter { after: Some(ids[1]), ..all.clone() };
        assert_eq!(listed(after).await, [ids[0]]);
        let canceled = JobFilter { state: Some(JobState::Canceled), ..all.clone() };
        assert_eq!(listed(canceled).await, [ids[1]]);
        assert!(listed(JobFilter { pool: Some("b".into()), ..all }).await.is_empty());
        let (job, changed) = desk.retry(ids[1]).await.expect("written").expect("there");
        assert_eq!((job.state, changed), (JobState::Queued, true));
        let (_, changed) = desk.retry(ids[0]).await.expect("written").expect("there");
        assert!(!changed, "it waits already");
        assert_eq!(desk.retry(JobId([9; 16])).await, Ok(None));
        desk.back_up(copy.clone()).await.expect("served").expect("written");
        let again = desk.back_up(copy.clone()).await.expect("served");
        assert!(again.is_err(), "a copy is not written over another");
    });
    std::fs::rename(&copy, scratch.file()).expect("the copy takes its place");
    with_desk(&scratch, settings(), async |desk| {
        assert_eq!(desk.board().waiting(), 3);
    });
}
