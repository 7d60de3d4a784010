//! `httpipe tap --record`: what is known of a worker that was lost, as lines for a person.

use std::process::ExitCode;
use std::time::Duration;

use super::text;
use crate::cli::cells::{clean, long_time, memory, sign_of, time};
use crate::cli::client::{Remote, RemoteError};
use crate::cli::say;
use crate::config::flags::TapArguments;
use crate::report::{InsideCall, WorkerRecord};

/// The server has it in memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows the record of a worker.
pub(super) fn run(remote: &Remote, worker: u64, arguments: &TapArguments) -> ExitCode {
    match lines(remote, worker, arguments) {
        Ok(lines) => {
            say(&lines);
            ExitCode::SUCCESS
        }
        Err(error) => error.tell(),
    }
}

fn lines(remote: &Remote, worker: u64, how: &TapArguments) -> Result<String, RemoteError> {
    let reply = remote.get(&format!("/records/{worker}"), PATIENCE)?;
    let body = remote.text(reply)?;
    if how.json {
        return Ok(body);
    }
    let record: WorkerRecord = serde_json::from_str(&body)
        .map_err(|error| remote.strange(&format!("what it sends is no record: {error}")))?;
    Ok(shown(&record, how.raw))
}

/// Writes a record. `is_raw`: contents as they are, whatever a terminal makes of them.
fn shown(record: &WorkerRecord, is_raw: bool) -> String {
    let mut lines = vec![
        format!(
            "worker {} of {}: {}, {}",
            record.worker,
            clean(&record.pool),
            clean(&record.reason),
            signs(&record.exit)
        ),
        format!(
            "{}gone at {} UTC, after {} and {} calls; {} of CPU, {}",
            record.pid.map(|pid| format!("process {pid}, ")).unwrap_or_default(),
            text::clock(record.at),
            long_time(record.age),
            record.calls,
            time(record.cpu.as_secs_f64()),
            memory_of(record),
        ),
    ];
    if !record.why.is_empty() {
        lines.push(format!("stopped: {}", signs(&record.why)));
    }
    lines.push(String::new());
    lines.extend(inside(record));
    if !record.stderr.is_empty() {
        lines.extend([String::new(), "its last lines on stderr:".to_owned()]);
        lines.extend(record.stderr.iter().map(|line| format!("  {}", signs(line))));
    }
    lines.push(String::new());
    match &record.exchanges {
        None => lines.push(
            "no contents: `record = 5` in the pool keeps the last 5 exchanges with each worker"
                .to_owned(),
        ),
        Some(events) if events.is_empty() => {
            lines.push("nothing went through its pipes".to_owned());
        }
        Some(events) => {
            lines.push("the last exchanges:".to_owned());
            lines.extend(events.iter().map(|event| text::line(event, is_raw)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn memory_of(record: &WorkerRecord) -> String {
    match (record.memory, record.memory_peak) {
        (Some(now), Some(most)) => {
            format!("{} of memory, at most {}", memory(Some(now)), memory(Some(most)))
        }
        (Some(now), None) => format!("{} of memory", memory(Some(now))),
        (None, Some(most)) => format!("at most {} of memory", memory(Some(most))),
        (None, None) => "memory unknown".to_owned(),
    }
}

/// Says what was in the worker, and what it had not read or had half said.
fn inside(record: &WorkerRecord) -> Vec<String> {
    let mut lines = vec![];
    if record.inside.is_empty() {
        lines.push("it held no call".to_owned());
    } else {
        lines.push("it held these calls:".to_owned());
        lines.extend(record.inside.iter().map(call));
    }
    if record.inside_more > 0 {
        lines.push(format!("  and {} more", record.inside_more));
    }
    if record.given_up > 0 {
        lines.push(format!("it owed {} answers to calls that had been given up", record.given_up));
    }
    if record.unread_bytes > 0 {
        lines.push(format!("it had not read {} B of questions", record.unread_bytes));
    }
    if record.half_said_bytes > 0 {
        lines
            .push(format!("it had written {} B that are no whole message", record.half_said_bytes));
    }
    lines
}

fn call(call: &InsideCall) -> String {
    let mut notes = vec![format!("{} B", call.bytes)];
    notes.extend((call.retries > 0).then(|| format!("had cost {} workers before", call.retries)));
    notes.extend(call.unread.then(|| "not read".to_owned()));
    notes.extend(call.abandoned.then(|| "its caller had left".to_owned()));
    notes.extend(call.question.as_ref().map(|question| format!("question {}", clean(question))));
    format!(
        "  {} {} for {}, {}",
        clean(&call.call),
        clean(&call.route),
        time(call.since.as_secs_f64()),
        notes.join(", ")
    )
}

/// Shows controls by their signs.
fn signs(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match sign_of(c) {
            Some(sign) => shown.push_str(&sign),
            None => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_record_reads_from_the_end_of_the_worker_to_what_was_said() {
        insta::assert_snapshot!(shown(&fixture::record(), false), @r"
        worker 5 of spell: crash, signal 11
        process 42, gone at 14:13:20.250 UTC, after 1m 1s and 7 calls; 1.5s of CPU, at most 11M of memory

        it held these calls:
          5a01c7 POST /spell for 1.8s, 9 B, question 00000000000000ff
        it had written 3 B that are no whole message

        its last lines on stderr:
          Segmentation fault

        the last exchanges:
        14:13:19.500 w5    → 5a01c7                      helo wrld␊
        ");
    }

    #[test]
    fn nothing_in_a_record_moves_the_terminal_unless_contents_are_wanted_raw() {
        let mut record = fixture::record();
        let nasty = "\x1b[2J\u{202e}";
        record.why = nasty.to_owned();
        record.stderr = vec![nasty.to_owned()];
        record.inside[0].route = nasty.to_owned();
        let text = &mut record.exchanges.as_mut().expect("contents")[0].text;
        *text = nasty.to_owned();
        let lines = shown(&record, false);
        assert!(!lines.contains(['\x1b', '\u{202e}']), "{lines:?}");
        assert_eq!(shown(&record, true).matches('\x1b').count(), 1);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let record = WorkerRecord {
            memory_peak: None,
            inside: vec![],
            half_said_bytes: 0,
            stderr: vec![],
            exchanges: None,
            ..fixture::record()
        };
        let lines = shown(&record, false);
        for part in ["it held no call", "no contents: `record = 5`", "memory unknown"] {
            assert!(lines.contains(part), "{part}: {lines}");
        }
        let empty = WorkerRecord { exchanges: Some(vec![]), ..record };
        assert!(shown(&empty, false).contains("nothing went through"));
    }
}
