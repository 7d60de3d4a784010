//! Callers with keys: the gate stands before everything, whatever is asked and however.

use crate::support::{Answer, Plan, Server};

/// A plan with keys for these names; each may have options of `httpipe key new` behind it. The key of
/// a name is in the file of that name.
pub(crate) fn with_keys(pool: &str, names: &[&str]) -> Plan {
    let httpipe = env!("CARGO_BIN_EXE_httpipe");
    let make = |words: &&str| {
        let name = words.split(' ').next().unwrap_or_default();
        format!("{httpipe} key new {words} > {name} 2> told")
    };
    let lines: Vec<String> = names.iter().map(make).collect();
    Server::with(pool).top("callers = \"keys.toml\"").prepare_with(&lines.join(" && "))
}

pub(crate) fn key_of(server: &Server, name: &str) -> String {
    server.read(name).trim_end().to_owned()
}

/// Returns the field that shows the key of this name.
pub(crate) fn bearer(server: &Server, name: &str) -> String {
    format!("Authorization: Bearer {}", key_of(server, name))
}

/// Asks with these header fields.
fn ask(server: &Server, fields: &[&str]) -> Answer {
    server.client().request("POST", "/", fields, "a")
}

#[test]
fn nothing_is_answered_without_a_key_whatever_the_path_and_the_method() {
    let server = with_keys("workers = 1", &["alice"])
        .top("docs = \"/docs\"")
        .route("match = \"GET /fib?n={n}\"")
        .route("match = \"ANY /any/*\"\nsend = \"x\"")
        .route("match = \"GET /text\"\ntext = \"hello\"")
        .start();
    let key = key_of(&server, "alice");
    let in_query = [format!("/fib?n=1&key={key}"), format!("/fib?n=1&access_token={key}")];
    let targets = [
        "/",
        "/fib?n=1",
        "//fib?n=1",
        "/./fib?n=1",
        "/%66ib?n=1",
        "/fib%2e?n=1",
        "/fib/?n=1",
        "/fib;a?n=1",
        "/text",
        "/any/x",
        "/nowhere",
        "/docs",
        "/docs/openapi.json",
        "/docs/../fib",
        "/openapi.json",
        "/metrics",
        "/health",
        "http://localhost/fib?n=1",
        &in_query[0],
        &in_query[1],
    ];
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        for target in targets {
            let answer = server.client().request(method, target, &["Host: localhost"], "");
            assert_eq!(answer.status, 401, "{method} {target}: {answer:?}");
            assert_eq!(answer.header("httpipe-failure"), "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"httpipe\"");
            assert_eq!(answer.header("allow"), "", "{method} {target}");
        }
    }
    let star = server.client().request("OPTIONS", "*", &[], "");
    assert_eq!(star.status, 401, "{star:?}");
    assert_eq!(server.metric("httpipe_calls_total"), 0.0);
    // With the key all of it is as it was.
    let with = [bearer(&server, "alice")];
    let get = |target: &str| server.client().request("GET", target, &[&with[0]], "").status;
    assert_eq!(
        [get("/fib?n=1"), get("/text"), get("/docs"), get("/nowhere")],
        [200, 200, 200, 404]
    );
}

#[test]
fn a_preflight_passes_and_nothing_that_looks_like_one() {
    let server = with_keys("workers = 1", &["alice"])
        .worker("demo-worker --journal seen")
        .top("cors = \"*\"")
        .route("match = \"GET /fib?n={n}\"")
        .start();
    let fields = ["Origin: https://app.example", "Access-Control-Request-Method: GET"];
    let ask = |method: &str, target: &str, fields: &[&str]| {
        server.client().request(method, target, fields, "")
    };
    let preflight = ask("OPTIONS", "/fib", &fields);
    assert_eq!(preflight.status, 204, "{preflight:?}");
    let may_send = preflight.header("access-control-allow-headers");
    assert!(may_send.contains("authorization") && may_send.contains("x-api-key"), "{may_send}");
    for (method, target, fields) in [
        ("OPTIONS", "/nowhere", &fields[..]),
        ("OPTIONS", "/fib", &fields[..1]),
        ("OPTIONS", "/fib", &fields[1..]),
        ("GET", "/fib?n=1", &fields),
    ] {
        let answer = ask(method, target, fields);
        assert_eq!(answer.status, 401, "{method} {target} {fields:?}: {answer:?}");
    }
    let readable = ask("GET", "/fib?n=1", &fields[..1]);
    assert_eq!(readable.header("access-control-allow-origin"), "*", "a page can read why");
    assert_eq!(server.seen(), [""; 0]);
}

