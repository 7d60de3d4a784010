//! Functions that cannot be served: nothing listens, and the message says where and what to do.

use crate::support::Server;

/// Returns what a server of this file says, which must not start.
fn refused(options: &[&str], text: &str) -> String {
    let plan = Server::args(options).file("calculate.py", text);
    let ended = plan.refused();
    assert_eq!(ended.code, 2, "{ended:?}");
    ended.stderr
}

#[test]
fn what_cannot_be_imported_or_typed_is_told_with_its_line() {
    for (text, told) in [
        ("x = 1\nimport numpie\ndef fib(): pass\n", "calculate.py:2: import numpie"),
        ("x = 1\nimport numpie\ndef fib(): pass\n", "install `numpie` for "),
        ("def fib(\n", "calculate.py:1: def fib("),
        ("def fib(): pass\nboom = 1 // 0\n", "calculate.py:2: boom = 1 // 0"),
        ("import socket\ndef fib(s: socket.socket): pass\n", "fib(s)"),
        ("def fib(*numbers): pass\n", "*numbers"),
        ("def fob(): pass\n", "`calculate.py` has no `fib`"),
        ("import os\nos._exit(7)\n", "ended with exit code 7"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "ended with signal 11"),
        ("import sys\nsys.exit('not today')\n", "not today"),
    ] {
        let said = refused(&["calculate.py:fib"], text);
        assert!(said.contains(told), "{told}: {said}");
        assert!(said.contains("nothing was started"), "{said}");
    }
}

#[test]
fn an_import_that_hangs_is_given_up() {
    let options = ["calculate.py:fib", "--start-timeout", "6s"];
    let said = refused(&options, "import time\nprint('soon')\ntime.sleep(600)\n");
    assert!(said.contains("within 6s (`start_timeout`)"), "{said}");
    assert!(said.contains("soon"), "{said}");
}

#[test]
fn a_target_that_names_nothing_is_refused() {
    for (target, told) in [
        ("nowhere.py:fib", "there is no file"),
        ("calculate.py:", "write one name or several after the colon"),
        ("calculate.py:fib-1", "write one name or several after the colon"),
        ("no.such.module:fib", "No module named"),
    ] {
        let said = refused(&[target], "def fib(): pass\n");
        assert!(said.contains(told), "{target}: {said}");
    }
}

#[test]
fn a_python_that_is_not_there_is_told_with_what_was_tried() {
    let options = ["calculate.py:fib", "--interpreter", ".venv/bin/python"];
    let said = refused(&options, "def fib(): pass\n");
    assert!(said.contains(".venv/bin/python`: No such file"), "{said}");
    let none = Server::args(&["calculate.py:fib"]).file("calculate.py", "").env("PATH", "/nowhere");
    let ended = none.env("VIRTUAL_ENV", "/no/venv").refused();
    assert_eq!(ended.code, 2);
    for tried in ["/no/venv/bin/python", ".venv/bin/python", "/nowhere"] {
        assert!(ended.stderr.contains(tried), "{tried}: {}", ended.stderr);
    }
}

#[test]
fn a_program_that_is_no_python_is_told_as_such() {
    let said = refused(&["calculate.py:fib", "--interpreter", "cat"], "def fib(): pass\n");
    assert!(said.contains("before it said what it serves"), "{said}");
}
