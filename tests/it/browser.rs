//! Pages in a real browser: one whose origin the operator let in, and those that were not.
//!
//! The names of the pages lead to this machine, so the browser needs no network.

use std::path::Path;

use crate::support::{Plan, Server, shell, skipped};

/// A page that asks the server which its query names, also by what needs a preflight and by an
/// event stream, and writes what it got.
const PAGE: &str = r#"<p id="read">waiting</p><p id="asked">waiting</p><p id="events">waiting</p>
<script>
const api = new URLSearchParams(location.search).get("api");
const say = (id, text) => { document.getElementById(id).textContent = id + " " + text; };
fetch(api + "/?input=hello").then(it => it.text())
  .then(text => say("read", text), () => say("read", "nothing"));
fetch(api + "/", { method: "POST", headers: { "Content-Type": "application/json" }, body: "[1]" })
  .then(it => it.text()).then(text => say("asked", text), () => say("asked", "nothing"));
const source = new EventSource(api + "/parts");
const parts = [];
source.onmessage = event => parts.push(event.data);
source.addEventListener("done", () => { source.close(); say("events", parts.join("+")); });
source.onerror = () => { source.close(); say("events", "nothing"); };
</script>"#;

pub(crate) fn has_chromium() -> bool {
    let is_there = shell("chromium --version >/dev/null 2>&1").0 == 0;
    if !is_there {
        skipped("chromium is not installed", "`apt-get install chromium` does it");
    }
    is_there
}

/// What the page at this address looks like once its scripts are done.
pub(crate) fn shown(address: &str, dir: &Path) -> String {
    let profile = dir.join("profile");
    let line = format!(
        "timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
         --disable-background-networking --disable-component-update --disable-sync \
         --host-resolver-rules='MAP *.example 127.0.0.1' --user-data-dir='{}' \
         --virtual-time-budget=10000 --dump-dom '{address}' 2>/dev/null",
        profile.display()
    );
    let shown = shell(&line).1;
    drop(std::fs::remove_dir_all(profile));
    shown
}

fn api(top: &str) -> Plan {
    Server::config(&format!(
        r#"
{top}
[pool.cat]
command = ["cat"]
workers = 1

[pool.parts]
command = ["sed", "-u", "s/.*/one\\ntwo\\nEND/"]
workers = 1
stream = "until:END"

[[route]]
match = "GET /?input={{input}}"
pool = "cat"

[[route]]
match = "POST /"
pool = "cat"

[[route]]
match = "GET /parts"
pool = "parts"
send = "a"
"#
    ))
}

#[test]
fn a_page_that_may_reads_and_one_that_may_not_reaches_nothing() {
    if !has_chromium() {
        return;
    }
    let text = serde_json::to_string(PAGE).expect("a text is JSON, and TOML");
    let pages = Server::config(&format!(
        "hosts = \"any\"\n[[route]]\nmatch = \"GET /page\"\ntext = {text}\ncontent_type = \"text/html\"\n"
    ))
    .start_unready();
    let port = pages.url().rsplit_once(':').expect("a port").1.to_owned();
    let origin = format!("http://app.example:{port}");
    let server = api(&format!("cors = [\"{origin}\"]")).start();
    let page = |host: &str| {
        let address = format!("http://{host}:{port}/page?api={}", server.url());
        shown(&address, pages.dir())
    };
    let seen = page("app.example");
    for told in ["read hello", "asked [1]", "events one+two"] {
        assert!(seen.contains(told), "{told}: {seen}");
    }
    let seen = page("evil.example");
    for told in ["read nothing", "asked nothing", "events nothing"] {
        assert!(seen.contains(told), "{told}: {seen}");
    }
    // A name of their own that leads here (DNS rebinding) makes it the page's own origin.
    let port = server.url().rsplit_once(':').expect("a port").1.to_owned();
    let seen = shown(&format!("http://evil.example:{port}/?input=stolen"), pages.dir());
    assert!(seen.contains("forbidden_origin") && !seen.contains(">stolen<"), "{seen}");
}
