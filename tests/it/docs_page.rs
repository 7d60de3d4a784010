//! The page with a form for each route, in a real browser.

use serde_json::json;

use crate::support::{Browser, Judge, Server, shell};

/// A pool and routes with names that somebody would like to be markup.
const ROUTES: &str = r#"
[pool.pairs]
command = ["$httpipe", "demo-worker", "--pair"]
workers = 1
reply = "{input}|{result}"

[pool.plain]
command = ["$httpipe", "demo-worker"]
workers = 1

[[route]]
match = "GET /fib?num={num:int}"
pool = "pairs"
summary = "<img src=x onerror=alert(1)> it's \"so\""
description = "Two\n<b>lines</b>"
params.num = { min = 0, max = 45 }

[[route]]
match = "GET /😀/<i>'/{word}?mode={mode}"
pool = "plain"
send = "{word} {mode}"
params.mode = { one_of = ["<script>alert(1)</script>", "it's"], default = "it's" }

[[route]]
match = "POST /say"
pool = "plain"

[[route]]
match = "PUT /form?a={a}&n={n:int}"
pool = "plain"
send = "{a} {n}"

[[route]]
match = "POST /upload?doc={doc:file}"
pool = "plain"
send = "{doc:base64}"
"#;

/// Fills a field of an operation, as a person does: its events are those of typing.
fn fill(browser: &Browser, operation: &str, field: usize, value: &str) {
    browser.evaluate(&format!(
        "(() => {{ const input = document.getElementById({operation:?}).closest('details')
             .querySelectorAll('.field :is(input, select, textarea)')[{field}];
           input.value = {}; input.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()",
        json!(value)
    ));
}

fn ask(browser: &Browser, operation: &str) {
    browser.evaluate(&format!(
        "document.getElementById({operation:?}).closest('details').querySelector('button').click()"
    ));
}

/// What an operation shows at this place.
fn shown(operation: &str, place: &str) -> String {
    format!(
        "(document.getElementById({operation:?}).closest('details').querySelector({place:?})?.textContent ?? '')"
    )
}

fn text(browser: &Browser, operation: &str, place: &str) -> String {
    let text = browser.evaluate(&shown(operation, place));
    text.as_str().unwrap_or_default().to_owned()
}

fn wait_for(browser: &Browser, operation: &str, place: &str, expected: &str) {
    browser.wait_until(&format!("{}.includes({})", shown(operation, place), json!(expected)));
}

