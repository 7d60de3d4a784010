//! Functions of a Python file as a service: `httpipe run calculate.py:fib` and nothing else.

use crate::support::{Plan, Server};

/// The functions of most tests.
pub(crate) const CALCULATE: &str = r#"
import os, signal, sys, time
from dataclasses import dataclass
from typing import Iterator, Literal, Optional

def fib(n: int) -> int:
    """The n-th Fibonacci number."""
    a, b = 0, 1
    for _ in range(n): a, b = b, a + b
    return a

@dataclass
class Point:
    x: float
    y: float = 0.0

def shift(p: Point, by: float = 1.0, mode: Literal["a", "b"] = "a", tags: Optional[list[str]] = None) -> Point:
    return Point(p.x + by, p.y + by)

def same(value): return value

class Gone(Exception): status = 410
def gone(): raise Gone("it went")
def boom(n: int): return 1 // n
def nan() -> float: return float("nan")

def count(n: int, fails_at: int = -1) -> Iterator[int]:
    for i in range(n):
        if i == fails_at: raise RuntimeError("in the middle")
        yield i

def reverse(data: bytes, times: int = 1) -> bytes:
    for _ in range(times): data = data[::-1]
    return data

def chat(text: str) -> str:
    print("stray", text)
    os.write(1, b"stray bytes\n")
    return text

def crash(): os.kill(os.getpid(), signal.SIGSEGV)
def runs_out_of_memory(): os.kill(os.getpid(), signal.SIGKILL)  # which is all that the kernel does
def leave(): os._exit(3)
def hang():
    while True: time.sleep(1)
def pid() -> int: return os.getpid()
"#;

/// Plans a server of these functions of `calculate.py`, with this text.
pub(crate) fn serve(target: &str, text: &str) -> Plan {
    Server::args(&[target, "--workers", "1"]).file("calculate.py", text)
}

const JSON: &[&str] = &["Content-Type: application/json"];

#[test]
fn a_function_is_a_service_by_one_command() {
    let server = serve("calculate.py:fib", CALCULATE).start();
    let got = server.client().get("/fib?n=10");
    assert_eq!((got.status, got.body.as_str()), (200, "55"), "{got:?}");
    assert_eq!(got.header("content-type"), "application/json");
    let posted = server.client().request("POST", "/fib", JSON, r#"{"n": 10}"#);
    assert_eq!((posted.status, posted.body.as_str()), (200, "55"), "{posted:?}");
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    assert_eq!(server.client().request("POST", "/fib", &form, "n=10").body, "55");
    let digits = server.client().get("/fib?n=300").body;
    assert_eq!(digits.len(), 63, "no digit is lost: {digits}");
}

#[test]
fn what_is_no_argument_is_refused_by_name_and_place() {
    let server = serve("calculate.py:*", CALCULATE).start();
    let get = |target: &str| server.client().get(target);
    for (target, told) in [
        ("/fib?n=x", "`n` must be a whole number, such as 42"),
        ("/fib?n=1.0", "`n` must be a whole number, such as 42"),
        ("/fib", "`n` is missing"),
        ("/fib?n=1&m=2", "`m` is unknown"),
        ("/fib?n=1&n=2", "`n` is given twice"),
    ] {
        let answer = get(target);
        assert_eq!((answer.status, answer.detail().as_str()), (400, told), "{target}");
        assert_eq!(answer.code(), "bad_parameter");
    }
    let post = |target: &str, body: &str| server.client().request("POST", target, JSON, body);
    for (body, told) in [
        (r#"{"n": 1.0}"#, "`n` must be a whole number, such as 42"),
        (r#"{"n": "1"}"#, "`n` must be a whole number, such as 42"),
        (r#"{"n": true}"#, "`n` must be a whole number, such as 42"),
        (r#"{"n": 1, "n": 2}"#, "`n` is given twice"),
        ("{}", "`n` is missing"),
        ("", "`n` is missing"),
        ("[1]", "the body is not a JSON object"),
        (r#"{"n": 1"#, "the body is not a JSON object"),
    ] {
        let answer = post("/fib", body);
        assert_eq!((answer.status, answer.detail().as_str()), (400, told), "{body}");
    }
    for (body, told) in [
        (r#"{"p": {"x": "1"}}"#, "`p.x` must be a number, such as 1.5"),
        (r#"{"p": {}}"#, "`p.x` is missing"),
        (r#"{"p": {"x": 1, "z": 2}}"#, "`p.z` is unknown"),
        (r#"{"p": {"x": 1}, "tags": ["a", 2]}"#, "`tags[1]` must be a string"),
        (r#"{"p": {"x": 1}, "mode": "c"}"#, r#"`mode` must be one of "a", "b""#),
    ] {
        let answer = post("/shift", body);
        assert_eq!((answer.status, answer.detail().as_str()), (400, told), "{body}");
        assert_eq!(answer.code(), "bad_parameter");
    }
    let plain = server.client().request("POST", "/fib", &["Content-Type: text/plain"], "10");
    assert_eq!((plain.status, plain.code().as_str()), (415, "unsupported_media_type"));
    assert_eq!(post("/shift", r#"{"p": {"x": 1}, "by": 2}"#).body, r#"{"x":3.0,"y":2.0}"#);
}

#[test]
fn what_goes_wrong_in_a_function_is_its_failure() {
    let server = serve("calculate.py:*", CALCULATE).start();
    let told = |target: &str| {
        let answer = server.client().get(target);
        (answer.status, answer.code(), answer.detail())
    };
    let failed = |status, detail: &str| (status, "program_error".to_owned(), detail.to_owned());
    assert_eq!(told("/gone"), failed(410, "it went"));
    assert_eq!(told("/boom?n=0"), failed(500, "boom failed: ZeroDivisionError"));
    assert_eq!(told("/nan").0, 500);
    server.wait_for_log("ZeroDivisionError: ");
    let worker = server.workers();
    assert_eq!(server.client().get("/fib?n=10").body, "55");
    assert_eq!(server.workers(), worker, "the worker is kept");
}

#[test]
fn bytes_come_and_go_as_they_are() {
    let server = serve("calculate.py:reverse", CALCULATE).start();
    let answer = server.client().post("/reverse", "a\nb\0c");
    assert_eq!((answer.status, answer.body.as_str()), (200, "c\0b\na"), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(server.client().post("/reverse?times=2", "ab").body, "ab");
    let wrong = server.client().post("/reverse?times=x", "ab");
    assert_eq!(wrong.detail(), "`times` must be a whole number, such as 42");
}

#[test]
fn what_a_function_prints_is_a_line_of_the_log_and_no_answer() {
    let server = serve("calculate.py:chat", CALCULATE).start();
    assert_eq!(server.client().get("/chat?text=a").body, "\"a\"");
    server.wait_for_log("stray a");
    server.wait_for_log("stray bytes");
    assert_eq!(server.client().get("/chat?text=b").body, "\"b\"");
}
