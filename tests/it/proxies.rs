//! The proxies of `examples/proxies` before a server, each as its file has it: addresses, streams and
//! refusals come through.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Client, Server, skipped};

/// A proxy that runs until dropped.
struct Proxy {
    child: Child,
    client: Client,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Writes a part for each file that appears.
const PARTS: &str = r#"
import os, sys, time
for line in sys.stdin:
    for number in range(2):
        while not os.path.exists("go%d" % number):
            time.sleep(0.003)
        print("part%d" % number, flush=True)
    print("END", flush=True)
"#;

/// From where the proxies connect.
const PROXY: &str = "127.0.0.2";

/// Starts a proxy by the file of this name, with the addresses of this test in place of its own.
/// `None`: it is not installed.
fn proxy(name: &str, command: &[&str], server: &Server) -> Option<Proxy> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/proxies").join(name);
    let text = std::fs::read_to_string(example).expect("the example can be read");
    let own = server.url().replace("http://", "");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = free.local_addr().expect("it is bound").to_string();
    drop(free);
    // The proxy has an address of its own, so that the test, which connects to it, is no proxy.
    let text = text.replace("server 127.0.0.1:3000;", &format!("server {own};"));
    let text =
        text.replace("proxy_http_version", &format!("proxy_bind {PROXY};\nproxy_http_version"));
    let text = text.replace("127.0.0.1:3000 maxconn", &format!("{own} source {PROXY} maxconn"));
    let text = text.replace("listen 8080", &format!("listen {address}"));
    let text = text.replace("bind :8080", &format!("bind {address}"));
    let text = text.replace("worker_processes auto;", "pid nginx.pid;\nerror_log stderr;");
    let text = text.replace(
        "http {",
        "http {\naccess_log off;\nclient_body_temp_path t1;\nproxy_temp_path t2;\n\
         fastcgi_temp_path t3;\nuwsgi_temp_path t4;\nscgi_temp_path t5;",
    );
    server.write(name, &text);
    #[expect(clippy::disallowed_methods, reason = "it is no program of the server")]
    let child = Command::new(command[0])
        .args(&command[1..])
        .current_dir(server.dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let client = Client::of(&address);
    let proxy = Proxy { child, client };
    server.wait_until("the proxy listens", |_| !proxy.client.is_refused());
    Some(proxy)
}

fn behind(name: &str, command: &[&str]) {
    let server = super::keys::with_keys(
        "workers = 2\nstream = \"until:END\"",
        &["alice --rate 2/1h"],
    )
    .worker("python3 parts.py")
    .file("parts.py", PARTS)
    .top("hosts = [\"api.example\"]\ntrust = [\"127.0.0.2\"]\nanonymous = { rate = \"1/1h\" }")
    .start_unready();
    let Some(proxy) = proxy(name, command, &server) else {
        return skipped(&format!("{} is not installed", command[0]), "`apt-get install` does it");
    };
    let (host, alice) = ("Host: api.example", super::keys::bearer(&server, "alice"));
    // A stream comes through part by part.
    let mut stream = proxy.client.connect();
    stream.ask("POST", "/", &[host, &alice], "a");
    server.put("go0");
    let head = stream.head();
    assert_eq!(head.status, 200, "{head:?}");
    assert_eq!(stream.chunk().as_deref(), Some("part0\n"));
    server.put("go1");
    assert_eq!(stream.chunk().as_deref(), Some("part1\n"));
    assert_eq!(stream.chunk().as_deref(), Some(""));
    // A refusal comes through with its fields.
    proxy.client.request("GET", "/nowhere", &[host, &alice], "");
    let refused = proxy.client.request("POST", "/", &[host, &alice], "a");
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert!(!refused.header("retry-after").is_empty(), "{refused:?}");
    assert!(!refused.header("ratelimit").is_empty(), "{refused:?}");
    // Who connects to the proxy is the caller, whatever they claim.
    let claim = |address: &str| {
        let claims = format!("X-Forwarded-For: {address}");
        proxy.client.request("GET", "/nowhere", &[host, &claims], "").status
    };
    assert_eq!([claim("192.0.2.1"), claim("192.0.2.2")], [404, 429]);
    server.wait_for_log("\"addr\":\"127.0.0.1\"");
    assert!(!server.log_lines().iter().any(|line| line.contains("192.0.2.")));
}

#[test]
fn nginx_passes_addresses_streams_and_refusals_on() {
    behind(
        "nginx.conf",
        &["nginx", "-p", ".", "-c", "nginx.conf", "-g", "daemon off; master_process off;"],
    );
}

#[test]
fn haproxy_passes_addresses_streams_and_refusals_on() {
    behind("haproxy.cfg", &["haproxy", "-db", "-f", "haproxy.cfg"]);
}
