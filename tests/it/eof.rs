//! Programs that read to the end of their input: one question a process, started before its call.

use std::time::Duration;

use crate::support::{Plan, Server, shell, skipped};

fn serves(program: &str, keys: &str) -> Plan {
    Server::with(&format!("framing = \"eof\"\n{keys}")).worker(program)
}

/// What a script needs that answers all of its input.
const READS_ALL: &str = "import sys, time, os, signal\nquestion = sys.stdin.read()\n";

fn python(script: &str, keys: &str) -> Plan {
    serves("python3 reads.py", keys).file("reads.py", &format!("{READS_ALL}{script}\n"))
}

#[test]
fn what_reads_to_the_end_of_its_input_is_asked_again_and_again() {
    for (program, question, answer) in [
        ("sort", "pear\napple\n\nfig\n", "\napple\nfig\npear\n"),
        ("wc -w", "three small words", "3\n"),
        ("tr a-z A-Z", "no line end", "NO LINE END"),
        ("rev", "abc\ndef\n", "cba\nfed\n"),
        ("cat", "\0\n\r\n\0\u{1}\n", "\0\n\r\n\0\u{1}\n"),
        ("cat", "", ""),
        ("sh -c 'sort | uniq -c | sort -rn'", "b\na\nb\n", "      2 b\n      1 a\n"),
    ] {
        let server = serves(program, "workers = 2").start();
        for _ in 0..5 {
            let given = server.answers(question);
            assert_eq!((given.status, given.body.as_str()), (200, answer), "{program}");
        }
        assert_eq!(server.metric("httpipe_worker_exits_total{reason=\"crash\"}"), 0.0, "{program}");
    }
}

