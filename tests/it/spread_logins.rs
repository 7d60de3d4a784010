//! How servers come to NATS: TLS, nkeys, files of `nsc`, several servers of a cluster, and restarts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_NOPAD;
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::SigningKey;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::spread::wait_for_slots;
use crate::spread_check::{check, says};
use crate::support::nats::Nats;
use crate::support::tls::{has_openssl, make};
use crate::support::{Plan, Server, pause};

/// A server of this role that comes to NATS with these keys of `[spread]`.
fn member(pool: &str, spread: &str) -> Plan {
    Server::with(&format!("spread = true\n{pool}")).top(&format!("[spread]\n{spread}"))
}

/// A front end and a host that come so, and share a call.
fn share_a_call(plan: impl Fn(&str) -> Plan) -> [Server; 2] {
    let front = plan("workers = 0").start_unready();
    let host = plan("workers = 1").option("--listen").option("off").start_host();
    host.wait_until_ready();
    wait_for_slots(&front, 1);
    assert_eq!(front.answers("a").body, "a");
    [front, host]
}

#[test]
fn calls_cross_in_tls_and_a_strange_certificate_is_refused() {
    if !has_openssl() {
        return;
    }
    let prepare = format!("{} && {}", make("own", 30), make("strange", 30));
    let Some(nats) = Nats::secure(&prepare, "") else { return };
    let dir = nats.dir().display();
    // A server that demands TLS gets it, whatever its address says.
    for scheme in ["tls", "nats"] {
        let url =
            format!("nats = \"{scheme}://localhost:{}\"\nca = \"{dir}/own.pem\"", nats.port());
        share_a_call(|pool| member(pool, &url));
    }
    for (host, ca, why) in [
        ("localhost", "strange.pem", "invalid peer certificate"),
        ("127.0.0.1", "own.pem", "certificate not valid for name"),
    ] {
        let keys = format!("nats = \"tls://{host}:{}\"\nca = \"{dir}/{ca}\"", nats.port());
        says(&check(&nats, "", &keys, ""), 2, &[why, "in `ca` of [spread]"]);
        let server = member("workers = 1", &keys).start();
        let line = server.wait_for_log("no connection to NATS");
        assert!(line.contains(why), "{line}");
        assert_eq!(server.answers("a").body, "a", "its own worker serves");
        assert_eq!(server.status()["spread"]["connected"], false);
    }
}

/// A key of NATS: its letter, and the bytes that are secret.
struct Nkey {
    prefix: u8,
    seed: [u8; 32],
}

const OPERATOR: u8 = 14 << 3;
const ACCOUNT: u8 = 0;
const USER: u8 = 20 << 3;
const SEED: u8 = 18 << 3;

impl Nkey {
    fn new(prefix: u8, byte: u8) -> Self {
        Self { prefix, seed: [byte; 32] }
    }

    fn key(&self) -> Arc<dyn SigningKey> {
        let head = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
        let der = PrivatePkcs8KeyDer::from([&head[..], &self.seed].concat());
        any_eddsa_type(&der).expect("a key")
    }

    /// The name of the public key.
    fn name(&self) -> String {
        let key = self.key();
        let public = key.public_key().expect("a public key");
        written(&[&[self.prefix], public.last_chunk::<32>().expect("32 bytes").as_slice()].concat())
    }

    /// The secret part as NATS writes it.
    fn secret(&self) -> String {
        let head = [SEED | (self.prefix >> 5), self.prefix << 3];
        written(&[&head, &self.seed[..]].concat())
    }

    /// A claim that this key signs.
    fn signs(&self, of: &Self, name: &str, claims: &Value) -> String {
        let mut body = json!({ "jti": name, "iat": 1_700_000_000, "iss": self.name(), "name": name,
            "sub": of.name(), "nats": claims });
        body["nats"]["version"] = 2.into();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text =
            format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&body));
        let signer = self.key().choose_scheme(&[SignatureScheme::ED25519]).expect("a signer");
        let signature = signer.sign(text.as_bytes()).expect("a signature");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Bytes and their CRC-16, in base 32.
fn written(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0_u16, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| {
            if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ 0x1021 }
        })
    });
    BASE32_NOPAD.encode(&[bytes, &sum.to_le_bytes()].concat())
}

#[test]
fn a_server_comes_with_an_nkey_and_another_key_is_refused() {
    let user = Nkey::new(USER, 7);
    let configuration = format!("authorization {{ users: [{{ nkey: {} }}] }}", user.name());
    let Some(nats) = Nats::start(&configuration) else { return };
    let with = |key: &Nkey, pool: &str| {
        let keys = format!("nats = \"{}\"\ncreds = \"seed.nk\"", nats.url());
        member(pool, &keys).file("seed.nk", &key.secret())
    };
    share_a_call(|pool| with(&user, pool));
    let stranger = with(&Nkey::new(USER, 8), "workers = 1").start();
    stranger.wait_for_log("Authorization Violation");
    let said = stranger.log_lines().join("\n") + &stranger.status().to_string();
    assert!(!said.contains(&Nkey::new(USER, 8).secret()[..10]), "{said}");
}

