//! Workers that answer and end. Their last answer counts, and a worker that has ended but still
//! looks free gets no question.

use std::time::{Duration, Instant};

use crate::support::{Client, Server};

const CALLERS: usize = 8;
const WORKERS: usize = 6;

/// A worker that answers one question and ends. After some questions it reads one more first,
/// which is lost.
const ONCE: &str = "read -r x; echo \"$x\"; case $x in *[036]) read -r y;; esac";

/// How many of the calls that may run only once were answered, and how many failed as lost.
#[derive(Default)]
struct Count {
    answered: usize,
    lost: usize,
}

/// Asks `answers` questions of workers that answer one each. A call that may run twice is always
/// answered, because it goes to the next worker. Another call is answered or lost, at once. No call
/// hangs, and no caller gets the answer of another.
fn all_callers_are_answered(answers: usize) -> Count {
    let keys = "retries = 20\ntimeout = \"20s\"\nqueue = { wait = \"20s\" }";
    let server = Server::with(&format!("workers = {WORKERS}\n{keys}"))
        .worker("sh once")
        .file("once", ONCE)
        .start();
    let (descriptors, offspring) = (server.descriptors(), server.offspring().len());
    let each = answers / CALLERS;
    let count = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let client = server.client();
                scope.spawn(move || one_caller(&client, caller, each))
            })
            .collect();
        callers.into_iter().fold(Count::default(), |all, caller| {
            let one = caller.join().expect("no caller saw anything wrong");
            Count { answered: all.answered + one.answered, lost: all.lost + one.lost }
        })
    });
    let died = server.metric("httpipe_worker_exits_total");
    // The workers that answered last may wait for one more question.
    let answered = answers - count.lost;
    assert!(died + WORKERS as f64 >= answered as f64, "{died} workers, {answered} answers");
    let crashed = server.metric("httpipe_worker_exits_total{reason=\"crash\"}");
    assert!(crashed >= died, "{died} workers, {crashed} of them for this reason");
    server.wait_until("all is as before", |s| {
        s.workers().len() == WORKERS
            && s.zombies() == 0
            && s.descriptors() <= descriptors + 2
            && s.offspring().len() == offspring
    });
    count
}

/// Asks in turn a question that may run twice and one that may not.
fn one_caller(client: &Client, caller: usize, rounds: usize) -> Count {
    let mut connection = client.connect();
    let mut count = Count::default();
    for round in 0..rounds {
        let token = format!("token-{caller}-{round}");
        let may_run_twice = round % 2 == 0;
        let asked = Instant::now();
        let answer = if may_run_twice {
            connection.get(&format!("/?input={token}"))
        } else {
            connection.post("/", &token)
        };
        assert!(asked.elapsed() < Duration::from_secs(9), "that hung: {answer:?}");
        if answer.status == 200 {
            assert_eq!(answer.body.trim_end(), token, "the answer to another question");
            count.answered += usize::from(!may_run_twice);
        } else {
            assert!(!may_run_twice, "it goes to the next worker: {answer:?}");
            assert_eq!((answer.status, answer.code().as_str()), (502, "worker_lost"));
            assert!(!answer.body.contains("token"), "{answer:?}");
            count.lost += 1;
        }
    }
    count
}

#[test]
fn a_worker_that_answers_and_ends_is_asked_nothing_more() {
    let count = all_callers_are_answered(600);
    assert!(count.lost > 0, "none was taken along, which is not what this is about");
    assert!(count.lost < count.answered, "{} lost, {} answered", count.lost, count.answered);
}

/// Makes room for a megabyte in its output, writes an answer of that size in parts, and ends.
const LARGE: &str = r#"
import fcntl, sys
F_SETPIPE_SZ = 1031
assert fcntl.fcntl(1, F_SETPIPE_SZ, 1 << 20) >= 1 << 20
sys.stdin.readline()
part = b"x" * 9999 + b"\n"
sys.stdout.buffer.write(part * 104 + b"END\n")
"#;

/// The reader does not keep up, so most of the answer is still in the pipe when its worker ends.
#[test]
fn all_that_a_worker_wrote_before_its_end_is_read() {
    let stream = "stream = \"until:END\"\nstream_buffer = \"64KiB\"";
    let server = Server::with(&format!("workers = 1\nretries = 0\n{stream}"))
        .worker("python3 large.py")
        .file("large.py", LARGE)
        .top("listen = \"unix:callers\"")
        .start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "write");
    assert_eq!(caller.head().status, 200);
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
    let mut length = 0;
    loop {
        let part = caller.chunk().expect("the stream does not break");
        if part.is_empty() {
            break;
        }
        length += part.len();
    }
    assert_eq!(length, 104 * 10_000);
}

/// The first worker waits for a question and ends without reading it. The next one answers.
const LAZY: &str = r#"
import os, select, sys
if not os.path.exists("second"):
    open("second", "w").close()
    select.select([0], [], [])
    sys.exit(3)
for line in sys.stdin:
    print(line, end="", flush=True)
"#;

#[test]
fn a_question_that_was_written_but_not_read_goes_to_the_next_worker() {
    let server = Server::with("workers = 1\nretries = 0")
        .worker("python3 lazy.py")
        .file("lazy.py", LAZY)
        .start();
    let answer = server.answers("may run only once");
    assert_eq!((answer.status, &*answer.body), (200, "may run only once"));
}

/// Waits for a question, writes one part of an answer without reading it, and ends.
const EAGER: &str = r#"
import select
select.select([0], [], [])
print("part", flush=True)
"#;

/// No worker has read the question, but its caller has a part of an answer already.
#[test]
fn an_answer_that_has_begun_is_not_begun_again_by_the_next_worker() {
    let server = Server::with("workers = 1\nretries = 3\nstream = \"until:END\"")
        .worker("python3 eager.py")
        .file("eager.py", EAGER)
        .start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &[], "question");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("part\n"));
    assert_eq!(caller.chunk(), None, "the stream breaks");
    server.wait_for_count("httpipe_calls_total{outcome=\"worker_lost\"}", 1.0);
}

/// The test above with ten thousand answers.
#[test]
#[ignore = "takes a minute: `cargo test --test it -- --ignored ten_thousand`"]
#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
fn ten_thousand_workers_with_one_answer_each() {
    let Count { answered, lost } = all_callers_are_answered(10_000);
    assert!(lost < answered, "{lost} lost, {answered} answered");
    eprintln!("of what may run only once {answered} were answered, {lost} lost; all else answered");
}
