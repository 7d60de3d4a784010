//! `httpipe map`: an answer for each line, failures apart, and a run that goes on where it stopped.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

use crate::Room;

/// Answers `x|x`. At the question of its first argument it makes the server stop by the signal of
/// the second one, once, and not before the answers of two questions are safe.
const STOPPER: &str = "\
import json, os, select, sys
wanted, signal = sys.argv[1], int(sys.argv[2])
for line in sys.stdin:
    text = line.rstrip('\\n')
    if text == wanted and not os.path.exists('stopped'):
        while signal == 9:
            with open('out.progress') as file:
                if json.load(file)['inputs'] >= 2:
                    break
            select.select([], [], [], 0.01)
        open('stopped', 'w').close()
        os.kill(os.getppid(), signal)
        select.select([], [], [])
    print(f'{text}|{text}', flush=True)
";

/// The numbers up to this one, a line each.
fn numbers(most: u32) -> String {
    (0..most).fold(String::new(), |mut text, number| {
        writeln!(text, "{number}").expect("a String takes all");
        text
    })
}

fn twice(text: &str) -> String {
    let lines = text.lines().flat_map(|line| [line, "|", line, "\n"]);
    lines.collect()
}

impl Room {
    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).expect("the file is there")
    }

    fn has(&self, name: &str) -> bool {
        self.dir.join(name).exists()
    }
}

