//! How the page for operators looks: narrow, in both themes, to those who hear it, and in the
//! pictures of README.md.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::status_page::{LIVE, click, event, hello, key_of, open_with, open_with_key, two_pools};
use crate::support::{Browser, Judge, Over, Server, pause};

/// Returns the widths of the document and of the window.
fn widths(browser: &Browser) -> (f64, f64) {
    let of = |what: &str| browser.evaluate(what).as_f64().expect("a number");
    (of("document.documentElement.scrollWidth"), of("window.innerWidth"))
}

#[test]
fn a_narrow_window_needs_no_scrolling_to_the_side() {
    let server = two_pools().start();
    let status = hello(&server, |status| {
        let long = "a_name_as_long_as_names_may_be_and_without_a_place_to_break_0123456789";
        status["pools"][0]["about"]["command"] = json!(long.repeat(4));
        status["pools"][0]["failures"]["by_code"] = json!({ long: 3 });
        status["pools"][0]["last_exits"] = json!([{ "worker": 7, "reason": "crash",
            "exit": long, "ago_seconds": 1.5, "record": true }]);
        status["notices"] = json!([{ "level": "bad", "code": "x", "pool": "main",
            "worker": 1, "text": long, "fix": long.repeat(3) }]);
        status["listen"] = json!([long, long]);
        status["background"] = made_up_work();
        status["background"]["running"][0]["text"] = json!(long);
        status["background"]["running"][0]["route"] = json!(long);
    });
    let Some(browser) = open_with(&server, &event("hello", &status)) else { return };
    browser.wait_until(&format!("{BACKGROUND} === 3"));
    for width in [400, 640, 1280] {
        browser.look(width, 900, "light");
        let (document, window) = widths(&browser);
        assert!(document <= window, "{document} of {window} at {width}");
    }
    browser.look(400, 900, "light");
    // A button beside a long word is not squeezed.
    let lines = "document.querySelector('#notices button').offsetHeight";
    assert!(browser.evaluate(lines).as_f64() < Some(45.0), "{}", browser.evaluate(lines));
    click(&browser, "td.acts .more");
    let (document, window) = widths(&browser);
    assert!(document <= window, "{document} of {window} with actions");
}

/// How many rows show jobs, batches and groups.
const BACKGROUND: &str =
    "document.querySelectorAll('section[aria-labelledby=jobs] tbody tr').length";

/// Jobs, a batch, and groups, as a status has them.
fn made_up_work() -> Value {
    json!({
        "store_failing": false,
        "pools": [
            { "pool": "main", "jobs": { "queued": 3, "running": 1, "succeeded": 40, "failed": 2,
              "canceled": 0, "oldest_seconds": 12.5 }, "batches": null, "groups": null },
            { "pool": "echo", "jobs": null, "batches": { "open": 1, "waiting": 97, "running": 3 },
              "groups": { "groups": 5, "calls": 33, "sizes": [] } },
        ],
        "running": [{ "id": "34d301cc4d37fc2899d5e50ea0e8f7e4", "pool": "main",
            "route": "POST /", "since_seconds": 12.4, "fraction": 0.4, "text": "page 2" }],
    })
}

