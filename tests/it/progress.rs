//! Programs and functions say how far a call is: those who look at a job see it, and callers who take
//! an answer in parts as events. It is never an answer, and gives nobody more time.

use serde_json::{Value, json};

use crate::jobs::{asked, ended};
use crate::python_calls::serve;
use crate::support::{Plan, Server};

/// Says of each question that a quarter is done, waits for the file `go`, and answers. The words after
/// the program say how: `{i}` stands for the question, `{t}` for its tag or its id.
pub(crate) const QUARTER: &str = r#"
import json, os, sys, time
said, answer = sys.argv[1:3]
for line in sys.stdin:
    question, tag = line.rstrip("\n"), ""
    if question[:1] == "{":
        tag = str(json.loads(question)["id"])
    elif "-tag" in sys.argv:
        tag, _, question = question.partition(" ")
    for text in (said, answer):
        print(text.replace("{i}", question).replace("{t}", tag), flush=True)
        while text is said and not os.path.exists("go"):
            time.sleep(0.003)
"#;

fn quarter(keys: &str, words: &str) -> Plan {
    Server::with(&format!("workers = 2\nstop_grace = \"50ms\"\n{keys}"))
        .worker(&format!("python3 -u quarter.py {words}"))
        .file("quarter.py", QUARTER)
        .top("jobs = {}")
}

/// The progress of a job.
fn progress(server: &Server, path: &str) -> Value {
    server.client().get(path).json()["progress"].clone()
}

/// Waits until a job is this far.
fn wait_for(server: &Server, path: &str, wanted: &Value) {
    server.wait_until("the job is this far", |server| progress(server, path) == *wanted);
}

#[test]
fn the_job_of_any_kind_of_program_shows_how_far_it_is() {
    let page = json!({ "fraction": 0.25, "text": "page 1" });
    let shape = "progress = \"p|{input}|{percent}|{text}\"";
    let echoing = format!("{shape}\nreply = \"{{input}}|{{result}}\"");
    let plain = "'p|{i}|25|page 1' '{i}|did'";
    let told = r#""progress":{"fraction":0.25,"text":"page 1"}"#;
    for (keys, words, send) in [
        (shape.to_owned(), plain, "{a}"),
        (echoing.clone(), plain, "{a}"),
        (format!("{echoing}\nmatching = \"echo\""), plain, "{a}"),
        (
            "matching = \"tag\"\nprogress = \"p {fraction} {text}\"".to_owned(),
            "'{t} p 0.25 page 1' '{t} did' -tag",
            "{a}",
        ),
        ("progress = \"json\"".to_owned(), &*format!("'{{{told}}}' 'did'"), "{a}"),
        (
            "matching = \"json-id\"\nprogress = \"json\"".to_owned(),
            &*format!("'{{\"id\":{{t}},{told}}}' '{{\"id\":{{t}},\"did\":1}}'"),
            "json",
        ),
    ] {
        let route = format!("match = \"POST /?a={{a}}\"\nsend = \"{send}\"\njobs = true");
        let server = quarter(&keys, words).route(&route).start();
        let path = asked(&server, "/?a=b", "");
        wait_for(&server, &path, &page);
        let waited = server.client().request("GET", &path, &["Prefer: wait=0"], "");
        assert_eq!(waited.json()["progress"], page, "{keys}");
        server.put("go");
        let job = ended(&server, &path).json();
        assert_eq!(
            (&job["state"], &job["progress"]),
            (&json!("succeeded"), &Value::Null),
            "{keys}"
        );
        let answer = server.client().get(&format!("{path}/result"));
        assert!(answer.status == 200 && answer.body.contains("did"), "{keys}: {answer:?}");
        assert!(!answer.body.contains("page"), "{keys}: {answer:?}");
    }
}

