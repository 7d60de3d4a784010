//! What a program gets from the process that starts it: what the server was started with, and not
//! what the server has changed for itself.

use crate::support::{Server, shell};

#[test]
fn a_worker_has_the_limit_of_open_files_that_the_server_was_started_with() {
    let server = Server::with("workers = 1")
        .worker("sh -c 'ulimit -Sn; ulimit -Hn; exec cat'")
        .under("prlimit --nofile=700:4000")
        .start();
    let pid = server.workers()[0];
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let words: Vec<&str> = files.split_whitespace().collect();
    assert_eq!(words[3..5], ["700", "4000"], "{files}");
}

/// The log goes to a file that has reached its size limit.
#[test]
fn a_full_log_file_does_not_end_the_server() {
    let server = Server::with("workers = 1")
        .top("listen = \"unix:callers\"\nadmin = \"unix:operators\"")
        .under("prlimit --fsize=20000 sh -c 'exec \"$@\" 2>log' sh")
        .start_mute("unix:callers", "unix:operators");
    server.wait_until("it listens", |s| !s.client().is_refused() && !s.admin().is_refused());
    server.wait_until_ready();
    for number in 0..400 {
        assert_eq!(server.answers(&format!("q{number}")).status, 200);
    }
    server.wait_until("what was lost is counted", |s| s.metric("httpipe_log_dropped_total") > 0.0);
    let (_, ignored) = shell(&format!("grep SigIgn /proc/{}/status", server.workers()[0]));
    let mask = u64::from_str_radix(ignored.split_whitespace().nth(1).unwrap_or_default(), 16);
    let file_size = 1 << (25 - 1);
    assert_eq!(mask.map(|mask| mask & file_size), Ok(0), "the worker has the default: {ignored}");
}
