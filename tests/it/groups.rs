//! Calls that go to a worker together (`batch`): each gets its own answer, and one bad call is found.

use crate::support::{Answer, Pending, Plan, Server};

/// Answers each question of an array with itself, and misbehaves where a question says so.
const WORKER: &str = r#"
import json, os, signal, sys, time

def answers(group):
    for word in group:
        if word == "hold":
            while not os.path.exists("go"):
                time.sleep(0.01)
        if word == "gate":
            while not os.path.exists("open"):
                time.sleep(0.01)
        if word == "crash":
            os._exit(101)
        if word == "hang":
            signal.pause()
        if word == "less":
            continue
        if word == "more":
            yield word
        yield {"failed": "no"} if word == "error" else word

for line in sys.stdin:
    group = json.loads(line)
    with open("seen", "a") as seen:
        seen.write(" ".join(group) + "\n")
    print(json.dumps(list(answers(group))), flush=True)
"#;

/// The same, with a question and an answer on each line, and an empty line at their end.
const LINES: &str = r#"
import os, sys, time

group = []
for line in sys.stdin:
    if line != "\n":
        group.append(line.rstrip("\n"))
        continue
    with open("seen", "a") as seen:
        seen.write(" ".join(group) + "\n")
    if "hold" in group:
        while not os.path.exists("go"):
            time.sleep(0.01)
    print("\n".join(group) + "\n", flush=True)
    group = []
"#;

fn plan(pool: &str, worker: &str) -> Plan {
    Server::with(&format!("workers = 1\n{pool}"))
        .file("worker.py", worker)
        .worker("python3 worker.py")
        .route("match = \"POST /\"\nsend = \"{body}\"\nidempotent = true")
        .route("match = \"POST /once\"\nsend = \"{body}\"")
}

fn arrays(pool: &str) -> Server {
    plan(&format!("batch = {{ most = 16 }}\nreply = \"json\"\n{pool}"), WORKER).start()
}

/// Asks these while the only worker is busy, so that they go together once it is free. Returns what
/// the callers were told.
fn together(server: &Server, target: &str, words: &[&str]) -> Vec<Answer> {
    let asked = wait_together(server, target, words);
    server.write("go", "");
    asked.into_iter().map(Pending::answer).collect()
}

/// Asks these while the only worker is busy.
fn wait_together(server: &Server, target: &str, words: &[&str]) -> Vec<Pending> {
    let held = server.client().post_later("/", "\"hold\"");
    server.wait_until("the worker is busy", |it| it.seen().len() == 1);
    let ask = |(before, word): (usize, &&str)| {
        let asked = server.client().post_later(target, &format!("\"{word}\""));
        server
            .wait_until("it waits", |it| it.status()["pools"][0]["queue"]["length"] == before + 1);
        asked
    };
    let asked = words.iter().enumerate().map(ask).collect();
    drop(held);
    asked
}

/// What callers were told in short: their own answer, or a code.
fn told(answers: &[Answer]) -> Vec<String> {
    let word = |answer: &Answer| match answer.status {
        200 => answer.body.trim_matches('"').to_owned(),
        _ => answer.code(),
    };
    answers.iter().map(word).collect()
}

#[test]
fn calls_that_wait_go_together_and_each_gets_its_own_answer() {
    let server = arrays("");
    let words = ["a", "b", "c", "d", "e"];
    assert_eq!(told(&together(&server, "/", &words)), words);
    assert_eq!(server.seen(), ["hold", "a b c d e"]);
    assert_eq!(server.metric("httpipe_batch_size_count"), 2.0);
    assert_eq!(server.metric("httpipe_batch_size_sum"), 6.0);
}

#[test]
fn lines_go_together_in_a_block() {
    let server = plan("framing = \"block\"\nbatch = { most = 3 }", LINES).start();
    let held = server.client().post_later("/", "hold");
    server.wait_until("the worker is busy", |it| it.seen().len() == 1);
    let asked: Vec<Pending> =
        ["a", "b 2", "c", "d"].map(|word| server.client().post_later("/", word)).into();
    server.wait_until("they wait", |it| it.status()["pools"][0]["queue"]["length"] == 4);
    server.write("go", "");
    let bodies: Vec<String> = asked.into_iter().map(|it| it.answer().body).collect();
    assert_eq!(
        (held.answer().body.as_str(), bodies),
        ("hold", ["a", "b 2", "c", "d"].map(str::to_owned).into())
    );
    assert_eq!(server.seen().len(), 3, "four in groups of at most three: {:?}", server.seen());
}

#[test]
fn one_call_that_crashes_the_program_is_found_and_no_other_fails() {
    let server = arrays("");
    let words = ["a", "crash", "c", "d"];
    assert_eq!(told(&together(&server, "/", &words)), ["a", "worker_lost", "c", "d"]);
    // With four calls, with two, and alone.
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 3.0);
}

#[test]
fn another_number_of_answers_is_given_to_nobody() {
    for bad in ["less", "more"] {
        let server = arrays("");
        let words = ["a", "b", bad, "d"];
        assert_eq!(told(&together(&server, "/", &words)), ["a", "b", "bad_answer", "d"], "{bad}");
        server.wait_for_count("httpipe_worker_exits_total{reason=\"bad_answer\"}", 3.0);
    }
}

