//! The wire alone: one parent, one child, lines through two pipes, no HTTP.
//!
//! `wire IN_FLIGHT SECONDS PROGRAM [ARGUMENT...]` keeps so many questions in the child and
//! prints one JSON object: messages, seconds, and the round trip's p50 and p99 in microseconds.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().unwrap_or_else(|| panic!("{what} is missing"));
    let in_flight: usize = next("IN_FLIGHT").parse().expect("a number");
    let seconds: f64 = next("SECONDS").parse().expect("a number");
    let program = next("PROGRAM");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut questions = child.stdin.take().expect("it is a pipe");
    let mut answers = child.stdout.take().expect("it is a pipe");

    let warm_up = Duration::from_millis(200);
    run(in_flight, warm_up, &mut questions, &mut answers)?;
    let duration = Duration::from_secs_f64(seconds);
    let (mut trips, took) = run(in_flight, duration, &mut questions, &mut answers)?;
    drop(questions);
    child.wait()?;

    trips.sort_unstable();
    let at = |share: f64| f64::from(trips[((trips.len() - 1) as f64 * share) as usize]) / 1000.0;
    println!(
        r#"{{"messages": {}, "seconds": {:.4}, "p50_us": {:.2}, "p99_us": {:.2}}}"#,
        trips.len(),
        took.as_secs_f64(),
        at(0.5),
        at(0.99),
    );
    Ok(())
}

/// Asks for so long, then takes the answers that are still to come. Round trips in nanoseconds.
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