#[test]
fn the_page_is_accessible_in_both_themes() {
    let server = two_pools().start();
    let status = hello(&server, |status| {
        let workers: Vec<Value> = (1..=12).map(made_up_worker).collect();
        status["pools"][0]["workers"] = json!(workers);
        status["pools"][0]["failures"]["by_code"] = json!({ "timeout": 3, "worker_lost": 1 });
        status["pools"][0]["last_exits"] = json!([{ "worker": 7, "reason": "crash",
            "exit": "signal 9", "ago_seconds": 1.5, "record": true }]);
        status["pools"][0]["slow"] = json!([{ "call": "1", "route": "GET /", "worker": 3,
            "wait_seconds": 2.5, "work_seconds": 0.5, "outcome": "timeout",
            "verdict": "holds_output", "ago_seconds": 3.5 }]);
        status["notices"] = json!([
            { "level": "bad", "code": "holds_output", "pool": "echo", "worker": 1,
              "text": "holds its output back", "fix": "tty = true" },
            { "level": "warn", "code": "poisonous", "pool": "echo", "worker": null,
              "text": "one question is refused", "fix": null },
        ]);
        status["background"] = made_up_work();
    });
    let (Some(judge), Some(browser)) =
        (Judge::find(), open_with(&server, &event("hello", &status)))
    else {
        return;
    };
    browser.wait_until("document.querySelectorAll('.cell').length === 12");
    browser.wait_until(&format!("{BACKGROUND} === 3"));
    // The stream has ended; a picture of the past is paler, which is meant.
    browser.press("p");
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")] {
        browser.look(width, 900, scheme);
        assert_eq!(judge.findings(&browser), "[]", "{width} {scheme}");
    }
    click(&browser, "td.acts .danger");
    browser.wait_until("document.getElementById('dialog').open");
    for scheme in ["light", "dark"] {
        browser.look(1280, 900, scheme);
        assert_eq!(judge.findings(&browser), "[]", "the dialog, {scheme}");
    }
}

/// A worker in one of the states, with a call that runs as long as its number says.
fn made_up_worker(id: u64) -> Value {
    let state = ["busy", "ready", "starting", "leaving"][usize::try_from(id % 4).expect("small")];
    let head = json!({ "call": format!("{id:x}"), "route": "GET /echo/{input}",
        "since_seconds": 0.7 * f64::from(u32::try_from(id).expect("small")), "bytes": 12,
        "retries": 0, "abandoned": false });
    json!({ "id": id, "pid": 4000 + id, "state": state, "calls": 10 * id,
        "in_flight": u64::from(state == "busy"), "age_seconds": 60.5, "cpu": 0.5,
        "memory": 12_000_000, "verdict": if id == 4 { json!("holds_output") } else { Value::Null },
        "head": if state == "busy" { head } else { Value::Null } })
}

/// A program that takes `MILLISECONDS TEXT`, works so long, and says the text; `crash` ends it.
const PROGRAM: &str = r#"
import sys, time

for line in sys.stdin:
    work, text = line.split(maxsplit=1)
    if text.startswith("crash"):
        sys.exit("no room for another model")
    until = time.thread_time() + float(work) / 3000
    while time.thread_time() < until:
        pass
    time.sleep(float(work) / 1500)
    print(text.strip(), flush=True)
"#;

/// A program that keeps what it says until its buffer is full.
const BUFFERED: &str = r#"
import sys

sys.stdout = open(1, "w", buffering=65536)
for line in sys.stdin:
    print(line.strip() + "|kept")
"#;

/// A server with pools of several kinds, for the pictures.
fn demo() -> Server {
    let mut text = String::new();
    for (name, pool) in [
        ("fib", "workers = 1\nmatching = \"order\"\n"),
        ("spell", "workers = \"2..4\"\ntimeout = \"2s\"\n"),
        ("embed", "workers = \"12..20\"\n"),
    ] {
        write!(text, "[pool.{name}]\ncommand = [\"python3\", \"{name}.py\"]\n{pool}")
            .expect("a text grows");
    }
    text.push_str(
        "[pool.notes]\ncommand = [\"python3\", \"notes.py\"]\nreply = \"{input}|{result}\"\nworkers = 1\ntimeout = \"1h\"\n",
    );
    for (line, pool, more) in [
        ("GET /fib?ms={ms:int}&num={num}", "fib", "send = \"{ms} {num}\"\ncache = \"1h\"\n"),
        ("POST /spell", "spell", ""),
        ("POST /embed", "embed", ""),
        ("POST /embed/batch", "embed", ""),
        ("POST /notes", "notes", ""),
    ] {
        write!(text, "[[route]]\nmatch = \"{line}\"\npool = \"{pool}\"\n{more}")
            .expect("a text grows");
    }
    let plan = Server::config(&text).file("notes.py", BUFFERED);
    ["fib", "spell", "embed"]
        .into_iter()
        .fold(plan, |plan, name| plan.file(&format!("{name}.py"), PROGRAM))
        .start()
}

