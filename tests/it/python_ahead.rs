//! Calls of functions that are sent to a worker ahead, and taken back when the one before is slow.

use crate::support::{Pending, Server};

/// Functions that note each run, for calls that may not run twice.
const NOTES: &str = r#"
import os, signal, time

def note(name: str) -> str:
    with open("ran", "a") as file: file.write(name + "\n")
    return name

def hold() -> str:
    while not os.path.exists("go"): time.sleep(0.01)
    return "held"

def crash(): os.kill(os.getpid(), signal.SIGKILL)

def size(data: bytes) -> int: return len(data)
"#;

/// How many calls come at once.
const BURST: usize = 30;

/// A server with two workers whose calls were seen to be short.
fn warm() -> Server {
    let server = Server::args(&["calculate.py:*", "--workers", "2"]);
    let server = server.file("calculate.py", NOTES).start();
    let mut caller = server.client().connect();
    for _ in 0..100 {
        assert_eq!(caller.get("/note?name=warm").status, 200);
    }
    server.write("ran", "");
    server
}

/// Sends this request and many short ones while the server is stopped, so that it finds all at once,
/// and sends some of the short ones behind the first.
fn burst(server: &Server, first: &str) -> (Pending, Vec<Pending>) {
    server.signal("STOP");
    let note = |number| server.client().get_later(&format!("/note?name={number}"));
    let first = server.client().get_later(first);
    let notes = (0..BURST).map(note).collect();
    server.signal("CONT");
    (first, notes)
}

/// Every short call is answered, and ran once.
fn all_ran_once(server: &Server, notes: Vec<Pending>) {
    for (number, note) in notes.into_iter().enumerate() {
        let answer = note.answer();
        assert_eq!((answer.status, answer.body), (200, format!("\"{number}\"")));
    }
    let ran = server.read("ran");
    let mut ran: Vec<usize> = ran.lines().map(|line| line.parse().expect("a number")).collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..BURST).collect::<Vec<_>>());
}

#[test]
fn calls_behind_a_slow_one_run_elsewhere_and_once() {
    let server = warm();
    let (held, notes) = burst(&server, "/hold");
    all_ran_once(&server, notes);
    server.put("go");
    assert_eq!(held.answer().body, "\"held\"");
}

#[test]
fn a_crash_costs_the_call_that_ran_and_no_call_behind_it() {
    let server = warm();
    let (crashed, notes) = burst(&server, "/crash");
    assert_eq!(crashed.answer().code(), "worker_lost");
    all_ran_once(&server, notes);
}

#[test]
fn long_questions_among_short_ones_arrive_whole() {
    let server = warm();
    server.signal("STOP");
    let sizes = [4000, 4096, 5000, 70_000, 1_000_000];
    let ask = |size: usize| server.client().post_later("/size", &"x".repeat(size));
    let mixed: Vec<_> = sizes
        .iter()
        .map(|size| (ask(*size), server.client().get_later(&format!("/note?name={size}"))))
        .collect();
    server.signal("CONT");
    for (size, (long, short)) in sizes.iter().zip(mixed) {
        assert_eq!(long.answer().body, size.to_string());
        assert_eq!(short.answer().body, format!("\"{size}\""));
    }
}
