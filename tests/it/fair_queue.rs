//! Keys take turns: a flood by one of them neither refuses nor delays the calls of another.

use crate::keys::{bearer, with_keys};
use crate::support::Pending;

/// Most calls that wait.
const LENGTH: usize = 20;

#[test]
fn a_flood_by_one_key_refuses_no_call_of_another_and_delays_it_by_little() {
    let pool = "workers = 2\nqueue = { length = 20, wait = \"60s\" }";
    let server = with_keys(pool, &["flood", "polite"]).worker("demo-worker --journal seen").start();
    let fields = ["flood", "polite"].map(|name| bearer(&server, name));
    let post = |key: usize, body: &str| server.client().later("POST", "/", &[&fields[key]], body);
    let flood: Vec<_> =
        (0..2 * LENGTH).map(|number| post(0, &format!("sleep 200 f{number}"))).collect();
    server.wait_until("the queue is full", |it| it.metric("httpipe_queue_length") == 20.0);

    let polite: Vec<_> = (0..4).map(|number| post(1, &format!("p{number}"))).collect();
    for call in polite {
        let answer = call.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let refused = flood.into_iter().map(Pending::answer).filter(|it| it.status == 503).count();
    assert!((4..=LENGTH + 4).contains(&refused), "{refused} of the flood made room");
    let seen = server.seen();
    let last = seen.iter().rposition(|it| it.starts_with('p')).expect("they were asked");
    // In the order of arrival, all that waited before would come first.
    assert!(last < LENGTH * 2 / 3, "{seen:?}");
}

#[test]
fn a_call_that_another_key_asks_too_does_not_wait_in_the_flood() {
    let server = with_keys("workers = 1\nqueue = { wait = \"60s\" }", &["flood", "polite"])
        .worker("demo-worker --journal seen")
        .route("match = \"GET /work?n={n}\"\nsend = \"{n}\"")
        .route("match = \"GET /kept?n={n}\"\nsend = \"{n}\"\ncache = \"1h\"")
        .start();
    let fields = ["flood", "polite"].map(|name| bearer(&server, name));
    let ask = |key: usize, target: &str| server.client().later("GET", target, &[&fields[key]], "");
    let mut flood: Vec<_> =
        (0..10).map(|number| ask(0, &format!("/work?n=sleep+200+f{number}"))).collect();
    server.wait_until("they wait", |it| it.metric("httpipe_queue_length") == 9.0);
    flood.push(ask(0, "/kept?n=both"));
    server.wait_until("it waits, too", |it| it.metric("httpipe_queue_length") == 10.0);
    let polite = ask(1, "/kept?n=both");
    assert_eq!(polite.answer().body, "both");
    for call in flood {
        assert_eq!(call.answer().status, 200);
    }
    let seen = server.seen();
    let place = seen.iter().position(|it| it == "both").expect("it was asked");
    assert!(place < 7, "{seen:?}");
}
