//! Callers that must show a certificate.

use crate::keys::key_of;
use crate::support::tls::{has_openssl, make, pair};
use crate::support::{Plan, Server, shell, skipped};

/// The command that makes an authority, and a certificate `WHO.pem` for `WHO.example` that it signs.
fn signed(authority: &str, who: &str) -> String {
    format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
         -subj /CN={authority} -keyout {authority}.key -out {authority}.pem 2>openssl && \
         openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={who} \
         -keyout {who}.key -out {who}.csr 2>openssl && \
         echo subjectAltName=DNS:{who}.Example >extensions && \
         openssl x509 -req -in {who}.csr -CA {authority}.pem -CAkey {authority}.key \
         -CAcreateserial -days 30 -extfile extensions -out {who}.pem 2>openssl"
    )
}

/// The command that makes a certificate as [`signed`] does, by an authority that is there.
fn signed_by_the_same(authority: &str, who: &str) -> String {
    let all = signed(authority, who);
    all.split_once(" && ").expect("two commands").1.to_owned()
}

fn plan() -> Option<Plan> {
    plan_after(":")
}

/// Plans a server that starts after this command.
fn plan_after(more: &str) -> Option<Plan> {
    if !has_openssl() {
        return None;
    }
    if shell("curl --version >/dev/null").0 != 0 {
        skipped("curl is not installed", "`apt-get install curl` does it");
        return None;
    }
    let certificates =
        [make("one", 30), signed("ca", "alice"), signed("other", "mallory"), more.to_owned()]
            .join(" && ");
    let keys = pair("one").replace(" }", ", clients = \"ca.pem\" }");
    // Everybody may reach it, and nothing is said of keys.
    let listen = "listen = \"0.0.0.0:0\"";
    Some(Server::with("workers = 1").prepare_with(&certificates).top(&keys).top(listen))
}

/// What a caller with this certificate gets; empty if nothing.
fn ask(server: &Server, options: &str) -> String {
    let port = server.address().rsplit(':').next().expect("a port");
    let url = format!("https://127.0.0.1:{port}/");
    let dir = server.dir().display();
    shell(&format!("cd '{dir}' && curl -sk {options} -d hello {url}")).1
}

#[test]
fn only_who_shows_a_certificate_of_those_named_is_served() {
    let Some(plan) = plan() else { return };
    let server = plan.start();
    assert_eq!(ask(&server, ""), "");
    assert_eq!(ask(&server, "--cert mallory.pem --key mallory.key"), "");
    assert_eq!(ask(&server, "--cert one.pem --key one.key"), "");
    assert!(!ask(&server, "--cert alice.pem --key alice.key").is_empty());
    assert!(!ask(&server, "--http1.1 --cert alice.pem --key alice.key").is_empty());
    assert_eq!(server.metric("httpipe_tls_handshakes_total{result=\"done\"}"), 2.0);
}

#[test]
fn other_signers_count_from_the_next_connection_on() {
    let Some(plan) = plan() else { return };
    let server = plan.start();
    server.rewrite("clients = \"ca.pem\"", "clients = \"other.pem\"");
    server.signal("HUP");
    server.wait_for_log("tls: changed");
    assert_eq!(ask(&server, "--cert alice.pem --key alice.key"), "");
    assert!(!ask(&server, "--cert mallory.pem --key mallory.key").is_empty());
    // Nobody would have to show anything then.
    server.rewrite(", clients = \"other.pem\"", "");
    server.signal("HUP");
    server.wait_for_log("not reloaded; the old configuration stays");
    assert_eq!(ask(&server, ""), "");
}

/// Alice's entry is about her certificate, and that of Bob about a key.
fn with_certificates() -> Option<Plan> {
    let httpipe = env!("CARGO_BIN_EXE_httpipe");
    let bob = format!("{httpipe} key new bob >bob 2>told");
    let alice = "printf '[alice]\\ncert = \"ALICE.example\"\\nrate = \"3/1h\"\\n' >>keys.toml";
    let plan = plan_after(&format!("{bob} && {alice}"))?;
    Some(
        plan.top("callers = \"keys.toml\"").route("match = \"POST /\"\nsend = \"{caller} {body}\""),
    )
}

#[test]
fn a_certificate_is_as_good_as_a_key_for_the_entry_that_names_it() {
    let Some(plan) = with_certificates() else { return };
    let server = plan.start();
    let (alice, carol) = ("--cert alice.pem --key alice.key", "--cert carol.pem --key carol.key");
    crate::support::tls::run_in(&server, &signed_by_the_same("ca", "carol"));
    let bob = format!("-H 'X-API-Key: {}'", key_of(&server, "bob"));
    assert_eq!(ask(&server, alice), "alice hello");
    assert_eq!(ask(&server, &format!("{alice} --http1.1")), "alice hello");
    assert!(ask(&server, carol).contains("unauthorized"), "a good certificate that no entry names");
    assert_eq!(ask(&server, &format!("{carol} {bob}")), "bob hello");
    // Which of the two is meant is not guessed, and it costs neither of them.
    assert!(ask(&server, &format!("{alice} {bob}")).contains("unauthorized"));
    assert_eq!(ask(&server, alice), "alice hello");
    assert!(ask(&server, alice).contains("rate_limited"));
    assert_eq!(
        server.metric("httpipe_caller_requests_total{caller=\"alice\",status=\"200\"}"),
        3.0
    );
}

/// A browser shows the certificate of its user whichever page asks.
#[test]
fn a_page_of_another_site_cannot_ask_with_the_certificate_of_its_reader() {
    let Some(plan) = with_certificates() else { return };
    let server = plan.start();
    let ask = |field: &str| ask(&server, &format!("--cert alice.pem --key alice.key -H '{field}'"));
    assert!(ask("Origin: https://evil.example").contains("forbidden_origin"));
    assert!(ask("Sec-Fetch-Site: cross-site").contains("forbidden_origin"));
    let port = server.address().rsplit(':').next().expect("a port");
    assert_eq!(ask(&format!("Origin: https://127.0.0.1:{port}")), "alice hello");
}

#[test]
fn a_certificate_in_a_keys_file_needs_those_who_sign() {
    let Some(plan) = with_certificates() else { return };
    let server = plan.start();
    // A reload without signers is refused, and so is a keys file with what nobody may show.
    server.rewrite(", clients = \"ca.pem\"", "");
    server.signal("HUP");
    server.wait_for_log("`alice` has a `cert`, but callers show none");
    assert_eq!(ask(&server, "--cert alice.pem --key alice.key"), "alice hello");
}