#[test]
fn a_key_counts_in_three_fields_and_only_alone() {
    let server = with_keys("workers = 1", &["alice", "bob"]).start();
    let (alice, bob) = (key_of(&server, "alice"), key_of(&server, "bob"));
    let basic = |both: &str| format!("Authorization: Basic {}", base64(both));
    for field in [
        format!("Authorization: Bearer {alice}"),
        format!("authorization: bearer   {alice} "),
        format!("X-API-Key: {alice}"),
        basic(&format!("alice:{alice}")),
    ] {
        assert_eq!(ask(&server, &[&field]).status, 200, "{field}");
    }
    let wrong = [
        vec![format!("Authorization: {alice}")],
        vec![format!("Authorization: Token {alice}")],
        vec![format!("Authorization: Bearer{alice}")],
        vec!["Authorization: Bearer".to_owned()],
        vec!["Authorization: ".to_owned()],
        vec![format!("X-API-Key: Bearer {alice}")],
        vec![basic(&format!("bob:{alice}"))],
        vec![basic(&alice)],
        vec!["Authorization: Basic %%%".to_owned()],
        vec![format!("Cookie: key={alice}")],
        vec![format!("Authorization: Bearer {alice}"), format!("X-API-Key: {alice}")],
        vec![format!("Authorization: Bearer {alice}"), format!("Authorization: Bearer {bob}")],
        vec![format!("X-API-Key: {alice}"), format!("X-API-Key: {alice}")],
        vec![format!("X-API-Key: {alice}, {alice}")],
    ];
    for fields in wrong {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = ask(&server, &fields);
        assert!(matches!(answer.status, 401 | 429), "{fields:?}: {answer:?}");
        assert!(!answer.body.contains(&alice), "{answer:?}");
    }
    assert_eq!(server.metric("httpipe_calls_total"), 4.0);
    assert!(!server.log_lines().iter().any(|line| line.contains(&alice)), "no key in the log");
}

/// Encodes a short text.
fn base64(text: &str) -> String {
    let (_, shown) = crate::support::shell(&format!("printf %s '{text}' | base64 -w 0"));
    shown.trim_end().to_owned()
}

#[test]
fn a_browser_asks_for_name_and_key_only_where_it_shows_a_page() {
    let server = with_keys("workers = 1", &["alice"]).start();
    let navigates = ["Sec-Fetch-Mode: navigate", "Accept: text/html"];
    let answer = server.client().request("GET", "/", &navigates, "");
    let asked: Vec<&str> =
        answer.headers().filter(|(name, _)| *name == "www-authenticate").map(|it| it.1).collect();
    assert_eq!(asked.len(), 2, "{answer:?}");
    assert!(asked[1].starts_with("Basic realm="), "{answer:?}");
}

#[test]
fn a_guesser_is_no_longer_listened_to_and_others_at_its_address_are() {
    let server = with_keys("workers = 1", &["alice", "bob"]).start();
    let (alice, bob) = (bearer(&server, "alice"), bearer(&server, "bob"));
    assert_eq!(ask(&server, &[&alice]).status, 200);
    let nearly = alice[..alice.len() - 1].to_owned() + "!";
    let long = format!("X-API-Key: {}", "h".repeat(20_000));
    let mut statuses = Vec::new();
    for guess in [&nearly, &long].into_iter().cycle().take(12) {
        let answer = ask(&server, &[guess]);
        statuses.push(answer.status);
        let waits = !answer.header("retry-after").is_empty();
        assert_eq!(waits, answer.status == 429, "{answer:?}");
    }
    let guesses = statuses.iter().filter(|status| **status == 401).count();
    assert!((10..12).contains(&guesses) && statuses.ends_with(&[429]), "{statuses:?}");
    assert_eq!(ask(&server, &[&alice]).status, 200, "the key was good before");
    assert_eq!(ask(&server, &[&bob]).status, 429, "it may be one more guess");
    assert_eq!(ask(&server, &[]).status, 401, "no key is no guess");
}

