//! What operators see of other hosts: metrics, status, the log, `top` and the page.

use std::cell::RefCell;

use crate::spread::{front, host, wait_for_slots};
use crate::support::bus::Bus;
use crate::support::nats::Nats;
use crate::support::{Browser, Server, shell};

/// What `httpipe status` says of a server.
fn status(server: &Server) -> String {
    shell(&format!("{} status {} 2>&1", env!("CARGO_BIN_EXE_httpipe"), server.admin_url())).1
}

#[test]
fn what_goes_away_and_comes_back_is_counted_and_named() {
    let Some(nats) = Nats::start("") else { return };
    let front = front(&nats, "retries = 0");
    let mut host = host(&nats, "workers = 1");
    wait_for_slots(&front, 1);
    let answer = front.client().get("/?input=sleep+50");
    let timing = answer.header("server-timing").to_owned();
    let parts: Vec<&str> = timing.split(", ").collect();
    assert!(parts.len() == 3 && parts[1].starts_with("spread;dur="), "{timing}");
    let name =
        front.status()["spread"]["hosts"][0]["node"].as_str().expect("a text")[..8].to_owned();
    let line = front.wait_for_log("\"message\":\"request\"");
    let is_named = format!("\"host\":\"{name}\"");
    assert!(line.contains(&is_named) && !line.contains("\"worker\":"), "{line}");
    assert_eq!(host.metric("httpipe_spread_connected"), 1.0);
    for (metric, number) in [
        ("httpipe_spread_connected", 1.0),
        (r#"httpipe_spread_hosts{pool="main"}"#, 1.0),
        (r#"httpipe_spread_away{pool="main"}"#, 0.0),
        (r#"httpipe_spread_calls_total{pool="main",result="answered"}"#, 1.0),
        (r#"httpipe_spread_claims_total{pool="main",result="granted"}"#, 1.0),
        (r#"httpipe_spread_seconds_count{pool="main"}"#, 1.0),
        (r#"httpipe_spread_hosts_lost_total{pool="main"}"#, 0.0),
    ] {
        assert_eq!(front.metric(metric), number, "{metric}");
    }
    host.wait_until("it has told of its claim", |it| {
        it.metric(r#"httpipe_spread_claims_total{pool="main",result="sent"}"#) >= 1.0
    });
    let pending = front.client().get_later("/?input=hang");
    front.wait_for_count(r#"httpipe_spread_away{pool="main"}"#, 1.0);
    host.signal("KILL");
    host.exit_code();
    assert_eq!(pending.answer().code(), "worker_lost");
    assert_eq!(front.metric(r#"httpipe_spread_hosts_lost_total{pool="main"}"#), 1.0);
    let lost = r#"httpipe_spread_calls_total{pool="main",result="host_lost"}"#;
    assert_eq!(front.metric(lost), 1.0);
    let line = front.wait_for_log("\"code\":\"worker_lost\"");
    assert!(line.contains(&is_named), "{line}");
    let line = front.wait_for_log("nothing is heard of a host that has calls");
    assert!(line.contains(&is_named), "{line}");
}

#[test]
fn top_and_the_page_show_hosts_and_how_they_differ() {
    let Some(mut nats) = Nats::start("") else { return };
    let front = front(&nats, "version = \"2\"");
    let same = host(&nats, "version = \"2\"\nworkers = 1");
    let _other = host(&nats, "version = \"1\"\nworkers = 1");
    wait_for_slots(&front, 1);
    front.wait_until("it sees both", |it| {
        it.status()["spread"]["hosts"].as_array().is_some_and(|hosts| hosts.len() == 2)
    });
    let said = status(&front);
    let row = |what: &str| said.lines().any(|line| line.contains("main") && line.contains(what));
    assert!(row("shares calls") && row("other version") && row("on other hosts"), "{said}");
    assert!(said.contains("2 other hosts"), "{said}");
    if let Some(browser) = Browser::open(&front.admin_url()) {
        browser.wait_until("document.querySelectorAll('#hosts tbody tr').length === 2");
        let text = "document.getElementById('hosts').textContent";
        browser.wait_until(&format!("{text}.includes('shares calls')"));
        browser.wait_until(&format!("{text}.includes('other version')"));
        browser.wait_until("document.getElementById('health').textContent === 'serving'");
    }
    let mut bus = Bus::connect(&nats);
    let hosts = bus.next_of("beat").subject;
    let strange = r#"httpipe_spread_strange_total{pool="main"}"#;
    let before = front.metric(strange);
    for bytes in [&b"{}"[..], b"no beat"] {
        bus.say(&hosts, bytes);
    }
    front.wait_for_count(strange, before + 1.0);
    let empty = "{\"beat\":{\"node\":\"00000000000000000000000000000001\"}}\n";
    let is_shown = "Array.from(document.querySelectorAll('#hosts tr')).some((row) => \
                    row.textContent.includes('00000000') && row.textContent.includes('no pool'))";
    let (browser, bus) = (Browser::open(&front.admin_url()), RefCell::new(bus));
    front.wait_until("a host without pools is shown", |it| {
        bus.borrow_mut().say(&hosts, empty.as_bytes());
        status(it).contains("no pool")
            && browser.as_ref().is_none_or(|page| page.evaluate(is_shown) == true)
    });
    nats.kill();
    for server in [&front, &same] {
        server.wait_for_count("httpipe_spread_connected", 0.0);
    }
    let said = status(&front);
    assert!(said.contains("no connection to NATS for"), "{said}");
}

/// The canary is the password of NATS.
#[test]
fn no_page_of_operators_has_a_password() {
    const CANARY: &str = "canary-8c1f";
    let configuration = format!("authorization {{ user: all, password: \"{CANARY}\" }}");
    let Some(mut nats) = Nats::start(&configuration) else { return };
    let creds = format!("[spread]\nnats = \"{}\"\ncreds = \"nats.creds\"", nats.url());
    let plan =
        Server::with("spread = true\nworkers = 1").file("nats.creds", &format!("all:{CANARY}"));
    let server = plan.top(&creds).start();
    server.wait_for_count("httpipe_spread_connected", 1.0);
    let look = |when: &str| {
        for path in ["/status.json", "/metrics", "/ready"] {
            let page = server.admin().get(path);
            assert!(!page.body.contains(CANARY), "{path} {when}");
        }
        assert!(!server.log_lines().join("\n").contains(CANARY), "the log {when}");
        assert!(!status(&server).contains(CANARY), "`httpipe status` {when}");
    };
    look("while it is connected");
    nats.kill();
    server.wait_for_count("httpipe_spread_connected", 0.0);
    nats.start_again_with("authorization { user: all, password: \"other\" }");
    server.wait_for_log("Authorization Violation");
    look("after it was refused");
}
