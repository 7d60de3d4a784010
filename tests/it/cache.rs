//! Answers that are kept, and callers who share one run.

use std::time::Duration;

use crate::support::{Pending, Plan, Server, pause};

fn cached() -> Plan {
    // The worker writes to the file that its argument names, so that is no part of the program.
    Server::with("workers = 2\nretries = 0\nwatch = [\"!seen\"]")
        .worker("demo-worker --journal seen")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
}

#[test]
fn a_repeated_question_is_answered_from_what_was_kept() {
    let server = cached().start();
    let first = server.client().get("/?input=a");
    let second = server.client().get("/?input=a");
    assert_eq!(first.header("cache-status"), "httpipe; fwd=miss; stored");
    assert!(second.header("cache-status").starts_with("httpipe; hit; ttl="), "{second:?}");
    assert_eq!(second.header("cache-control"), "max-age=3600");
    assert!(!second.header("age").is_empty());
    assert_eq!((first.body.as_str(), second.body.as_str()), ("a", "a"));
    assert_eq!(server.seen(), ["a"]);
    assert_eq!(server.metric("httpipe_cache_total{result=\"hit\"}"), 1.0);
    assert_eq!(server.metric("httpipe_cache_total{result=\"miss\"}"), 1.0);
}

#[test]
fn another_question_is_another_entry() {
    let server = cached().start();
    for _ in 0..2 {
        for text in ["a", "b", "A", "a%20"] {
            let expected = text.replace("%20", " ");
            assert_eq!(server.client().get(&format!("/?input={text}")).body, expected);
        }
    }
    assert_eq!(server.seen(), ["a", "b", "A", "a "]);
}

#[test]
fn callers_at_the_same_time_share_one_run() {
    let server = cached().start();
    let client = server.client();
    let callers: Vec<_> = (0..10).map(|_| client.get_later("/?input=sleep+300+a")).collect();
    let answers: Vec<_> = callers.into_iter().map(Pending::answer).collect();
    assert!(answers.iter().all(|answer| answer.body == "sleep 300 a"));
    assert_eq!(server.seen().len(), 1);
    let shared = answers.iter().filter(|a| a.header("cache-status").contains("collapsed"));
    assert!(shared.count() >= 5);
}

/// A connection asks the cache from its own thread. An answer that it misses there may be kept by
/// the time its call reaches the thread of the pools. Then the call must not run.
#[test]
fn a_kept_answer_is_never_asked_for_again_from_another_thread() {
    let server = cached().top("threads = 4").start();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = server.client().connect();
            std::thread::spawn(move || {
                for number in 0..600 {
                    let answer = connection.get(&format!("/?input=key-{number}"));
                    assert_eq!(answer.body, format!("key-{number}"));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("every answer is the right one");
    }
    let mut seen = server.seen();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), server.seen().len()), (600, 600), "keys and runs");
}

#[test]
fn a_reload_keeps_the_answers_of_routes_that_it_does_not_change() {
    let server = cached().route("match = \"GET /fixed\"\ntext = \"one\"").start();
    let reload = |old: &str, new: &str| {
        server.rewrite(old, new);
        let reloaded = server.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "").answer();
        assert_eq!(reloaded.status, 200, "{reloaded:?}");
        server.client().get("/?input=a").header("cache-status").contains("hit")
    };
    assert_eq!(server.client().get("/?input=a").status, 200);
    assert!(reload("retries = 0", "retries = 1"), "another rule");
    assert!(reload("text = \"one\"", "text = \"two\""), "another route");
    assert!(!reload("cache = \"1h\"", "cache = \"2h\""), "another time to keep it");
    assert!(!reload("\"seen\"", "\"seen\",\"--pair\""), "another program");
    assert!(
        !reload("?input={input}\"", "?input={input}\"\nsend = \"{input}!\""),
        "another question"
    );
    assert!(reload("retries = 1", "retries = 2"), "nothing that answers depend on");
}