#[test]
fn a_keys_file_that_cannot_be_used_changes_nothing() {
    let server = with_keys("workers = 1", &["alice"]).start();
    let alice = bearer(&server, "alice");
    let good = server.read("keys.toml");
    let half = &good[..good.len() - 20];
    let keys = server.dir().join("keys.toml");
    let cases: [(&str, &str); 6] = [
        ("", "it has no keys"),
        (half, "line 6"),
        ("[alice]\nhash = \"sha256:00\"\n", "has a `hash` that is none"),
        ("[alice]\nhsah = \"x\"\n", "line 2"),
        ("\0\0\0\0", "line 1"),
        ("FIFO", "it is not a regular file"),
    ];
    for (text, told) in cases {
        std::fs::remove_file(&keys).expect("it is there");
        if text == "FIFO" {
            let (code, said) = crate::support::shell(&format!("mkfifo {}", keys.display()));
            assert_eq!(code, 0, "{said}");
        } else {
            server.write("keys.toml", text);
        }
        let before = server.log_lines().len();
        server.signal("HUP");
        server.wait_until(told, |server| {
            server.log_lines()[before..].iter().any(|line| line.contains(told))
        });
        assert_eq!(ask(&server, &[&alice]).status, 200, "{told}");
        assert_eq!(ask(&server, &[]).status, 401, "{told}");
    }
    // Without a reload, the file is looked at all the same.
    std::fs::remove_file(&keys).expect("it is there");
    server.write("keys.toml", half);
    let line = server.wait_for_log("cannot be read again");
    assert!(line.contains("line 6") && line.contains("stay good"), "{line}");
    assert_eq!(ask(&server, &[&alice]).status, 200);
    let (bob, hash) = BOB;
    server.write("keys.toml", &format!("{good}\n[bob]\nhash = \"{hash}\"\n"));
    server.wait_for_log("the keys of callers are read again");
    assert_eq!(ask(&server, &[&format!("X-API-Key: {bob}")]).status, 200);
    assert_eq!(ask(&server, &[&alice]).status, 200);
}

/// The key whose random bytes are all 7, and its hash.
const BOB: (&str, &str) = (
    "hp_a4dqobyha4dqobyha4dqobyha4dqobyhneiw",
    "sha256:c2ba3a4c53d70fb0e793b6f409090ce95f2c93fde6d596b323309e2d84ccc637",
);

