//! Pages in a real browser: one whose origin the operator let in, and those that were not.
//!
//! The names of the pages lead to this machine, so the browser needs no network.

use crate::support::{Browser, Plan, Server};

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

/// What a person reads on the page at this address once its scripts are done.
fn shown(browser: &Browser, address: &str) -> String {
    browser.navigate(address);
    browser.wait_until("document.readyState === 'complete'");
    browser.wait_until("!document.body.innerText.includes('waiting')");
    browser.text()
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
    let Some(browser) = Browser::start() else { return };
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
        shown(&browser, &address)
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
    let seen = shown(&browser, &format!("http://evil.example:{port}/?input=stolen"));
    assert!(seen.contains("forbidden_origin") && seen.trim() != "stolen", "{seen}");
}
