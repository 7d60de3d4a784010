//! What the small commands do.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::Room;

#[test]
fn what_init_writes_passes_the_check() {
    let room = Room::new();
    let wrote = room.run(&["init", "--", "sed", "-u", "s/a/\"b\"/"]);
    assert!(wrote.starts_with("exit 0\n"), "{wrote}");
    let checked = room.run(&["check"]);
    assert!(checked.starts_with("exit 0\n"), "{checked}");
    assert!(checked.ends_with("no errors in 1 pool and 2 routes\n"), "{checked}");
    insta::assert_snapshot!(room.run(&["init"]), @r##"
exit 2
--- stderr
error: httpipe.toml already exists in this directory
hint: move or rename it, then run `httpipe init` again
"##);
    insta::assert_snapshot!(Room::new().run(&["init"]), @r##"
exit 0
--- stdout
wrote httpipe.toml; try it with `httpipe check`, then `httpipe run`
"##);
}

#[test]
fn what_init_writes_of_functions_passes_the_check() {
    let text = "def fib(n: int) -> int: return n\n";
    let room = Room::new().file("calculate.py", text);
    let wrote = room.run(&["init", "calculate.py:fib", "--workers", "2"]);
    assert!(wrote.starts_with("exit 0\n"), "{wrote}");
    let file = std::fs::read_to_string(room.dir.join("httpipe.toml")).expect("it was written");
    assert!(file.contains("\n[pool.calculate]\n"), "{file}");
    assert!(file.contains("\npython = \"calculate.py:fib\"\n"), "{file}");
    assert!(file.contains("\nworkers = \"2..2\"\n") || file.contains("\nworkers = 2\n"), "{file}");
    let checked = room.run(&["check"]);
    assert!(checked.starts_with("exit 0\n"), "{checked}");
    assert!(checked.contains("  function  fib(n: integer) -> integer\n"), "{checked}");
    assert!(checked.ends_with("no errors in 1 pool and 2 routes\n"), "{checked}");
}

#[test]
fn the_fib_example_passes_the_check() {
    let text = include_str!("../../examples/fib/httpipe.toml");
    let script = include_str!("../../examples/fib/calculate.py");
    let room = Room::new().file("httpipe.toml", text).file("calculate.py", script);
    let checked = room.run(&["check", "httpipe.toml"]);
    assert!(checked.starts_with("exit 0\n"), "{checked}");
    assert!(checked.contains(": \"1|1\"\n"), "{checked}");
    assert!(checked.ends_with("\n\nno errors in 1 pool and 2 routes\n"), "{checked}");
}

#[test]
fn completions_are_a_script_on_stdout() {
    let script = Room::new().run(&["completions", "bash"]);
    assert!(script.starts_with("exit 0\n--- stdout\n_httpipe"), "{script}");
    assert!(script.contains("--in-flight") && !script.contains("demo-worker"), "{script}");
}

#[test]
fn every_command_and_the_file_have_a_manual_page() {
    let page = |name: &str| Room::new().run(&["man", name]);
    let all = Room::new().run(&["man"]);
    assert!(all.starts_with("exit 0\n--- stdout\n"), "{all}");
    assert!(all.contains("\n.TH httpipe 1 ") && !all.contains("demo-worker"), "{all}");
    for name in [
        "run",
        "check",
        "map",
        "init",
        "reload",
        "top",
        "status",
        "open",
        "openapi",
        "completions",
        "man",
    ] {
        let page = page(name);
        assert!(page.contains(&format!("\n.TH httpipe-{name} 1 ")), "{page}");
        assert!(page.contains("\n.SH \"EXIT STATUS\"\n"), "{page}");
        assert!(all.contains(&format!("\\fBhttpipe\\-{name}\\fR(1)")), "{name}: {all}");
    }
    assert!(page("httpipe-run").contains("\n\\fB\\-\\-in\\-flight\\fR"), "{}", page("httpipe-run"));
    let file = page("httpipe.toml");
    assert!(file.contains("\n.TH httpipe.toml 5 "), "{file}");
    for key in
        ["\\fBstart_timeout\\fR", "\\fB\\-\\-start\\-timeout\\fR", "Unknown keys are refused"]
    {
        assert!(file.contains(key), "{key}: {file}");
    }
    insta::assert_snapshot!(page("nope"), @r##"
exit 2
--- stderr
error: there is no manual page `nope`
hint: pages are httpipe, httpipe-check, httpipe-completions, httpipe-init, httpipe-key, httpipe-man, httpipe-map, httpipe-open, httpipe-openapi, httpipe-reload, httpipe-run, httpipe-status, httpipe-tap, httpipe-top, httpipe.toml
"##);
}

/// Starts a server that gives one answer. Returns its URL, and a thread that returns the request.
fn one_answer(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = listener.local_addr().expect("it is bound");
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut buffer = [0; 1024];
            let length = stream.read(&mut buffer).expect("a request");
            assert!(length > 0, "the request ended early");
            asked.extend(&buffer[..length]);
        }
        stream.write_all(answer.as_bytes()).expect("the caller listens");
        String::from_utf8(asked).expect("text")
    });
    (format!("http://{address}"), asked)
}

#[test]
fn reload_tells_what_the_server_answered() {
    let (url, asked) =
        one_answer("HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\nfib: 2 of 2 workers replaced\n");
    insta::assert_snapshot!(Room::new().run(&["reload", &url]), @r##"
exit 0
--- stdout
fib: 2 of 2 workers replaced
"##);
    let asked = asked.join().expect("it was asked");
    assert!(asked.starts_with("POST /reload HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nHttpipe-Admin: 1\r\n"), "{asked}");
    let (url, asked) = one_answer("HTTP/1.1 409 Conflict\r\n\r\nerror: `timeout` needs a unit\n");
    insta::assert_snapshot!(Room::new().run(&["reload", &url]), @r##"
exit 1
--- stderr
error: `timeout` needs a unit
the server keeps its old configuration
"##);
    asked.join().expect("it was asked");
}

#[test]
fn reload_without_a_server_fails_with_the_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let said = Room::new().run(&["reload", &address]).replace(&address, "[address]");
    insta::assert_snapshot!(said, @r##"
exit 1
--- stderr
error: cannot reach [address]: Connection refused
hint: is a server running, and is this its `admin` address?
"##);
}
