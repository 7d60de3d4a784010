//! The page for operators, in a real browser that shows a real server.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Browser, Over, Plan, Server, Stopwatch, pause, shell};

/// Two pools: one of two workers that do what their questions say, and one of `cat`.
pub(crate) fn two_pools() -> Plan {
    two_pools_with("")
}

fn two_pools_with(top: &str) -> Plan {
    Server::with("workers = 2\ntimeout = \"60s\"")
        .top(top)
        .top("[pool.echo]\ncommand = [\"cat\"]\nworkers = 1\n")
        .route("match = \"POST /\"")
        .route("match = \"GET /echo/{input}\"\npool = \"echo\"")
}

/// Opens the page of a server, and waits until it is live.
pub(crate) fn open(server: &Server) -> Option<Browser> {
    let browser = Browser::open(&server.admin_url())?;
    browser.wait_until(LIVE);
    Some(browser)
}

/// Returns the operator's key, which a server writes into its directory.
pub(crate) fn key_of(server: &Server) -> String {
    let (code, key) = shell(&format!("cat {}/httpipe/*.key", server.dir().display()));
    assert_eq!(code, 0, "{key}");
    key.trim().to_owned()
}

/// Opens the page of a server as `httpipe open` does.
pub(crate) fn open_with_key(server: &Server) -> Option<Browser> {
    let address = format!("{}/#key={}", server.admin_url(), key_of(server));
    let browser = Browser::open(&address)?;
    browser.wait_until(LIVE);
    Some(browser)
}

pub(crate) const LIVE: &str = "document.getElementById('live')?.textContent === 'live'";
const HEALTH: &str = "document.getElementById('health').textContent";

/// The texts of a column of the table of workers.
fn rows(browser: &Browser) -> usize {
    let count = browser.evaluate("document.querySelectorAll('.workers tbody tr').length");
    usize::try_from(count.as_u64().expect("a number")).expect("it is small")
}

/// Clicks what this selector finds first.
pub(crate) fn click(browser: &Browser, selector: &str) {
    browser.evaluate(&format!("document.querySelector({}).click()", json!(selector)));
}

/// Returns the requests that would change something.
fn changes(browser: &Browser) -> Vec<Value> {
    let sent = browser.events("Network.requestWillBeSent").into_iter();
    let requests = sent.map(|event| event["request"].clone());
    requests.filter(|request| request["method"] != "GET").collect()
}

#[test]
fn it_shows_the_server_and_the_browser_has_no_complaint() {
    let server = two_pools().start();
    let Some(browser) = open(&server) else { return };
    browser.wait_until(&format!("{HEALTH} === 'serving' && document.title === 'httpipe'"));
    assert_eq!(rows(&browser), 3);
    let busy = server.client().post_later("/", "sleep 2500 a");
    browser.wait_until("document.querySelector('#overview').innerText.includes('1/2 busy')");
    assert_eq!(busy.answer().status, 200);
    assert_eq!(server.client().get("/echo/a").status, 200);
    assert_eq!(browser.complaints(), [""; 0]);
    let origin = server.admin_url();
    for sent in browser.events("Network.requestWillBeSent") {
        let url = sent["request"]["url"].as_str().expect("a text").to_owned();
        assert!(url.starts_with(&origin), "{url}");
    }
    assert!(changes(&browser).is_empty(), "who looks changes nothing");
}

#[test]
fn a_worker_that_dies_is_seen_within_two_seconds() {
    let server = two_pools().start();
    let Some(browser) = open(&server) else { return };
    let worker = server.workers()[0];
    let pid = format!("document.querySelector('#pools').innerText.includes('{worker}')");
    browser.wait_until(&pid);
    server.signal_worker(worker, "KILL");
    let watch = Stopwatch::start();
    browser.wait_until("document.querySelector('aside').innerText.includes('crash')");
    browser.wait_until(&format!("!{pid}"));
    let took = watch.took();
    assert!(took.is_below(Duration::from_secs(2)), "{took:?}");
    assert!(browser.text().contains("signal 9"), "{}", browser.text());
}

#[test]
fn a_record_is_shown_to_those_with_the_key() {
    let server = two_pools().start();
    let Some(browser) = open_with_key(&server) else { return };
    let first = server.workers()[0];
    server.signal_worker(first, "KILL");
    browser.wait_until("document.querySelector('.exit button') !== null");
    click(&browser, ".exit button");
    browser.wait_until("document.querySelector('dialog pre').innerText.startsWith('{\\n')");
    let shown = browser.evaluate("document.getElementById('dialog').innerText");
    let shown = shown.as_str().expect("a text");
    assert!(shown.contains(&format!("\"pid\": {first}")), "{shown}");
}

