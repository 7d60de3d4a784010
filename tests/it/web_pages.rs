//! A web page in a browser on this machine must not be able to use the server.

use crate::support::{Plan, Server};

/// The status and the failure code of a request with these fields.
fn told(server: &Server, method: &str, fields: &[&str]) -> (u16, String) {
    let answer = server.client().request(method, "/?input=a", fields, "");
    (answer.status, answer.header("httpipe-failure").to_owned())
}

fn is_forbidden(server: &Server, method: &str, fields: &[&str]) -> bool {
    let told = told(server, method, fields);
    assert!(matches!(told.0, 200 | 403), "{told:?}");
    assert_eq!(told.0 == 403, told.1 == "forbidden_origin", "{told:?}");
    told.0 == 403
}

fn journaled() -> Plan {
    Server::with("workers = 1").worker("demo-worker --journal seen")
}

/// Headers that a page of `evil.example` can send: with its own name, which resolves to loopback,
/// or with a loopback name and the marks that browsers set.
const FOREIGN: &[&[&str]] = &[
    &["Host: evil.example"],
    &["Host: evil.example:3000"],
    &["Origin: http://evil.example"],
    &["Origin: null"],
    &["Sec-Fetch-Site: cross-site"],
    &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"],
];

#[test]
fn a_page_of_another_site_reaches_no_worker() {
    let server = journaled().start();
    for fields in FOREIGN {
        for method in ["GET", "HEAD", "POST"] {
            assert!(is_forbidden(&server, method, fields), "{method} {fields:?}");
        }
    }
    assert!(server.seen().is_empty(), "{:?}", server.seen());
    for own in [
        "Host: localhost",
        "Host: [::1]:80",
        "Origin: http://localhost:5173",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: none",
    ] {
        assert!(!is_forbidden(&server, "GET", &[own]), "{own}");
    }
}

#[test]
fn a_name_of_the_configuration_is_let_in_and_a_reload_adds_one() {
    let server = journaled().top("hosts = [\"API.example\"]").start();
    assert!(!is_forbidden(&server, "GET", &["Host: api.example"]));
    assert!(!is_forbidden(&server, "GET", &["Host: api.EXAMPLE:443"]));
    assert!(!is_forbidden(&server, "GET", &["Origin: https://api.example"]));
    assert!(is_forbidden(&server, "GET", &["Host: www.example"]));
    server.rewrite("\"API.example\"", "\"api.example\", \"www.example\"");
    server.signal("HUP");
    server.wait_for_log("reloaded");
    assert!(!is_forbidden(&server, "GET", &["Host: www.example"]));
}

#[test]
fn the_check_can_be_switched_off_and_a_socket_file_has_none() {
    let off = journaled().top("hosts = \"any\"").start();
    let file = journaled().top("listen = \"unix:socket\"").start();
    for fields in FOREIGN {
        assert!(!is_forbidden(&off, "GET", fields), "{fields:?}");
        assert!(!is_forbidden(&file, "GET", fields), "{fields:?}");
    }
    let open = journaled().top("listen = \"0.0.0.0:0\"\ncallers = \"anyone\"").start();
    assert!(!is_forbidden(&open, "GET", &["Host: evil.example"]), "it is no loopback listener");
}

#[test]
fn the_operator_is_told_the_line_to_add_once() {
    let server = journaled().start();
    for _ in 0..3 {
        assert!(is_forbidden(&server, "GET", &["Host: Api.example"]));
    }
    let line = server.wait_for_log("is not this server's");
    assert!(line.contains(r#"hosts = [\"api.example\"]"#), "{line}");
    server.answers("done");
    server.wait_until("the last request is in the log", |server| {
        server.log_lines().iter().any(|line| line.contains("\"POST /\""))
    });
    let lines = server.log_lines();
    assert_eq!(lines.iter().filter(|line| line.contains("is not this server's")).count(), 1);
}

#[test]
fn a_page_of_another_site_cannot_read_what_operators_read() {
    let server = journaled().start();
    for path in ["/metrics", "/status.json", "/ready", "/nowhere"] {
        for fields in FOREIGN {
            let answer = server.admin().request("GET", path, fields, "");
            assert_eq!(answer.status, 403, "{path} {fields:?}");
            assert!(answer.body.contains("`hosts`"), "{answer:?}");
        }
    }
    let guarded = journaled().top("admin_token = \"secret\"").start_unready();
    let token = ["Host: evil.example", "Authorization: Bearer secret"];
    assert_eq!(guarded.admin().request("GET", "/metrics", &token, "").status, 200);
}
