//! One line in the log for each request.

use crate::support::{Connection, Server};

#[test]
fn each_request_has_a_line_with_its_id_route_and_status() {
    let server = Server::with("workers = 1").start();
    server.client().request("POST", "/", &["X-Request-Id: the-one"], "hello");
    let line = server.wait_for_log("the-one");
    assert!(line.contains("POST /"), "{line}");
    assert!(line.contains("200"), "{line}");
    let json: Result<serde_json::Value, _> = serde_json::from_str(&line);
    assert!(json.is_ok(), "{line}");
}

#[test]
fn a_failure_has_its_code_in_the_line() {
    let server = Server::with("workers = 1\nretries = 0").start();
    server.client().request("POST", "/", &["X-Request-Id: doomed"], "crash");
    let line = server.wait_for_log("doomed");
    assert!(line.contains("worker_lost") && line.contains("502"), "{line}");
}

#[test]
fn a_caller_cannot_write_lines_of_its_own() {
    let server = Server::with("workers = 1").start();
    server.client().get("/%0a%7B%22message%22:%22forged%22%7D");
    server.client().request("GET", "/x", &["X-Request-Id: \u{1b}[31mred"], "");
    server.client().request("GET", "/x", &["X-Request-Id: last"], "");
    server.wait_for_log("last");
    for line in server.log_lines() {
        let json: Result<serde_json::Value, _> = serde_json::from_str(&line);
        assert!(json.is_ok_and(|json| json["message"] != "forged"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

#[test]
fn a_line_has_the_address_of_its_caller() {
    let server = Server::with("workers = 1").start();
    let mut caller = server.client().connect();
    caller.ask("POST", "/", &["X-Request-Id: from-here"], "hello");
    caller.answer();
    let line: serde_json::Value =
        serde_json::from_str(&server.wait_for_log("from-here")).expect("a line is JSON");
    assert_eq!(line["peer"], caller.own_address());
}

#[test]
fn a_caller_who_left_has_a_line_too() {
    let server = Server::with("workers = 1").start();
    let fields = ["X-Request-Id: gone"];
    let pending = server.client().later("POST", "/", &fields, "sleep 300 a");
    server.wait_until("it is busy", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    pending.leave();
    let line: serde_json::Value =
        serde_json::from_str(&server.wait_for_log("\"gone\"")).expect("a line is JSON");
    assert_eq!((&line["outcome"], &line["route"]), (&"abandoned".into(), &"POST /".into()));
    assert!(line["status"].is_null() && line["duration_ms"].is_number(), "{line}");
}

#[test]
fn the_access_log_can_be_switched_off() {
    let server = Server::with("workers = 1").top("log = { access = false }").start();
    server.client().request("POST", "/", &["X-Request-Id: silent"], "hello");
    server.client().post("/", "stderr marker");
    server.wait_for_log("marker");
    assert!(server.log_lines().iter().all(|line| !line.contains("silent")));
}

#[test]
fn a_long_method_is_cut() {
    let server = Server::with("workers = 1").start();
    let method = "M".repeat(8_000);
    server.client().request(&method, "/", &["X-Request-Id: long-method"], "");
    let line = server.wait_for_log("long-method");
    assert!(line.contains("MMMM") && line.len() < 1_000, "{line}");
}

#[test]
fn a_line_names_the_worker_and_the_call_as_a_tap_does() {
    let server = Server::with("workers = 1").start();
    let mut tap = server.admin().connect();
    tap.ask("GET", "/tap?pool=main", &[], "");
    assert_eq!(tap.head().status, 200);
    for id in ["first", "second"] {
        let line = line_of(&server, id);
        let written = piece(&mut tap, "write");
        assert_eq!((&line["worker"], &line["call"]), (&written["worker"], &written["call"]));
        assert!(line["worker"] == 1 && line["call"].is_string(), "{line}");
    }
    assert_ne!(line_of(&server, "third")["call"], line_of(&server, "fourth")["call"]);
}

/// Makes a call with this request id, and returns its line.
fn line_of(server: &Server, id: &str) -> serde_json::Value {
    let field = format!("X-Request-Id: {id}");
    assert_eq!(server.client().request("POST", "/", &[&field], "hello").status, 200);
    serde_json::from_str(&server.wait_for_log(&format!("\"{id}\""))).expect("a line is JSON")
}

/// Returns the next piece of this kind.
fn piece(tap: &mut Connection, kind: &str) -> serde_json::Value {
    loop {
        let text = tap.chunk().expect("the stream goes on");
        let data = text.strip_prefix("event: piece\ndata: ").expect("a piece");
        let piece: serde_json::Value = serde_json::from_str(data).expect("the data is JSON");
        if piece["kind"] == kind {
            return piece;
        }
    }
}