#[test]
fn any_bytes_go_in_and_come_out() {
    let server = serves("od -An -v -tx1", "workers = 1").start();
    let bytes: Vec<u8> = (0..=255).collect();
    let mut connection = server.client().connect();
    connection.send(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 256\r\n\r\n");
    connection.send(&bytes);
    let expected: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = connection.answer();
    let said: Vec<&str> = answer.body.split_whitespace().collect();
    assert_eq!(said, expected);
}

/// The next caller meets a process that is loaded already.
#[test]
fn a_process_is_started_before_its_call() {
    let script = "import os, sys, time\ntime.sleep(0.3)\n\
                  open(f'loaded-{os.getpid()}', 'w').close()\nprint(len(sys.stdin.read()))\n";
    let server = serves("python3 slow.py", "workers = 2").file("slow.py", script).start();
    let loaded = |server: &Server| {
        let names = std::fs::read_dir(server.dir()).expect("its directory is there");
        let name =
            |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        names.filter_map(name).filter(|name| name.starts_with("loaded-")).count()
    };
    server.wait_until("both wait", |s| s.metric("httpipe_workers{state=\"ready\"}") == 2.0);
    assert_eq!(loaded(&server), 2, "what waits has loaded");
    for call in 0..2 {
        let answer = server.answers("abc");
        assert_eq!(answer.body, "3\n");
        assert!(answer.is_within(Duration::from_millis(200)), "{answer:?}");
        server.wait_until("the next has loaded", |server| loaded(server) == 3 + call);
    }
}

/// A hundred callers do not get a hundred processes.
#[test]
fn no_more_processes_run_than_there_are_workers() {
    let script = "open(f'begin-{os.getpid()}', 'w').close()\n\
                  running = len([1 for name in os.listdir('.') if name.startswith('begin-')])\n\
                  time.sleep(0.05)\nos.remove(f'begin-{os.getpid()}')\nprint(running)";
    let server = python(script, "workers = 2\nqueue = { wait = \"30s\" }").start();
    let waiting: Vec<_> = (0..20).map(|_| server.client().post_later("/", "a")).collect();
    for caller in waiting {
        let answer = caller.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        let running: u32 = answer.body.trim().parse().expect("a number");
        assert!(running <= 2, "{running} ran at once");
    }
}

#[test]
fn another_exit_code_is_the_programs_error() {
    let script = "sys.stderr.write('Traceback\\nno such thing: ' + question)\n\
                  print('half an answer')\nsys.exit(3)";
    for (keys, detail) in [
        ("workers = 1", "exit code 3"),
        ("workers = 1\nerror = \"stderr\"\nerror_status = 409", "Traceback\nno such thing: x"),
    ] {
        let server = python(script, keys).start();
        for _ in 0..3 {
            let answer = server.answers("x");
            assert_eq!(answer.code(), "program_error", "{answer:?}");
            assert_eq!(answer.detail(), detail);
            assert_eq!(answer.status, if keys.contains("409") { 409 } else { 422 });
        }
        assert_eq!(server.metric("httpipe_worker_exits_total{reason=\"crash\"}"), 0.0);
    }
}

#[test]
fn a_process_that_a_signal_ends_has_no_answer() {
    let script = "print('half', flush=True)\n\
                  if question == 'die': os.kill(os.getpid(), signal.SIGKILL)";
    let server = python(script, "workers = 1").start();
    assert_eq!(server.answers("die").code(), "worker_lost");
    assert_eq!(server.answers("live").body, "half\n");
}

/// Its output before the question is a part of its answer, and it need not read all of it.
#[test]
fn all_that_it_writes_is_its_answer_and_it_may_leave_its_input_unread() {
    let server = serves("sh -c 'echo header; cat'", "workers = 1").start();
    for _ in 0..3 {
        assert_eq!(server.answers("body").body, "header\nbody");
    }
    let server = serves("head -c 3", "workers = 1\nmessage_max = \"8MiB\"").start();
    for _ in 0..3 {
        let answer = server.answers(&"abcdefgh".repeat(500_000));
        assert_eq!((answer.status, answer.body.as_str()), (200, "abc"));
    }
}

/// Such an answer was made before there was a question.
#[test]
fn what_ends_without_a_question_never_answers_one() {
    let server = serves("date", "workers = 1\nqueue = { wait = \"3s\" }").start_unready();
    for _ in 0..3 {
        assert_eq!(server.answers("when?").code(), "no_worker");
    }
}

/// It is looked at again before it gets a question, and its starts do not go on without pause.
#[test]
fn a_program_that_breaks_under_load_answers_nobody_and_is_not_started_again_and_again() {
    let script = "print(question)";
    let server = python(script, "workers = 2\nqueue = { wait = \"2s\" }").start();
    assert_eq!(server.answers("well").body, "well\n");
    server.write("reads.py", "print('broken')\n");
    let waiting: Vec<_> = (0..8).map(|_| server.client().post_later("/", "x")).collect();
    for caller in waiting {
        let answer = caller.answer();
        let is_well = answer.status == 200 && answer.body == "x\n";
        assert!(is_well || answer.status == 503, "a process from before, or none: {answer:?}");
    }
    let starts = server.metric("httpipe_worker_starts_total");
    assert!(starts < 40.0, "{starts} starts");
}

/// It can be seen that nothing of it was read: so it is not lost, though it may not run twice.
#[test]
fn a_question_that_nobody_has_read_goes_to_the_next_process() {
    let script = "import os, select, sys\n\
                  first = not os.path.exists('first')\n\
                  open('first', 'w').close()\n\
                  if first:\n    select.select([0], [], [])\n    sys.exit(0)\n\
                  print('read ' + sys.stdin.read())\n";
    let server = serves("python3 once.py", "workers = 1").file("once.py", script).start();
    assert_eq!(server.answers("it").body, "read it\n");
    server.wait_for_log("without reading its question");
}

#[test]
fn sixteen_mebibytes_go_in_and_come_out() {
    let server = serves("cat", "workers = 1\nmessage_max = \"17MiB\"").start();
    let question = "0123456789abcde\n".repeat(1 << 20);
    for _ in 0..2 {
        let answer = server.answers(&question);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.body == question, "{} bytes", answer.body.len());
    }
}

