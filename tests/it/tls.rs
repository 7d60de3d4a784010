//! HTTPS: calls within TLS, handshakes that come to no good end, and certificates that cannot be used.

use std::time::Duration;

use crate::support::tls::{TlsSocket, has_openssl, make, pair, secure};
use crate::support::{Client, Server, shell};

#[test]
fn a_call_within_tls_is_answered_like_any_other() {
    let Some(plan) = secure("workers = 2") else { return };
    let server = plan.start();
    server.wait_for_log("listening on https://127.0.0.1:");
    server.wait_for_log("curl -d 'a b' 'https://127.0.0.1:");
    let mut connection = server.secure_client().connect();
    for number in 0..3 {
        let answer = connection.post("/", &format!("question {number}"));
        assert_eq!((answer.status, answer.body.contains(&number.to_string())), (200, true));
    }
    let large = "a".repeat(5 << 20);
    let answer = connection.post("/", &large);
    assert_eq!((answer.status, answer.body.len() >= large.len()), (200, true));
    assert_eq!(server.metric("httpipe_tls_handshakes_total{result=\"done\"}"), 1.0);
    let left = server.metric("httpipe_tls_expires_seconds");
    assert!((29.0 * 86400.0..30.0 * 86400.0).contains(&left), "{left}");
    let described = server.admin().get("/openapi.json").body;
    assert!(!described.contains("http://127"), "{described}");
}

#[test]
fn who_speaks_plain_http_is_told_to_speak_https() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.start();
    let answer = server.client().post("/", "a");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("speaks HTTPS"), "{answer:?}");
    assert_eq!(server.metric("httpipe_tls_handshakes_total{result=\"failed\"}"), 1.0);
}

#[test]
fn a_silent_or_slow_handshake_ends_in_time_and_holds_nobody_up() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.top("limits = { header_timeout = \"500ms\" }").start();
    let mut silent = server.client().connect();
    let mut slow = server.client().connect();
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252][..], &[0; 40]].concat();
    std::thread::scope(|scope| {
        let slow = scope.spawn(move || {
            slow.send_slowly(&hello, Duration::from_millis(50));
            slow.rest()
        });
        assert_eq!(server.secure_client().post("/", "a").status, 200);
        assert_eq!((silent.rest(), slow.join().expect("it ended")), (String::new(), String::new()));
    });
    server.wait_for_count("httpipe_tls_handshakes_total{result=\"late\"}", 2.0);
}

#[test]
fn a_flood_of_handshakes_leaves_room_for_one_that_goes_on() {
    let Some(plan) = secure("workers = 1") else { return };
    let server = plan.start();
    let flood: Vec<_> = (0..600).map(|_| server.client().connect()).collect();
    assert_eq!(server.secure_client().post("/", "a").status, 200);
    let crowded = server.metric("httpipe_tls_handshakes_total{result=\"crowded\"}");
    assert!(crowded >= 88.0, "{crowded}");
    drop(flood);
    server.wait_for_count("httpipe_connections", 0.0);
}

#[test]
fn who_ends_the_session_has_left() {
    let Some(plan) = secure("workers = 1\ntimeout = \"60s\"") else { return };
    let server = plan.start();
    let mut socket = TlsSocket::connect(server.address()).expect("a connection");
    let request = crate::support::request("POST", "/", &[], "sleep 30000");
    std::io::Write::write_all(&mut socket, &request).expect("the server reads");
    server.wait_until("the call runs", |server| server.metric("httpipe_connections") == 1.0);
    server.wait_for_count("httpipe_workers{state=\"busy\"}", 1.0);
    // The socket itself stays open.
    socket.say_end();
    server.wait_for_count("httpipe_connections", 0.0);
}

#[test]
fn a_stop_ends_idle_connections_in_good_order() {
    let Some(plan) = secure("workers = 1") else { return };
    let mut server = plan.start();
    let mut connection = server.secure_client().connect();
    assert_eq!(connection.post("/", "a").status, 200);
    server.signal("TERM");
    // Without an orderly end of TLS, this would be an error.
    assert_eq!(connection.rest_and_end(), (String::new(), true));
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_with_the_reason() {
    if !has_openssl() {
        return;
    }
    let refused = |prepare: &str, keys: &str| {
        let ended = Server::with("workers = 1").prepare_with(prepare).top(keys).refused();
        assert_eq!(ended.code, 2, "{}", ended.stderr);
        ended.stderr
    };
    let two = format!("{} && {}", make("one", 30), make("two", 30));
    for (prepare, keys, expected) in [
        (&two, "tls = { cert = \"one.pem\", key = \"two.key\" }", "is not the private key of"),
        (&two, "tls = { cert = \"one.pem\" }", "`cert` has no `key`"),
        (&two, "tls = { key = \"one.key\" }", "`key` has no `cert`"),
        (&two, "tls = { cert = \"no.pem\", key = \"one.key\" }", "no.pem` cannot be read"),
        (&two, "tls = { cert = \"one.key\", key = \"one.key\" }", "it has no certificate"),
        (&two, "tls = { cert = \"one.pem\", key = \"one.pem\" }", "it has no private key"),
        (&make("one", -1), &pair("one"), "the certificate has expired"),
        (&"mkfifo one.pem && touch one.key".to_owned(), &pair("one"), "not a regular file"),
    ] {
        let said = refused(prepare, keys);
        assert!(said.contains(expected) && said.contains("hint:"), "{keys}: {said}");
        assert!(!said.contains("MIGHAgEA"), "{said}");
    }
}

#[test]
fn what_is_unwise_about_a_certificate_is_warned_of() {
    if !has_openssl() {
        return;
    }
    let prepare = format!("{} && chmod 644 one.key", make("one", 3));
    let server = Server::with("workers = 1").prepare_with(&prepare).top(&pair("one")).start();
    server.wait_for_log("the certificate ends in 2 days");
    server.wait_for_log("everybody on this machine may read the key");
}

#[test]
fn a_socket_file_speaks_plain_http() {
    if !has_openssl() {
        return;
    }
    let plan = Server::with("workers = 1").prepare_with(&make("one", 30)).top(&pair("one"));
    let server = plan.top("listen = [\"unix:socket\"]").start_mute("unix:socket", "127.0.0.1:1");
    // The file is there before anybody may connect.
    server.wait_for_log("\"message\":\"listening on");
    let path = format!("unix:{}", server.dir().join("socket").display());
    assert_eq!(Client::of(&path).post("/", "a").status, 200);
}

#[test]
fn ring_is_not_in_the_binary() {
    let command = "cargo tree --locked --features tls --edges normal,build --prefix none";
    let (code, tree) = shell(&format!("cd '{}' && {command}", env!("CARGO_MANIFEST_DIR")));
    assert_eq!(
        (code, tree.contains("\naws-lc-rs v"), tree.contains("\nring v")),
        (0, true, false),
        "{tree}"
    );
}
