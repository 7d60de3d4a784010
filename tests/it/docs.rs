//! What can be asked, as a document and as a page: where they are, and who sees them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::{Answer, Server};

/// What a browser sends that is about to show a page.
const BROWSER: &[&str] =
    &["Sec-Fetch-Mode: navigate", "Accept: text/html,application/xhtml+xml;q=0.9"];

const ROUTES: &str = "
[pool.main]
command = [\"$httpipe\", \"demo-worker\"]
workers = 1
[[route]]
match = \"GET /spell/{word}?max={max:int}\"
send = \"{word} {max}\"
summary = \"<img onerror=alert(1)> \\\"quoted\\\" \u{1f600}\"
params.max = { min = 0, max = \"100000000000000000000\", default = 3 }
";

/// A server of these keys at the top of its configuration.
fn serve(top: &str) -> Server {
    Server::config(&format!("{top}\n{ROUTES}")).start()
}

fn document(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.1");
    document
}

#[test]
fn callers_on_this_machine_see_the_document_and_the_page() {
    let server = serve("");
    let client = server.client();
    let answer = client.get("/openapi.json");
    let document = document(&answer);
    let operation = &document["paths"]["/spell/{word}"]["get"];
    assert_eq!(operation["summary"], "<img onerror=alert(1)> \"quoted\" \u{1f600}");
    let most = &operation["parameters"][1]["schema"]["maximum"];
    assert_eq!(most.to_string(), "100000000000000000000");
    assert_eq!(client.get("/docs/openapi.json").body, answer.body);
    let tag = format!("If-None-Match: {}", answer.header("etag"));
    let again = client.request("GET", "/openapi.json", &[&tag], "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let page = client.get("/docs");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for part in page.body.split('"').filter(|part| part.starts_with("./docs/")) {
        assert_eq!(client.get(&part[1..]).status, 200, "{part}");
    }
    let head = client.request("HEAD", "/docs", &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, &*page.body.len().to_string()));
    let wrong = client.request("POST", "/docs", &[], "");
    assert_eq!((wrong.status, wrong.header("allow")), (405, "GET, HEAD, OPTIONS"));
    let options = client.request("OPTIONS", "/openapi.json", &[], "");
    assert_eq!((options.status, options.header("allow")), (204, "GET, HEAD, OPTIONS"));
    for nothing in ["/docs/", "/docs/x", "/docs/../docs.js", "/openapi.json/", "/docsx"] {
        assert_eq!(client.get(nothing).code(), "no_route", "{nothing}");
    }
}

#[test]
fn a_route_with_jobs_says_how_to_ask_for_one_and_what_comes_then() {
    let routes = ROUTES.replace("workers = 1", "workers = 2") + "jobs = true\n";
    let server = Server::config(&format!("{routes}[jobs]\n")).start();
    let document = document(&server.client().get("/openapi.json"));
    let operation = &document["paths"]["/spell/{word}"]["get"];
    let parameters = operation["parameters"].as_array().expect("a list");
    for name in ["Prefer", "Idempotency-Key"] {
        assert!(parameters.iter().any(|it| it["name"] == name), "{parameters:?}");
    }
    let accepted = &operation["responses"]["202"];
    let is_a_job = json!({ "$ref": "#/components/schemas/Job" });
    assert_eq!(accepted["content"]["application/json"]["schema"], is_a_job);
    let shown = &document["components"]["schemas"]["Job"]["properties"];
    let job = ["Prefer: respond-async"];
    let answer = server.client().request("GET", "/spell/a", &job, "");
    assert_eq!(answer.status, 202, "{answer:?}");
    for name in accepted["headers"].as_object().expect("headers").keys() {
        assert!(!answer.header(&name.to_ascii_lowercase()).is_empty(), "{name}");
    }
    let known: Vec<&String> = shown.as_object().expect("members").keys().collect();
    assert_eq!(answer.json().as_object().expect("a job").keys().collect::<Vec<_>>(), known);
    let (one, result) =
        (&document["paths"]["/-/jobs/{id}"], &document["paths"]["/-/jobs/{id}/result"]);
    assert_eq!(one["get"]["responses"]["200"]["content"]["application/json"]["schema"], is_a_job);
    for (operation, statuses) in [
        (&one["get"], &["404", "503"][..]),
        (&one["delete"], &["204", "404", "503"]),
        (&result["get"], &["200", "404", "409", "410", "502", "504", "default"]),
    ] {
        for status in statuses {
            assert!(operation["responses"][status].is_object(), "{status} of {operation}");
        }
    }
    let without = Server::config(ROUTES).start().client().get("/openapi.json").json();
    assert!(without["paths"]["/-/jobs/{id}"].is_null(), "no route has jobs");
    assert!(without["components"]["schemas"]["Job"].is_null());
}

#[test]
fn no_page_of_another_site_reads_what_can_be_asked() {
    let server = serve("");
    for listener in [server.client(), server.admin()] {
        for target in ["/openapi.json", "/docs", "/docs/docs.js"] {
            let foreign = listener.request("GET", target, &["Host: evil.example"], "");
            assert_eq!(foreign.status, 403, "{target}");
        }
    }
}

#[test]
fn routes_of_the_configuration_come_first() {
    let route =
        |path: &str| format!("{ROUTES}[[route]]\nmatch = \"GET {path}\"\ntext = \"mine\"\n");
    let all = Server::config(&route("/*")).start();
    for target in ["/docs", "/openapi.json", "/docs/docs.js"] {
        assert_eq!(all.client().get(target).body, "mine", "{target}");
    }
    let navigates = all.client().request("GET", "/", BROWSER, "");
    assert_eq!(navigates.body, "mine");
    let own = Server::config(&route("/openapi.json")).start();
    assert_eq!(own.client().get("/openapi.json").body, "mine");
    document(&own.client().get("/docs/openapi.json"));
    let below = Server::config(&route("/docs/{page}")).start();
    assert_eq!(below.client().get("/docs/docs.js").body, "mine");
    assert_eq!(below.client().get("/docs").status, 404, "a page without its files is no page");
    document(&below.client().get("/openapi.json"));
}

#[test]
fn the_page_can_be_elsewhere_or_nowhere_and_a_reload_moves_it() {
    let server = serve("docs = \"/a/help\"");
    let page = server.client().get("/a/help");
    assert!(page.body.contains("src=\"../a/help/docs.js\""), "{}", page.body);
    assert_eq!(server.client().get("/docs").status, 404);
    document(&server.client().get("/openapi.json"));
    server.rewrite("docs = \"/a/help\"", "docs = \"off\"");
    let told = server.admin().request("POST", "/reload", &["Httpipe-Admin: 1"], "");
    assert_eq!((told.status, told.body.contains("docs: changed")), (200, true), "{told:?}");
    for target in ["/a/help", "/docs", "/openapi.json"] {
        assert_eq!(server.client().get(target).status, 404, "{target}");
    }
    let navigates = server.client().request("GET", "/", BROWSER, "");
    assert_eq!(navigates.header("content-type"), "application/problem+json");
}

#[test]
fn a_listener_that_others_reach_shows_nothing_unless_it_is_told_to() {
    let port = "listen = [\"127.0.0.1:0\", \"0.0.0.0:0\"]\ncallers = \"anyone\"\n";
    let open = Server::config(&format!("{port}{ROUTES}")).start();
    for target in ["/openapi.json", "/docs"] {
        assert_eq!(open.client().get(target).status, 404, "{target}");
    }
    document(&open.admin().get("/openapi.json"));
    let told = Server::config(&format!("{port}docs = \"/docs\"\n{ROUTES}")).start();
    document(&told.client().get("/openapi.json"));
}

#[test]
fn a_browser_that_opens_the_root_sees_the_page_and_nobody_else_does() {
    let server = Server::with("workers = 1").start();
    let client = server.client();
    let shown = client.request("GET", "/", BROWSER, "");
    assert_eq!((shown.status, shown.header("httpipe-failure")), (400, "bad_parameter"));
    assert!(shown.body.contains("<p>`input` is missing</p>"), "{}", shown.body);
    assert!(shown.body.contains(shown.header("x-request-id")), "{}", shown.body);
    let unchanged = |fields: &[&str]| {
        let answer = client.request("GET", "/", fields, "");
        assert_eq!(answer.detail(), "`input` is missing", "{fields:?}");
        let of_each = |name: &&str| !matches!(*name, "x-request-id" | "date");
        let names: Vec<String> =
            answer.headers().map(|(name, _)| name).filter(of_each).map(str::to_owned).collect();
        (answer.status, names)
    };
    let off = Server::with("workers = 1").top("docs = \"off\"").start();
    let before = off.client().request("GET", "/", BROWSER, "");
    let names = before.headers().map(|(name, _)| name.to_owned());
    let names = names.filter(|name| name != "x-request-id" && name != "date").collect();
    let before = (before.status, names);
    for fields in [
        &[][..],
        &["Accept: text/html"],
        &["Accept: */*", "Sec-Fetch-Mode: navigate"],
        &["Accept: text/html", "Sec-Fetch-Mode: cors"],
        &["Accept: text/htmlx, application/json", "Sec-Fetch-Mode: navigate"],
    ] {
        assert_eq!(unchanged(fields), before, "{fields:?}");
    }
    // A question that is asked is answered, and its failures are for whoever asked it.
    let asked = client.request("GET", "/?input=a", BROWSER, "");
    assert_eq!((asked.status, asked.body.trim_end()), (200, "a"));
    let elsewhere = client.request("GET", "/x", BROWSER, "");
    assert_eq!(elsewhere.code(), "no_route");
}

#[test]
fn operators_have_the_document_with_the_address_of_callers() {
    let server = serve("docs = \"off\"");
    let answer = server.admin().get("/openapi.json");
    let shown = document(&answer);
    assert_eq!(shown["servers"][0]["url"], server.url());
    let tag = format!("If-None-Match: {}", answer.header("etag"));
    assert_eq!(server.admin().request("GET", "/openapi.json", &[&tag], "").status, 304);
    assert!(server.admin().get("/docs").body.contains("./docs/docs.js"));
    assert_eq!(server.admin().get("/docs/docs.js").status, 200);
}

#[test]
fn six_thousand_routes_are_described_while_others_are_answered() {
    let mut routes = ROUTES.to_owned();
    for number in 0..6000 {
        write!(
            routes,
            "[[route]]\nmatch = \"POST /r{number}/{{a}}?b={{b:int}}\"\nsend = \"{{a}} {{b}}\"\n"
        )
        .expect("a string takes everything");
    }
    let server = Server::config(&routes).start();
    let pending = server.client().get_later("/openapi.json");
    for _ in 0..20 {
        assert_eq!(server.client().get("/spell/a").body.trim_end(), "a 3");
    }
    let document = document(&pending.answer());
    assert_eq!(document["paths"].as_object().map(serde_json::Map::len), Some(6001));
}
