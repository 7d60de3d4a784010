//! Functions of Python that take several calls as one (`@httpipe.batch`), and those whose own routes
//! take many items and jobs (`@httpipe.route`).

use crate::jobs::{asked, ended, state};
use crate::python_calls::serve;
use crate::support::{Answer, Pending, Server};

const JSON: &str = "Content-Type: application/json";

/// Notes which words come together. One that may not run twice is `once`.
const WORDS: &str = r#"
import os, signal, time
import httpipe

def _work(word):
    with open("seen", "a") as seen:
        seen.write(" ".join(word) + "\n")
    while "hold" in word and not os.path.exists("go"):
        time.sleep(0.01)
    if "raise" in word:
        raise ValueError("a bad word")
    if "crash" in word:
        os._exit(101)
    while "hang" in word:
        signal.pause()
    return word[1:] if "less" in word else word

@httpipe.pure
@httpipe.batch(16)
def say(word: list[str]) -> list[str]:
    return _work(word)

@httpipe.batch(16)
def once(word: list[str]) -> list[str]:
    return _work(word)
"#;

/// Asks these while the only worker is busy; the order in which they wait is any. Returns what became of each in short: its own answer, or
/// the status and the code.
fn together(server: &Server, name: &str, words: &[String]) -> Vec<String> {
    let held = server.client().get_later("/say?word=hold");
    server.wait_until("the worker is busy", |server| server.seen().len() == 1);
    let ask = |word: &String| server.client().get_later(&format!("/{name}?word={word}"));
    let asked: Vec<Pending> = words.iter().map(ask).collect();
    let waiting = |server: &Server| server.status()["pools"][0]["queue"]["length"].clone();
    server.wait_until("all wait", |server| waiting(server) == words.len());
    server.write("go", "");
    assert_eq!(held.answer().body, "\"hold\"");
    let told = |answer: Answer| match answer.status {
        200 => answer.body.trim_matches('"').to_owned(),
        status => format!("{status} {}", answer.code()),
    };
    asked.into_iter().map(Pending::answer).map(told).collect()
}

fn sorted(words: &str) -> Vec<&str> {
    let mut words: Vec<&str> = words.split(' ').collect();
    words.sort_unstable();
    words
}

/// Fifteen good words, and this one among them.
fn fifteen_and(bad: &str) -> Vec<String> {
    let good = (0..15).map(|number| format!("w{number}"));
    let mut words: Vec<String> = good.collect();
    words.insert(11, bad.to_owned());
    words
}

/// What is told if only the bad word fails.
fn all_but(words: &[String], bad: &str, told: &str) -> Vec<String> {
    let said = |word: &String| if word == bad { told.to_owned() } else { word.clone() };
    words.iter().map(said).collect()
}

#[test]
fn what_waits_goes_to_a_function_together_and_is_counted() {
    let server = serve("calculate.py:*", WORDS).start();
    let words = fifteen_and("w15");
    assert_eq!(together(&server, "say", &words), words);
    let [hold, all] = &server.seen()[..] else { panic!("{:?}", server.seen()) };
    assert_eq!((&**hold, sorted(all)), ("hold", sorted(&words.join(" "))));
    assert_eq!(server.metric("httpipe_batch_size_count"), 2.0);
    assert_eq!(server.metric("httpipe_batch_size_sum"), 17.0);
    // Two functions of one group run one after the other.
    assert_eq!(server.client().get("/once?word=a").body, "\"a\"");
}

#[test]
fn one_call_that_makes_a_function_raise_fails_no_other() {
    let server = serve("calculate.py:*", WORDS).start();
    let words = fifteen_and("raise");
    assert_eq!(together(&server, "say", &words), all_but(&words, "raise", "500 program_error"));
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
    // 16, then 8 8, of which one is halved: 4 4, 2 2, 1 1.
    assert_eq!(server.seen().len(), 1 + 1 + 2 * 4, "{:?}", server.seen());
}

#[test]
fn one_call_that_makes_a_function_forget_one_fails_no_other() {
    let server = serve("calculate.py:*", WORDS).start();
    let words = fifteen_and("less");
    assert_eq!(together(&server, "say", &words), all_but(&words, "less", "500 program_error"));
}

#[test]
fn one_call_that_crashes_a_function_fails_no_other_and_costs_five_workers_at_most() {
    let server = serve("calculate.py:*", WORDS).start();
    let words = fifteen_and("crash");
    assert_eq!(together(&server, "say", &words), all_but(&words, "crash", "502 worker_lost"));
    let lost = |server: &Server| server.metric("httpipe_worker_exits_total{reason=\"crash\"}");
    server.wait_until("there is a worker again, and the last one is counted", |server| {
        server.metric("httpipe_workers{state=\"ready\"}") == 1.0 && lost(server) >= 1.0
    });
    let lost = lost(&server);
    assert!((1.0..=5.0).contains(&lost), "{lost}");
}