#[test]
fn a_call_whose_key_is_taken_away_ends_well_and_is_the_last() {
    let server = with_keys("workers = 1", &["alice", "bob"]).start();
    let (alice, bob) = (bearer(&server, "alice"), bearer(&server, "bob"));
    let running = server.client().later("POST", "/", &[&alice], "sleep 600 a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let text = server.read("keys.toml");
    let without = &text[text.find("[bob]").expect("his entry")..];
    server.write("keys.toml", without);
    server.signal("HUP");
    server.wait_for_log("reloaded: main: unchanged, callers: changed");
    assert_eq!(ask(&server, &[&alice]).status, 401);
    assert_eq!(running.answer().body, "sleep 600 a");
    assert_eq!(ask(&server, &[&bob]).status, 200);
}

#[test]
fn a_key_with_routes_opens_them_and_nothing_else() {
    let server = with_keys("workers = 1", &["alice --routes 'GET /fib'", "bob"])
        .top("docs = \"/docs\"")
        .route("match = \"GET /fib?n={n}\"")
        .route("match = \"POST /fib\"")
        .route("match = \"GET /text\"\ntext = \"hello\"")
        .start();
    let alice = bearer(&server, "alice");
    let statuses = |key: &str| {
        let ask = |(method, target)| server.client().request(method, target, &[key], "").status;
        [
            ("GET", "/fib?n=1"),
            ("HEAD", "/fib?n=1"),
            ("POST", "/fib"),
            ("GET", "/text"),
            ("GET", "/docs"),
            ("GET", "/openapi.json"),
            ("GET", "/nowhere"),
            ("OPTIONS", "/text"),
        ]
        .map(ask)
    };
    assert_eq!(statuses(&alice), [200, 200, 403, 403, 403, 403, 403, 403]);
    assert_eq!(statuses(&bearer(&server, "bob")), [200, 200, 200, 200, 200, 200, 404, 204]);
    let answer = server.client().request("GET", "/text", &[&alice], "");
    assert_eq!(answer.code(), "forbidden", "{answer:?}");
}

#[test]
fn a_rate_is_for_each_key_and_says_when_to_come_again() {
    let server = with_keys("workers = 1", &["alice --rate 3/1h", "bob"])
        .route("match = \"POST /\"")
        .route("match = \"GET /?q={q}\"\ncache = \"1h\"")
        .start();
    let (alice, bob) = (bearer(&server, "alice"), bearer(&server, "bob"));
    let policy = "\"requests\";q=3;w=3600";
    let first = ask(&server, &[&alice]);
    assert_eq!((first.status, first.header("ratelimit-policy")), (200, policy));
    assert_eq!(first.header("ratelimit"), "\"requests\";r=2;t=1200");
    // A hit of the cache costs as much, and so does what no route takes.
    for (target, left) in [("/?q=a", 1), ("/nowhere", 0)] {
        let answer = server.client().request("GET", target, &[&alice], "");
        let told = answer.header("ratelimit");
        assert!(told.starts_with(&format!("\"requests\";r={left};t=")), "{answer:?}");
    }
    for _ in 0..2 {
        let refused = ask(&server, &[&alice]);
        assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
        let wait: u32 = refused.header("retry-after").parse().expect("whole seconds");
        assert!((1100..=1200).contains(&wait), "{refused:?}");
        assert_eq!(refused.header("ratelimit-policy"), policy);
        assert_eq!(refused.header("ratelimit"), format!("\"requests\";r=0;t={wait}"));
    }
    let of_bob = ask(&server, &[&bob]);
    assert_eq!((of_bob.status, of_bob.header("ratelimit")), (200, ""), "there is nothing to tell");
    // What was used stays used when the file is read again.
    server.signal("HUP");
    server.wait_for_log("reload: nothing changed");
    assert_eq!(ask(&server, &[&alice]).status, 429);
}

#[test]
fn calls_at_once_are_counted_until_their_worker_is_free_again() {
    let server = with_keys("workers = 2\nabandoned = \"10s\"", &["alice --calls 1", "bob"])
        .route("match = \"POST /\"")
        .route("match = \"GET /?q={q}\"\ncache = \"1h\"")
        .start();
    let (alice, bob) = (bearer(&server, "alice"), bearer(&server, "bob"));
    let get = |key: &str| server.client().request("GET", "/?q=kept", &[key], "").status;
    assert_eq!(get(&bob), 200);
    let running = server.client().later("POST", "/", &[&alice], "sleep 700 a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let refused = ask(&server, &[&alice]);
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_calls"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("ratelimit-policy"), "\"calls\";q=1;qu=\"concurrent-requests\"");
    assert_eq!(get(&alice), 200, "what is kept needs no worker");
    assert_eq!(ask(&server, &[&bob]).status, 200);
    // Who leaves has no more calls than who stays.
    running.leave();
    assert_eq!(ask(&server, &[&alice]).status, 429);
    server.wait_until("the worker is free", |s| s.metric("httpipe_workers{state=\"busy\"}") == 0.0);
    assert_eq!(ask(&server, &[&alice]).status, 200);
}

/// Writes a part for each question that it reads, and ends the answer at `end`.
const PARTS: &str = r#"
import sys
for line in sys.stdin:
    print("part", flush=True)
    open("begun", "w").close()
    import os, time
    while not os.path.exists("go"):
        time.sleep(0.003)
    print("END", flush=True)
"#;

#[test]
fn a_stream_counts_as_a_call_until_its_last_part() {
    let server = with_keys("workers = 2\nstream = \"until:END\"", &["alice --calls 1"])
        .worker("python3 parts.py")
        .file("parts.py", PARTS)
        .start();
    let alice = bearer(&server, "alice");
    let mut stream = server.client().connect();
    stream.ask("POST", "/", &[&alice], "a");
    assert_eq!(stream.head().status, 200);
    assert_eq!(stream.chunk().as_deref(), Some("part\n"));
    assert_eq!(ask(&server, &[&alice]).code(), "too_many_calls");
    server.put("go");
    assert_eq!(stream.chunk().as_deref(), Some(""), "the end");
    assert_eq!(ask(&server, &[&alice]).status, 200);
}

#[test]
fn callers_are_counted_by_their_names_and_refusals_by_their_reasons() {
    let server = with_keys("workers = 1", &["alice --rate 2/1h", "bob --routes 'GET /no'"]).start();
    let (alice, bob) = (bearer(&server, "alice"), bearer(&server, "bob"));
    for fields in [vec![], vec![&*alice], vec![&*alice], vec![&*alice], vec![&*bob]] {
        ask(&server, &fields);
    }
    for (labels, count) in [
        ("httpipe_caller_requests_total{caller=\"alice\",status=\"200\"}", 2.0),
        ("httpipe_caller_requests_total{caller=\"alice\",status=\"429\"}", 1.0),
        ("httpipe_caller_requests_total{caller=\"bob\",status=\"403\"}", 1.0),
        ("httpipe_refused_total{reason=\"unauthorized\"}", 1.0),
        ("httpipe_refused_total{reason=\"forbidden\"}", 1.0),
        ("httpipe_refused_total{reason=\"rate\"}", 1.0),
        ("httpipe_refused_total{reason=\"guesses\"}", 0.0),
    ] {
        assert!((server.metric(labels) - count).abs() < 0.1, "{labels}: {}", server.metric(labels));
    }
}

#[test]
fn kept_answers_are_apart_exactly_where_the_question_has_the_caller() {
    let server = with_keys("workers = 1", &["alice", "bob"])
        .worker("demo-worker --journal seen")
        .route("match = \"GET /own?q={q}\"\nsend = \"{caller} {q}\"\ncache = \"1h\"")
        .route("match = \"GET /all?q={q}\"\ncache = \"1h\"")
        .start();
    let (alice, bob) = (bearer(&server, "alice"), bearer(&server, "bob"));
    for (target, key, body) in [
        ("/own?q=1", &alice, "alice 1"),
        ("/own?q=1", &bob, "bob 1"),
        ("/own?q=1", &alice, "alice 1"),
        ("/all?q=2", &alice, "2"),
        ("/all?q=2", &bob, "2"),
    ] {
        assert_eq!(server.client().request("GET", target, &[key], "").body, body, "{target}");
    }
    assert_eq!(server.seen(), ["alice 1", "bob 1", "2"]);
}

#[test]
fn the_address_of_a_caller_is_what_trusted_proxies_say_and_no_other() {
    let server = Server::with("workers = 1")
        .top("trust = [\"127.0.0.1\", \"10.0.0.0/8\"]\nanonymous = { rate = \"2/1h\" }")
        .start();
    let from = |list: &str| ask(&server, &[&format!("X-Forwarded-For: {list}")]).status;
    assert_eq!(
        [from("192.0.2.1"), from("192.0.2.1, 10.1.1.1"), from("192.0.2.1")],
        [200, 200, 429]
    );
    // What its caller made up before it gains nothing, however much that is.
    let forged = "198.51.100.7, ".repeat(1500) + "192.0.2.1";
    assert_eq!([from("198.51.100.7, 192.0.2.1"), from(&forged)], [429, 429]);
    assert_eq!([from("192.0.2.2"), from("2001:db8::1"), from("2001:db8::2")], [200; 3]);
    assert_eq!([from("2001:db8::3"), from("2001:db8:0:1::1")], [429, 200], "/64");
    let line = server.wait_for_log("\"addr\":\"2001:db8:0:1::1\"");
    assert!(line.contains("\"peer\":\"127.0.0.1:") && !line.contains("\"caller\""), "{line}");
    // Without trust, the field says nothing.
    let alone = Server::with("workers = 1").top("anonymous = { calls = 1 }").start();
    ask(&alone, &["X-Forwarded-For: 192.0.2.1"]);
    alone.wait_for_log("\"addr\":\"127.0.0.1\"");
}

#[test]
fn strangers_are_let_in_beside_keys_only_within_their_limits() {
    let server = with_keys("workers = 2", &["alice"])
        .top("anonymous = { rate = \"2/1h\", calls = 1 }")
        .start();
    let alice = bearer(&server, "alice");
    let running = server.client().post_later("/", "sleep 400 a");
    server.wait_until("it runs", |s| s.metric("httpipe_workers{state=\"busy\"}") == 1.0);
    let refused = ask(&server, &[]);
    assert_eq!(refused.code(), "too_many_calls", "{refused:?}");
    assert_eq!(ask(&server, &[&alice]).status, 200);
    let answer = running.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.header("ratelimit").starts_with("\"requests\";r=0;t="), "{answer:?}");
    assert_eq!(ask(&server, &[]).code(), "rate_limited");
    assert_eq!(ask(&server, &["X-API-Key: hp_wrong"]).status, 401, "a wrong key is no stranger");
    assert_eq!(ask(&server, &[&alice]).status, 200);
}

