//! The page for operators where there are jobs.

use crate::jobs::{asked, ended, state};
use crate::status_page::{click, open, open_with_key};
use crate::support::Server;

/// Says how far it is, in words that would run if they were read as markup, until it may go on.
const PAINTER: &str = r#"
import os, sys, time
for line in sys.stdin:
    name = line.strip()
    if name == "crash":
        sys.exit(1)
    print(f"p|{name}|40|<img src=x onerror=alert(1)> page 2", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
    print(f"{name}|done", flush=True)
"#;

/// A server with jobs, of a route whose path would be markup.
fn painter() -> Server {
    Server::with(
        "workers = 2\nprogress = \"p|{input}|{percent}|{text}\"\nreply = \"{input}|{result}\"",
    )
    .file("paint.py", PAINTER)
    .worker("python3 -u paint.py")
    .top("jobs = {}")
    .route("match = \"POST /<svg/onload=alert(2)>\"\njobs = true\nitems = 10")
    .start()
}

#[test]
fn jobs_that_run_and_those_that_failed_are_shown_and_what_they_say_is_text() {
    let server = painter();
    let Some(browser) = open_with_key(&server) else { return };
    let loads =
        "performance.getEntriesByType('resource').some((it) => it.name.endsWith('jobs.js'))";
    assert_eq!(browser.evaluate(loads), false, "there is nothing to show in it");
    let route = "/%3Csvg/onload=alert(2)%3E";
    let failed = asked(&server, route, "crash");
    assert_eq!(state(&ended(&server, &failed)), "failed");
    let runs = asked(&server, route, "a");
    let text = |selector: &str| format!("document.querySelector('{selector}')?.innerText");
    let said =
        format!("{}?.includes('onerror=alert(1)> page 2')", text("section[aria-labelledby=jobs]"));
    browser.wait_until(&said);
    let shown = browser.evaluate(&text("section[aria-labelledby=jobs]"));
    let shown = shown.as_str().expect("a text").to_owned();
    for wanted in
        ["POST /<svg/onload=alert(2)>", "40\u{2009}%", runs.trim_start_matches("/-/jobs/")]
    {
        assert!(shown.contains(wanted), "no {wanted} in\n{shown}");
    }
    assert_eq!(browser.evaluate("document.querySelectorAll('main img, main [onload]').length"), 0);
    let hot = "document.querySelector('section[aria-labelledby=jobs] td.hot')?.innerText";
    assert_eq!(browser.evaluate(hot), "1", "the failed one");
    click(&browser, "section[aria-labelledby=jobs] .acts button");
    browser.wait_until("document.querySelector('dialog pre').innerText.includes('worker_lost')");
    browser.press("Escape");
    server.write("go", "");
    assert_eq!(state(&ended(&server, &runs)), "succeeded");
    browser.wait_until(&format!("!{}.includes('page 2')", text("section[aria-labelledby=jobs]")));
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn without_the_key_the_page_shows_how_far_jobs_are_and_neither_name_nor_words() {
    let server = painter();
    let Some(browser) = open(&server) else { return };
    let runs = asked(&server, "/%3Csvg/onload=alert(2)%3E", "a");
    let section = "document.querySelector('section[aria-labelledby=jobs]')?.innerText";
    browser.wait_until(&format!("{section}?.includes('40\u{2009}%')"));
    let shown = browser.evaluate(section);
    let shown = shown.as_str().expect("a text");
    assert!(!shown.contains("page 2"), "{shown}");
    assert!(!shown.contains(runs.trim_start_matches("/-/jobs/")), "{shown}");
    let status = server.admin().get("/status.json");
    assert!(
        !status.body.contains("page 2") && status.body.contains("\"fraction\":0.4"),
        "{status:?}"
    );
    server.write("go", "");
    assert_eq!(state(&ended(&server, &runs)), "succeeded");
}
