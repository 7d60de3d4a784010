//! What a function of Python does to its process: it forks, closes descriptors, leaves children
//! behind, or wants to exit. Each call has one answer, and other calls have theirs.

use crate::python_calls::serve;

const PROGRAM: &str = r#"
import multiprocessing, os, subprocess, sys, time

def fork() -> int:
    child = os.fork()
    return child and os.waitpid(child, 0)[1]

def double(n): return n * 2
def pool(n: int) -> list:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(double, range(n))

def leave(code: int): sys.exit(code)
def close(): os.closerange(3, 5000)
def left_behind() -> int:
    return subprocess.Popen(["sleep", "600"]).pid
def crash():
    import ctypes
    ctypes.string_at(0)
def same(n: int) -> int: return n
"#;

#[test]
fn a_child_that_comes_back_from_a_function_answers_nothing() {
    let server = serve("calculate.py:*", PROGRAM).start();
    let worker = server.workers();
    for _ in 0..3 {
        assert_eq!(server.client().get("/fork").body, "0");
        assert_eq!(server.client().get("/pool?n=3").body, "[0,2,4]");
        assert_eq!(server.client().get("/same?n=7").body, "7");
    }
    assert_eq!(server.workers(), worker, "the worker is kept");
}

#[test]
fn an_exit_in_a_call_fails_the_call_and_keeps_the_worker() {
    let server = serve("calculate.py:*", PROGRAM).start();
    let worker = server.workers();
    let left = server.client().get("/leave?code=3");
    assert_eq!((left.status, left.detail().as_str()), (500, "leave failed: SystemExit"));
    assert_eq!(server.client().get("/same?n=7").body, "7");
    assert_eq!(server.workers(), worker, "the worker is kept");
}

#[test]
fn a_function_that_closes_all_descriptors_costs_its_call_and_its_worker() {
    let server = serve("calculate.py:*", PROGRAM).start();
    let closed = server.client().get("/close");
    assert_eq!((closed.status, closed.code().as_str()), (502, "worker_lost"));
    assert_eq!(server.client().get("/same?n=7").body, "7");
}

#[test]
fn a_process_that_a_function_leaves_behind_keeps_no_worker_alive() {
    let server = serve("calculate.py:*", PROGRAM).start();
    let child: u32 = server.client().get("/left_behind").body.parse().expect("a process id");
    assert!(server.is_alive(child));
    let old = server.workers()[0];
    server.signal_worker(old, "TERM");
    server.wait_until("another worker", |server| {
        server.workers().first().is_some_and(|worker| *worker != old)
    });
    server.wait_until("what it left behind is gone", |server| !server.is_alive(child));
    assert_eq!(server.client().get("/same?n=7").body, "7");
}

#[test]
fn a_crash_says_in_which_function_it_was() {
    let server = serve("calculate.py:*", PROGRAM).start();
    assert_eq!(server.client().get("/crash").code(), "worker_lost");
    server.wait_for_log("Fatal Python error: Segmentation fault");
    server.wait_for_log("in crash");
}