/// The text of the first fence of this language below the heading about progress.
fn shown(language: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/jobs.md");
    let page = std::fs::read_to_string(path).expect("there is such a page");
    let (_, section) = page.split_once("## How far it is\n").expect("a section");
    let (_, fence) = section.split_once(&format!("```{language}\n")).expect("an example");
    fence.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn the_page_about_jobs_shows_what_works() {
    let server = Server::config(&shown("toml")).file("render.py", &shown("python")).start();
    let path = asked(&server, "/render", "cover");
    server.wait_until("it says how far it is", |server| {
        progress(server, &path)["text"].as_str().is_some_and(|text| text.starts_with("page "))
    });
    assert_eq!(ended(&server, &path).json()["state"], "succeeded");
    assert_eq!(server.client().get(&format!("{path}/result")).body, r#"{"result":"done"}"#);
}

#[test]
fn who_watches_a_job_is_told_of_its_progress() {
    let words = "'p|{i}|25|page 1' '{i}|did'";
    let server = quarter("progress = \"p|{input}|{percent}|{text}\"", words)
        .route("match = \"POST /\"\njobs = true")
        .start();
    let path = asked(&server, "/", "a");
    let mut watcher = server.client().connect();
    watcher.ask("GET", &path, &["Accept: text/event-stream"], "");
    assert_eq!(watcher.head().status, 200);
    let mut told = String::new();
    while !told.contains(r#""progress":{"fraction":0.25,"text":"page 1"}"#) {
        told += &watcher.chunk().expect("an event");
    }
    server.put("go");
    while !told.contains(r#""state":"succeeded""#) {
        told += &watcher.chunk().expect("an event");
    }
}

#[test]
fn progress_that_names_another_question_is_a_mismatch() {
    let words = "'p|other|25|page 1' '{i}|did'";
    let keys =
        "retries = 0\nprogress = \"p|{input}|{percent}|{text}\"\nreply = \"{input}|{result}\"";
    let server = quarter(keys, words).route("match = \"POST /\"").start();
    let answer = server.client().post("/", "a");
    assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"), "{answer:?}");
}

#[test]
fn progress_gives_a_call_no_more_time() {
    let program = "
import sys, time
for line in sys.stdin:
    while True:
        print('p|' + line.strip() + '|50', flush=True)
        time.sleep(0.02)
";
    let keys = "workers = 2\nstop_grace = \"50ms\"\nretries = 0\ntimeout = \"300ms\"\n\
                progress = \"p|{input}|{percent}\"";
    let server = Server::with(keys)
        .worker("python3 -u endless.py")
        .file("endless.py", program)
        .top("jobs = {}")
        .route("match = \"POST /\"")
        .route("match = \"POST /job\"\njobs = { timeout = \"300ms\" }")
        .start();
    assert_eq!(server.client().post("/", "a").code(), "timeout");
    let job = ended(&server, &asked(&server, "/job", "a")).json();
    assert_eq!((&job["state"], &job["problem"]["code"]), (&json!("failed"), &json!("timeout")));
}

#[test]
fn a_caller_who_takes_events_sees_progress_before_and_between_the_parts() {
    let program = r#"
import os, sys, time
def wait(name):
    while not os.path.exists(name):
        time.sleep(0.003)
for line in sys.stdin:
    print("p|" + line.strip() + "|50|half", flush=True)
    wait("go0")
    print("part", flush=True)
    wait("go1")
    print("p|" + line.strip() + "|75|more", flush=True)
    wait("go2")
    print("END", flush=True)
"#;
    let keys = "workers = 1\nstream = \"until:END\"\nprogress = \"p|{input}|{percent}|{text}\"";
    let server = Server::with(keys).worker("python3 -u parts.py").file("parts.py", program).start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &["Accept: text/event-stream"], "a");
    assert_eq!(caller.head().status, 200);
    let half = "event: progress\ndata: {\"fraction\":0.5,\"text\":\"half\"}\n\n";
    assert_eq!(caller.chunk().as_deref(), Some(half));
    server.put("go0");
    assert_eq!(caller.chunk().as_deref(), Some("data: part\n\n"));
    server.put("go1");
    let more = "event: progress\ndata: {\"fraction\":0.75,\"text\":\"more\"}\n\n";
    assert_eq!(caller.chunk().as_deref(), Some(more));
    server.put("go2");
    assert_eq!(caller.chunk().as_deref(), Some("event: done\ndata: \n\n"));
    assert_eq!(server.answers("a").body, "part\n", "who takes no events sees the parts alone");
}

/// Says endless progress of a question `flood`, with long texts.
const FLOOD: &str = r#"
import os, sys
for line in sys.stdin:
    question = line.strip()
    while question == "flood" and not os.path.exists("go"):
        for number in range(100):
            print("p|flood|%d|%s" % (number, "x" * 100_000))
    print(question + "|did", flush=True)
"#;

#[test]
fn a_program_that_says_too_much_of_its_progress_disturbs_nobody() {
    let keys =
        "workers = 2\nprogress = \"p|{input}|{percent}|{text}\"\nreply = \"{input}|{result}\"";
    let server = Server::with(keys)
        .worker("python3 flood.py")
        .file("flood.py", FLOOD)
        .top("jobs = {}")
        .route("match = \"POST /\"\njobs = true")
        .start();
    let path = asked(&server, "/", "flood");
    server.wait_until("it is told", |server| progress(server, &path) != Value::Null);
    let before = server.memory();
    for number in 0..50 {
        let answer = server.client().post("/", &number.to_string());
        assert_eq!(answer.body, "{\"result\":\"did\"}", "{answer:?}");
    }
    let text = progress(&server, &path)["text"].as_str().expect("a text").len();
    assert_eq!(text, 1024, "a long text is cut off");
    let after = server.memory();
    assert!(after < before + (64 << 20), "{before} bytes became {after}");
    server.put("go");
    assert_eq!(ended(&server, &path).json()["state"], "succeeded");
}

/// Functions that say how far they are, and wait for the file `go`.
const FUNCTIONS: &str = r#"
import os, time
from typing import Iterator
import httpipe

def go() -> bool:
    return os.path.exists("go")

def plain() -> str:
    httpipe.progress(0.4, "page 4")
    while not go():
        time.sleep(0.003)
    return "did"

def count() -> Iterator[int]:
    httpipe.progress(0.4, "page 4")
    while not go():
        time.sleep(0.003)
    yield 1
"#;

#[test]
fn functions_say_how_far_they_are() {
    let page = json!({ "fraction": 0.4, "text": "page 4" });
    let config = "[jobs]\n[pool.calc]\npython = \"calculate.py:plain\"\nworkers = 2\n\
                  [[route]]\nmatch = \"POST /plain\"\nfunction = \"plain\"\njobs = true\n";
    let server = Server::config(config).file("calculate.py", FUNCTIONS).start();
    let path = asked(&server, "/plain", "{}");
    wait_for(&server, &path, &page);
    server.put("go");
    assert_eq!(ended(&server, &path).json()["state"], "succeeded");
    assert_eq!(server.client().get(&format!("{path}/result")).body, "\"did\"");
    let server = serve("calculate.py:count", FUNCTIONS).start();
    let mut caller = server.client().connect();
    caller.ask("GET", "/count", &["Accept: text/event-stream"], "");
    assert_eq!(caller.head().status, 200);
    let told = "event: progress\ndata: {\"fraction\":0.4,\"text\":\"page 4\"}\n\n";
    assert_eq!(caller.chunk().as_deref(), Some(told));
    server.put("go");
    assert_eq!(caller.chunk().as_deref(), Some("data: 1\n\n"));
}
