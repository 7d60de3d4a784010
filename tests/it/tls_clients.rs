//! Callers that must show a certificate.

use crate::support::tls::{has_openssl, make, pair};
use crate::support::{Plan, Server, shell, skipped};

/// The command that makes an authority, and a certificate `WHO.pem` that it signs.
fn signed(authority: &str, who: &str) -> String {
    format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
         -subj /CN={authority} -keyout {authority}.key -out {authority}.pem 2>openssl && \
         openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={who} \
         -keyout {who}.key -out {who}.csr 2>openssl && \
         openssl x509 -req -in {who}.csr -CA {authority}.pem -CAkey {authority}.key \
         -CAcreateserial -days 30 -extfile extensions -out {who}.pem 2>openssl"
    )
}

fn plan() -> Option<Plan> {
    if !has_openssl() {
        return None;
    }
    if shell("curl --version >/dev/null").0 != 0 {
        skipped("curl is not installed", "`apt-get install curl` does it");
        return None;
    }
    let certificates =
        [make("one", 30), signed("ca", "alice"), signed("other", "mallory")].join(" && ");
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
