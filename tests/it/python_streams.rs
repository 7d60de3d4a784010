//! Functions that yield: JSON lines or events as the caller asks, failures, and callers who leave.

use crate::python_calls::{CALCULATE, serve};

const EVENTS: &[&str] = &["Accept: text/event-stream"];

#[test]
fn a_generator_is_lines_of_json_or_events() {
    let server = serve("calculate.py:count", CALCULATE).start();
    let lines = server.client().get("/count?n=3");
    assert_eq!((lines.status, lines.body.as_str()), (200, "0\n1\n2\n"), "{lines:?}");
    assert_eq!(lines.header("content-type"), "application/jsonl");
    let events = server.client().request("GET", "/count?n=2", EVENTS, "");
    assert_eq!(events.body, "data: 0\n\ndata: 1\n\nevent: done\ndata: \n\n");
    let empty = server.client().get("/count?n=0");
    assert_eq!((empty.status, empty.body.as_str()), (200, ""), "{empty:?}");
}

#[test]
fn a_failure_before_the_first_part_is_a_problem_and_later_an_event() {
    let server = serve("calculate.py:count", CALCULATE).start();
    let first = server.client().request("GET", "/count?n=3&fails_at=0", EVENTS, "");
    assert_eq!((first.status, first.code().as_str()), (500, "program_error"), "{first:?}");
    let mut caller = server.client().connect();
    caller.ask("GET", "/count?n=3&fails_at=2", EVENTS, "");
    assert_eq!(caller.head().status, 200);
    let (rest, _) = caller.rest_and_end();
    assert!(rest.contains("data: 1\n\n"), "{rest}");
    assert!(rest.contains("event: failure\ndata: {"), "{rest}");
    assert!(rest.contains("count failed: RuntimeError"), "{rest}");
    let worker = server.workers();
    assert_eq!(server.client().get("/count?n=1").body, "0\n");
    assert_eq!(server.workers(), worker, "the worker is kept");
}

/// Yields without end, and says when it is closed.
const TICKS: &str = r#"
import time
def ticks():
    try:
        while True:
            yield "tick"
            time.sleep(0.01)
    finally:
        print("closed in good order")

def fine() -> int: return 1
"#;

#[test]
fn a_caller_who_leaves_a_stream_ends_its_generator_and_no_worker() {
    let server = serve("calculate.py:*", TICKS).start();
    let worker = server.workers();
    let mut caller = server.client().connect();
    caller.ask("GET", "/ticks", &[], "");
    assert_eq!(caller.head().status, 200);
    assert_eq!(caller.chunk().as_deref(), Some("\"tick\"\n"));
    caller.close();
    server.wait_for_log("closed in good order");
    assert_eq!(server.client().get("/fine").body, "1");
    assert_eq!(server.workers(), worker, "the worker is kept");
}

/// Waits in an event loop, and says when it is cancelled.
const WAITS: &str = r#"
import asyncio
async def wait(n: int) -> int:
    print("begins to wait for", n)
    try:
        await asyncio.sleep(n)
    except asyncio.CancelledError:
        print("cancelled in good order")
        raise
    return n
"#;

#[test]
fn a_caller_who_leaves_an_async_call_cancels_it_and_no_other() {
    let server = serve("calculate.py:wait", WAITS).start();
    let worker = server.workers();
    let leaving = server.client().get_later("/wait?n=600");
    let staying = server.client().get_later("/wait?n=1");
    // What is cancelled before it began has nothing to put in order.
    server.wait_for_log("begins to wait for 600");
    leaving.leave();
    server.wait_for_log("cancelled in good order");
    let answer = staying.answer();
    assert_eq!((answer.status, answer.body.as_str()), (200, "1"), "{answer:?}");
    assert_eq!(server.workers(), worker, "the worker is kept");
    server.wait_for_count("httpipe_calls_total{outcome=\"abandoned\"}", 1.0);
    let faults: Vec<String> =
        server.log_lines().into_iter().filter(|line| line.contains("bad answer")).collect();
    assert_eq!(faults, [""; 0], "what a cancelled call ends with is no fault");
}

/// Ends its own call as a worker ends one that was cancelled.
const GIVES_UP: &str = r#"
import sys
def give_up():
    frame = sys._getframe()
    while "tag" not in frame.f_locals:
        frame = frame.f_back
    frame.f_locals["self"].wire.answer(frame.f_locals["tag"], b".")
    frame.f_locals["self"].wire.flush()
"#;

#[test]
fn a_call_that_ends_as_cancelled_while_its_caller_waits_is_a_bad_answer() {
    let server = serve("calculate.py:give_up", GIVES_UP).start();
    let answer = server.client().get("/give_up");
    assert_eq!((answer.status, answer.code().as_str()), (502, "bad_answer"), "{answer:?}");
    server.wait_for_log("bad answer");
}