#[test]
fn a_server_comes_with_a_file_of_nsc() {
    let [operator, account, user] =
        [Nkey::new(OPERATOR, 1), Nkey::new(ACCOUNT, 2), Nkey::new(USER, 3)];
    let all = json!({ "subs": -1, "data": -1, "payload": -1 });
    let mut limits = all.clone();
    for name in ["imports", "exports", "conn", "leaf"] {
        limits[name] = (-1).into();
    }
    limits["wildcards"] = true.into();
    let of_account =
        operator.signs(&account, "it", &json!({ "type": "account", "limits": limits }));
    let mut claims = all;
    claims["type"] = "user".into();
    (claims["pub"], claims["sub"]) = (json!({}), json!({}));
    let of_user = account.signs(&user, "all", &claims);
    let configuration = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {of_account} }}\n",
        operator.signs(&operator, "it", &json!({ "type": "operator" })),
        account.name(),
    );
    let Some(nats) = Nats::start(&configuration) else { return };
    let file = |seed: &Nkey| {
        format!(
            "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            seed.secret()
        )
    };
    let with = |seed: &Nkey, pool: &str| {
        let keys = format!("nats = \"{}\"\ncreds = \"it.creds\"", nats.url());
        member(pool, &keys).file("it.creds", &file(seed))
    };
    share_a_call(|pool| with(&user, pool));
    // Another key cannot sign for the user.
    let thief = with(&Nkey::new(USER, 4), "workers = 1").start();
    thief.wait_for_log("Authorization Violation");
    let said = thief.log_lines().join("\n") + &thief.status().to_string();
    assert!(!said.contains(&of_user[..40]), "{said}");
}

#[test]
fn a_password_that_changes_is_read_again_and_another_address_waits_for_a_restart() {
    let user = |password: &str| format!("authorization {{ user: all, password: \"{password}\" }}");
    let Some(mut nats) = Nats::start(&user("first")) else { return };
    let Some(other) = Nats::start("") else { return };
    let keys = format!("nats = \"{}\"\ncreds = \"nats.creds\"", nats.url());
    let plan = |pool: &str| member(pool, &keys).file("nats.creds", "all:first");
    let [front, host] = share_a_call(plan);
    nats.start_again_with(&user("second"));
    for server in [&front, &host] {
        server.wait_for_log("Authorization Violation");
        server.write("nats.creds", "all:second");
    }
    wait_for_slots(&front, 1);
    assert_eq!(front.answers("b").body, "b");
    // The calls of a reload go on where they went.
    let pending = front.client().get_later("/?input=sleep+500");
    host.wait_for_count(r#"httpipe_workers{pool="main",state="busy"}"#, 1.0);
    front.rewrite(&nats.url(), &other.url());
    let reloaded = front.admin().later("POST", "/reload", &["Httpipe-Admin: 1"], "").answer();
    assert!(
        reloaded.body.contains("spread: changed; takes effect after a restart"),
        "{reloaded:?}"
    );
    assert_eq!(pending.answer().status, 200);
    assert_eq!(front.answers("c").body, "c");
    assert_eq!(front.status()["spread"]["server"], nats.url().as_str());
}

#[test]
fn a_server_that_is_not_let_in_tries_again_after_ever_longer_times() {
    let log = "log_file: \"nats.log\"\nauthorization { user: all, password: \"canary\" }";
    let Some(nats) = Nats::start(log) else { return };
    let keys = format!("nats = \"{}\"\ncreds = \"nats.creds\"", nats.url());
    let server = member("workers = 1", &keys).file("nats.creds", "all:wrong").start();
    let tries = || nats.log().matches("authentication error").count();
    server.wait_until("it has tried twice", |_| tries() >= 2);
    pause(Duration::from_secs(2), "a hot loop tries hundreds of times meanwhile");
    assert!(tries() < 12, "{}", nats.log());
    let lines = server.log_lines();
    let told = lines.iter().filter(|line| line.contains("no connection to NATS"));
    assert_eq!(told.count(), 1, "it is logged once a minute");
}

#[test]
fn calls_cross_between_the_servers_of_a_cluster_and_outlive_one_of_them() {
    let Some(mut one) = Nats::start_cluster() else { return };
    let Some(other) = one.join() else { return };
    let both = format!("nats = [\"{}\", \"{}\"]", one.url(), other.url());
    let plan = |pool: &str, spread: &str| member(pool, spread);
    let at_one = format!("nats = \"{}\"", one.url());
    let at_other = format!("nats = \"{}\"", other.url());
    let front = plan("workers = 0", &both).start_unready();
    let hosts = [at_one, at_other].map(|keys| {
        let host = plan("workers = 1", &keys).option("--listen").option("off").start_host();
        host.wait_until_ready();
        host
    });
    wait_for_slots(&front, 2);
    for _ in 0..20 {
        assert_eq!(front.answers("a").body, "a");
    }
    one.kill();
    hosts[0].wait_until("it is cut off", |it| it.status()["spread"]["connected"] == false);
    front.wait_until("it is with the other one", |it| {
        let spread = &it.status()["spread"];
        spread["connected"] == true && spread["server"] == other.url().as_str()
    });
    wait_for_slots(&front, 1);
    for _ in 0..20 {
        assert_eq!(front.answers("a").body, "a");
    }
    one.start_again();
    wait_for_slots(&front, 2);
}
