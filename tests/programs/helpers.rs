//! Many questions in one worker at once, and authentication helpers: `tag`, `echo`.

use crate::serve::{serve, serve_with};
use crate::support::Pending;

#[test]
fn a_squid_helper_repeats_the_number_of_its_question() {
    let path = "/usr/lib/squid/url_fake_rewrite";
    let Some(server) = serve_with("squid-rewrite", &[path], &["--workers", "1"]) else { return };
    let client = server.client();
    let ask = |index| client.get_later(&format!("/rewrite?url=http://example.org/{index}"));
    let calls: Vec<_> = (0..40).map(ask).collect();
    for answer in calls.into_iter().map(Pending::answer) {
        assert_eq!((answer.status, answer.body.as_str()), (200, "ERR"));
    }
    let two_fields = server.client().get("/rewrite?url=http://a/%20b");
    assert_eq!(two_fields.code(), "bad_parameter");
    assert_eq!(server.metric("httpipe_worker_exits_total"), 0.0);
}

#[test]
fn a_squid_helper_lets_a_user_pass() {
    let Some(server) = serve("squid-auth", &["/usr/lib/squid/basic_fake_auth"]) else { return };
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    let ask = |body: &str| server.client().request("POST", "/login", &form, body);
    let answer = ask("user=joe&password=secret");
    assert_eq!((answer.status, answer.body.trim_end()), (200, "OK"));
    assert_eq!(ask("user=joe&password=two+words").code(), "bad_parameter");
}

#[test]
fn answers_in_any_order_reach_their_callers_by_their_echo() {
    let Some(server) = serve("xargs", &["xargs", "factor"]) else { return };
    let client = server.client();
    // The first takes a good second, so all others have their answers before it.
    let long = client.get_later("/factor?number=1000000000000128000000000003367");
    server.wait_until("the long call is in the worker", |server| {
        server.metric("httpipe_workers{state=\"busy\"}") == 1.0
    });
    let all = [("4", "2 2"), ("97", "97"), ("12", "2 2 3"), ("6", "2 3"), ("1001", "7 11 13")];
    let ask = |(number, _): &(&str, _)| client.get_later(&format!("/factor?number={number}"));
    let calls: Vec<_> = all.iter().map(ask).collect();
    for (call, (_, factors)) in calls.into_iter().zip(all) {
        assert_eq!(call.answer().body, format!("{{\"factors\":\"{factors}\"}}"));
    }
    assert_eq!(server.metric("httpipe_calls_total"), 5.0, "the long call goes on");
    let answer = long.answer();
    assert_eq!(answer.body, r#"{"factors":"1000000000000037 1000000000000091"}"#);
}
