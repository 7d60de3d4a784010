//! The messages about configurations that cannot be used. Nothing is ever started.

use std::os::unix::fs::PermissionsExt as _;

use crate::Room;

#[test]
fn all_problems_of_a_file_are_told_at_once() {
    let text = "listen = \"everywhere:3000\"\n\
        admin = \"0.0.0.0:3001\"\n\
        \n\
        [pool.fib]\n\
        command = [\"sed\", \"-u\", \"p\"]\n\
        workrs = 4\n\
        timeout = 30\n\
        matching = \"echo\"\n\
        ready = \"(\"\n";
    insta::assert_snapshot!(Room::new().file("httpipe.toml", text).run(&["run"]), @r##"
exit 2
--- stderr
error: `everywhere:3000` is not an address to listen on
 --> httpipe.toml:1:10
  |
1 | listen = "everywhere:3000"
  |          ^^^^^^^^^^^^^^^^^
  |
hint: write an IP address and a port, as in 127.0.0.1:3000, or unix:/path

error: anybody could reach `admin` at 0.0.0.0:3001
 --> httpipe.toml:2:9
  |
2 | admin = "0.0.0.0:3001"
  |         ^^^^^^^^^^^^^^
  |
hint: set `admin_token`, or listen on 127.0.0.1

error: unknown key `workrs` in `[pool.fib]`
 --> httpipe.toml:6:1
  |
6 | workrs = 4
  | ^^^^^^
  |
hint: did you mean `workers`?

error: `timeout` needs a unit
 --> httpipe.toml:7:11
  |
7 | timeout = 30
  |           ^^
  |
hint: write "30s"

error: `echo` needs a `reply` that holds `{input}`
 --> httpipe.toml:8:12
  |
8 | matching = "echo"
  |            ^^^^^^
  |
hint: add `reply = "{input}|{result}"`, in the shape of the program's answers

error: `ready` is not a regular expression
 --> httpipe.toml:9:9
  |
9 | ready = "("
  |         ^^^
  |
hint: unclosed group

6 problems, nothing was started. Test again with `httpipe check httpipe.toml`
"##);
}

#[test]
fn all_problems_of_its_routes_are_told_too() {
    let text = "[pool.fib]\n\
        command = [\"sed\", \"-u\", \"p\"]\n\
        [[route]]\n\
        match = \"GET /fib?num={num:int}&by={by:int}\"\n\
        params.num = { min = 9, max = 1 }\n\
        params.by = { max = 5, default = 7 }\n\
        [[route]]\n\
        match = \"GET /fib\"\n\
        pool = \"fob\"\n\
        [[route]]\n\
        match = \"POST /\"\n\
        cache = \"1h\"\n";
    insta::assert_snapshot!(Room::new().file("httpipe.toml", text).run(&["run"]), @r##"
exit 2
--- stderr
error: this route has several parameters and no `send`
 --> httpipe.toml:3:1
  |
3 | [[route]]
  | ^^^^^^^^^
  |
hint: add `send = "{num} {by}"`, or "json"

error: no value is at least 9 and at most 1
 --> httpipe.toml:5:22
  |
5 | params.num = { min = 9, max = 1 }
  |                      ^
  |
hint: exchange `min` and `max`

error: `default` of `by` must be a whole number of at most 5
 --> httpipe.toml:6:34
  |
6 | params.by = { max = 5, default = 7 }
  |                                  ^
  |
hint: callers could not send it; change the value or the bounds

error: `GET /fib` can never match: `GET /fib?num={num:int}&by={by:int}` takes the same requests
 --> httpipe.toml:8:9
  |
8 | match = "GET /fib"
  |         ^^^^^^^^^^
  |
hint: parameters of the query do not tell routes apart: give one another path

error: there is no pool `fob`
 --> httpipe.toml:9:8
  |
9 | pool = "fob"
  |        ^^^^^
  |
hint: did you mean "fib"?

error: `cache` would answer a second call without running it
  --> httpipe.toml:12:9
   |
12 | cache = "1h"
   |         ^^^^
   |
hint: add `idempotent = true` if a call may be left out, else remove `cache`

6 problems, nothing was started. Test again with `httpipe check httpipe.toml`
"##);
}

#[test]
fn errors_of_syntax_are_told_with_their_place() {
    let room = Room::new().file("bad.toml", "listen =\n[pool.fib\n");
    insta::assert_snapshot!(room.run(&["check", "bad.toml"]), @r##"
exit 2
--- stdout
error: this is not TOML: string values must be quoted, expected literal string
 --> bad.toml:1:9
  |
1 | listen =
  |         ^

error: this is not TOML: unclosed table, expected `]`
 --> bad.toml:2:10
  |
2 | [pool.fib
  |          ^

2 problems, nothing was started. Test again with `httpipe check bad.toml`
"##);
}

#[test]
fn a_missing_file_is_told_apart_from_none() {
    let room = Room::new().file("latin.toml", b"listen = 1\n# \xe9\n");
    insta::assert_snapshot!(room.run(&["run"]), @r##"
exit 2
--- stderr
error: there is no httpipe.toml here
hint: name a program, as in `httpipe run -- python3 worker.py`, or write the file with `httpipe init`

1 problem, nothing was started.
"##);
    insta::assert_snapshot!(room.run(&["run", "other.toml"]), @r##"
exit 2
--- stderr
error: cannot read `other.toml`: No such file or directory
hint: `httpipe init` writes an httpipe.toml to begin with

1 problem, nothing was started.
"##);
    insta::assert_snapshot!(room.run(&["run", "latin.toml"]), @r##"
exit 2
--- stderr
error: `latin.toml` is not UTF-8 in line 2
hint: save the file as UTF-8

1 problem, nothing was started.
"##);
}

#[test]
fn a_program_that_cannot_run_is_told_with_the_reason() {
    let room = Room::new().file("plain", "text").file("script", "#!/usr/bin/nopython\n");
    insta::assert_snapshot!(room.run(&["run", "--", "no-such-program"]), @r##"
exit 2
--- stderr
error: there is no program `no-such-program` in PATH
hint: PATH is /usr/bin:/bin

1 problem, nothing was started.
"##);
    insta::assert_snapshot!(room.run(&["run", "--", "./missing"]), @r##"
exit 2
--- stderr
error: cannot run `[dir]/missing`: No such file or directory
hint: a program with a slash is relative to `dir`

1 problem, nothing was started.
"##);
    insta::assert_snapshot!(room.run(&["run", "--", "./plain"]), @r##"
exit 2
--- stderr
error: cannot run `[dir]/plain`: Permission denied
hint: try `chmod +x [dir]/plain`

1 problem, nothing was started.
"##);
    insta::assert_snapshot!(room.run(&["run", "--dir", "nowhere", "--", "cat"]), @r##"
exit 2
--- stderr
error: cannot run in `[dir]/nowhere`: No such file or directory
hint: `dir` is relative to the directory of the configuration file

1 problem, nothing was started.
"##);
    make_executable(&room, "script");
    insta::assert_snapshot!(room.run(&["run", "--", "./script"]), @r##"
exit 2
--- stderr
error: `[dir]/script` needs `/usr/bin/nopython`: No such file or directory
hint: install it, or change the first line of the script

1 problem, nothing was started.
"##);
}

#[test]
fn options_are_checked_like_the_file_and_called_by_their_names() {
    let room = Room::new().variable("HTTPIPE_QUEUE", "many");
    let line =
        ["run", "--workers", "0", "--timeout", "30", "--env", "A", "--send", "x", "--", "cat"];
    insta::assert_snapshot!(room.run(&line), @r##"
exit 2
--- stderr
error: `--env A` has no `=`
hint: write NAME=VALUE

error: `--send` does not say which route it is for
hint: add `--route 'GET /path?key={key}'`

error: `HTTPIPE_QUEUE` cannot be "many", which is not a duration
hint: write a number and a unit, as in 30s

error: `--timeout` needs a unit
hint: write 30s

error: `--workers` cannot be 0
hint: write 1 or more: a pool without workers answers nothing, unless other hosts have some (`spread = true`)

5 problems, nothing was started.
"##);
}

/// A plain build has neither NATS nor Redis.
#[test]
fn a_key_without_its_feature_is_a_problem_that_says_so() {
    let text = "[pool.a]\ncommand = [\"cat\"]\n[[route]]\nmatch = \"GET /{a}\"\n";
    for (is_built, keys, feature) in [
        (cfg!(feature = "nats"), "[spread]\nnats = \"nats://127.0.0.1:4222\"\n", "nats"),
        (cfg!(feature = "redis"), "[cache]\nshared = \"redis://127.0.0.1\"\n", "redis"),
    ] {
        let room = Room::new().file("httpipe.toml", format!("{text}{keys}"));
        let said = room.run(&["run", "--listen", "127.0.0.1:99999"]);
        let is_told = said.contains("this httpipe was built without")
            && said.contains(&format!("--features {feature}"))
            && said.contains("the wheel, the Debian package or the image, which have it");
        assert!(said.starts_with("exit 2") && is_told != is_built, "{said}");
    }
}

#[test]
fn pool_options_need_one_pool() {
    let text = "[pool.a]\ncommand = [\"cat\"]\n[pool.b]\ncommand = [\"cat\"]\n\
        [[route]]\nmatch = \"POST /\"\n";
    let room = Room::new().file("httpipe.toml", text);
    insta::assert_snapshot!(room.run(&["run", "--workers", "2"]), @r##"
exit 2
--- stderr
error: `--workers` does not say which of the 2 pools it is for
hint: write it into the file, under its `[pool.NAME]`

error: this route does not say which pool it uses
 --> httpipe.toml:5:1
  |
5 | [[route]]
  | ^^^^^^^^^
  |
hint: add `pool = "a"` or `pool = "b"`

2 problems, nothing was started. Test again with `httpipe check httpipe.toml`
"##);
}

fn make_executable(room: &Room, name: &str) {
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(room.dir.join(name), mode).expect("our own file");
}

#[test]
fn keys_that_do_not_go_with_stream_are_reported() {
    let text = "[pool.a]\ncommand = [\"sed\"]\nstream = \"until\"\ncancel = \"{id}\"\n\
        [pool.b]\ncommand = [\"sed\"]\nstream = \"until:END\"\nmatching = \"json-id\"\n\
        in_flight = \"auto\"\ncancel = '{\"id\":\"{id}}'\n\
        [pool.c]\ncommand = [\"sed\"]\nstream = \"more\"\nin_flight = 2\nreply = \"http\"\n\
        [pool.d]\ncommand = [\"sed\"]\nstream = \"more\"\n\
        [pool.e]\ncommand = [\"sort\"]\nframing = \"eof\"\nstream = \"turn\"\n\
        [[route]]\nmatch = \"GET /d\"\npool = \"d\"\ncache = \"1s\"\n";
    let told = Room::new().file("httpipe.toml", text).run(&["check"]);
    let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("error")).collect();
    insta::assert_snapshot!(errors.join("\n"), @r##"
error: `until` does not say how a streamed answer ends
error: `cancel` needs `matching = "json-id"`: other calls have no id to name
error: with `json-id` every message is JSON, and so is the last of an answer
error: `in_flight = "auto"` may run a call twice, which `stream` does not allow
error: `cancel` is not JSON
error: `reply = "http"` cannot be used with `stream`
error: with `order` a worker can stream only one answer at a time
error: `stream` cannot be used with `eof`: only the end of the process shows whether its answer is good
error: `cache` cannot be used with a pool that has `stream`
"##);
}

#[test]
fn values_that_could_not_hold_are_told_with_what_to_write() {
    let text = "listen = \"unix:a\\u0000b\"\n\
        [pool.a]\ncommand = [\"sed\", \"p\"]\nrecycle = { calls = 5, age = \"1us\" }\n\
        [[route]]\nmatch = \"POST /\"\n";
    insta::assert_snapshot!(Room::new().file("httpipe.toml", text).run(&["check"]), @r##"
exit 2
--- stdout
error: the path of a socket cannot hold a NUL byte
 --> httpipe.toml:1:10
  |
1 | listen = "unix:a\u0000b"
  |          ^^^^^^^^^^^^^^^
  |
hint: leave it out

error: `age` cannot be 1us
 --> httpipe.toml:4:30
  |
4 | recycle = { calls = 5, age = "1us" }
  |                              ^^^^^
  |
hint: write 1s or more

2 problems, nothing was started. Test again with `httpipe check httpipe.toml`
"##);
}

#[test]
fn a_page_that_nobody_would_see_is_told() {
    let pool = "[pool.a]\ncommand = [\"sed\", \"-u\", \"p\"]\n[[route]]\nmatch = \"GET /*\"\ntext = \"x\"\n";
    let told = |docs: &str| {
        let text = format!("docs = \"{docs}\"\n{pool}[[route]]\nmatch = \"POST /\"\n");
        Room::new().file("httpipe.toml", &text).run(&["check", "--no-ask"])
    };
    let shadowed = told("/docs");
    assert!(shadowed.contains("nobody would see the page: `GET /*` takes /docs"), "{shadowed}");
    let wrong = told("docs");
    assert!(wrong.contains("`docs` is not a path"), "{wrong}");
    assert!(told("off").contains("no errors"), "{}", told("off"));
}

#[test]
fn an_address_for_everybody_needs_a_word_about_callers() {
    let pool = "[pool.a]\ncommand = [\"cat\"]\n";
    let open = format!("listen = [\"127.0.0.1:0\", \"0.0.0.0:3000\"]\n{pool}");
    let room = Room::new().file("httpipe.toml", &open);
    insta::assert_snapshot!(room.run(&["run"]), @r##"
exit 2
--- stderr
error: anybody could call everything at 0.0.0.0:3000
 --> httpipe.toml:1:10
  |
1 | listen = ["127.0.0.1:0", "0.0.0.0:3000"]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
hint: give your callers keys: `httpipe key new NAME` and `callers = "keys.toml"`; or demand certificates of them: `tls.clients`; or let everybody in: `callers = "anyone"`

1 problem, nothing was started. Test again with `httpipe check httpipe.toml`
"##);
    let told = room.run(&["check", "--no-ask", "--callers", "anyone"]);
    assert!(told.starts_with("exit 0\n"), "{told}");
    let told = room.run(&["check", "--no-ask", "--callers", "keys.toml"]);
    assert!(told.contains("the keys in `keys.toml` cannot be used: No such file"), "{told}");
    let made = room.run(&["key", "new", "alice"]);
    assert!(made.starts_with("exit 0\n--- stdout\nhp_"), "{made}");
    let told = room.run(&["check", "--no-ask", "--callers", "keys.toml"]);
    assert!(told.starts_with("exit 0\n"), "{told}");
    let told = room.run(&["check", "--no-ask", "--callers", "keys.toml", "--trust", "10.1.2.3/8"]);
    assert!(told.contains("hint: write \"10.0.0.0/8\""), "{told}");
    let told = room.run(&["check", "--no-ask", "--callers", "anyone", "--anonymous-rate", "10"]);
    assert!(told.contains("`10` is not a rate") && told.contains("\"100/1m\""), "{told}");
}

#[test]
fn keys_in_the_clear_and_keys_that_hold_all_workers_are_warnings() {
    let text = "listen = \"0.0.0.0:0\"\ncallers = \"keys.toml\"\n\
        [pool.a]\ncommand = [\"cat\"]\nworkers = 3\n\
        [pool.b]\ncommand = [\"cat\"]\nworkers = 1\n\
        [[route]]\nmatch = \"POST /a\"\npool = \"a\"\n[[route]]\nmatch = \"POST /b\"\npool = \"b\"\n";
    let room = Room::new().file("httpipe.toml", text);
    room.run(&["key", "new", "alice"]);
    let told = room.run(&["check", "--no-ask"]);
    assert!(told.starts_with("exit 0\n") && told.contains("1 warning"), "{told}");
    assert!(told.contains("keys come to 0.0.0.0:0 in the clear"), "{told}");
    assert!(told.contains("name it in `trust`"), "{told}");
    let clear = room.run(&["check", "--no-ask", "--trust", "10.0.0.0/8"]);
    assert!(!clear.contains("warning"), "a proxy with TLS stands before it: {clear}");
    let near = room.run(&["check", "--no-ask", "--listen", "127.0.0.1:0"]);
    assert!(!near.contains("warning"), "nobody else reaches it: {near}");

    room.run(&["key", "new", "bob", "--calls", "3"]);
    room.run(&["key", "new", "carol", "--calls", "2"]);
    room.run(&["key", "new", "dave", "--routes", "POST /b"]);
    let told = room.run(&["check", "--no-ask", "--trust", "10.0.0.0/8"]);
    let held = "each of the keys `alice`, `bob` may hold all 3 workers of pool `a`";
    assert!(told.contains(held) && told.contains("1 warning"), "{told}");
    assert!(told.contains("with `calls = 2` or less in its entry"), "{told}");
    room.run(&["key", "new", "erin"]);
    room.run(&["key", "new", "frank"]);
    let more = room.run(&["check", "--no-ask", "--trust", "10.0.0.0/8"]);
    assert!(
        more.contains("keys `alice`, `bob`, `erin` and 1 more may hold all 3 workers"),
        "{more}"
    );
}

#[test]
fn secrets_that_a_sandbox_leaves_open_are_warnings() {
    let text = "admin_token = { file = \"token\" }\n\
        [pool.a]\ncommand = [\"cat\"]\nsandbox = true\n\
        [pool.b]\ncommand = [\"cat\"]\ndir = \"inner\"\nsandbox = true\n\
        [pool.c]\ncommand = [\"cat\"]\n\
        [[route]]\nmatch = \"POST /a\"\npool = \"a\"\n[[route]]\nmatch = \"POST /b\"\npool = \"b\"\n\
        [[route]]\nmatch = \"POST /c\"\npool = \"c\"\n";
    let room = Room::new().file("httpipe.toml", text).file("token", "hunter2\n");
    std::fs::create_dir(room.dir.join("inner")).expect("our own directory");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(room.dir.join("token"), mode).expect("our own file");
    let told = room.run(&["check", "--no-ask"]);
    assert!(told.starts_with("exit 0\n") && told.contains("1 warning"), "{told}");
    assert!(told.contains("the sandbox of pool `a` lets its programs read the secret"), "{told}");
    assert!(told.contains("give the pool a `dir` of its own"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_key_of_a_caller_is_never_handed_to_a_program() {
    let text = "callers = \"keys.toml\"\n[pool.a]\ncommand = [\"cat\"]\n\
        [[route]]\nmatch = \"GET /\"\nsend = \"{header.X-API-Key}\"\n";
    let room = Room::new().file("httpipe.toml", text);
    room.run(&["key", "new", "alice"]);
    let told = room.run(&["run"]);
    assert!(told.starts_with("exit 2\n"), "{told}");
    assert!(told.contains("`{header.x-api-key}` would hand the keys of callers over"), "{told}");
    assert!(told.contains("hint: write `{caller}`"), "{told}");
}
