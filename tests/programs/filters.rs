//! One text in, one text out: `line`, `nul` and `lines:N`, answers in order.

use crate::serve::{encoded, serve};

#[test]
fn sed_edits_a_line_and_is_never_sent_two() {
    let Some(server) = serve("sed", &["sed"]) else { return };
    assert_eq!(server.client().get("/sed?text=banana").body, "bXnXnX");
    assert_eq!(server.client().get("/sed?text=").body, "", "an empty answer is an answer");
    assert_eq!(server.client().get("/sed?text=a%0Aa").code(), "unsendable");
}

#[test]
fn gawk_proves_its_answers_with_an_echo() {
    let Some(server) = serve("gawk", &["gawk"]) else { return };
    let answer = server.client().get("/upper?text=hello");
    assert_eq!(answer.body, r#"{"result":"HELLO"}"#);
    // What separates question and answer may be in both.
    let answer = server.client().get("/upper?text=a%7Cb");
    assert_eq!(answer.body, r#"{"result":"A|B"}"#);
}

#[test]
fn cxxfilt_reads_symbols() {
    let Some(server) = serve("cxxfilt", &["c++filt"]) else { return };
    assert_eq!(server.client().get("/demangle?symbol=_Z3fooi").body, "foo(int)");
    assert_eq!(server.client().get("/demangle?symbol=main").body, "main");
    assert_eq!(server.client().get("/demangle").code(), "bad_parameter");
}

#[test]
fn sed_with_nul_takes_texts_of_many_lines() {
    let Some(server) = serve("sed-nul", &["sed"]) else { return };
    assert_eq!(server.client().post("/join", "one\ntwo\r\nthree").body, "one, two\r, three");
    assert_eq!(server.client().post("/join", "a\0b").code(), "unsendable");
}

#[test]
fn addr2line_answers_two_lines() {
    let Some(server) = serve("addr2line", &["addr2line"]) else { return };
    for _ in 0..3 {
        let answer = server.client().get("/line?address=0");
        assert_eq!(answer.body, r#"{"function":"??","place":"??:0"}"#);
    }
    assert_eq!(server.client().get("/line?address=main").code(), "bad_parameter");
}

#[test]
fn jq_is_sent_whole_documents_only() {
    let Some(server) = serve("jq", &["jq"]) else { return };
    let ask = |document: &str| server.client().get(&format!("/a?document={}", encoded(document)));
    assert_eq!(ask("{}").status, 405, "this is asked by POST");
    let headers = ["Content-Type: application/json"];
    let ask = |body: &str| server.client().request("POST", "/a", &headers, body);
    let answer = ask(r#"{"document":{"a":[1,2]}}"#);
    assert_eq!((answer.status, answer.body.as_str()), (200, "[1,2]"));
    assert_eq!(answer.header("content-type"), "application/json");
    // Digits are not touched on the way to jq; this document has line ends and no `a`.
    assert_eq!(ask("{\"document\":\n[{\"b\":\n1}]}").body, "null");
    for broken in [r#"{"document":{bad}"#, r#"{"document":{"a":"#, r#"{"document":1}{"#] {
        assert_eq!(ask(broken).status, 400, "{broken}");
    }
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}
