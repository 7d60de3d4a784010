//! A changed file: the new functions take over, and what cannot be served changes nothing.

use crate::python_calls::serve;
use crate::support::{Plan, Server};

const OPERATOR: &[&str] = &["Httpipe-Admin: 1"];
const JSON: &[&str] = &["Content-Type: application/json"];

const V1: &str = "import helper\ndef f(n: int) -> int: return helper.ONE * n\n";

fn plan(text: &str) -> Plan {
    serve("calculate.py:*", text).file("helper.py", "ONE = 1\n")
}

fn reload(server: &Server) -> (u16, String) {
    let answer = server.admin().later("POST", "/reload", OPERATOR, "").answer();
    (answer.status, answer.body)
}

#[test]
fn a_new_signature_is_served_after_a_reload() {
    let server = plan(V1).start();
    assert_eq!(server.client().get("/f?n=3").body, "3");
    server
        .write("calculate.py", "def f(text: str) -> str: return text\ndef g() -> int: return 7\n");
    let (status, said) = reload(&server);
    assert_eq!(status, 200, "{said}");
    assert_eq!(server.client().get("/f?text=3").body, "\"3\"");
    assert_eq!(server.client().get("/g").body, "7");
    assert_eq!(server.client().get("/f?n=3").detail(), "`n` is unknown");
}

#[test]
fn a_file_that_the_module_imports_counts_as_its_own() {
    let server = plan(V1).start();
    assert!(reload(&server).1.contains("nothing changed"));
    server.write("helper.py", "ONE = 100\n");
    let (status, said) = reload(&server);
    assert_eq!(status, 200, "{said}");
    assert_eq!(server.client().get("/f?n=3").body, "300");
}

#[test]
fn what_cannot_be_imported_is_refused_and_the_old_functions_go_on() {
    let server = plan(V1).start();
    let worker = server.workers();
    for (wrong, told) in [
        ("def f(n: int)\n", "calculate.py:1"),
        ("import nowhere\n", "No module named"),
        ("x = 1\n", "no public function"),
        ("import os\nos._exit(3)\n", "exit code 3"),
    ] {
        server.write("calculate.py", wrong);
        let (status, said) = reload(&server);
        assert_eq!(status, 409, "{said}");
        assert!(said.contains(told), "{said}");
        assert_eq!(server.client().get("/f?n=3").body, "3");
    }
    assert_eq!(server.workers(), worker);
}

#[test]
fn a_route_whose_function_has_gone_is_refused_and_the_old_one_goes_on() {
    let text = "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[pool.a]\n\
                python = \"calculate.py:*\"\nworkers = 1\n[[route]]\n\
                match = \"GET /v1/{n}\"\nfunction = \"f\"\n";
    let server = Server::config(text).file("calculate.py", V1).file("helper.py", "ONE = 1\n");
    let server = server.start();
    assert_eq!(server.client().get("/v1/4").body, "4");
    server.write("calculate.py", "def g(n: int) -> int: return n\n");
    let (status, said) = reload(&server);
    assert_eq!(status, 409, "{said}");
    assert!(said.contains("serves no function `f`"), "{said}");
    assert_eq!(server.client().get("/v1/4").body, "4");
}

#[test]
fn an_edited_file_is_live_by_itself_and_a_typo_changes_nothing() {
    let server = plan(V1).option("--watch").start();
    let becomes = |body: &str| {
        server.wait_until(body, |server| {
            let answer = server.client().request("POST", "/f", JSON, "{\"n\": 3}");
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.body == body
        });
    };
    becomes("3");
    server.write("calculate.py", "def f(n: int) -> int: return 2 *\n");
    server.wait_for_log("SyntaxError");
    becomes("3");
    server.write("calculate.py", "def f(n: int) -> int: return 2 * n\n");
    becomes("6");
    // A module that is not there yet.
    server.write("calculate.py", "import fresh\ndef f(n: int) -> int: return fresh.TEN * n\n");
    server.wait_for_log("No module named 'fresh'");
    becomes("6");
    server.write("fresh.py", "TEN = 10\n");
    becomes("30");
    server.write("fresh.py", "TEN = 11\n");
    becomes("33");
}

#[test]
fn who_watches_reads_where_a_function_failed() {
    let text = "def f(n: int) -> int:\n    return 1 // n\n";
    let failed = |server: Server| {
        let answer = server.client().get("/f?n=0");
        assert_eq!(answer.status, 500);
        answer.detail()
    };
    let watched = failed(serve("calculate.py:f", text).option("--watch").start());
    assert!(watched.starts_with("f failed: ZeroDivisionError: integer division"), "{watched}");
    assert!(watched.contains("calculate.py:2"), "{watched}");
    let plain = failed(serve("calculate.py:f", text).start());
    assert_eq!(plain, "f failed: ZeroDivisionError");
}

#[test]
fn a_hang_up_during_the_first_import_reloads_once_the_server_serves() {
    let text = "\
import os, signal
if not os.path.exists('told'):
    open('told', 'w').close()
    os.kill(os.getppid(), signal.SIGHUP)
def f() -> int: return 1
";
    let server = serve("calculate.py:f", text).start();
    server.wait_for_log("reload: nothing changed");
    assert_eq!(server.client().get("/f").body, "1");
}

#[test]
fn what_is_still_loading_when_the_server_stops_starts_no_worker() {
    let text = "\
import os, time
def wait() -> int:
    open('waits', 'w').close()
    while not os.path.exists('end'): time.sleep(0.01)
    return 1
";
    let mut server = serve("calculate.py:*", text).start();
    let running = server.client().post_later("/wait", "{}");
    server.wait_until("a call runs", |server| server.has("waits"));
    let slow = "\
import os, time
open('imports', 'a').write('.')
while not os.path.exists('go'): time.sleep(0.01)
";
    server.write("calculate.py", &format!("{slow}{text}"));
    server.signal("HUP");
    server.wait_until("it loads", |server| server.has("imports"));
    server.signal("TERM");
    server.wait_for_log("stopping");
    server.put("go");
    server.wait_for_log("not reloaded");
    assert_eq!(server.read("imports"), ".", "only who describes it has imported it");
    server.put("end");
    assert_eq!((running.answer().status, server.exit_code()), (200, 0));
}
