//! Tests of the pipes of a worker, with real pipes and no worker behind them.

use std::future::poll_fn;

use super::fixture::{PlayedProgram, flush};
use super::*;
use crate::config::{Matching, PoolSettings};

/// The pipes of a worker whose answers prove their questions, and its program.
fn pipes() -> (Pipes, PlayedProgram) {
    let mut wire = PoolSettings::for_tests().program.wire;
    wire.matching = Matching::JsonId;
    wire.takes_turns = false;
    (wire.message_max, wire.written_max) = (4 << 20, 4 << 20);
    PlayedProgram::with_pipes(&wire)
}

fn ask(pipes: &mut Pipes, call: u64, text: &str) -> usize {
    let question = Question::plain(text.to_owned());
    pipes.ask(CallId(call), &question).expect("it can be sent");
    text.len()
}

/// Reads exactly this many bytes as the worker does.
fn read(program: &PlayedProgram, count: usize) {
    let mut bytes = vec![0; count];
    assert_eq!(rustix::io::read(&program.stdin, &mut bytes), Ok(count));
}

#[tokio::test]
async fn how_much_of_a_question_was_not_read_is_known_for_each() {
    let (mut pipes, program) = pipes();
    let first = ask(&mut pipes, 1, "{\"id\":1,\"method\":\"first\"}");
    assert_eq!(pipes.unread_of(CallId(1), first), first as u64, "it is not written yet");
    let second = ask(&mut pipes, 2, "{\"id\":2,\"method\":\"second\"}");
    flush(&mut pipes).await;
    assert_eq!(pipes.unread_of(CallId(1), first), first as u64);
    read(&program, 10);
    assert_eq!(pipes.unread_of(CallId(1), first), first as u64 - 10);
    let both = usize::try_from(pipes.asked).expect("few");
    read(&program, both - 10 - second);
    assert_eq!(pipes.unread_of(CallId(1), first), 0);
    assert!(pipes.unread_of(CallId(2), second) > 0);
    read(&program, second);
    assert_eq!(pipes.unread_of(CallId(2), second), 0);
    assert_eq!(pipes.unread_of(CallId(3), 9), 0, "nobody asked it");
}

#[tokio::test]
async fn what_was_written_and_not_read_is_seen_and_a_part_of_a_message_too() {
    let (mut pipes, program) = pipes();
    ask(&mut pipes, 1, "{\"id\":1,\"method\":\"a\"}");
    assert!(!pipes.has_output() && !pipes.has_part());
    program.writes("{\"id\"");
    assert!(pipes.has_output());
    let count = poll_fn(|context| pipes.poll_read(context)).await.expect("open");
    pipes.hear(&mut Vec::new()).expect("in step");
    assert!(!pipes.has_output() && pipes.has_part());
    assert_eq!(pipes.bytes_read(), count as u64);
}

#[tokio::test]
async fn what_certainly_was_not_read_is_counted_from_the_newest() {
    let (mut pipes, program) = pipes();
    let first = ask(&mut pipes, 1, "{\"id\":1,\"method\":\"a\"}");
    assert_eq!((pipes.unwritten(), pipes.unread()), (1, 1));
    ask(&mut pipes, 2, "{\"id\":2,\"method\":\"b\"}");
    assert_eq!(pipes.unwritten(), 2);
    flush(&mut pipes).await;
    assert_eq!((pipes.unwritten(), pipes.unread()), (0, 0), "it may be read at any time");
    read(&program, first);
    drop(program.stdin);
    // A child that another test just made may still have a copy.
    while !pipes.is_stdin_closed() {
        std::thread::yield_now();
    }
    assert_eq!(pipes.unread(), 1, "it has read of the first");
}