#[test]
fn one_call_that_hangs_fails_no_other() {
    let server = serve("calculate.py:*", WORDS).option("--timeout").option("3s").start();
    let words = fifteen_and("hang");
    assert_eq!(together(&server, "say", &words), all_but(&words, "hang", "504 timeout"));
}

/// Answers with a text of so many mebibytes.
const LONG: &str = r#"
import os, time
import httpipe

@httpipe.pure
@httpipe.batch(16)
def say(word: list[str]) -> list[str]:
    with open("seen", "a") as seen:
        seen.write(" ".join(word) + "\n")
    while "hold" in word and not os.path.exists("go"):
        time.sleep(0.01)
    return [one if one == "hold" else "x" * (int(one) << 20) for one in word]
"#;

#[test]
fn each_answer_of_a_group_may_be_as_long_as_one_alone() {
    let server = serve("calculate.py:*", LONG).start();
    let mut words = vec!["2".to_owned(); 15];
    words.insert(11, "17".to_owned());
    let told = together(&server, "say", &words);
    let is_right = |(word, told): (&String, &String)| match &**word {
        "17" => told == "502 bad_answer",
        _ => told.len() == 2 << 20,
    };
    let lengths: Vec<usize> = told.iter().map(String::len).collect();
    assert!(words.iter().zip(&told).all(is_right), "{lengths:?}");
    assert_eq!(server.seen().len(), 2, "they were together");
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn calls_that_may_not_run_twice_go_together_and_fail_together() {
    let server = serve("calculate.py:*", WORDS).start();
    let words = ["a", "raise", "b"].map(str::to_owned);
    assert_eq!(together(&server, "once", &words), ["500 program_error"; 3]);
    let seen = server.seen();
    assert_eq!(seen.len(), 2, "none of them ran twice: {seen:?}");
    assert_eq!(sorted(&seen[1]), ["a", "b", "raise"]);
}

/// Renders pages, whose routes take items and jobs.
const PAGES: &str = r#"
import httpipe

@httpipe.route(items=3, jobs=True)
def render(page: int) -> str:
    if page < 0:
        raise httpipe.Error("no such page", 404)
    return "page %d" % page

def plain(page: int) -> int:
    return page
"#;

#[test]
fn the_own_routes_of_a_function_take_items_and_jobs_if_it_says_so() {
    let plan = Server::args(&["calculate.py:*", "--workers", "2", "--jobs-file", "jobs.db"]);
    let server = plan.file("calculate.py", PAGES).start();
    let job = asked(&server, "/render?page=4", "");
    assert_eq!(state(&ended(&server, &job)), "succeeded");
    assert_eq!(server.client().get(&format!("{job}/result")).body, "\"page 4\"");
    let prefer = ["Prefer: respond-async", JSON];
    let get = server.client().request("GET", "/render?page=5", &prefer, "");
    assert_eq!(get.status, 202, "{get:?}");
    let many = |target: &str, body: &str| server.client().request("POST", target, &[JSON], body);
    let items = many("/render", "[{\"page\": 1}, 2, -1]");
    assert_eq!(items.status, 200, "{items:?}");
    let lines: Vec<&str> = items.body.lines().collect();
    assert_eq!(lines[0], "{\"index\":0,\"status\":200,\"body\":\"page 1\"}");
    assert_eq!(lines[1], "{\"index\":1,\"status\":200,\"body\":\"page 2\"}");
    assert!(lines[2].contains("\"status\":404") && lines.len() == 3, "{lines:?}");
    assert!(many("/render", "[1,2,3,4]").body.contains("too_many_items"));
    // What says nothing has neither.
    assert_eq!(many("/plain", "[1]").status, 400);
    let prefer = server.client().request("GET", "/plain?page=1", &prefer, "");
    assert_eq!((prefer.status, prefer.body.as_str()), (200, "1"));
}

#[test]
fn a_function_with_jobs_needs_a_file_for_them() {
    let plan = Server::args(&["calculate.py:*", "--workers", "2"]);
    let said = plan.file("calculate.py", PAGES).refused().stderr;
    assert!(said.contains("`@httpipe.route` of `render`: `jobs` needs a file"), "{said}");
    assert!(said.contains("`--jobs-file jobs.db`"), "{said}");
}