#[test]
fn an_answer_above_the_limit_is_refused() {
    let script = "print(('x' * 1000 + '\\n') * (100 if question == 'much' else 1))";
    let server = python(script, "workers = 1\nmessage_max = \"10KiB\"").start();
    assert_eq!(server.answers("much").code(), "bad_answer");
    assert_eq!(server.answers("little").status, 200);
}

/// All callers wait, so processes are not looked at before they get their question.
#[test]
fn what_a_process_says_when_it_is_ready_is_no_part_of_an_answer() {
    let keys = "workers = 1\nready = \"loaded\"\nqueue = { wait = \"30s\" }";
    let server = serves("sh -c 'echo loaded; cat'", keys).start();
    let waiting: Vec<_> = (0..8).map(|_| server.client().post_later("/", "a")).collect();
    for caller in waiting {
        assert_eq!(caller.answer().body, "a");
    }
}

#[test]
fn an_answer_may_be_as_long_as_the_limit() {
    let script = "print('x' * int(question), end='')";
    let server = python(script, "workers = 1\nmessage_max = \"1KiB\"").start();
    assert_eq!(server.answers("1024").status, 200);
    assert_eq!(server.answers("1025").code(), "bad_answer");
}

#[test]
fn a_process_that_ends_while_it_waits_is_replaced() {
    let script = "mkdir first 2>/dev/null && exec timeout 0.3 cat\nexec cat";
    let server = serves("sh once.sh", "workers = 1").file("once.sh", script).start();
    server.wait_for_count("httpipe_worker_exits_total{reason=\"crash\"}", 1.0);
    assert_eq!(server.answers("a").body, "a");
}

#[test]
fn a_process_that_never_ends_is_stopped_and_its_caller_told() {
    let script = "print('begun', flush=True)\n\
                  if question == 'hang': time.sleep(1000)";
    let server = python(script, "workers = 1\ntimeout = \"400ms\"\nstop_grace = \"100ms\"").start();
    assert_eq!(server.answers("hang").code(), "timeout");
    server.wait_until("it was stopped", |server| {
        server.metric("httpipe_worker_exits_total{reason=\"timeout\"}") == 1.0
    });
    assert_eq!(server.answers("end").body, "begun\n");
    // One that closes its output and stays is not done either.
    let script = "print('begun', flush=True)\nos.close(1)\n\
                  if question == 'hang': time.sleep(1000)";
    let server = python(script, "workers = 1\ntimeout = \"400ms\"\nstop_grace = \"100ms\"").start();
    assert_eq!(server.answers("hang").code(), "timeout");
}

#[test]
fn callers_that_leave_take_nothing_from_others() {
    let script = "time.sleep(0.1)\nprint(question)";
    let server = python(script, "workers = 2").start();
    for round in 0..10 {
        server.client().post_later("/", "leaves").leave();
        let question = format!("stays {round}");
        assert_eq!(server.answers(&question).body, format!("{question}\n"));
    }
}

#[test]
fn many_callers_get_their_own_answers() {
    let server = serves("cat", "workers = 2").start();
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.client().connect();
                for call in 0..40 {
                    let question = format!("{caller}-{call}");
                    assert_eq!(connection.post("/", &question).body, question);
                }
            });
        }
    });
    assert_eq!(server.metric("httpipe_worker_exits_total{reason=\"crash\"}"), 0.0);
}

#[test]
fn a_pattern_fits_the_answer_without_its_last_line_end() {
    let server = serves("wc -w", "workers = 1\nreply = \"{words:int}\"").start();
    let answer = server.answers("one two\n");
    assert_eq!(answer.json()["words"], 2, "{answer:?}");
}

#[test]
fn pandoc_makes_html() {
    if shell("pandoc --version").0 != 0 {
        return skipped("pandoc is not installed", "`apt-get install pandoc` does it");
    }
    let server = serves("pandoc -f markdown -t html", "workers = 2").start();
    for number in 0..3 {
        let answer = server.answers(&format!("# Title {number}\n\n*text*\n"));
        assert!(answer.body.contains("<em>text</em>"), "{answer:?}");
        assert!(answer.body.contains(&format!("Title {number}</h1>")), "{answer:?}");
    }
}
