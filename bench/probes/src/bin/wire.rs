//! The wire alone: one parent, one child, lines there and back, no HTTP.
//!
//! `wire pipe|socket IN_FLIGHT SECONDS PROGRAM [ARGUMENT...]` keeps `IN_FLIGHT` questions in the
//! child and prints one JSON object: messages, seconds, p50 and p99 of the round trip in
//! microseconds, and the child's CPU time per message. `socket` uses a pair of sockets instead of
//! two pipes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().unwrap_or_else(|| panic!("{what} is missing"));
    let is_socket = next("pipe|socket") == "socket";
    let in_flight: usize = next("IN_FLIGHT").parse().expect("a number");
    let seconds: f64 = next("SECONDS").parse().expect("a number");
    let mut command = Command::new(next("PROGRAM"));
    command.args(arguments);
    if is_socket {
        let (mut child, mut questions, mut answers) = over_sockets(command)?;
        measure(&mut child, in_flight, seconds, &mut questions, &mut answers)?;
        questions.shutdown(std::net::Shutdown::Write)?;
        child.wait()?;
    } else {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut questions = child.stdin.take().expect("it is a pipe");
        let mut answers = child.stdout.take().expect("it is a pipe");
        measure(&mut child, in_flight, seconds, &mut questions, &mut answers)?;
        drop(questions);
        child.wait()?;
    }
    Ok(())
}

/// One pair for both ways, as a server would give its child.
fn over_sockets(mut command: Command) -> std::io::Result<(Child, UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    command.stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)));
    command.stdout(Stdio::from(OwnedFd::from(theirs)));
    // The command keeps the child's ends until it is dropped, here.
    let child = command.spawn()?;
    Ok((child, ours.try_clone()?, ours))
}

fn measure(
    child: &mut Child,
    in_flight: usize,
    seconds: f64,
    questions: &mut impl Write,
    answers: &mut impl Read,
) -> std::io::Result<()> {
    run(in_flight, Duration::from_millis(200), questions, answers)?;
    let before = cpu_nanoseconds(child.id());
    let (mut trips, took) = run(in_flight, Duration::from_secs_f64(seconds), questions, answers)?;
    let cost = cpu_nanoseconds(child.id()) - before;

    trips.sort_unstable();
    let at = |share: f64| f64::from(trips[((trips.len() - 1) as f64 * share) as usize]) / 1000.0;
    println!(
        r#"{{"messages": {}, "seconds": {:.4}, "p50_us": {:.2}, "p99_us": {:.2}, "child_cpu_us": {:.3}}}"#,
        trips.len(),
        took.as_secs_f64(),
        at(0.5),
        at(0.99),
        cost as f64 / 1000.0 / trips.len() as f64,
    );
    Ok(())
}

/// How long the first thread of a process was on a CPU: the first number of its `schedstat`.
fn cpu_nanoseconds(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Asks for this long, then reads the remaining answers. Returns the round trips in nanoseconds.
fn run(
    in_flight: usize,
    duration: Duration,
    questions: &mut impl Write,
    answers: &mut impl Read,
) -> std::io::Result<(Vec<u32>, Duration)> {
    let start = Instant::now();
    let (mut trips, mut asked) = (Vec::with_capacity(1 << 22), VecDeque::new());
    let (mut number, mut out, mut read) = (0_u32, Vec::new(), vec![0; 1 << 16]);
    let mut ask = |count: usize, asked: &mut VecDeque<Instant>| {
        out.clear();
        for _ in 0..count {
            number = number % 9999 + 1;
            writeln!(out, "{number}")?;
            asked.push_back(Instant::now());
        }
        questions.write_all(&out)
    };
    ask(in_flight, &mut asked)?;
    while !asked.is_empty() {
        let length = answers.read(&mut read)?;
        assert!(length > 0, "the child ended");
        let now = Instant::now();
        let came = read[..length].iter().filter(|byte| **byte == b'\n').count();
        for _ in 0..came {
            let since = asked.pop_front().expect("one answer a question");
            let trip = now.duration_since(since).as_nanos();
            trips.push(u32::try_from(trip).unwrap_or(u32::MAX));
        }
        if start.elapsed() < duration {
            ask(came, &mut asked)?;
        }
    }
    Ok((trips, start.elapsed()))
}
