//! Which requests become which questions, and what is refused before any worker sees it.

use crate::support::{Plan, Server};

fn mapped() -> Plan {
    Server::with("workers = 1")
        .worker("demo-worker --journal seen")
        .route("match = \"GET /add/{a:int}/{b:int}\"\nsend = \"add {a} {b}\"")
        .route("match = \"GET /word?text={text}\"")
        .route("match = \"POST /both?n={n:int}\"\nsend = \"{n} {body}\"")
        .route("match = \"POST /form?x={x}&y={y:bool}\"\nsend = \"{x} {y}\"")
        .route("match = \"POST /quoted\"\nsend = '{\"q\": {body:json}}'")
        .route("match = \"GET /fixed\"\ntext = \"always\"")
        .route(
            "match = \"GET /bound?n={n:int}\"\n\
             params.n = { min = 1, max = 9, missing = \"n is from 1 to 9\" }",
        )
        .route("match = \"GET /other?n={n:int}\"\nparams.n = { default = \"7\" }")
}

#[test]
fn segments_and_query_fill_the_template() {
    let server = mapped().start();
    let client = server.client();
    assert_eq!(client.get("/add/1/-2").body, "add 1 -2");
    assert_eq!(client.get("/add/007/0").body, "add 7 0");
    assert_eq!(client.get("/word?text=a+b%20c&ignored=1").body, "a b c");
    assert_eq!(client.get("/word?text=%C3%A9").body, "é");
    assert_eq!(client.get("/word?text=").body, "");
}

#[test]
fn digits_of_a_long_number_are_all_kept() {
    let number = "123456789012345678901234567890";
    let answer = mapped().start().client().get(&format!("/add/{number}/1"));
    assert_eq!(answer.body, format!("add {number} 1"));
}

#[test]
fn a_body_fills_the_template_without_its_last_line_end() {
    let server = mapped().start();
    assert_eq!(server.client().post("/both?n=3", "hello\n").body, "3 hello");
    let quoted = server.client().post("/quoted", "say \"hi\"");
    assert_eq!(quoted.body, r#"{"q": "say \"hi\""}"#);
}

#[test]
fn a_form_and_a_json_body_hold_parameters() {
    let server = mapped().start();
    let form = "Content-Type: application/x-www-form-urlencoded";
    let answer = server.client().request("POST", "/form", &[form], "x=a+b&y=true");
    assert_eq!(answer.body, "a b true", "{answer:?}");
    let json = "Content-Type: application/json";
    let answer = server.client().request("POST", "/form", &[json], r#"{"x":"a b","y":false}"#);
    assert_eq!(answer.body, "a b false", "{answer:?}");
}

#[test]
fn a_value_is_put_in_once_and_never_read_as_a_template() {
    let server = mapped().start();
    assert_eq!(server.client().get("/word?text=%7Bbody%7D%24x%25s").body, "{body}$x%s");
}

#[test]
fn a_value_that_could_forge_a_line_is_refused_before_a_worker_sees_it() {
    let server = mapped().start();
    for bad in ["1%0A2", "1%0D2", "1%0D%0A2", "1%002"] {
        let answer = server.client().get(&format!("/word?text={bad}"));
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
        assert_eq!(answer.code(), "unsendable", "{bad}");
        assert_eq!(answer.json()["parameter"], "text", "{bad}");
    }
    let answer = server.client().post("/both?n=1", "a\nb");
    assert_eq!(answer.code(), "unsendable");
    assert_eq!(server.seen(), Vec::<String>::new());
}

#[test]
fn a_parameter_that_is_missing_doubled_or_undecodable_is_refused() {
    let server = mapped().start();
    for bad in ["/word", "/word?text=a&text=b", "/word?text=%zz", "/word?text=%ff"] {
        let answer = server.client().get(bad);
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
        assert!(matches!(answer.code().as_str(), "bad_parameter" | "bad_request"), "{answer:?}");
    }
    assert_eq!(server.seen(), Vec::<String>::new());
}

#[test]
fn bounds_defaults_and_the_configured_words_hold() {
    let server = mapped().start();
    let client = server.client();
    assert_eq!(client.get("/bound?n=9").body, "9");
    assert_eq!(client.get("/bound?n=10").code(), "bad_parameter");
    assert_eq!(client.get("/bound?n=0").code(), "bad_parameter");
    assert_eq!(client.get("/bound").detail(), "n is from 1 to 9");
    assert_eq!(client.get("/other").body, "7");
}

#[test]
fn an_unknown_path_is_404_and_another_method_is_405() {
    let server = mapped().start();
    let client = server.client();
    for missing in ["/nowhere", "/Fixed", "/fixed/", "/add/1", "//fixed"] {
        assert_eq!(client.get(missing).code(), "no_route", "{missing}");
    }
    let wrong = client.post("/fixed", "");
    assert_eq!((wrong.status, wrong.code().as_str()), (405, "method_not_allowed"));
    assert!(wrong.header("allow").contains("GET"), "{wrong:?}");
    for method in ["TRACE", "CONNECT"] {
        assert_eq!(client.request(method, "/fixed", &[], "").status, 405, "{method}");
    }
}

#[test]
fn head_runs_the_call_and_has_no_body_and_options_runs_nothing() {
    let server = mapped().start();
    let head = server.client().request("HEAD", "/word?text=abc", &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""), "{head:?}");
    assert_eq!(head.header("content-length"), "3");
    assert_eq!(server.seen(), ["abc"]);
    let options = server.client().request("OPTIONS", "/word", &[], "");
    assert_eq!(options.status, 204);
    assert!(options.header("allow").contains("GET"), "{options:?}");
    assert_eq!(server.seen(), ["abc"]);
}

#[test]
fn a_fixed_answer_needs_no_worker() {
    let server = mapped().start();
    assert_eq!(server.client().get("/fixed").body, "always");
    assert_eq!(server.client().request("HEAD", "/fixed", &[], "").body, "");
    assert_eq!(server.metric("httpipe_calls_total"), 0.0);
}

#[test]
fn every_answer_says_what_it_cost_and_who_it_was() {
    let server = mapped().start();
    let answer = server.client().request("GET", "/word?text=a", &["X-Request-Id: abc-1"], "");
    assert_eq!(answer.header("x-request-id"), "abc-1");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("server-timing").contains("work;dur="), "{answer:?}");
    let refused = server.client().get("/nowhere");
    assert!(!refused.header("x-request-id").is_empty());
    assert_eq!(refused.json()["request_id"], refused.header("x-request-id"));
}

#[test]
fn a_json_answer_is_passed_on_digit_for_digit() {
    let server = Server::with("reply = \"json\"").route("match = \"POST /\"").start();
    let text = r#"{"n":12345678901234567890.10,"a":[1,2]}"#;
    let answer = server.client().post("/", text);
    assert_eq!(answer.body, text);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(server.client().post("/", "{no json").code(), "bad_answer");
}

#[test]
fn parameters_can_be_sent_as_one_json_object() {
    let server = Server::with("reply = \"json\"")
        .route("match = \"GET /sum?a={a:int}&b={b}\"\nsend = \"json\"")
        .start();
    let answer = server.client().get("/sum?b=x&a=1");
    assert_eq!(answer.json(), serde_json::json!({"a": 1, "b": "x"}));
}