/// In a query, in a field that is not for keys, in a path, wrong by a letter: whatever a caller does with
/// it. Hashes are no secret of a caller, but of nobody's concern either.
#[test]
fn keys_and_their_hashes_are_seen_nowhere() {
    let server = with_keys("workers = 1", &["alice --rate 9/1h"])
        .top("log = { level = \"trace\" }")
        .route("match = \"POST /\"")
        .route("match = \"GET /{word}?q={q}\"\nsend = \"{q}\"")
        .start();
    let key = key_of(&server, "alice");
    let hash = server.read("keys.toml").split('"').nth(1).expect("a hash").to_owned();
    let mut seen = Vec::new();
    let basic = base64(&format!("alice:{key}"));
    for field in [
        format!("Authorization: Bearer {key}"),
        format!("Authorization: Bearer {key}x"),
        format!("Authorization: Basic {basic}"),
        format!("X-API-Key: {}", key.to_uppercase()),
        format!("X-Key: {key}"),
    ] {
        seen.push(ask(&server, &[&field]).body);
    }
    let get =
        |target: &str| server.client().request("GET", target, &[&bearer(&server, "alice")], "");
    assert_eq!(get("/a?q=b").status, 200);
    seen.push(get(&format!("/nowhere/at/all?key={key}")).body);
    server.write("keys.toml", &format!("[alice]\nhash = \"{key}\"\n"));
    server.signal("HUP");
    server.wait_for_log("has a `hash` that is none");
    for path in ["/", "/status.json", "/metrics"] {
        seen.push(server.admin().get(path).body);
    }
    seen.push(server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "").body);
    let checked = crate::support::binary(&server, &["check", "--no-ask"]);
    seen.extend([checked.stdout, checked.stderr]);
    seen.extend(server.log_lines());
    let secrets = [key.as_str(), &key[3..20], hash.trim_start_matches("sha256:"), &basic];
    let told: Vec<_> =
        seen.iter().filter(|text| secrets.iter().any(|it| text.contains(it))).collect();
    assert!(told.is_empty(), "{told:?}");
}
