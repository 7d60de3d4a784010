//! Servers that die, and disks that lose what was not yet told to be there.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use rusqlite::Connection;

use super::*;

/// Names the directory of a child, and the moment at which it dies.
const CHILD: &str = "HTTPIPE_TEST_JOBS_CHILD";

/// The route of jobs that may not run twice.
const ONCE: &str = "POST /once";

/// What a child was promised, a line each: `accepted ID`, `claimed ID`, `ended ID`.
fn promise(what: &str, id: JobId) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "promise {what} {id}").expect("the parent reads");
    out.flush().expect("the parent reads");
}

/// Not a test of its own: the process that `dies_at_each_commit` starts.
#[test]
fn child_that_dies() {
    #[allow(clippy::disallowed_methods, reason = "the parent says where")]
    let Ok(told) = std::env::var(CHILD) else { return };
    let (directory, moment) = told.split_once('|').expect("both");
    let file = Path::new(directory).join("jobs.db");
    let (desk, _thread) = open(&file, settings()).expect("it can be opened");
    super::super::fixture::die_at(moment.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let keys = Cell::new(0);
        let accept = async |number: usize| {
            let key = keys.get() + 1;
            keys.set(key);
            writeln!(std::io::stdout(), "asked {number} {key}").expect("the parent reads");
            let new = keyed(number, key);
            promise("accepted", accepted(&desk, new).await.id);
        };
        let run = async |()| {
            let claimed = begun(&desk).await;
            let id = claimed.question.text.as_ref();
            let id = str::from_utf8(id).expect("a name").parse().expect("a name");
            promise("claimed", id);
            desk.end(claimed.start, answer("a")).await.expect("written");
            promise("ended", id);
        };
        for round in 0..4 {
            tokio::join!(accept(round), accept(round + 1), accept(round + 2));
            tokio::join!(run(()), accept(round + 3), run(()));
        }
    });
    writeln!(std::io::stdout(), "promise all done").expect("the parent reads");
}

/// A job that may run twice if its number is even, with a key of its own.
fn keyed(number: usize, key: u8) -> NewJob {
    let idempotent = number.is_multiple_of(2);
    let route = if idempotent { "POST /again" } else { ONCE };
    let repeat = Some(RepeatKey { text: format!("key {key}").into(), hash: [key; 32] });
    let mut new = NewJob { route: route.into(), idempotent, repeat, ..new_job("") };
    new.text = new.id.to_string().into();
    new
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the child is this very binary")]
fn it_dies_at_each_commit_and_keeps_what_it_promised() {
    let mut found_by_key = 0;
    for moment in 1.. {
        let scratch = Scratch::new();
        let child = std::process::Command::new(std::env::current_exe().expect("it runs"))
            .args(["--exact", "jobs::tests::deaths::child_that_dies", "--nocapture"])
            .env(CHILD, format!("{}|{moment}", scratch.path().display()))
            .output()
            .expect("the child starts");
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        let mut promised: HashMap<&str, &str> = HashMap::new();
        for line in said.lines().filter_map(|line| line.strip_prefix("promise ")) {
            let (what, id) = line.split_once(' ').expect("two words");
            promised.insert(id, what);
        }
        if promised.remove("done").is_some() {
            assert!(moment > 20, "it had many commits");
            assert!(found_by_key > 3, "{found_by_key} were there that nobody was told of");
            return;
        }
        let asked = said.lines().filter_map(|line| line.strip_prefix("asked "));
        with_desk(&scratch, settings(), async |desk| {
            // A caller that was not answered asks again, with its key.
            for asked in asked {
                let (number, key) = asked.split_once(' ').expect("two numbers");
                let new = keyed(number.parse().expect("a number"), key.parse().expect("a number"));
                match desk.accept(new).await.expect("written").expect("the same question") {
                    Acceptance::Known(job) if promised.contains_key(&*job.id.to_string()) => {}
                    Acceptance::Known(_) => found_by_key += 1,
                    Acceptance::New(job) => {
                        let id = job.id.to_string();
                        assert!(!promised.contains_key(&*id), "it was promised under its key");
                    }
                }
            }
            for (id, what) in promised {
                let id = id.parse().expect("a name");
                let kept = desk.result(id, None).await.expect("read");
                let KeptJob { job, answer } = kept.unwrap_or_else(|| {
                    panic!("{what} {id} is lost, died at {moment}");
                });
                match what {
                    "ended" => {
                        assert_eq!((job.state, answer.is_some()), (JobState::Succeeded, true));
                    }
                    "claimed" if &*job.route == ONCE => assert!(job.state.has_ended(), "{job:?}"),
                    _ => {}
                }
            }
        });
    }
}

/// A page in the log, and what is said of it.
const FRAME: usize = 4096 + 24;

/// A disk that loses power keeps any beginning of the log. Whatever beginning that is, the jobs are
/// those after some number of commits, with all that belongs to each.
#[test]
fn the_log_cut_anywhere_is_a_beginning_of_the_story() {
    let scratch = Scratch::new();
    let (database, log) = with_desk(&scratch, settings(), async |desk| {
        for number in 0..9 {
            accepted(desk, new_job(&number.to_string())).await;
            if number % 3 == 2 {
                let claimed = begun(desk).await;
                desk.end(claimed.start, answer("a")).await.expect("written");
            }
        }
        let read = |name: &str| std::fs::read(scratch.path().join(name)).expect("it is there");
        (read("jobs.db"), read("jobs.db-wal"))
    });
    let frames = (log.len() - 32) / FRAME;
    assert!(frames > 20, "{frames} frames");
    let mut counts = Vec::new();
    for frame in 0..=frames {
        for cut in [-1_isize, 0, 1] {
            let length = (32 + frame * FRAME).saturating_add_signed(cut).min(log.len());
            let scratch = Scratch::new();
            std::fs::write(scratch.file(), &database).expect("written");
            std::fs::write(scratch.path().join("jobs.db-wal"), &log[..length]).expect("written");
            let (desk, thread) = open(&scratch.file(), settings()).expect("it can be opened");
            drop(desk);
            thread.join();
            counts.push(story(&scratch.file()));
        }
    }
    assert!(counts.is_sorted(), "more of the log is more of the story: {counts:?}");
    assert_eq!(counts.last(), Some(&(9, 3)));
}

/// Returns how many jobs there are and how many have answers; all are whole.
fn story(file: &Path) -> (i64, i64) {
    let connection = Connection::open(file).expect("nobody has it");
    let text: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("SQL");
    assert_eq!(text, "ok");
    let number =
        |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("SQL");
    let jobs = number("SELECT count(*) FROM job");
    assert_eq!(number("SELECT count(*) FROM job JOIN question ON job = seq"), jobs);
    let answers = number("SELECT count(*) FROM answer");
    assert_eq!(number("SELECT count(*) FROM job WHERE state = 2"), answers);
    (jobs, answers)
}
