//! The diagnosis of records that real programs produce rarely, or only after a long time.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::base::ByteRegex;
use crate::base::pattern::Pattern;
use crate::cli::check::advice::pattern_for;
use crate::cli::check::examination::RemedyResults;
use crate::cli::check::finding::Weight;
use crate::cli::check::record::{Exchange, RecordedBanner, Stall, TrialPhase};
use crate::config::pool::Probe;
use crate::config::{Matching, ReplyShape};
use crate::worker::look::Look;
use crate::worker::process::Exit;

fn settings() -> PoolSettings {
    let mut settings = PoolSettings::for_tests();
    settings.program.launch.arguments = vec!["-".to_owned()];
    settings.program.start.probe = Some(Probe { send: "1".to_owned(), reply: None });
    settings
}

fn record(end: TrialEnd) -> Record {
    Record {
        start: Duration::from_millis(40),
        is_started: true,
        doubt: None,
        banner: RecordedBanner::default(),
        exchanges: vec![],
        end,
        output_at_end: vec![],
        stderr: vec![],
    }
}

fn answered(answer: &str) -> Record {
    let text = Bytes::copy_from_slice(answer.as_bytes());
    let exchange = Exchange {
        phase: TrialPhase::Probe,
        question: Bytes::from_static(b"1"),
        answer: Some(text),
        proven: false,
        took: Duration::from_micros(300),
        output: format!("{answer}\n").into_bytes(),
        extra: vec![],
        unasked: vec![],
    };
    Record { exchanges: vec![exchange], ..record(TrialEnd::Passed) }
}

fn stall() -> Stall {
    Stall {
        phase: TrialPhase::Probe,
        question: Bytes::from_static(b"1"),
        waited: Duration::from_secs(30),
        unread: 0,
        waits: false,
        recent_cpu: Duration::ZERO,
        runs: false,
        output: vec![],
        output_at_end: vec![],
    }
}

fn findings(settings: &PoolSettings, record: Record, remedies: RemedyResults) -> Vec<Finding> {
    let place = CommandPlace { command: Some("httpipe.toml:3".to_owned()) };
    let examination = Examination { record, other: None, remedies };
    let diagnosis =
        Diagnosis { settings, place: &place, examination: &examination, why_not_asked: None };
    diagnosis.findings()
}

