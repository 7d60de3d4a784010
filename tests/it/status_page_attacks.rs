//! What somebody may try with the pages for operators: names that look like markup, controls in what
//! workers write, very many workers, and requests that come from elsewhere.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::status_page::{LIVE, key_of};
use crate::support::{Browser, Over, Server, Stopwatch, binary, pause};

#[test]
fn markup_is_no_name_of_a_pool_and_is_shown_as_it_was_typed() {
    let config = "[pool.\"<img src=x onerror=alert(1)>\"]\ncommand = [\"cat\"]\nworkers = 1\n";
    let refused = Server::config(config).refused();
    assert_ne!(refused.code, 0);
    assert!(
        refused.stderr.contains("cannot be called `<img src=x onerror=alert(1)>`"),
        "{refused:?}"
    );
    let server = Server::with("workers = 1").start();
    let secret = format!("Authorization: Bearer {}", key_of(&server));
    let path = "/pools/%3Cimg%20src=x%20onerror=alert(1)%3E/recycle";
    let answer = server.admin().request("POST", path, &[&secret], "");
    assert_eq!((answer.status, answer.header("content-type")), (404, "application/problem+json"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
}

/// A route of a real configuration, and a call that works on it for some seconds.
#[test]
fn the_call_on_which_a_worker_works_is_in_its_row() {
    let route = "POST /\"quoted\"/'s/<b>/🙂/{x}";
    let server = Server::with("workers = 2\ntimeout = \"60s\"")
        .route(&format!("match = '''{route}'''\nsend = \"{{x}}\""))
        .start();
    let Some(browser) = Browser::open(&server.admin_url()) else { return };
    browser.wait_until(LIVE);
    let path = "/%22quoted%22/'s/%3Cb%3E/%F0%9F%99%82/sleep%204000%20a";
    let running = server.client().post_later(path, "");
    let row = |what: &str| {
        format!(
            "[...document.querySelectorAll('.workers tbody tr')].filter((row) => \
             row.innerText.includes({}) && {what}.test(row.innerText)).length === 1",
            json!(route)
        )
    };
    browser.wait_until(&row(r"/\bbusy\b/"));
    browser.wait_until(&row(r"/\b[12]\.\d\u2009s/"));
    browser.wait_until(&row(r"/\b3\.\d\u2009s/"));
    assert_eq!(running.answer().status, 200);
    let gone = format!(
        "[...document.querySelectorAll('.workers tbody')].every((it) => !it.innerText.includes({}))",
        json!(route)
    );
    browser.wait_until(&gone);
    // It was slow, and is listed as such, with the same name.
    browser.wait_until(&format!(
        "document.getElementById('pools').innerText.includes({})",
        json!(route)
    ));
    let bold = "[...document.querySelectorAll('main b')].some((it) => it.innerText.includes('🙂'))";
    assert_eq!(browser.evaluate(bold), false);
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Everything that a worker writes as it ends, and in an answer, with controls and without UTF-8.
#[test]
fn controls_that_a_worker_writes_reach_no_page_and_no_terminal() {
    let script = "import sys\nfor line in sys.stdin:\n    \
                  words = '\\x1b[2J\\x1b]0;evil\\x07\\u202e\\x9b31m\\x00'\n    \
                  sys.stderr.buffer.write(words.encode() + b'\\xff\\n')\n    \
                  sys.stderr.flush()\n    sys.stdout.write('half ' + words)\n    \
                  sys.stdout.flush()\n    sys.exit(words)";
    let plan = Server::with("workers = 1\nretries = 0").worker("python3 w.py");
    let server = plan.file("w.py", script).start();
    assert_ne!(server.answers("a").status, 200);
    server.wait_until("its end is known", |server| {
        server.status()["pools"][0]["last_exits"][0]["worker"] == 1
    });
    let is_bad =
        |text: &str| text.chars().any(|it| (it.is_control() && it != '\n') || it == '\u{202e}');
    for page in ["/status.json", "/metrics", "/status.json?pretty"] {
        let body = server.admin().get(page).body;
        assert!(!body.chars().any(|it| it.is_control() && it != '\n'), "{page}: {body:?}");
    }
    let log = server.log_lines();
    assert!(log.iter().all(|line| !is_bad(line)), "{log:?}");
    for command in [&["status"][..], &["top", "--once"]] {
        let shown = binary(&server, &[command, &[&server.admin_url()]].concat());
        assert!(shown.code == 0 && !is_bad(&shown.stdout), "{command:?}: {shown:?}");
    }
    let Some(browser) = Browser::open(&server.admin_url()) else { return };
    browser.wait_until(LIVE);
    browser.wait_until("document.getElementById('pools').innerText.includes('crash')");
    let text = browser.text();
    assert!(!text.chars().any(|it| it.is_control() && !matches!(it, '\n' | '\t')), "{text:?}");
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Processor time of the thread that runs scripts and lays out, with 256 workers in one pool, 39
/// others, and callers: 50 ms a second at most.
#[test]
fn forty_pools_and_very_many_workers_take_little_of_the_browser() {
    let _alone = crate::support::whole_machine();
    let mut config = "[pool.many]\ncommand = [\"cat\"]\nworkers = 256\n\
                      [[route]]\nmatch = \"GET /many/{input}\"\npool = \"many\"\n"
        .to_owned();
    for n in 0..39 {
        write!(
            config,
            "[pool.p{n}]\ncommand = [\"cat\"]\nworkers = 1\n\
             [[route]]\nmatch = \"GET /p{n}/{{input}}\"\npool = \"p{n}\"\n"
        )
        .expect("a text grows");
    }
    let server = Server::config(&config).start();
    let Some(browser) = Browser::start() else { return };
    browser.call("Performance.disable", &json!({}));
    browser.call("Performance.enable", &json!({ "timeDomain": "threadTicks" }));
    browser.look(1280, 900, "light");
    browser.navigate(&server.admin_url());
    browser.wait_until(LIVE);
    browser.wait_until("document.querySelectorAll('.cell').length === 256");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Over(&stop);
        scope.spawn(|| {
            let mut connection = server.client().connect();
            for turn in 0u64.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let pool =
                    if turn % 2 == 0 { "many".to_owned() } else { format!("p{}", turn % 39) };
                assert_eq!(connection.get(&format!("/{pool}/a")).status, 200);
                pause(Duration::from_millis(5), "callers think");
            }
        });
        pause(Duration::from_secs(2), "the page is laid out");
        let share = || {
            let before = browser.measure("TaskDuration");
            let watch = Stopwatch::start();
            pause(Duration::from_secs(6), "the page draws itself six times");
            let took = browser.measure("TaskDuration") - before;
            took / watch.took().time.as_secs_f64()
        };
        // What else the machine does can only make it more.
        let mut shares = vec![share()];
        while shares.len() < 3 && shares[shares.len() - 1] >= 0.05 {
            shares.push(share());
        }
        drop(over);
        assert!(shares.iter().any(|share| *share < 0.05), "{shares:?} of a processor");
    });
    assert_eq!(browser.complaints(), [""; 0]);
}

/// Returns the status of an answer whose body may never end.
fn status(server: &Server, path: &str, fields: &[&str]) -> u16 {
    let mut connection = server.admin().connect();
    connection.ask("GET", path, fields, "");
    connection.head().status
}

/// The pages that tell of the server; and those that hold nothing of it.
const TELLING: [&str; 5] = ["/status.json", "/events", "/tap", "/openapi.json", "/metrics"];
const EMPTY: [&str; 4] = ["/", "/page/main.js", "/docs", "/docs/docs.js"];

const FOREIGN: [&[&str]; 4] = [
    &["Host: evil.example"],
    &["Host: evil.example:3001", "Sec-Fetch-Site: same-origin"],
    &["Origin: http://evil.example"],
    &["Sec-Fetch-Site: cross-site"],
];

#[test]
fn a_page_of_another_site_learns_nothing_at_any_path() {
    let server = Server::with("workers = 1").start();
    let secret = format!("Authorization: Bearer {}", key_of(&server));
    for path in TELLING {
        for fields in FOREIGN {
            assert_eq!(status(&server, path, fields), 403, "{path} {fields:?}");
            let with: Vec<&str> = fields.iter().copied().chain([&*secret]).collect();
            assert_eq!(status(&server, path, &with), 200, "{path} {with:?}");
        }
        assert_eq!(status(&server, path, &[]), 200, "{path}");
    }
    let other = Server::with("workers = 1")
        .top("docs = \"off\"")
        .route("match = \"GET /secret\"\nsend = \"a\"")
        .start();
    for path in EMPTY {
        let [here, there] = [&server, &other].map(|server| server.admin().get(path));
        assert_eq!(
            (here.status, &here.body),
            (200, &there.body),
            "{path} holds nothing of a server"
        );
    }
}

#[test]
fn with_a_token_nothing_is_told_without_it() {
    let server = Server::with("workers = 1").top("admin_token = \"right\"").start_unready();
    let rows: [(&[&str], u16); 6] = [
        (&[], 401),
        (&["Authorization: Bearer wrong"], 401),
        (&["Authorization: Basic cmlnaHQ6"], 401),
        (&["Authorization: Bearer right", "Authorization: Bearer right"], 401),
        (&["Host: evil.example"], 401),
        (&["Authorization: Bearer right", "Host: evil.example"], 200),
    ];
    for (fields, expected) in rows {
        for path in TELLING {
            assert_eq!(status(&server, path, fields), expected, "{path} {fields:?}");
        }
    }
    for path in EMPTY {
        assert_eq!(status(&server, path, &[]), 200, "{path}");
    }
}