#[test]
fn a_kill_is_sent_only_after_the_answer_to_its_question() {
    let server = two_pools().start();
    let Some(browser) = open_with_key(&server) else { return };
    let kill = "td.acts button.danger";
    let is_open = "document.getElementById('dialog').open";
    click(&browser, kill);
    browser.wait_until(is_open);
    assert!(browser.text().contains("Kill worker"), "{}", browser.text());
    browser.press("Escape");
    browser.wait_until(&format!("!{is_open}"));
    click(&browser, kill);
    // The focus is on what does no harm.
    browser.wait_until("document.activeElement.id === 'no'");
    browser.press("Enter");
    browser.wait_until(&format!("!{is_open}"));
    assert!(changes(&browser).is_empty(), "{:?}", changes(&browser));
    click(&browser, kill);
    click(&browser, "#yes");
    browser.wait_until("document.getElementById('told').textContent.startsWith('Kill')");
    let sent = changes(&browser);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0]["url"].as_str().is_some_and(|url| url.ends_with("/kill")), "{sent:?}");
    let headers = &sent[0]["headers"];
    assert_eq!(headers["httpipe-admin"], "1", "{headers}");
    assert_eq!(headers["authorization"], format!("Bearer {}", key_of(&server)), "{headers}");
    browser.wait_until("document.querySelector('#told.good')?.textContent.includes('done')");
    browser.wait_until("document.querySelector('#pools').innerText.includes('signal 9')");
}

