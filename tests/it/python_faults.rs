//! Functions that take their process with them, or never return.

use crate::python_calls::{CALCULATE, serve};

#[test]
fn a_crash_is_told_with_its_signal_and_the_next_call_has_another_worker() {
    let server = serve("calculate.py:*", CALCULATE).start();
    let crashed = server.client().get("/crash");
    assert_eq!((crashed.status, crashed.code().as_str()), (502, "worker_lost"), "{crashed:?}");
    assert!(crashed.detail().contains("signal 11"), "{crashed:?}");
    assert_eq!(server.client().get("/fib?n=10").body, "55");
    let grown = server.client().get("/runs_out_of_memory");
    assert_eq!((grown.status, grown.code().as_str()), (502, "worker_lost"), "{grown:?}");
    assert!(grown.detail().contains("signal 9"), "{grown:?}");
    assert_eq!(server.client().get("/fib?n=10").body, "55");
    let left = server.client().get("/leave");
    assert_eq!((left.status, left.code().as_str()), (502, "worker_lost"), "{left:?}");
    assert!(left.detail().contains("exit code 3"), "{left:?}");
    assert_eq!(server.client().get("/fib?n=10").body, "55");
}

#[test]
fn a_function_that_hangs_is_given_up_and_its_worker_replaced() {
    let server = serve("calculate.py:*", CALCULATE).option("--timeout").option("300ms").start();
    let worker = server.workers();
    let hung = server.client().get("/hang");
    assert_eq!((hung.status, hung.code().as_str()), (504, "timeout"), "{hung:?}");
    assert_eq!(server.client().get("/fib?n=10").body, "55");
    server.wait_until("another worker is there", |server| {
        let now = server.workers();
        now.len() == 1 && now != worker
    });
}

/// Elements that are no texts fail alone; a wrong count fails the batch.
const BATCH: &str = r#"
def length(text: list[str]) -> list[int]:
    print("batch of", len(text))
    return [len(t) if t != "bad" else ValueError("no") for t in text]
length.batch = 32

def short(text: list[str]) -> list[int]:
    return []
short.batch = 4
"#;

#[test]
fn calls_of_a_batch_fail_alone_unless_the_batch_does() {
    let server = serve("calculate.py:length,short", BATCH).start();
    let get = |target: &str| server.client().get(target);
    assert_eq!(get("/length?text=abc").body, "3");
    let bad = get("/length?text=bad");
    assert_eq!((bad.status, bad.detail().as_str()), (500, "length failed: ValueError"));
    let json = ["Content-Type: application/json"];
    let wrong = server.client().request("POST", "/length", &json, r#"{"text": ["a"]}"#);
    assert_eq!((wrong.status, wrong.detail().as_str()), (400, "`text` must be a string"));
    assert_eq!(get("/short?text=a").status, 500);
    server.wait_for_log("short gave 0 results for 1 calls");
}