/// Calls the demo for so long: steadily, with a rush in the middle, and with what goes wrong.
fn call_for(server: &Server, time: Duration) {
    let started = Instant::now();
    let part = || started.elapsed().as_secs_f64() / time.as_secs_f64();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&is_over);
        let repeat = |path: &'static str, work: u64, rest: u64, from: f64, to: f64| {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut connection = server.client().connect();
                for turn in 0u64.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    if (from..to).contains(&part()) {
                        let work = work + turn * 7 % (work / 2 + 1);
                        // A call may fail, as some are meant to.
                        if connection.try_post(path, &format!("{work} text")).is_none() {
                            connection = server.client().connect();
                        }
                    }
                    pause(Duration::from_millis(rest), "callers think");
                }
            });
        };
        for _ in 0..5 {
            repeat("/embed", 60, 20, 0.0, 9.0);
        }
        repeat("/embed/batch", 400, 200, 0.0, 9.0);
        repeat("/spell", 12, 25, 0.0, 9.0);
        repeat("/spell", 20, 40, 0.2, 9.0);
        for _ in 0..40 {
            repeat("/embed", 80, 5, 0.55, 0.7);
        }
        let mut kept = vec![server.client().post_later("/notes", "a note")];
        for turn in 0u64.. {
            let num = turn * turn % 1009;
            server.client().get(&format!("/fib?ms=3&num={num}"));
            if turn % 900 == 250 {
                kept.push(server.client().post_later("/spell", &format!("9000 too slow {turn}")));
            }
            if turn % 1500 == 700 {
                kept.push(server.client().post_later("/embed", &format!("1 crash {turn}")));
            }
            if started.elapsed() > time {
                break;
            }
            pause(Duration::from_millis(40), "callers think");
        }
        take_pictures(server);
    });
}

/// Writes the pictures of README.md, and others to look at beside the build.
fn take_pictures(server: &Server) {
    let browser = open_with_key(server).expect("chromium is installed");
    let readme = format!("{}/docs/pictures", env!("CARGO_MANIFEST_DIR"));
    let others = format!("{}/pictures", env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&others).expect("the build directory can be written");
    let shot = |place: &str, name: &str| {
        pause(Duration::from_millis(2500), "CPU is known after two looks");
        let kind = if place == readme { "webp" } else { "png" };
        let format = json!({ "format": kind, "quality": 88 });
        let picture = browser.call("Page.captureScreenshot", &format);
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a text")).expect("base64");
        assert!(place != readme || bytes.len() <= 200_000, "{} bytes", bytes.len());
        std::fs::write(format!("{place}/{name}.{kind}"), bytes).expect("it can be written");
    };
    for scheme in ["light", "dark"] {
        browser.look(1280, 940, scheme);
        shot(&readme, &format!("page-{scheme}"));
        shot(&others, &format!("page-{scheme}"));
        browser.look(400, 2400, scheme);
        shot(&others, &format!("narrow-{scheme}"));
    }
    browser.look(1280, 1500, "dark");
    click(&browser, ".halves button.link:not([hidden])");
    shot(&others, "whole");
    click(&browser, "td.acts .danger");
    shot(&others, "dialog");
    assert!(browser.complaints().is_empty() && browser.evaluate(LIVE) == true);
    assert!(!key_of(server).is_empty());
}

/// Run it as docs/see.md says. `PICTURE_SECONDS` is for those who cannot wait for ten minutes.
#[test]
#[ignore = "writes docs/pictures, and takes ten minutes"]
fn the_pictures_are_made() {
    let seconds = std::env::vars().find(|(name, _)| name == "PICTURE_SECONDS");
    let seconds = seconds.map_or(600, |(_, value)| value.parse().expect("a number"));
    call_for(&demo(), Duration::from_secs(seconds));
}
