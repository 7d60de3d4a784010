//! Calls that take longer than `slow`: kept for operators, and told in the log.

use serde_json::Value;

use crate::support::Server;

fn lines(server: &Server) -> Vec<Value> {
    let lines = server.log_lines();
    let lines = lines.iter().filter(|line| line.contains("a call was slow"));
    lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn a_slow_call_is_kept_and_logged_with_its_numbers_and_nothing_of_its_question() {
    let server = Server::with("workers = 1\nslow = \"50ms\"").start();
    assert_eq!(server.answers("quick").status, 200);
    let field = "X-Request-Id: the-slow-one";
    let answer = server.client().request("POST", "/", &[field], "sleep 60 confidential");
    assert_eq!(answer.status, 200);
    server.wait_for_log("a call was slow");
    let lines = lines(&server);
    let [line] = &lines[..] else { panic!("one call was slow: {lines:?}") };
    assert_eq!(line["level"], "warn");
    assert_eq!((&line["pool"], &line["worker"]), (&"main".into(), &1.into()));
    assert_eq!((&line["route"], &line["outcome"]), (&"POST /".into(), &"ok".into()));
    assert!(line["work_ms"].as_f64().is_some_and(|work| work >= 50.0), "{line}");
    assert!(line["queue_ms"].is_number() && line["calls"] == 1, "{line}");
    assert!(!line.to_string().contains("confidential"), "{line}");
    let slow = &server.status()["pools"][0]["slow"];
    assert_eq!(slow.as_array().map(Vec::len), Some(1), "{slow}");
    let access = server.wait_for_log("the-slow-one\"");
    let access: Value = serde_json::from_str(&access).expect("a line is JSON");
    for names in [&slow[0], &access] {
        assert_eq!((&names["call"], &names["worker"]), (&line["call"], &line["worker"]));
    }
}

#[test]
fn a_flood_of_slow_calls_has_a_line_a_second_that_counts_the_others() {
    let server = Server::with("workers = 1\nslow = \"1ms\"").start();
    let mut calls = 0;
    while lines(&server).len() < 2 {
        assert_eq!(server.answers("sleep 10 x").status, 200);
        calls += 1;
    }
    let lines = lines(&server);
    let counted: Vec<u64> = lines.iter().filter_map(|line| line["calls"].as_u64()).collect();
    assert_eq!(counted[0], 1);
    assert!(counted[1] > 1 && counted[1] < calls, "{counted:?} of {calls}");
    let kept = &server.status()["pools"][0]["slow"];
    assert_eq!(kept.as_array().map(Vec::len), Some(16.min(calls as usize)), "{kept}");
}

#[test]
fn without_the_key_no_call_is_logged_and_a_reload_can_change_that() {
    let server = Server::with("workers = 1").start();
    assert_eq!(server.answers("sleep 1100 x").status, 200);
    assert_eq!(server.status()["pools"][0]["slow"].as_array().map(Vec::len), Some(1));
    assert!(lines(&server).is_empty());
    server.rewrite("workers = 1", "workers = 1\nslow = \"10ms\"");
    let reloaded = server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "");
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert_eq!(server.answers("sleep 20 x").status, 200);
    server.wait_for_log("a call was slow");
    assert_eq!(server.status()["pools"][0]["workers"][0]["id"], 1, "the worker has stayed");
}
