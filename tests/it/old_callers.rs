//! A caller that speaks HTTP/1.0, as nginx does to its upstreams, sees an answer in parts end with
//! its connection. Where the answer broke off, that end is a reset.

use std::time::Duration;

use crate::support::{Connection, Plan, Server, pause};

/// Answers `PARTS END`: each part after the first waits for the file `go`; at the end it says
/// `END`, or exits.
const PARTS: &str = r#"
import os, sys, time
for line in sys.stdin:
    count, end = line.split()
    for number in range(int(count)):
        while number and not os.path.exists("go"):
            time.sleep(0.003)
        print("part%d" % number, flush=True)
    if end == "exit":
        sys.exit(3)
    print("END", flush=True)
"#;

fn streaming() -> Plan {
    Server::with("workers = 1\nretries = 0\ntimeout = \"2s\"\nstream = \"until:END\"")
        .worker("python3 parts.py")
        .file("parts.py", PARTS)
}

fn ask(server: &Server, question: &str) -> Connection {
    let mut caller = server.client().connect();
    let length = question.len();
    caller
        .send(format!("POST / HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{question}").as_bytes());
    let head = caller.head();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, ""));
    caller
}

#[test]
fn a_whole_answer_ends_in_order_and_one_that_breaks_off_with_a_reset() {
    let server = streaming().start();
    server.put("go");
    let whole = ("part0\npart1\n".to_owned(), true);
    assert_eq!(ask(&server, "2 end").rest_and_end(), whole);
    assert_eq!(ask(&server, "2 exit").rest_and_end(), ("part0\npart1\n".to_owned(), false));
    assert_eq!(ask(&server, "2 end").rest_and_end(), whole, "the next worker's");
}

#[test]
fn a_whole_answer_reaches_a_caller_that_reads_late() {
    let program =
        "while read line; do head -c 1000000 /dev/zero | tr '\\0' x; echo; echo END; done";
    let server = Server::with("workers = 1\nstream = \"until:END\"")
        .worker("sh late.sh")
        .file("late.sh", program)
        .start();
    let mut caller = ask(&server, "all");
    pause(Duration::from_millis(1500), "the server has closed the connection");
    let (text, in_order) = caller.rest_and_end();
    assert_eq!((text.len(), in_order), (1_000_001, true));
}

#[test]
fn an_answer_that_takes_too_long_ends_with_a_reset() {
    let server = streaming().start();
    assert_eq!(ask(&server, "2 end").rest_and_end(), ("part0\n".to_owned(), false));
}

#[test]
fn a_caller_that_closes_its_side_in_the_middle_sees_a_reset() {
    let server = streaming().start();
    let mut caller = ask(&server, "2 end");
    caller.finish_sending();
    assert!(!caller.rest_and_end().1);
}

#[test]
fn a_server_that_is_killed_ends_its_answers_with_a_reset() {
    let mut server = streaming().start();
    let mut caller = ask(&server, "2 end");
    server.signal("KILL");
    server.exit_code();
    assert_eq!(caller.rest_and_end(), ("part0\n".to_owned(), false));
}

#[test]
fn a_server_that_stops_before_an_answer_is_whole_ends_it_with_a_reset() {
    let mut server = streaming().top("drain = \"100ms\"").start();
    let mut caller = ask(&server, "2 end");
    server.signal("TERM");
    assert_eq!(caller.rest_and_end(), ("part0\n".to_owned(), false));
    server.exit_code();
}
