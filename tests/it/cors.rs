//! Web pages of other origins that the operator lets in may ask, and read every answer.

use crate::support::{Answer, Plan, Server};

const APP: &str = "Origin: https://app.example";
const EVIL: &str = "Origin: https://evil.example";

/// What a browser on this answer's page may read: the origin that the answer names.
fn readable_by(answer: &Answer) -> &str {
    answer.header("access-control-allow-origin")
}

fn plan(top: &str) -> Plan {
    Server::with("workers = 1\nretries = 0")
        .top(top)
        .route("match = \"POST /ask\"\nsend = \"{body}{header.x-mode}\"")
        .route("match = \"DELETE /ask\"\nsend = \"gone\"")
        .route("match = \"GET /closed\"\ntext = \"closed\"\ncors = \"off\"")
        .route("match = \"GET /text\"\ntext = \"hello\"")
}

fn preflight(server: &Server, target: &str, method: &str, origin: &str) -> Answer {
    let method = format!("Access-Control-Request-Method: {method}");
    let fields = [origin, &method, "Access-Control-Request-Headers: x-mode"];
    server.client().request("OPTIONS", target, &fields, "")
}

#[test]
fn a_preflight_names_the_methods_of_the_path_and_the_fields_that_are_read() {
    let server = plan("cors = [\"https://app.example\"]").start();
    let answer = preflight(&server, "/ask", "POST", APP);
    assert_eq!((answer.status, readable_by(&answer)), (204, "https://app.example"), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-methods"), "POST, DELETE, OPTIONS");
    let fields = answer.header("access-control-allow-headers").to_owned();
    assert!(fields.contains("content-type") && fields.contains("x-mode"), "{fields}");
    assert_eq!(answer.header("vary"), "Origin");
    assert!(!answer.header("access-control-max-age").is_empty());
    for (target, method, origin) in [("/ask", "POST", EVIL), ("/closed", "GET", APP)] {
        let answer = preflight(&server, target, method, origin);
        assert_eq!((answer.status, readable_by(&answer)), (403, ""), "{target} {answer:?}");
    }
}

#[test]
fn a_listed_page_reads_answers_failures_and_fixed_texts() {
    let server = plan("cors = [\"https://app.example\"]").start();
    for (method, target, body, status) in [
        ("POST", "/ask", "a", 200),
        ("POST", "/ask", "crash", 502),
        ("POST", "/ask", "two\nlines", 400),
        ("GET", "/text", "", 200),
        ("GET", "/nowhere", "", 404),
        ("PUT", "/ask", "", 405),
        ("POST", "/text", "", 405),
    ] {
        let answer = server.client().request(method, target, &[APP, "X-Mode: "], body);
        let seen = (answer.status, readable_by(&answer), answer.header("vary"));
        assert_eq!(seen, (status, "https://app.example", "Origin"), "{method} {target} {body}");
        assert_eq!(answer.header("access-control-expose-headers"), "*");
        let answer = server.client().request(method, target, &[EVIL], body);
        assert_eq!((answer.status, readable_by(&answer)), (403, ""), "{method} {target} {body}");
    }
    let answer = server.client().request("GET", "/closed", &[APP], "");
    assert_eq!((answer.status, readable_by(&answer)), (403, ""));
    let answer = server.client().request("GET", "/text", &[], "");
    assert_eq!((answer.status, readable_by(&answer), answer.header("vary")), (200, "", "Origin"));
}

#[test]
fn any_page_may_read_where_the_operator_says_so() {
    let server = plan("cors = \"*\"").start();
    for origin in [APP, EVIL, "Origin: null"] {
        let answer = server.client().request("GET", "/text", &[origin], "");
        assert_eq!((answer.status, readable_by(&answer)), (200, "*"), "{origin}");
    }
    let answer = server.client().request("GET", "/text", &["Sec-Fetch-Site: cross-site"], "");
    assert_eq!(answer.status, 200);
    assert_eq!(server.client().request("GET", "/closed", &[EVIL], "").status, 403);
}

#[test]
fn parts_and_kept_answers_can_be_read_too() {
    let pool = "workers = 1\nstream = \"until:END\"";
    let worker = "python3 -uc 'import sys\nfor line in sys.stdin: print(line + \"END\")'";
    let streaming = Server::with(pool).worker(worker).top("cors = \"https://app.example\"").start();
    let mut caller = streaming.client().connect();
    caller.ask("POST", "/", &[APP], "a");
    let answer = caller.head();
    assert_eq!(caller.chunk().as_deref(), Some("a\n"));
    assert_eq!((answer.status, readable_by(&answer)), (200, "https://app.example"), "{answer:?}");
    let keeping = Server::with("workers = 1")
        .route("match = \"GET /kept\"\nsend = \"a\"\ncache = \"1h\"\ncors = \"*\"")
        .start();
    let tag = keeping.client().request("GET", "/kept", &[APP], "").header("etag").to_owned();
    let again = format!("If-None-Match: {tag}");
    let answer = keeping.client().request("GET", "/kept", &[EVIL, &again], "");
    assert_eq!((answer.status, readable_by(&answer)), (304, "*"), "{answer:?}");
}

#[test]
fn ten_thousand_origins_cost_a_request_nothing() {
    let origins: Vec<String> = (0..10_000).map(|at| format!("\"https://{at}.example\"")).collect();
    let server = plan(&format!("cors = [{}]", origins.join(","))).start();
    let fields = ["Origin: https://9999.example"];
    let before = server.processor_time();
    let mut connection = server.client().connect();
    for _ in 0..1_000 {
        connection.ask("GET", "/text", &fields, "");
        assert_eq!(readable_by(&connection.answer()), "https://9999.example");
    }
    let took = server.processor_time().saturating_sub(before);
    assert!(took.as_millis() < 1_000, "{took:?} for a thousand requests");
}

#[test]
fn the_operator_is_told_the_line_that_lets_a_page_in() {
    let server = plan("").start();
    assert_eq!(server.client().request("GET", "/text", &[APP], "").status, 403);
    let line = server.wait_for_log("of another site");
    assert!(line.contains(r#"cors = [\"https://app.example\"]"#), "{line}");
}

#[test]
fn a_page_may_use_the_jobs_of_the_routes_that_let_it_in() {
    let other = "Origin: https://other.example";
    let server = Server::with("workers = 2")
        .top("jobs = {}")
        .route("match = \"POST /job\"\njobs = true\ncors = [\"https://app.example\"]")
        .route("match = \"POST /twin\"\njobs = true\nitems = 5\ncors = [\"https://other.example\"]")
        .route("match = \"POST /items\"\nitems = 5\ncors = [\"https://evil.example\"]")
        .start();
    let fields = |target: &str, method: &str, origin: &str| {
        let answer = preflight(&server, target, method, origin);
        assert_eq!((answer.status, readable_by(&answer)), (204, &origin[8..]), "{answer:?}");
        answer.header("access-control-allow-headers").to_owned()
    };
    let job = fields("/job", "POST", APP);
    assert!(job.contains("prefer") && job.contains("idempotency-key"), "{job}");
    let items = fields("/items", "POST", EVIL);
    assert!(items.contains("prefer") && !items.contains("idempotency-key"), "{items}");
    let asked = server.client().request("POST", "/job", &[APP, "Prefer: respond-async"], "x");
    assert_eq!((asked.status, readable_by(&asked)), (202, "https://app.example"), "{asked:?}");
    assert_eq!(asked.header("access-control-expose-headers"), "*", "it reads `Location`");
    let path = asked.header("location").to_owned();
    for origin in [APP, other] {
        let answer = preflight(&server, &path, "DELETE", origin);
        assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, DELETE, OPTIONS");
        assert!(fields(&path, "DELETE", origin).contains("prefer"));
        assert!(!fields(&format!("{path}/result"), "GET", origin).is_empty());
        let seen = server.client().request("GET", &path, &[origin, "Prefer: wait=10"], "");
        assert_eq!((seen.status, readable_by(&seen)), (200, &origin[8..]), "{seen:?}");
    }
    for method in ["GET", "DELETE", "OPTIONS"] {
        let seen = server.client().request(method, &path, &[EVIL], "");
        assert_eq!((seen.status, readable_by(&seen)), (403, ""), "{method} {seen:?}");
    }
    assert_eq!(preflight(&server, &path, "GET", EVIL).status, 403);
}
