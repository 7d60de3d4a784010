//! Servers that are killed at random moments while jobs are asked for and done.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::jobs::{ASYNC, in_file, kept_file, noting};
use crate::support::{Server, pause, whole_machine};

const CLIENTS: usize = 8;
/// What each asks for in a round at most: an idle machine accepts a hundred times what it can do.
const ASKED_MOST: usize = 24;

/// Every job that was accepted, with the question of each.
type Promised = Mutex<BTreeMap<String, String>>;

/// Asks for jobs until the server is gone, or it was enough.
fn ask_for_jobs(server: &Server, name: &str, stop: &AtomicBool, promised: &Promised) {
    for number in 0..ASKED_MOST {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let route = if number % 2 == 0 { "/once" } else { "/again" };
        // Each takes some milliseconds, so that some run when the server dies.
        let question = format!("sleep 0.00{} {route} {name}-{number}", number % 10);
        let mut connection = server.client().connect();
        let text = crate::support::request("POST", route, &[ASYNC], &question);
        if !connection.try_send(&text) {
            return;
        }
        let Some(answer) = connection.try_answer() else { return };
        if answer.status == 202 {
            let path = answer.header("location").to_owned();
            promised.lock().expect("no thread panics").insert(path, question);
        }
    }
}

/// Kills the server in each round at a random moment, and looks after the last one what became of
/// everything that was promised.
fn kill_in_rounds(rounds: usize, name: &str) {
    let _alone = whole_machine();
    let file = kept_file(name);
    let log = file.with_extension("runs");
    std::fs::remove_file(&log).ok();
    let plan = || {
        let notes = crate::jobs::NOTES.replace("runs.log", &log.display().to_string());
        noting(&in_file(&file)).file("notes.py", &notes)
    };
    let promised = Promised::default();
    let mut random = fastrand_like(0x5eed);
    for round in 0..rounds {
        // In one round of three it dies before its workers have begun.
        let mut server = if round % 3 == 0 { plan().start_unready() } else { plan().start() };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (server, stop, promised) = (&server, &stop, &promised);
                scope.spawn(move || {
                    ask_for_jobs(server, &format!("{round}-{client}"), stop, promised);
                });
            }
            pause(Duration::from_millis(random() % 400), "it dies at a random moment");
            server.signal("KILL");
            stop.store(true, Ordering::Relaxed);
        });
        server.exit_code();
    }
    let server = plan().start();
    let promised = promised.into_inner().expect("no thread panicked");
    assert!(promised.len() > rounds, "{} were promised", promised.len());
    let deadline = Instant::now() + Duration::from_mins(4);
    let (mut lost, mut again) = (0, 0);
    for (path, question) in &promised {
        loop {
            let answer = server.client().request("GET", path, &["Prefer: wait=10"], "");
            assert_eq!(answer.status, 200, "{question} at {path} is lost");
            let state = answer.json()["state"].as_str().expect("a text").to_owned();
            match state.as_str() {
                "succeeded" | "failed" => {
                    lost += usize::from(state == "failed");
                    again += usize::from(answer.json()["attempts"].as_u64() > Some(1));
                    break;
                }
                _ => assert!(Instant::now() < deadline, "{question} is still {state}"),
            }
        }
    }
    let ran = std::fs::read_to_string(&log).unwrap_or_default();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for line in ran.lines() {
        *counts.entry(line).or_default() += 1;
    }
    let twice: Vec<_> =
        counts.iter().filter(|(line, count)| line.contains(" /once ") && **count > 1).collect();
    assert!(twice.is_empty(), "ran twice: {twice:?}");
    let promised = promised.len();
    writeln!(
        std::io::stdout(),
        "{promised} promised, {lost} lost while they ran, {again} ran again"
    )
    .expect("somebody reads");
    assert!(rounds < 100 || (lost > 0 && again > 0), "servers died while jobs ran");
    std::fs::remove_file(&log).ok();
}

/// A row of numbers that looks random.
fn fastrand_like(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    }
}

#[test]
fn no_promise_is_lost_and_nothing_is_done_twice() {
    kill_in_rounds(6, "deaths");
}

#[test]
#[ignore = "takes some minutes: cargo test --test it -- --ignored two_hundred"]
fn two_hundred_servers_are_killed() {
    kill_in_rounds(200, "many-deaths");
}