/// Runs a command with this on its stdin. Returns exit code, stdout and stderr.
fn given(command: &mut Command, input: &str) -> (i32, String, String) {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the binary can be run");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

#[test]
fn each_line_gets_its_answer_in_its_order() {
    let room = Room::new();
    let line = ["map", "--workers", "4", "--", "sed", "-u", "s/$/!/"];
    let (code, out, said) = given(&mut room.command(&line), &numbers(500));
    assert_eq!(out, numbers(500).replace('\n', "!\n"), "{said}");
    assert_eq!(code, 0);
    assert!(said.starts_with("500 items in ") && said.ends_with(" 0 failed\n"), "{said}");
    let (code, out, said) =
        given(&mut room.command(&[&line[..1], &["-q"], &line[1..]].concat()), "");
    assert_eq!((code, &*out, &*said), (0, "", ""), "nothing was asked");
}

#[test]
fn a_failure_is_an_empty_line_and_a_line_of_json_and_costs_no_other() {
    let room = Room::new();
    let program = [env!("CARGO_BIN_EXE_httpipe"), "demo-worker", "--pair", "--crash-on", "bad"];
    let start = ["map", "--reply", "{input}|{result}", "--failed", "failed", "-o", "out", "--"];
    let (code, _, said) = given(&mut room.command(&[&start[..], &program].concat()), "a\nbad\nb\n");
    assert_eq!(code, 1, "{said}");
    assert_eq!(room.read("out"), "{\"result\":\"a\"}\n\n{\"result\":\"b\"}\n");
    let failed: serde_json::Value = serde_json::from_str(&room.read("failed")).expect("one line");
    assert_eq!((&failed["index"], &failed["input"]), (&1.into(), &"bad".into()));
    assert_eq!(failed["code"], "worker_lost");
    assert!(!room.has("out.progress"), "it is finished");
    let start = ["map", "-q", "--reply", "{input}|{result}", "--"];
    let (_, _, said) = given(&mut room.command(&[&start[..], &program].concat()), "bad\n");
    assert!(said.contains("item 0: worker_lost: "), "{said}");
}

#[test]
fn parameters_come_as_objects_and_the_only_one_as_it_is() {
    let room = Room::new();
    let start = ["map", "--route", "GET /add?a={a:int}&b={b:int}", "--send", "{a}+{b}", "--"];
    let command = [&start[..], &["bc", "-q"]].concat();
    let input = "{\"a\":1,\"b\":2}\n{\"a\":41}\n3\n{\"b\":1,\"a\":\"x\"}\n";
    let (code, out, said) = given(&mut room.command(&command), input);
    assert_eq!((code, &*out), (1, "3\n\n\n\n"), "{said}");
    assert!(said.contains("item 1: bad_parameter: "), "{said}");
    assert!(said.contains("item 2: bad_request: "), "{said}");
    assert!(said.contains("item 3: bad_parameter: `a` "), "{said}");
    let room = room.file("it.py", "def half(n: int) -> float:\n    return n / 2\n");
    let (code, out, said) = given(&mut room.command(&["map", "it.py:half"]), "3\n{\"n\":4}\n");
    assert_eq!((code, &*out), (0, "1.5\n2.0\n"), "{said}");
}

#[test]
fn a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes() {
    for signal in ["2", "9"] {
        let room = Room::new().file("it.py", STOPPER).file("in", numbers(300));
        let line = ["map", "--workers", "1", "-i", "in", "-o", "out", "--", "python3", "it.py"];
        let line = [&line[..], &["250", signal]].concat();
        let resume = [&line[..1], &["--resume"], &line[1..]].concat();
        let (code, _, said) = given(&mut room.command(&line), "");
        assert_eq!(code, if signal == "2" { 130 } else { -1 }, "{said}");
        assert!(room.has("out.progress"));
        // What was written after the last second may be there, whole or not, and is asked again.
        let out = std::fs::OpenOptions::new().append(true).open(room.dir.join("out"));
        let rest = "half an answer".repeat(1000);
        out.expect("it is there").write_all(rest.as_bytes()).expect("there is room");
        let refused = room.run(&line);
        assert!(refused.starts_with("exit 2\n"), "{refused}");
        assert!(refused.contains("error: `out` was left unfinished\n"), "{refused}");
        let (code, _, said) = given(&mut room.command(&resume), "");
        assert_eq!(code, 0, "{said}");
        assert_eq!(room.read("out"), twice(&numbers(300)));
        assert!(!room.has("out.progress"));
        let again = room.run(&resume);
        assert!(again.contains("error: `out` has no journal: it is finished"), "{again}");
    }
}

#[test]
fn a_run_goes_on_only_with_its_own_input_program_and_output() {
    let room = Room::new().file("it.py", STOPPER).file("in", numbers(9));
    let line = ["map", "--workers", "1", "-i", "in", "-o", "out", "--failed", "failed"];
    let program = ["--", "python3", "it.py", "5", "2"];
    let resume = [&line[..], &["--resume"], &program].concat();
    let (code, _, said) = given(&mut room.command(&[&line[..], &program].concat()), "");
    assert_eq!(code, 130, "{said}");
    assert!(said.contains("stopped; `--resume` goes on there\n"), "{said}");
    let refused = |what: &str, line: &[&str]| {
        let said = room.run(line);
        assert!(said.starts_with("exit 2\n") && said.contains(what), "{said}");
    };
    refused("another program, route, separator or `--failed`", &[&resume[..], &["other"]].concat());
    std::fs::write(room.dir.join("in"), numbers(9).replace('3', "33")).expect("a file");
    refused("the input is not the one that the earlier run read", &resume);
    std::fs::write(room.dir.join("in"), numbers(9)).expect("a file");
    let out = room.read("out");
    std::fs::write(room.dir.join("out"), "").expect("a file");
    refused("`out` is shorter than its journal says", &resume);
    std::fs::write(room.dir.join("out"), out).expect("a file");
    let held = std::fs::File::open(room.dir.join("out")).expect("it is there");
    held.lock().expect("nobody else has it");
    refused("another run writes `out`", &resume);
    drop(held);
    let (code, _, said) = given(&mut room.command(&resume), "");
    assert_eq!((code, room.read("out")), (0, twice(&numbers(9))), "{said}");
}

#[test]
fn no_file_is_read_and_written_at_once_and_none_is_emptied_before_all_are_open() {
    let room = Room::new().file("in", numbers(9)).file("out", "earlier\n");
    std::os::unix::fs::symlink("in", room.dir.join("link")).expect("a link");
    let refused = |what: &str, files: &[&str]| {
        let said = room.run(&[&["map", "-i", "in"], files, &["--", "cat"]].concat());
        assert!(said.starts_with("exit 2\n") && said.contains(what), "{said}");
        assert_eq!(room.read("in"), numbers(9), "{files:?}");
        assert_eq!(room.read("out"), "earlier\n", "{files:?}");
    };
    refused("`in` holds the input, too", &["-o", "in"]);
    refused("`link` holds the input, too", &["-o", "link"]);
    refused("`in` holds the input, too", &["-o", "out", "--failed", "in"]);
    refused("`out` holds the answers, too", &["-o", "out", "--failed", "out"]);
    refused("cannot write `no/failed`", &["-o", "out", "--failed", "no/failed"]);
    let input = std::fs::File::open(room.dir.join("in")).expect("it is there");
    let mut command = room.command(&["map", "-o", "in", "--", "cat"]);
    let said = command.stdin(input).output().expect("it runs");
    assert_eq!((said.status.code(), room.read("in")), (Some(2), numbers(9)), "{said:?}");
}

#[test]
fn answers_of_several_lines_need_a_nul_between_them() {
    let room = Room::new();
    let program = ["--framing", "block", "--", "sed", "-u", "s/^.*,/&\\n/"];
    let (code, out, said) = given(&mut room.command(&[&["map"], &program[..]].concat()), "a,b\n");
    assert_eq!((code, &*out), (1, "\n"), "{said}");
    assert!(said.contains("`-0` ends each answer with a NUL"), "{said}");
    let command = [&["map", "-0"], &program[..]].concat();
    let (code, out, said) = given(&mut room.command(&command), "a,b\0c\nd");
    assert_eq!((code, &*out), (0, "a,\nb\0c\nd\0"), "{said}");
}

#[test]
fn answers_in_any_order_say_whose_they_are() {
    let room = Room::new();
    let program = [env!("CARGO_BIN_EXE_httpipe"), "demo-worker", "--crash-on", "bad"];
    let command = [&["map", "--unordered", "--"], &program[..]].concat();
    let (code, out, said) = given(&mut room.command(&command), "a\nbad\nb\n");
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!((code, &lines[..]), (1, &["0\ta", "2\tb"][..]), "{said}");
    let refused = room.run(&["map", "--unordered", "--resume", "-o", "out", "--", "cat"]);
    assert!(refused.starts_with("exit 2\n") && refused.contains("--resume"), "{refused}");
}

#[test]
fn what_cannot_be_asked_line_by_line_is_refused_before_anything_starts() {
    let file = "[pool.a]\ncommand = [\"cat\"]\n[[route]]\nmatch = \"POST /a\"\nsend = \"{body}\"\n\
        [[route]]\nmatch = \"GET /b/{x}\"\nsend = \"{x}\"\n[[route]]\nmatch = \"GET /c\"\n\
        send = \"c\"\n";
    let room = Room::new().file("httpipe.toml", file).file("in", "1\n");
    let refused = |what: &str, line: &[&str]| {
        let said = room.run(line);
        assert!(said.starts_with("exit 2\n") && said.contains(what), "{said}");
    };
    refused("its routes are `POST /a`, `GET /b/{x}`, `GET /c`", &["map"]);
    refused("there is no route `/d`", &["map", "--ask", "/d"]);
    refused("its question is always the same", &["map", "--ask", "GET /c"]);
    refused("cannot read `none`", &["map", "--ask", "/a", "-i", "none"]);
    refused("cannot read `.`", &["map", "--ask", "/a", "-i", "."]);
    refused("cannot write `no/out`", &["map", "--ask", "/a", "-i", "in", "-o", "no/out"]);
}

#[test]
fn a_route_is_named_by_its_match_text_with_or_without_the_query_or_by_its_path() {
    let pool =
        |name: &str| format!("[pool.{name}]\ncommand = [\"sed\", \"-u\", \"s/$/ {name}/\"]\n");
    let route = |text: &str, pool: &str| {
        format!("[[route]]\nmatch = \"{text}\"\npool = \"{pool}\"\nsend = \"{{x}}\"\n")
    };
    let file = ["get", "post", "other"].map(pool).concat()
        + &route("GET /a?x={x}", "get")
        + &route("POST /a?x={x}", "post")
        + &route("GET /b/{x}", "other");
    let room = Room::new().file("httpipe.toml", file).file("in", "1\n");
    for (name, asked) in [
        ("GET /a?x={x}", "get"),
        ("GET /a", "get"),
        ("POST /a", "post"),
        ("/a", "post"),
        ("GET /b/{x}", "other"),
        ("/b/{x}", "other"),
    ] {
        let said = room.run(&["map", "-q", "--ask", name, "-i", "in"]);
        assert_eq!(said, format!("exit 0\n--- stdout\n1 {asked}\n"), "{name}");
    }
    let said = room.run(&["map", "--ask", "PUT /a", "-i", "in"]);
    assert!(said.starts_with("exit 2\n") && said.contains("there is no route `PUT /a`"), "{said}");
}

#[test]
fn a_program_that_does_not_start_ends_the_run() {
    let room = Room::new();
    let line = ["map", "--", env!("CARGO_BIN_EXE_httpipe"), "demo-worker", "--exit-at-once", "3"];
    let (code, out, said) = given(&mut room.command(&line), "a\n");
    assert_eq!((code, &*out), (1, ""));
    assert!(said.contains("does not start") && said.contains("exit code 3"), "{said}");
}

#[test]
fn who_reads_the_answers_may_leave_and_a_full_disk_is_told() {
    let room = Room::new().file("in", numbers(2_000));
    let mut command = room.command(&["map", "-q", "-i", "in", "--", "cat"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(1), &b""[..]));
    let full = room.run(&["map", "-q", "-i", "in", "-o", "/dev/full", "--", "cat"]);
    assert!(full.starts_with("exit 1\n"), "{full}");
    assert!(full.contains("error: cannot write the output: No space left on device"), "{full}");
    assert!(!full.contains("--resume"), "a device cannot be gone on with: {full}");
}

#[test]
fn a_refused_run_makes_no_file_and_its_input_does_not_grow() {
    let room = Room::new().file("in", "a\nb\n");
    std::fs::hard_link(room.dir.join("in"), room.dir.join("twin")).expect("a link");
    for list in ["twin", "out", "no/list"] {
        let line = ["map", "-i", "in", "-o", "out", "--failed", list, "--", "cat"];
        let said = room.run(&line);
        assert!(said.starts_with("exit 2\n"), "{list}: {said}");
        assert_eq!((&*room.read("in"), room.has("out")), ("a\nb\n", false), "{list}");
    }
    let end = std::fs::OpenOptions::new().append(true).open(room.dir.join("in"));
    let mut to_itself = room.command(&["map", "-i", "in", "--", "cat"]);
    let ended = to_itself.stdout(end.expect("it is there")).output().expect("it can be run");
    assert_eq!((ended.status.code(), &*room.read("in")), (Some(2), "a\nb\n"));
}

#[test]
fn what_earlier_runs_wrote_is_lost_only_once_a_worker_serves() {
    let room = Room::new().file("in", "a\n").file("out", "yesterday\n");
    let binary = env!("CARGO_BIN_EXE_httpipe");
    let line = ["map", "-i", "in", "-o", "out"];
    let lists = ["--failed", "no/failed", "--", "cat"];
    let (code, _, said) = given(&mut room.command(&[&line[..], &lists].concat()), "");
    assert_eq!((code, &*room.read("out")), (2, "yesterday\n"), "{said}");
    let program = ["--", binary, "demo-worker", "--exit-at-once", "3"];
    let with = |more: &[&'static str]| [&line[..], more, &program].concat();
    let (code, _, said) = given(&mut room.command(&with(&["--failed", "failed"])), "");
    assert_eq!((code, &*room.read("out")), (1, "yesterday\n"), "{said}");
    assert!(!room.has("failed") && !room.has("out.progress"), "{said}");
    // So a loop around `--resume` ends once the program starts.
    std::fs::remove_file(room.dir.join("out")).expect("it is there");
    let (code, _, said) = given(&mut room.command(&with(&["--resume"])), "");
    assert_eq!((code, room.has("out")), (1, false), "{said}");
    std::fs::write(room.dir.join("out"), "").expect("a file");
    let resume = [&line[..], &["--resume", "--", "cat"]].concat();
    let (code, _, said) = given(&mut room.command(&resume), "");
    assert_eq!((code, &*room.read("out")), (0, "a\n"), "{said}");
}

#[test]
fn a_refused_resume_cuts_nothing() {
    let room = Room::new().file("it.py", STOPPER).file("in", numbers(9)).file("other", "mine\n");
    let line = ["map", "--workers", "1", "-i", "in", "-o", "out", "--failed"];
    let program = ["--", "python3", "it.py", "5", "2"];
    let first = [&line[..], &["failed"], &program].concat();
    let (code, _, said) = given(&mut room.command(&first), "");
    assert_eq!(code, 130, "{said}");
    let resume = |list: &'static str| [&line[..], &[list, "--resume"], &program].concat();
    let refused = room.run(&resume("other"));
    assert!(refused.contains("another program, route, separator or `--failed`"), "{refused}");
    assert_eq!(room.read("other"), "mine\n");
    let out = room.read("out") + "and more";
    std::fs::write(room.dir.join("out"), &out).expect("a file");
    std::fs::write(room.dir.join("in"), "x\n").expect("a file");
    let refused = room.run(&resume("failed"));
    assert!(refused.contains("the input is not the one"), "{refused}");
    assert_eq!(room.read("out"), out);
}

#[test]
fn a_signal_ends_a_run_whose_reader_stands_still() {
    let room = Room::new();
    for is_over in [false, true] {
        let mut command = room.command(&["map", "-q", "--workers", "1", "--", "cat"]);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("the binary can be run");
        let mut input = child.stdin.take();
        let question = "x".repeat(1 << 20) + "\n";
        input.as_mut().expect("a pipe").write_all(question.as_bytes()).expect("it reads");
        if is_over {
            input = None;
        }
        let mut answers = child.stdout.take().expect("a pipe");
        answers.read_exact(&mut [0]).expect("the answer has begun, and has no room");
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(kill.expect("it can be run").success());
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(130), "stopped\n"), "{is_over}");
        drop((input, answers));
    }
}
