//! More callers than can be served: some are refused at once, and soon all is well again.

use std::time::{Duration, Instant};

use crate::support::{Answer, Pending, Server, Stopwatch, pause, whole_machine};

const SERVICE: Duration = Duration::from_millis(20);

/// One worker that answers fifty calls in a second.
fn server(keys: &str) -> Server {
    Server::with(&format!("workers = 1\n{keys}")).worker("demo-worker --sleep 20ms").start()
}

/// Returns how long the call waited for a worker, from `Server-Timing`.
fn queued(answer: &Answer) -> Duration {
    let timing = answer.header("server-timing");
    let millis = timing.strip_prefix("queue;dur=").and_then(|rest| rest.split(',').next());
    let millis: f64 = millis.and_then(|text| text.parse().ok()).expect("every call says it");
    Duration::from_secs_f64(millis / 1e3)
}

#[test]
fn ten_times_too_many_calls_are_refused_at_once_and_the_rest_served_in_time() {
    let _alone = whole_machine();
    let server = server("queue = { length = 10, wait = \"1s\" }");
    let client = server.client();
    let began = Instant::now();
    let mut callers = Vec::new();
    let mut number = 0_u32;
    while began.elapsed() < Duration::from_secs(2) {
        callers.push(client.post_later("/", &format!("call {number}")));
        number += 1;
        if number.is_multiple_of(20) {
            let waiting = server.metric("httpipe_queue_length");
            assert!(waiting <= 10.0, "{waiting} wait");
        }
        pause(SERVICE / 10, "ten times as many calls as can be served");
    }
    let over = Stopwatch::start();
    // The last of those who came is served after at most a full queue.
    server.wait_until("nobody waits", |s| s.metric("httpipe_queue_length") == 0.0);
    let fresh = client.post("/", "fresh");
    assert_eq!((fresh.status, fresh.body.as_str()), (200, "fresh"));
    assert!(queued(&fresh) < SERVICE * 2 + Duration::from_millis(100), "{fresh:?}");
    assert!(over.took().is_below(Duration::from_secs(2)), "{:?}", over.took());

    let answers: Vec<_> = callers.into_iter().map(Pending::answer).collect();
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count() + refused,
        answers.len()
    );
    assert!(refused > answers.len() / 2, "{refused} of {}", answers.len());
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        let queued = queued(answer);
        assert!(queued <= Duration::from_millis(1050), "nobody waits longer: {answer:?}");
    }
    for answer in answers.iter().filter(|answer| answer.status == 503) {
        let retry_after: u32 = answer.header("retry-after").parse().expect("whole seconds");
        assert!((1..=40).contains(&retry_after), "{answer:?}");
    }
}

#[test]
fn a_refusal_takes_no_time() {
    let server = server("queue = { length = 2 }");
    let client = server.client();
    let running = client.post_later("/", "sleep 1500 running");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let waiting: Vec<_> =
        (0..2).map(|number| client.post_later("/", &number.to_string())).collect();
    server.wait_until("the queue is full", |s| s.metric("httpipe_queue_length") == 2.0);
    let answers: Vec<_> = (0..100).map(|_| client.post("/", "too many")).collect();
    assert!(answers.iter().all(|answer| answer.code() == "queue_full"), "{answers:?}");
    let prompt = answers.iter().filter(|answer| answer.is_within(Duration::from_millis(50)));
    assert!(prompt.count() > 90, "{answers:?}");
    assert_eq!(running.answer().status, 200);
    for caller in waiting {
        assert_eq!(caller.answer().status, 200);
    }
}

/// After a stall the newest calls are answered first: the callers of the old ones would give up.
#[test]
fn after_a_stall_a_fresh_call_is_answered_within_one_service_time() {
    let _alone = whole_machine();
    let server = Server::with("workers = 1\nqueue = { wait = \"2s\" }")
        .worker("demo-worker --journal seen")
        .start();
    let client = server.client();
    let stall = client.post_later("/", "sleep 1800 stall");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let old: Vec<_> =
        (0..20).map(|number| client.post_later("/", &format!("sleep 100 old {number}"))).collect();
    server.wait_until("they wait", |s| s.metric("httpipe_queue_length") == 20.0);
    server.wait_until("the queue stands", |s| {
        s.status()["pools"][0]["queue"]["oldest_wait_seconds"].as_f64() > Some(1.6)
    });
    let fresh = client.post_later("/", "fresh");
    server.wait_until("it waits too", |s| s.metric("httpipe_queue_length") == 21.0);
    assert_eq!(stall.answer().status, 200);
    assert_eq!(fresh.answer().body, "fresh");
    assert_eq!(server.seen()[1], "fresh", "{:?}", server.seen());

    let codes: Vec<String> = old.into_iter().map(|caller| caller.answer().code()).collect();
    assert!(codes.iter().any(|code| code == "queue_timeout"), "{codes:?}");
    let next = client.post("/", "next");
    assert_eq!((next.status, next.body.as_str()), (200, "next"));
    server.wait_until("all is well", |s| s.status()["pools"][0]["queue"]["overloaded"] == false);
}

/// Callers who obey `Retry-After` are accepted, nearly all of them at the second attempt.
#[test]
fn callers_who_come_back_after_retry_after_get_in() {
    let server = server("queue = { length = 5 }");
    let client = server.client();
    for _ in 0..20 {
        assert_eq!(client.post("/", "warm").status, 200);
    }
    let began = Instant::now();
    let ask = |number: usize| client.post_later("/", &format!("call {number}"));
    let mut coming: Vec<_> = (0..24).map(|number| (0, ask(number), number)).collect();
    let mut again: Vec<(u32, Duration, usize)> = Vec::new();
    let mut came = Vec::new();
    while !coming.is_empty() || !again.is_empty() {
        for (before, pending, number) in coming.drain(..) {
            let answer = pending.answer();
            let told = began.elapsed();
            match answer.code().as_str() {
                "" => came.push(before + 1),
                "queue_full" => {
                    let seconds: u64 = answer.header("retry-after").parse().expect("whole seconds");
                    again.push((before + 1, told + Duration::from_secs(seconds), number));
                }
                other => panic!("{other}: {answer:?}"),
            }
        }
        let now = began.elapsed();
        let (due, later): (Vec<_>, Vec<_>) = again.drain(..).partition(|(_, at, _)| *at <= now);
        again = later;
        coming = due.into_iter().map(|(before, _, number)| (before, ask(number), number)).collect();
        if coming.is_empty() {
            pause(Duration::from_millis(5), "until a caller asks again");
        }
    }
    came.sort_unstable();
    assert_eq!(came.len(), 24);
    assert!(came.iter().filter(|times| **times >= 2).count() >= 12, "overload: {came:?}");
    assert!(came[21] <= 2 && came[23] <= 3, "{came:?}");
}
