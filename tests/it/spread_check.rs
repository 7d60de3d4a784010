//! What `check` says of the way to other hosts, with a real NATS.

use crate::spread::{front, host, wait_for_slots};
use crate::support::nats::Nats;
use crate::support::shell;

/// Runs `check` for this role with these keys of `[spread]` and of the pool. Returns its exit code and
/// what it says.
pub(crate) fn check(nats: &Nats, options: &str, keys: &str, pool: &str) -> (i32, String) {
    let text = format!(
        "[pool.main]\ncommand = [\"cat\"]\nspread = true\nprobe = {{ send = \"a\" }}\n{pool}\n\
         [spread]\n{keys}\n[[route]]\nmatch = \"POST /\"\n"
    );
    let file = nats.dir().join("check.toml");
    std::fs::write(&file, text).expect("it can be written");
    let exe = env!("CARGO_BIN_EXE_httpipe");
    shell(&format!("{exe} check {} {options} 2>&1", file.display()))
}

/// Asserts that `check` ended with this code and says all of this, and no password.
pub(crate) fn says(said: &(i32, String), code: i32, parts: &[&str]) {
    assert_eq!(said.0, code, "{}", said.1);
    for part in parts {
        assert!(said.1.contains(part), "no {part:?} in\n{}", said.1);
    }
    assert!(!said.1.contains("canary"), "{}", said.1);
}

#[test]
fn check_tries_each_subject_and_names_who_else_is_there_and_what_differs() {
    let Some(nats) = Nats::start("") else { return };
    let url = format!("nats = \"{}\"", nats.url());
    let alone = check(&nats, "", &url, "");
    says(
        &alone,
        0,
        &[&format!("NATS {}", nats.url()), "nats-server 2", "messages of at most 1048576"],
    );
    says(&alone, 0, &["6 tried", "none is heard", "no errors in 1 pool and 1 route\n"]);
    let empty = check(&nats, "--workers 0", &url, "");
    says(
        &empty,
        0,
        &["no host has workers for pool `main` now", "`httpipe run FILE --listen off`"],
    );
    let front = front(&nats, "version = \"2\"\nabandoned = \"1s\"");
    let _host = host(&nats, "version = \"2\"\nworkers = 2");
    wait_for_slots(&front, 2);
    // What `demo-worker` is asked in those tests and `cat` here are one protocol. On a busy machine others
    // may be heard at another look only.
    let hears = |options: &str, version: &str, parts: &[&str]| {
        front.wait_until("check hears the others", |_| {
            let (code, said) = check(&nats, options, &url, version);
            code == 0 && parts.iter().all(|part| said.contains(part))
        });
    };
    let differs = "with another `version`";
    hears("--workers 0", "version = \"3\"", &[differs, "so it shares no calls with this server"]);
    hears("--listen off", "version = \"2\"", &["`main`, 2 workers", "`main`, 0 workers"]);
    assert_eq!(front.status()["spread"]["hosts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn check_names_the_step_that_fails_and_exits_with_2() {
    let Some(mut nats) = Nats::start("") else { return };
    let url = nats.url();
    let both = format!("nats = [\"nats://127.0.0.1:1\", \"{url}\"]");
    let said = check(&nats, "", &both, "");
    says(
        &said,
        0,
        &["cannot connect to nats://127.0.0.1:1", "start `nats-server` there", "1 warning"],
    );
    let tls = format!("nats = \"{}\"", url.replace("nats:", "tls:"));
    says(&check(&nats, "", &tls, ""), 2, &["no TLS", "in `ca` of [spread]"]);
    let redis_like = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = redis_like.local_addr().expect("it is bound").port();
    let other = std::thread::spawn(move || {
        let (mut caller, _) = redis_like.accept().expect("check connects");
        std::io::Write::write_all(&mut caller, b"-ERR unknown command\r\n").expect("it is read");
    });
    let said = check(&nats, "", &format!("nats = \"127.0.0.1:{port}\""), "");
    says(&said, 2, &["this is no NATS server", "port of NATS for clients"]);
    other.join().expect("it was asked");
    nats.start_again_with("authorization { user: all, password: \"canary\" }");
    let url = format!("nats = \"{url}\"");
    says(&check(&nats, "", &url, ""), 2, &["Authorization Violation", "set `creds`"]);
    let dir = nats.dir().to_owned();
    let creds = |login: &str| {
        std::fs::write(dir.join("creds"), login).expect("it can be written");
        format!("{url}\ncreds = \"creds\"")
    };
    let wrong = check(&nats, "", &creds("all:canary-2"), "");
    says(&wrong, 2, &["Authorization Violation", "see what `creds` of [spread] names"]);
    says(&check(&nats, "", &creds("all:canary"), ""), 0, &["6 tried"]);
    let small = "max_payload: 4096\nauthorization { user: all, password: \"canary\" }";
    nats.start_again_with(small);
    says(&check(&nats, "", &creds("all:canary"), ""), 0, &["`max_payload` is 4096 bytes"]);
    nats.kill();
    says(&check(&nats, "", &url, ""), 2, &["cannot connect to", "start `nats-server` there"]);
}

#[test]
fn check_names_the_subject_that_a_user_may_not_use() {
    let example = include_str!("../../examples/spread/nats.conf");
    let example = example.replace("listen: \"127.0.0.1:4222\"", "");
    let Some(nats) = Nats::start(&example) else { return };
    let creds = |login: &str| {
        std::fs::write(nats.dir().join("creds"), login).expect("it can be written");
        format!("nats = \"{}\"\ncreds = \"creds\"", nats.url())
    };
    let (front, host) = (creds("front:change me too"), "--listen off");
    says(&check(&nats, "--workers 0", &front, ""), 0, &["6 tried"]);
    // In the role of a host, a front end has not the rights for it.
    let said = check(&nats, host, &front, "");
    says(
        &said,
        2,
        &["Permissions Violation", "httpipe.1.main.", "examples/spread/nats.conf", "4 errors"],
    );
    says(&check(&nats, host, &creds("worker:change me"), ""), 0, &["5 tried"]);
    let other = check(
        &nats,
        "--workers 0",
        &format!("{}\nname = \"other\"", creds("front:change me too")),
        "",
    );
    says(&other, 2, &["Permissions Violation for", "other.1."]);
}