#[test]
fn without_the_key_the_buttons_say_how_to_get_it() {
    let server = two_pools().start();
    let Some(browser) = open(&server) else { return };
    let kill = "document.querySelector('td.acts button.danger')";
    assert_eq!(browser.evaluate(&format!("{kill}.ariaDisabled")), "true");
    let title = browser.evaluate(&format!("{kill}.title"));
    assert!(title.as_str().is_some_and(|title| title.contains("httpipe open")), "{title}");
    click(&browser, "td.acts button.danger");
    browser.wait_until("document.activeElement.id === 'field'");
    assert!(browser.text().contains("httpipe open http://127.0.0.1"), "{}", browser.text());
    for letter in key_of(&server).chars() {
        browser.press(&letter.to_string());
    }
    browser.press("Enter");
    browser.wait_until(&format!("{kill}.ariaDisabled === null"));
    assert_eq!(browser.evaluate("sessionStorage.getItem('httpipe-key')"), key_of(&server));
    browser.wait_until(LIVE);
    assert!(changes(&browser).is_empty(), "a key alone does nothing");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// The key of a server changes with each start, and a tab may have the one of before.
#[test]
fn a_key_of_another_start_is_said_and_dropped() {
    let server = two_pools().start();
    let Some(browser) = Browser::open(&format!("{}/#key=old", server.admin_url())) else { return };
    browser.wait_until("document.querySelector('#told.bad')?.textContent.includes('each start')");
    browser.wait_until(LIVE);
    assert_eq!(browser.evaluate("sessionStorage.getItem('httpipe-key')"), Value::Null);
}

#[test]
fn the_key_does_not_stay_in_the_address() {
    let server = two_pools().start();
    let Some(browser) = open_with_key(&server) else { return };
    let key = key_of(&server);
    assert_eq!(browser.evaluate("location.href"), format!("{}/", server.admin_url()));
    assert_eq!(browser.evaluate("sessionStorage.getItem('httpipe-key')"), key);
    let history = browser.call("Page.getNavigationHistory", &json!({}));
    let kept = history["entries"].as_array().expect("a list").iter();
    let addresses: Vec<_> = kept.map(|entry| entry["url"].to_string()).collect();
    assert!(!addresses.concat().contains(&key), "{addresses:?}");
}

#[test]
fn a_token_that_is_wrong_is_asked_for_again() {
    let server = two_pools_with("admin_token = \"right\"").start_unready();
    let Some(browser) = Browser::open(&server.admin_url()) else { return };
    // A field that has just gone with its dialog keeps the focus until the page is drawn again.
    let is_asked =
        "document.getElementById('dialog')?.open && document.activeElement?.id === 'field'";
    let enter = |token: &str| {
        browser.wait_until(is_asked);
        assert_eq!(browser.evaluate("document.getElementById('pools').childElementCount"), 0);
        browser.evaluate(&format!("document.getElementById('field').value = '{token}'"));
        browser.press("Enter");
    };
    enter("");
    enter("wrong");
    // Only then the field is that of the next question.
    browser.wait_until("document.body.textContent.includes('neither the admin token')");
    enter("right");
    browser.wait_until(LIVE);
    browser.wait_until("document.querySelectorAll('.workers tbody tr').length === 3");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn a_stream_that_is_cut_is_said_and_comes_back() {
    let mut server = two_pools().start();
    let Some(browser) = open(&server) else { return };
    // What a reader has chosen and marked lives on, because no element is made again.
    browser.press("1");
    browser.evaluate("document.querySelector('td.acts button').focus()");
    browser.evaluate("window.section = document.querySelector('.pool')");
    let admin = server.admin_url().replace("http://", "");
    server.signal("TERM");
    server.exit_code();
    browser.wait_until("document.title.includes('no connection')");
    browser.wait_until("document.body.classList.contains('stale')");
    let again = two_pools().option("--admin").option(&admin).start();
    browser.wait_until(LIVE);
    browser.wait_until(&format!("{HEALTH} === 'serving'"));
    assert_eq!(browser.evaluate("document.querySelector('.pool') === window.section"), true);
    assert_eq!(browser.evaluate("document.activeElement.tagName"), "BUTTON");
    assert_eq!(
        browser.evaluate("document.querySelector('#chips [aria-pressed=true]').textContent"),
        "echo"
    );
    // A server that stands still has not closed anything.
    again.signal("STOP");
    browser.wait_until("document.getElementById('live').textContent.includes('says nothing')");
    again.signal("CONT");
    browser.wait_until(LIVE);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// A name that would run if it were read as markup.
const EVIL: &str = "<img src=x onerror=alert(1)>";
const ROUTE: &str = "GET /\"quoted\"/'s/🙂/{x}";

/// Returns what a server says, as an event of its stream.
pub(crate) fn event(name: &str, status: &Value) -> String {
    format!("event: {name}\ndata: {status}\n\n")
}

/// Returns what a server says, with a past, and changed by `change`.
pub(crate) fn hello(server: &Server, change: impl Fn(&mut Value)) -> Value {
    let mut status = server.status();
    for pool in status["pools"].as_array_mut().expect("a list") {
        let column = json!([0, 3, 5]);
        let mut history = json!({ "end": pool["sample"]["at"] });
        for name in [
            "calls",
            "failures",
            "hits",
            "queue",
            "busy",
            "workers",
            "wait_p50_us",
            "wait_p99_us",
            "work_p50_us",
            "work_p99_us",
        ] {
            history[name] = column.clone();
        }
        pool["history"] = history;
    }
    change(&mut status);
    status
}

/// Shows the page of a server whose stream says this, and ends then.
pub(crate) fn open_with(server: &Server, events: &str) -> Option<Browser> {
    let browser = Browser::start()?;
    let pattern = json!({ "patterns": [{ "urlPattern": "*/events" }] });
    browser.call("Fetch.enable", &pattern);
    browser.navigate(&server.admin_url());
    let request = loop {
        if let Some(paused) = browser.events("Fetch.requestPaused").pop() {
            break paused["requestId"].clone();
        }
    };
    let answer = json!({
        "requestId": request,
        "responseCode": 200,
        "responseHeaders": [{ "name": "content-type", "value": "text/event-stream" }],
        "body": STANDARD.encode(events),
    });
    browser.call("Fetch.fulfillRequest", &answer);
    Some(browser)
}

#[test]
fn names_are_text_whatever_they_look_like() {
    let server = two_pools().start();
    let status = hello(&server, |status| {
        let pool = &mut status["pools"][0];
        pool["name"] = json!(EVIL);
        pool["about"]["command"] = json!(EVIL);
        pool["workers"][0]["state"] = json!("busy");
        pool["workers"][0]["head"] = json!({ "call": EVIL, "route": ROUTE, "since_seconds": 75.5,
            "bytes": 12, "retries": 0, "abandoned": false });
        pool["workers"][0]["verdict"] = json!("holds_output");
        pool["failures"]["by_code"] = json!({ EVIL: 3 });
        pool["last_exits"] = json!([{ "worker": 7, "reason": EVIL, "exit": EVIL,
            "ago_seconds": 1.5, "record": true }]);
        pool["slow"] = json!([{ "call": "1", "route": ROUTE, "worker": null, "wait_seconds": 2.5,
            "work_seconds": 0.5, "outcome": EVIL, "verdict": null, "ago_seconds": 3.5 }]);
        status["notices"] = json!([{ "level": "bad", "code": "holds_output", "pool": EVIL,
            "worker": 1, "text": EVIL, "fix": EVIL }]);
    });
    let Some(browser) = open_with(&server, &event("hello", &status)) else { return };
    browser.wait_until("document.querySelectorAll('.pool').length === 2");
    let text = browser.text();
    for wanted in [EVIL, ROUTE, "holds its output back?", "75.5\u{2009}s"] {
        assert!(text.contains(wanted), "no {wanted} in\n{text}");
    }
    assert!(text.matches(EVIL).count() >= 6, "{text}");
    assert_eq!(browser.evaluate("document.querySelectorAll('main img, main script').length"), 0);
    assert_eq!(browser.evaluate("document.querySelectorAll('.noticed').length"), 1);
    // Its buttons work, too.
    click(&browser, ".title .acts button");
    browser.wait_until("document.getElementById('dialog').innerText.includes('onerror')");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn many_workers_and_many_pools_are_all_there() {
    let many = "[pool.many]\ncommand = [\"cat\"]\nworkers = 256\n";
    let others = (0..39).map(|n| format!("[pool.p{n}]\ncommand = [\"cat\"]\nworkers = 1\n"));
    let others = others.collect::<Vec<_>>().concat();
    let server = Server::config(&format!(
        "{many}{others}[[route]]\nmatch = \"GET /{{input}}\"\npool = \"many\"\n"
    ))
    .start();
    let Some(browser) = open(&server) else { return };
    browser.wait_until("document.querySelectorAll('.cell').length === 256");
    assert_eq!(browser.evaluate("document.querySelectorAll('.pool').length"), 40);
    assert_eq!(browser.evaluate("document.querySelectorAll('#overview tbody tr').length"), 40);
    // Eight of the many until all are asked for, and the only one of each other pool.
    assert_eq!(rows(&browser), 8 + 39);
    click(&browser, ".halves button.link");
    browser.wait_until("document.querySelectorAll('.workers tbody tr').length === 256 + 39");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Processor time of the thread that runs scripts and lays out, which is what makes a page sluggish.
#[test]
fn a_page_of_a_busy_server_takes_little_of_the_browser() {
    let server = Server::config(
        "[pool.many]\ncommand = [\"cat\"]\nworkers = 64\n\
         [[route]]\nmatch = \"GET /{input}\"\npool = \"many\"\n",
    )
    .start();
    let Some(browser) = Browser::start() else { return };
    browser.call("Performance.disable", &json!({}));
    browser.call("Performance.enable", &json!({ "timeDomain": "threadTicks" }));
    browser.look(1280, 900, "light");
    browser.navigate(&server.admin_url());
    browser.wait_until(LIVE);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Over(&stop);
        scope.spawn(|| {
            let mut connection = server.client().connect();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(connection.get("/a").status, 200);
            }
        });
        server.wait_until("it is busy", |server| server.metric("httpipe_calls_total") > 50.0);
        let before = browser.measure("TaskDuration");
        let watch = Stopwatch::start();
        pause(Duration::from_secs(5), "the page draws itself five times");
        let took = browser.measure("TaskDuration") - before;
        let share = took / watch.took().time.as_secs_f64();
        drop(over);
        assert!(share < 0.05, "{share} of a processor");
    });
}

/// Twice as many ticks as are kept, and then three times as many again: what one leaves would pile up.
#[test]
fn a_page_that_is_left_open_does_not_grow() {
    let server = two_pools().start();
    let Some((nodes, heap)) = size_after(&server, 1_200) else { return };
    let (later_nodes, later_heap) = size_after(&server, 4_800).expect("there is a browser");
    // Far below what 1200 rows of a dozen elements would be.
    assert!(nodes < 4_000.0 && heap < 16e6, "{nodes} nodes, {heap} bytes");
    assert!(later_nodes < nodes * 1.05, "{nodes} nodes, then {later_nodes}");
    assert!(later_heap < heap + 1e6, "{heap} bytes, then {later_heap}");
}

/// Returns how many nodes and bytes a page has after so many seconds.
fn size_after(server: &Server, seconds: u64) -> Option<(f64, f64)> {
    let begin = hello(server, |_| ());
    let mut tick = begin.clone();
    let mut events = event("hello", &begin);
    for second in 1..=seconds {
        for pool in tick["pools"].as_array_mut().expect("a list") {
            let fields = pool.as_object_mut().expect("an object");
            fields.remove("history");
            fields.remove("about");
            let at = begin["pools"][0]["sample"]["at"].as_u64().expect("a number") + second;
            pool["sample"]["at"] = json!(at);
            // Every worker is another one, so that rows come and go.
            pool["workers"][0]["id"] = json!(1000 + second);
            pool["failures"]["by_code"] = json!({ format!("code_{second}"): second });
        }
        events.push_str(&event("tick", &tick));
    }
    let browser = open_with(server, &events)?;
    browser.wait_until(&format!(
        "document.getElementById('pools').innerText.includes('code_{seconds}')"
    ));
    browser.call("HeapProfiler.collectGarbage", &json!({}));
    assert_eq!(browser.complaints(), [""; 0]);
    Some((browser.measure("Nodes"), browser.measure("JSHeapUsedSize")))
}