/// Without its nonces, `send` renders both questions of each pair to the same text.
#[test]
fn a_nonce_between_values_keeps_their_questions_apart() {
    let server = Server::with("workers = 1")
        .worker("demo-worker --journal seen")
        .route("match = \"GET /two?user={user}&doc={doc}\"\nsend = \"{nonce} {user} {nonce} {doc}\"\ncache = \"1h\"")
        .route("match = \"POST /body\"\nsend = \"{nonce}|{header.authorization}|{nonce}{body}\"\nidempotent = true\ncache = \"1h\"")
        .start();
    let client = server.client();
    let first = client.get("/two?user=alice&doc=my++secret");
    let second = client.get("/two?user=alice++my&doc=secret");
    assert!(first.body.ends_with(" my  secret") && second.body.ends_with(" secret"));
    assert!(second.header("cache-status").contains("miss"), "{second:?}");
    let first = client.request("POST", "/body", &["Authorization: alice"], "b|c");
    let second = client.request("POST", "/body", &["Authorization: alice|b"], "c");
    assert!(first.header("cache-status").contains("miss"), "{first:?}");
    assert!(second.header("cache-status").contains("miss"), "{second:?}");
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn a_caller_that_leaves_does_not_take_the_answer_from_others() {
    let server = cached().start();
    let client = server.client();
    let first = client.get_later("/?input=sleep+900+a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let second = client.get_later("/?input=sleep+900+a");
    // Nothing shows from outside that the second has joined.
    pause(Duration::from_millis(200), "nothing shows from outside that the second has joined");
    first.leave();
    assert_eq!(second.answer().body, "sleep 900 a");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_failure_is_shared_but_not_kept() {
    let server = Server::with("workers = 1\nretries = 0")
        .worker("demo-worker --once first --sleep 200 --crash --journal seen")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    let client = server.client();
    let callers: Vec<_> = (0..5).map(|_| client.get_later("/?input=a")).collect();
    for caller in callers {
        assert_eq!(caller.answer().code(), "worker_lost");
    }
    assert_eq!(server.seen().len(), 1);
    let again = client.get("/?input=a");
    assert_eq!((again.status, again.body.as_str()), (200, "a"), "{again:?}");
}

#[test]
fn a_caller_that_has_the_answer_already_gets_a_304() {
    let server = cached().start();
    let first = server.client().get("/?input=a");
    let tag = first.header("etag");
    assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {first:?}");
    let condition = format!("If-None-Match: {tag}");
    let second = server.client().request("GET", "/?input=a", &[&condition], "");
    assert_eq!((second.status, second.body.as_str()), (304, ""));
    assert_eq!(second.header("etag"), tag);
    let other = server.client().request("GET", "/?input=a", &["If-None-Match: \"x\""], "");
    assert_eq!((other.status, other.body.as_str()), (200, "a"));
}

#[test]
fn head_and_get_share_an_entry_and_no_cache_changes_nothing() {
    let server = cached().start();
    assert_eq!(server.client().request("HEAD", "/?input=a", &[], "").status, 200);
    let hit = server.client().request("GET", "/?input=a", &["Cache-Control: no-cache"], "");
    assert!(hit.header("cache-status").contains("hit"), "{hit:?}");
    assert_eq!(server.seen(), ["a"]);
}

#[test]
fn without_cache_every_question_is_asked() {
    let server = Server::with("workers = 1").worker("demo-worker --journal seen").start();
    assert_eq!(server.client().get("/?input=a").header("cache-status"), "");
    assert_eq!(server.client().get("/?input=a").body, "a");
    assert_eq!(server.seen(), ["a", "a"]);
}

const MEBI: f64 = 1_048_576.0;

/// Many questions, each asked once: the memory is bounded, and no caller gets the answer to
/// another question.
#[test]
fn a_cache_with_more_questions_than_room_stays_bounded() {
    let server = Server::with("workers = 1")
        .top("[cache]\nmemory = \"1MiB\"\n")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    let mut caller = server.client().connect();
    let mut ask = |number: usize| {
        let answer = caller.get(&format!("/?input=question-{number}"));
        assert_eq!(
            answer.body,
            format!("question-{number}"),
            "the answer to another question: {answer:?}"
        );
        answer.header("cache-status").contains("hit")
    };
    (0..3_000).for_each(|number| assert!(!ask(number), "{number} was not asked before"));
    let (bytes, memory) = (server.metric("httpipe_cache_bytes"), server.memory());
    assert!((MEBI / 2.0..=MEBI).contains(&bytes), "{bytes} bytes are kept");
    (3_000..6_000).for_each(|number| assert!(!ask(number), "{number} was not asked before"));
    let bytes = server.metric("httpipe_cache_bytes");
    assert!(bytes <= MEBI, "{bytes} bytes are kept");
    let grown = server.memory().saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes more for as many questions again");
    // Each kept answer counts half a KiB beside its text, so there are never more of them.
    let hits = (0..6_000).rev().filter(|number| ask(*number)).count();
    assert!((500..=2_048).contains(&hits), "{hits} answers were kept");
}

#[test]
fn answers_of_a_megabyte_are_bounded_too() {
    let server = Server::with("workers = 1\nreply = \"{input}|{result}\"")
        .worker("demo-worker --pair")
        .top("[cache]\nmemory = \"4MiB\"\n")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    let ask = |number: usize| {
        let answer = server.client().get(&format!("/?input=huge+1MiB+{number}"));
        assert_eq!((answer.status, answer.body.len()), (200, (1 << 20) + 13), "{number}");
        answer.header("cache-status").contains("hit")
    };
    (0..8).for_each(|number| assert!(!ask(number)));
    let memory = server.memory();
    (8..40).for_each(|number| assert!(!ask(number)));
    let bytes = server.metric("httpipe_cache_bytes");
    assert!((MEBI..=MEBI * 4.0).contains(&bytes), "{bytes} bytes are kept");
    let grown = server.memory().saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown} bytes more for 32 answers of 1 MiB");
    assert!((0..40).filter(|number| ask(*number)).count() <= 4);
    // An answer larger than the whole cache is given and not kept.
    for _ in 0..2 {
        let huge = server.client().get("/?input=huge+5MiB+a");
        assert_eq!(huge.status, 200);
        assert!(!huge.header("cache-status").contains("hit"), "{}", huge.header("cache-status"));
    }
}

/// Headers and parameters that a route does not use are not part of the question, so they cannot
/// fill the cache.
#[test]
fn headers_and_parameters_that_a_route_does_not_use_share_an_entry() {
    let server = cached().start();
    let targets = ["/?input=a", "/?input=a&x=1", "/?x=1&input=a", "/?x=2&y=3&input=%61"];
    for (number, target) in targets.iter().enumerate() {
        for headers in [&[][..], &["Accept: text/html"], &["Accept-Encoding: gzip", "Cookie: a=b"]]
        {
            let answer = server.client().request("GET", target, headers, "");
            assert_eq!(answer.body, "a", "{number}");
        }
    }
    assert_eq!(server.seen(), ["a"]);
}

#[test]
fn failures_and_incomplete_answers_are_not_kept() {
    let server = Server::with(
        "workers = 1\nretries = 0\nreply = \"{input}|{result}\"\n\
                               error = \"e|{input}|{message}\"",
    )
    .worker("demo-worker --pair --journal seen")
    .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
    .start();
    let kinds =
        [("crash-during+a", 502), ("wrong+a", 502), ("error+a", 422), ("invalid-utf8+a", 502)];
    // Each worker gives a good answer first, so that the next starts at once.
    let well = |number: usize| server.client().get(&format!("/?input=well+{number}")).status;
    for (number, (question, status)) in kinds.into_iter().enumerate() {
        assert_eq!(well(number * 2), 200);
        let answer = server.client().get(&format!("/?input={question}"));
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(!answer.header("cache-status").contains("stored"), "{answer:?}");
        assert_eq!(well(number * 2 + 1), 200);
        let again = server.client().get(&format!("/?input={question}"));
        assert_eq!(again.status, status, "{again:?}");
        assert!(!again.header("cache-status").contains("hit"), "{again:?}");
    }
    let asked = |text: &str| server.seen().iter().filter(|line| *line == text).count();
    assert_eq!((asked("error a"), asked("crash-during a"), asked("well 0")), (2, 2, 1));
}

/// A worker that answers with its question, which chooses the header of the response.
fn chosen(headers: &str) -> (Server, String) {
    let server = Server::with("workers = 2\nretries = 0\nreply = \"http\"")
        .worker("demo-worker --sleep 300 --journal seen")
        .route("match = \"GET /?input={input}\"\ncache = \"1h\"")
        .start();
    let question = format!("{{\"status\":200,\"headers\":{{{headers}}},\"body\":\"b\"}}");
    let encode = |byte: u8| format!("%{byte:02x}");
    (server, format!("/?input={}", question.bytes().map(encode).collect::<String>()))
}

#[test]
fn what_a_program_says_is_for_one_caller_is_neither_kept_nor_shared() {
    for headers in [
        r#""Set-Cookie":"id=1""#,
        r#""Cache-Control":"max-age=60, Private""#,
        r#""Cache-Control":"no-store""#,
        r#""Vary":"Cookie""#,
    ] {
        let (server, target) = chosen(headers);
        let callers: Vec<_> = (0..2).map(|_| server.client().get_later(&target)).collect();
        for caller in callers {
            assert_eq!(caller.answer().header("cache-status"), "httpipe; fwd=miss", "{headers}");
        }
        let third = server.client().get(&target);
        assert_eq!(third.header("cache-status"), "httpipe; fwd=miss", "{headers}");
        assert_eq!(server.seen().len(), 3, "{headers}: each has a run of its own");
    }
}

#[test]
fn a_kept_answer_keeps_what_the_program_says_about_it() {
    let (server, target) = chosen(r#""Cache-Control":"max-age=7","ETag":"\"v1\"""#);
    for _ in 0..2 {
        let answer = server.client().get(&target);
        assert_eq!(answer.header("cache-control"), "max-age=7");
        assert_eq!(answer.header("etag"), "\"v1\"");
    }
    let known = server.client().request("GET", &target, &["If-None-Match: \"v1\""], "");
    assert_eq!(known.status, 304, "{known:?}");
    assert_eq!(server.seen().len(), 1);
}