fn only(settings: &PoolSettings, record: Record) -> Finding {
    let mut findings = findings(settings, record, RemedyResults::default());
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[test]
fn a_worker_that_ends_is_shown_with_command_end_and_last_words() {
    let end = TrialEnd::Ended {
        exit: Exit::Code(1),
        after: Duration::from_millis(41),
        phase: TrialPhase::Start,
        question: Bytes::new(),
    };
    let words =
        ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'numpy'"];
    let record = Record { stderr: words.map(str::to_owned).to_vec(), ..record(end) };
    insta::assert_snapshot!(only(&settings(), record).shown(), @r"
    error: no worker of pool `it` became ready
      command   cat -  (httpipe.toml:3)
      ended     exit code 1 after 41ms
      stderr    Traceback (most recent call last):
                ModuleNotFoundError: No module named 'numpy'

    hint: install `numpy` for this Python, or name a Python in `command` that has it
    ");
}

#[test]
fn idling_computing_and_not_reading_are_told_apart() {
    let hint = |stall: Stall| {
        only(&settings(), record(TrialEnd::Stalled(stall))).hint.expect("there is always one")
    };
    assert!(hint(stall()).contains("hold its output back"));
    let at_end = Stall { output_at_end: b"1\n".to_vec(), ..stall() };
    assert!(hint(at_end).contains("only when its input ends"));
    let busy = Duration::from_millis(900);
    assert!(hint(Stall { recent_cpu: busy, ..stall() }).contains("`start_timeout` (30s)"));
    assert!(hint(Stall { runs: true, ..stall() }).contains("`start_timeout` (30s)"), "starved");
    assert!(hint(Stall { unread: 2, ..stall() }).contains("read its questions"));
    // CPU time that it used before it went back to its input does not count.
    let was_busy = Stall { recent_cpu: busy, waits: true, ..stall() };
    assert!(hint(was_busy).contains("hold its output back"));
}

#[test]
fn a_banner_that_does_not_match_is_told_once() {
    let mut settings = settings();
    settings.program.start.ready = Some(ByteRegex::new("Welcome").expect("a pattern"));
    let stall = Stall { phase: TrialPhase::Start, output: b"Hi 3\n".to_vec(), ..stall() };
    let mut record = record(TrialEnd::Stalled(stall));
    record.is_started = false;
    record.banner.bytes = b"Hi 3\n".to_vec();
    let finding = only(&settings, record);
    assert_eq!(finding.hint.as_deref(), Some("write `ready = \"Hi [0-9]+\"` in `[pool.it]`"));
}

#[test]
fn a_ready_that_matches_too_early_is_an_error() {
    let mut settings = settings();
    settings.program.start.ready = Some(ByteRegex::new("Hi").expect("a pattern"));
    let mut record = answered("1");
    record.banner = RecordedBanner { bytes: b"Hi\nthere\n".to_vec(), taken: Some(3) };
    let finding = only(&settings, record);
    assert!(finding.message.contains("more than `ready` removes"), "{finding:?}");
    assert!(finding.hint.is_some_and(|hint| hint.contains("ready = \"there\"")));
}

#[test]
fn a_banner_that_comes_with_the_first_answer_is_told_from_long_answers() {
    let hint = |again: &[u8]| {
        let mut record = answered("Calc 1");
        record.exchanges[0].output = b"Calc 1\n2\n".to_vec();
        record.exchanges[0].extra = b"2\n".to_vec();
        let mut next = record.exchanges[0].clone();
        next.output = again.to_vec();
        let first = again.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        next.extra = again[first..].to_vec();
        next.answer = Some(Bytes::copy_from_slice(&again[..first]));
        record.exchanges.push(next);
        only(&settings(), record).hint.expect("there is always one")
    };
    assert!(hint(b"2\n").contains("a banner that comes late"));
    assert!(hint(b"a\nb\nc\n").contains("lines:3"));
}

#[test]
fn notifications_of_json_rpc_are_no_banner() {
    let mut settings = settings();
    settings.program.wire.matching = Matching::JsonId;
    let mut record = answered(r#"{"id":1,"result":1}"#);
    record.banner.bytes = b"{\"method\":\"log\"}\n".to_vec();
    assert_eq!(findings(&settings, record, RemedyResults::default()), []);
    let mut record = answered(r#"{"id":1,"result":1}"#);
    record.banner.bytes = b"Starting\n".to_vec();
    assert_eq!(only(&settings, record).weight, Weight::Note, "it is dropped");
}

#[test]
fn a_probe_with_its_own_answer_may_have_another_shape() {
    let mut settings = settings();
    settings.program.wire.reply =
        ReplyShape::Pattern(Pattern::parse("{input}|{n}").expect("a pattern"));
    assert_eq!(only(&settings, answered("readyok")).weight, Weight::Error);
    settings.program.start.probe =
        Some(Probe { send: "1".to_owned(), reply: Some("readyok".to_owned()) });
    assert_eq!(only(&settings, answered("readyok")).weight, Weight::Warning);
    assert_eq!(only(&settings, answered("other")).weight, Weight::Error);
}

#[test]
fn a_program_that_is_not_seen_to_wait_is_warned_of_unless_its_answers_prove_their_call() {
    let mut settings = settings();
    let unseen = |look| Record { doubt: Some(look), ..answered("1") };
    let none = RemedyResults::default;
    assert_eq!(findings(&settings, answered("1"), none()), []);
    let beside = Look::MayWait { reads: true, runs: false };
    let finding = only(&settings, unseen(beside));
    assert_eq!(finding.weight, Weight::Warning);
    assert!(finding.shown().contains("goes on by itself"), "{finding:?}");
    assert!(only(&settings, unseen(Look::Hidden)).shown().contains("the kernel does not show"));
    settings.program.wire.matching = Matching::Tag;
    assert_eq!(findings(&settings, unseen(Look::Hidden), none()), []);
}

#[test]
fn names_and_patterns_are_quoted_where_they_must_be() {
    assert_eq!(toml_key("fib-2"), "fib-2");
    assert_eq!(toml_key("a.b"), "\"a.b\"");
    assert_eq!(pattern_for(b"1", b"1|2").as_deref(), Some("{input}|{result}"));
    assert_eq!(pattern_for(b"1", b"one"), None);
}