#[tokio::test]
async fn a_call_that_is_over_is_not_counted_among_the_unread() {
    let (mut pipes, program) = pipes();
    for call in 1..=4 {
        ask(&mut pipes, call, "{\"id\":1,\"method\":\"a\"}");
    }
    assert!(pipes.cancel(CallId(1), |_| Bytes::from_static(b"{\"method\":\"cancel\"}")));
    pipes.give_up(CallId(2), None);
    assert_eq!(pipes.unwritten(), 2);
    let answered = pipes.asked;
    flush(&mut pipes).await;
    assert!(!program.reads().is_empty());
    pipes.correlator.take_back(&CallId(3));
    ask(&mut pipes, 5, "{\"id\":1,\"method\":\"a\"}");
    let begins: Vec<_> = pipes.begins.iter().copied().collect();
    assert_eq!(begins.last(), Some(&(CallId(5), answered)));
    assert_eq!(begins.len(), pipes.correlator.len(), "no more than there are calls");
}

#[tokio::test]
async fn all_that_is_left_is_read_in_one_go() {
    let (mut pipes, program) = pipes();
    program.writes(&"x".repeat(3 * READ_ROOM_LEAST));
    assert_eq!(pipes.read_rest(), 3 * READ_ROOM_LEAST);
    assert_eq!(pipes.read_rest(), 0);
}

#[tokio::test]
async fn the_half_message_of_one_turn_leaves_no_mark_on_the_next() {
    let (mut pipes, program) = pipes();
    program.writes("half a message");
    pipes.read_rest();
    assert_eq!(pipes.cut(), Ok(None));
    assert_eq!(pipes.take_rest(), "half a message");
    program.writes("a\nb\n");
    pipes.read_rest();
    assert_eq!(pipes.cut(), Ok(Some("a".into())));
    assert_eq!(pipes.cut(), Ok(Some("b".into())));
}

#[tokio::test]
async fn a_question_is_read_once_all_of_it_is_written_and_taken() {
    let (mut pipes, program) = pipes();
    let text = format!("{{\"id\":1,\"method\":\"{}\"}}", "x".repeat(100_000));
    ask(&mut pipes, 1, &text);
    while poll_fn(|context| Poll::Ready(pipes.poll_flush(context))).await.is_pending() {
        while !program.reads().is_empty() {}
        assert!(!pipes.is_read(), "the rest of it is not written");
        tokio::task::yield_now().await;
    }
    assert!(!pipes.is_read(), "the rest of it is not read");
    while !program.reads().is_empty() {}
    assert!(pipes.is_read());
}

#[tokio::test]
async fn a_worker_that_does_not_read_is_told_nothing_more() {
    let (mut pipes, _program) = pipes();
    for call in 1..=3 {
        let text = "x".repeat(BACKLOG_MOST / 2);
        ask(&mut pipes, call, &format!("{{\"id\":{call},\"method\":\"{text}\"}}"));
    }
    let before = pipes.outgoing.len();
    let told = Question::plain("{\"method\":\"news\"}".to_owned());
    assert_eq!(pipes.tell(&told), Ok(false));
    assert!(!pipes.cancel(CallId(1), |_| Bytes::from_static(b"{\"method\":\"cancel\"}")));
    assert_eq!(pipes.outgoing.len(), before);
    assert_eq!(pipes.begins.len(), 3, "a call that is not cancelled stays");
}

#[tokio::test]
async fn what_the_kernel_takes_at_once_is_out_without_a_task() {
    let (mut pipes, program) = pipes();
    ask(&mut pipes, 1, "{\"id\":1,\"method\":\"a\"}");
    flush(&mut pipes).await;
    program.reads();
    ask(&mut pipes, 2, "{\"id\":2,\"method\":\"b\"}");
    assert!(pipes.send_now());
    assert!(pipes.is_flushed() && program.reads().ends_with(b"\"b\"}\n"));
    let long = "x".repeat(2 << 20);
    ask(&mut pipes, 3, &format!("{{\"id\":3,\"method\":\"{long}\"}}"));
    assert!(!pipes.send_now(), "a task must write the rest");
    assert!(!pipes.is_flushed() && !program.reads().is_empty());
}