#[test]
fn a_call_that_hangs_fails_alone() {
    let pool = "reply = \"json\"\nbatch = { most = 3, wait = \"60s\" }\nqueue = { wait = \"10m\" }\n\
                timeout = \"400ms\"\nstop_grace = \"0s\"";
    let server = plan(pool, WORKER).start();
    let asked =
        ["a", "hang", "c"].map(|word| server.client().post_later("/", &format!("\"{word}\"")));
    assert_eq!(told(&asked.map(Pending::answer)), ["a", "timeout", "c"]);
    assert_eq!(server.seen()[0].split(' ').count(), 3, "they have gathered: {:?}", server.seen());
}

#[test]
fn an_error_of_one_call_is_its_own() {
    let server = arrays("error = '{\"failed\": \"{message}\"}'");
    let answers = together(&server, "/", &["a", "error", "c"]);
    assert_eq!(told(&answers), ["a", "program_error", "c"]);
    assert_eq!(answers[1].detail(), "no");
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn a_caller_who_leaves_costs_the_others_nothing() {
    let server = arrays("");
    let mut asked = wait_together(&server, "/", &["a", "b", "c"]);
    asked.remove(1).leave();
    server.wait_until("it has left", |it| it.status()["pools"][0]["queue"]["length"] == 2);
    server.write("go", "");
    let answers: Vec<Answer> = asked.into_iter().map(Pending::answer).collect();
    assert_eq!(told(&answers), ["a", "c"]);
    assert_eq!(server.seen(), ["hold", "a c"]);
}

#[test]
fn a_caller_who_leaves_while_their_group_runs_costs_the_others_nothing() {
    let server = arrays("");
    let mut asked = wait_together(&server, "/", &["a", "gate", "c"]);
    server.write("go", "");
    server.wait_until("they run", |it| it.seen().contains(&"a gate c".to_owned()));
    asked.remove(0).leave();
    server.wait_until("it has left", |it| {
        it.status()["pools"][0]["workers"][0]["head"]["abandoned"] == true
    });
    server.write("open", "");
    let answers: Vec<Answer> = asked.into_iter().map(Pending::answer).collect();
    assert_eq!(told(&answers), ["gate", "c"]);
    assert_eq!(told(&[server.client().post("/", "\"next\"")]), ["next"]);
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn calls_that_may_not_run_twice_go_alone() {
    let server = arrays("");
    let words = ["a", "crash", "c"];
    assert_eq!(told(&together(&server, "/once", &words)), ["a", "worker_lost", "c"]);
    assert_eq!(server.seen(), ["hold", "a", "crash", "c"]);
}

#[test]
fn a_question_that_could_pass_for_two_is_refused() {
    let server = arrays("");
    for body in ["\"a\",\"b\"", "a", "[1", ""] {
        let answer = server.client().post("/", body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{answer:?}");
    }
    let server = plan("framing = \"block\"\nbatch = {}", LINES).start();
    for body in ["a\nb", ""] {
        let answer = server.client().post("/", body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{answer:?}");
    }
}

/// Sends these as the items of one batch, and returns what each was told in short.
fn items(server: &Server, words: &[&str]) -> Vec<String> {
    let body: Vec<String> = words.iter().map(|word| format!("\"{word}\"\n")).collect();
    let fields = ["Content-Type: application/jsonl"];
    let answer = server.client().request("POST", "/", &fields, &body.concat());
    let line = |line: &str| serde_json::from_str(line).expect("JSON");
    let lines: Vec<serde_json::Value> = answer.body.lines().map(line).collect();
    let told = |line: &serde_json::Value| match line["body"].as_str() {
        Some(body) => body.to_owned(),
        None => line["problem"]["code"].as_str().expect("a code").to_owned(),
    };
    lines.iter().map(told).collect()
}

#[test]
fn an_item_whose_question_has_cost_a_worker_goes_alone() {
    let keys = "workers = 1\nshare = 1\nretries = 0\nbatch = { most = 4 }\nreply = \"json\"";
    let server = Server::with(keys)
        .file("worker.py", WORKER)
        .worker("python3 worker.py")
        .route("match = \"POST /\"\nsend = \"{body}\"\nidempotent = true\nitems = 100")
        .start();
    assert_eq!(items(&server, &["good", "crash"]), ["good", "worker_lost"]);
    let before = server.seen().len();
    assert_eq!(items(&server, &["a", "b", "crash", "c", "d"]), ["a", "b", "worker_lost", "c", "d"]);
    let seen = &server.seen()[before..];
    assert!(seen.contains(&"crash".to_owned()), "{seen:?}");
    let is_shared = |line: &&String| line.contains("crash") && *line != "crash";
    assert_eq!(seen.iter().find(is_shared), None, "{seen:?}");
}

#[test]
fn items_of_a_batch_request_go_together_too() {
    let server = Server::with("workers = 2\nbatch = { most = 4 }\nreply = \"json\"")
        .file("worker.py", WORKER)
        .worker("python3 worker.py")
        .route("match = \"POST /\"\nsend = \"{body}\"\nidempotent = true\nitems = 100")
        .start();
    let items: Vec<String> = (0..20).map(|item| format!("\"i{item}\"\n")).collect();
    let body = items.concat();
    let fields = ["Content-Type: application/jsonl"];
    let answer = server.client().request("POST", "/", &fields, &body);
    let lines: Vec<serde_json::Value> =
        answer.body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let bodies: Vec<String> =
        lines.iter().map(|line| line["body"].as_str().expect("text").to_owned()).collect();
    assert_eq!(bodies, (0..20).map(|item| format!("i{item}")).collect::<Vec<_>>());
    let largest = server.seen().iter().map(|line| line.split(' ').count()).max();
    assert!(largest.is_some_and(|largest| (2..=4).contains(&largest)), "{:?}", server.seen());
}