#[test]
fn a_person_fills_a_form_and_sees_the_answer_or_why_there_is_none() {
    let server = Server::config(ROUTES).start();
    let Some(browser) = Browser::open(&format!("{}/docs", server.url())) else { return };
    browser.wait_until("document.getElementById('get-fib') !== null");
    fill(&browser, "get-fib", 0, "12");
    let line = text(&browser, "get-fib", ".go code");
    assert_eq!(line, format!("curl '{}/fib?num=12'", server.url()));
    ask(&browser, "get-fib");
    wait_for(&browser, "get-fib", ".answer pre", "\"result\": \"12\"");
    let about = text(&browser, "get-fib", ".answer .about");
    assert!(about.contains("200 OK") && about.contains("server-timing: queue;dur="), "{about}");
    fill(&browser, "get-fib", 0, "46");
    ask(&browser, "get-fib");
    wait_for(&browser, "get-fib", ".answer pre", "`num` must be a whole number from 0 to 45");
    wait_for(&browser, "get-fib", ".about", "httpipe-failure: bad_parameter");
    browser.wait_until("document.querySelector('[aria-invalid=true]') !== null");
    // What the browser itself refuses is not sent.
    fill(&browser, "get-fib", 0, "x");
    browser.wait_until("!document.querySelector('.field input').checkValidity()");
    fill(&browser, "put-form", 0, "it's a & b");
    fill(&browser, "put-form", 1, "7");
    ask(&browser, "put-form");
    wait_for(&browser, "put-form", ".answer pre", "it's a & b 7");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_line_for_a_shell_asks_the_same_whatever_was_typed() {
    let server = Server::config(ROUTES).start();
    let Some(browser) = Browser::open(&format!("{}/docs", server.url())) else { return };
    browser.wait_until("document.getElementById('post-say') !== null");
    for said in ["@/etc/passwd", "it's $(id) `id` \"!\" \\", "<b>&amp;</b> \u{1f600}"] {
        fill(&browser, "post-say", 0, said);
        let line = text(&browser, "post-say", ".go code");
        let (code, answer) = shell(&format!("{line} -s"));
        assert_eq!((code, answer.trim_end()), (0, said), "{line}");
        ask(&browser, "post-say");
        wait_for(&browser, "post-say", ".answer pre", said);
        fill(&browser, "put-form", 0, said);
        fill(&browser, "put-form", 1, "-1");
        let line = text(&browser, "put-form", ".go code");
        let (code, answer) = shell(&format!("{line} -s"));
        assert_eq!((code, answer.trim_end()), (0, &*format!("{said} -1")), "{line}");
    }
}

#[test]
fn names_and_words_of_the_configuration_are_no_markup() {
    let server = Server::config(ROUTES).start();
    let Some(browser) = Browser::open(&format!("{}/docs", server.url())) else { return };
    browser.wait_until("document.querySelectorAll('details.operation').length === 5");
    let page = browser.text();
    for shown in ["<img src=x onerror=alert(1)> it's \"so\"", "<b>lines</b>", "/😀/<i>'/{word}"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_eq!(
        browser.evaluate("document.querySelectorAll('main :is(img, script, b b, i)').length"),
        0
    );
    browser.evaluate("document.querySelectorAll('select')[0].selectedIndex = 1");
    let second = browser.evaluate("document.querySelectorAll('h2')[1].id");
    let second = second.as_str().expect("an id").to_owned();
    fill(&browser, &second, 0, "a/b?c");
    fill(&browser, &second, 1, "<script>alert(1)</script>");
    ask(&browser, &second);
    wait_for(&browser, &second, ".answer pre", "a/b?c <script>alert(1)</script>");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_fits_a_telephone_and_every_field_has_a_name() {
    let server = Server::config(ROUTES).start();
    let Some(browser) = Browser::open(&format!("{}/docs", server.url())) else { return };
    browser.wait_until("document.querySelectorAll('details.operation').length === 5");
    for scheme in ["light", "dark"] {
        browser.look(400, 800, scheme);
        browser.wait_until("document.documentElement.scrollWidth <= 400");
    }
    let unnamed = "[...document.querySelectorAll('input, select, textarea')]
        .filter((field) => field.labels.length !== 1 || !field.ariaDescribedByElements?.length).length";
    assert_eq!(browser.evaluate(unnamed), 0);
    // By the keyboard alone: from the field, Enter asks.
    browser.evaluate("document.querySelector('.field input').focus()");
    browser.press("Enter");
    wait_for(&browser, "get-fib", ".answer pre", "\"result\": \"10\"");
}

/// With everything open, a long answer, a failure, and the problem of a browser on top.
#[test]
fn it_is_accessible_and_narrow_in_both_themes() {
    let server = Server::config(ROUTES).start();
    let (Some(judge), Some(browser)) =
        (Judge::find(), Browser::open(&format!("{}/docs", server.url())))
    else {
        return;
    };
    browser.wait_until("document.querySelectorAll('details.operation').length === 5");
    browser.evaluate("document.querySelectorAll('details').forEach((it) => { it.open = true; })");
    fill(&browser, "post-say", 0, &"a_long_word_without_a_place_to_break".repeat(40));
    ask(&browser, "post-say");
    wait_for(&browser, "post-say", ".answer pre", "to_break");
    fill(&browser, "get-fib", 0, "46");
    ask(&browser, "get-fib");
    wait_for(&browser, "get-fib", ".answer pre", "from 0 to 45");
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")] {
        browser.look(width, 900, scheme);
        browser.wait_until(&format!("document.documentElement.scrollWidth <= {width}"));
        assert_eq!(judge.findings(&browser), "[]", "{width} {scheme}");
    }
}

/// What a browser is shown that asks nothing of the one-liner.
#[test]
fn the_problem_on_top_is_accessible_in_both_themes() {
    let server = Server::args(&["--", "sed", "-u", "s/a/X/"]).start();
    let (Some(judge), Some(browser)) =
        (Judge::find(), Browser::open(&format!("{}/", server.url())))
    else {
        return;
    };
    browser.wait_until("document.querySelectorAll('details.operation').length === 2");
    for (width, scheme) in [(1280, "light"), (400, "dark")] {
        browser.look(width, 900, scheme);
        browser.wait_until(&format!("document.documentElement.scrollWidth <= {width}"));
        assert_eq!(judge.findings(&browser), "[]", "{width} {scheme}");
    }
}

#[test]
fn a_browser_that_opens_the_one_liner_sees_what_to_ask() {
    let server = Server::args(&["--", "sed", "-u", "s/a/X/"]).start();
    let line = server.wait_for_log("open it in a browser");
    assert!(line.contains(&format!("{}/docs", server.url())), "{line}");
    let Some(browser) = Browser::open(&format!("{}/", server.url())) else { return };
    browser.wait_until("document.querySelectorAll('details.operation').length === 2");
    let page = browser.text();
    assert!(page.contains("400 bad_parameter") && page.contains("`input` is missing"), "{page}");
    let failed = browser.events("Network.responseReceived");
    assert_eq!(failed[0]["response"]["status"], 400, "the status stays");
    let get = "document.querySelector('h2[id^=get]').id";
    let get = browser.evaluate(get).as_str().expect("an id").to_owned();
    fill(&browser, &get, 0, "banana");
    ask(&browser, &get);
    wait_for(&browser, &get, ".answer pre", "bXnana");
}

#[test]
fn operators_see_the_forms_and_the_lines_for_a_shell() {
    let server = Server::config(ROUTES).start();
    let Some(browser) = Browser::open(&format!("{}/docs", server.admin_url())) else { return };
    browser.wait_until("document.getElementById('get-fib') !== null");
    let line = text(&browser, "get-fib", ".go code");
    assert_eq!(line, format!("curl '{}/fib?num=10'", server.url()));
    assert_eq!(text(&browser, "get-fib", "button"), "Copy");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
