//! The diagnosis: what the record of a trial means, and what to change.
//!
//! Pure.

use bytes::BytesMut;

use super::advice::{ending, missing_part, named, pattern_for, said_as, shown, toml_key};
use super::finding::{Finding, escaped, row, time};
use super::framings::{fitting, quoted, ready_for};
use super::record::{Exchange, Record, Stage, Stall, TrialEnd};
use super::remedy::{Remedy, command, shell_word};
use crate::base::units::show_duration;
use crate::config::{Matching, PoolSettings, ReplyShape};
use crate::wire::{Correlator, Decoder, Judge, Received, Verdict};
use crate::worker::process::Exit;

/// Where the `command` of a pool is configured.
#[derive(Clone, Debug, Default)]
pub(super) struct CommandPlace {
    /// A file and line, `httpipe.toml:3`; `None`: the program is named on the command line.
    pub(super) command: Option<String>,
}

/// The remedies that were tried against output that is held back.
#[derive(Debug, Default)]
pub(super) struct RemedyResults {
    /// The remedy that helped.
    pub(super) worked: Option<Remedy>,
    /// The names of those that did not.
    pub(super) failed: Vec<String>,
}

/// A pool and the record of one of its workers.
#[derive(Debug)]
pub(super) struct Diagnosis<'a> {
    pub(super) settings: &'a PoolSettings,
    pub(super) place: &'a CommandPlace,
    pub(super) record: &'a Record,
    pub(super) tried: RemedyResults,
}

impl Diagnosis<'_> {
    /// Describes what the worker did, line by line.
    pub(super) fn report(&self) -> String {
        let record = self.record;
        let mut report =
            format!("pool `{}`: {}\n", self.name(), command(&self.settings.program.launch));
        let start = time(record.start);
        let ended = matches!(record.end, TrialEnd::Ended { .. }) && record.exchanges.is_empty();
        if !ended {
            let how = if record.waited { ", and waits for its input" } else { "" };
            report.push_str(&row("start", &format!("after {start}{how}")));
        }
        if record.banner.taken.is_some() {
            report.push_str(&row("banner", &escaped(&record.banner.bytes)));
        }
        for exchange in &record.exchanges {
            let asked = escaped(&exchange.question);
            let text = match &exchange.answer {
                Some(answer) => {
                    format!("{asked} answered after {}: {}", time(exchange.took), escaped(answer))
                }
                None => format!("{asked} sent, no answer expected"),
            };
            report.push_str(&row(&said_as(exchange.stage), &text));
        }
        if self.settings.program.start.probe.is_none() && record.is_ready() {
            report.push_str(&row("probe", "not configured, so no question was asked"));
        }
        report
    }

    /// Returns what is wrong or could be better, and what to change.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<_> = self.banner().into_iter().collect();
        for exchange in &self.record.exchanges {
            findings.extend(self.exchange(exchange));
        }
        findings.extend(self.end());
        if findings.is_empty() {
            findings.extend(self.unproven());
        }
        findings
    }

    fn name(&self) -> &str {
        &self.settings.name
    }

    /// Returns a hint that says where to write a key of the pool, or which option replaces it.
    fn write(&self, change: &str, option: Option<&str>) -> String {
        match (&self.place.command, option) {
            (Some(_), _) => format!("write `{change}` in `[pool.{}]`", toml_key(self.name())),
            (None, Some(option)) => format!("write {option}"),
            (None, None) => {
                format!(
                    "write `{change}` in the pool of a configuration file, which `httpipe init` creates"
                )
            }
        }
    }

    fn write_reply(&self, reply: &str) -> String {
        let option = format!("`--reply {}`", shell_word(reply));
        self.write(&format!("reply = {}", quoted(reply)), Some(&option))
    }

    /// Begins a finding: no worker became ready.
    fn not_ready(&self) -> Finding {
        let message = format!("no worker of pool `{}` became ready", self.name());
        let command = command(&self.settings.program.launch);
        match &self.place.command {
            Some(place) => Finding::error(message).row("command", format!("{command}  ({place})")),
            None => Finding::error(message).row("command", command),
        }
    }

    /// Adds the last lines of stderr to a finding.
    fn with_words(&self, finding: Finding) -> Finding {
        match self.record.words.as_slice() {
            [] => finding,
            words => finding.row("it said", words.join("\n")),
        }
    }

    /// Judges what the worker wrote before the first question.
    fn banner(&self) -> Option<Finding> {
        let banner = &self.record.banner;
        let untaken = banner.untaken();
        let is_missed = self.settings.program.start.ready.is_some() && banner.taken.is_none();
        // A `ready` that does not match is reported with the end of the trial.
        if untaken.is_empty() || is_missed || self.is_notifications(untaken) {
            return None;
        }
        let (message, change) = match &self.settings.program.start.ready {
            None => ("writes before the first question", "add"),
            Some(_) => ("writes more than `ready` removes", "change it"),
        };
        let finding = Finding::error(format!("pool `{}` {message}", self.name()))
            .row("it wrote", escaped(&banner.bytes));
        Some(match ready_for(&banner.bytes) {
            Some(ready) => {
                let write = self.write(&format!("ready = {}", quoted(&ready)), None);
                let why = if change == "add" { ", which removes its banner" } else { "" };
                finding.hint(format!("{write}{why}"))
            }
            None => finding.hint("make it write nothing before the first question, or describe what it writes with `ready`"),
        })
    }

    /// Returns true if a worker may write this without a question.
    fn is_notifications(&self, said: &[u8]) -> bool {
        let mut books = Correlator::<()>::new(&self.settings.program.wire);
        let mut decoder = Decoder::new(
            &self.settings.program.wire.framing.reply,
            self.settings.program.wire.message_max,
        );
        let mut buffer = BytesMut::from(said);
        while let Ok(Some(message)) = decoder.next(&mut buffer, None) {
            if let Received::Mismatch(_) | Received::Answer { .. } = books.received(message) {
                return false;
            }
        }
        buffer.is_empty()
    }

    /// Judges one question and its answer.
    fn exchange(&self, exchange: &Exchange) -> Vec<Finding> {
        let stage = named(exchange.stage);
        let asked = |finding: Finding| finding.row("asked", escaped(&exchange.question));
        if !exchange.extra.is_empty() {
            let Some(_) = exchange.answer else {
                let message = format!(
                    "{stage} of pool `{}` got an answer, and `answer = false` says it has none",
                    self.name()
                );
                let hint = "remove `answer = false`";
                let finding = asked(Finding::error(message));
                return vec![finding.row("it wrote", escaped(&exchange.extra)).hint(hint)];
            };
            let framing =
                shown(&self.settings.program.wire.framing.reply).escape_debug().to_string();
            let message =
                format!("pool `{}` writes more than one answer to one question", self.name());
            let finding =
                asked(Finding::error(message)).row("it wrote", escaped(&exchange.raw)).row(
                    "too much",
                    format!("{}, under framing `{framing}`", escaped(&exchange.extra)),
                );
            return vec![finding.hint(self.less_output(exchange))];
        }
        match (exchange.stage, &exchange.answer) {
            (Stage::Probe, Some(answer)) => {
                self.answer(exchange, answer.as_ref()).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns what to do about output that follows the first answer.
    fn less_output(&self, exchange: &Exchange) -> String {
        if exchange.again.is_empty() || exchange.again == exchange.raw {
            return self.other_framing(&exchange.raw);
        }
        let mut decoder = Decoder::new(
            &self.settings.program.wire.framing.reply,
            self.settings.program.wire.message_max,
        );
        let mut again = BytesMut::from(&exchange.again[..]);
        let is_one = matches!(decoder.next(&mut again, None), Ok(Some(_))) && again.is_empty();
        if is_one {
            let again = escaped(&exchange.again);
            return format!(
                "asked again, it wrote only {again}, so its first output is a banner that comes \
                 late: add an option that suppresses the banner"
            );
        }
        self.other_framing(&exchange.again)
    }

    /// Judges the answer to the probe.
    fn answer(&self, exchange: &Exchange, answer: &[u8]) -> Option<Finding> {
        let name = self.name();
        let probe = self.settings.program.start.probe.as_ref()?;
        let wanted = probe.reply.as_ref().map(String::as_bytes);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != answer) {
            let send = quoted(&probe.send);
            let hint = match std::str::from_utf8(answer) {
                Ok(answer) => {
                    let reply = quoted(answer);
                    let option = shell_word(&format!("{}=>{answer}", probe.send));
                    let option = format!("`--probe {option}`");
                    let probe = format!("probe = {{ send = {send}, reply = {reply} }}");
                    format!("if that answer is right, {}", self.write(&probe, Some(&option)))
                }
                Err(_) => format!("if that answer is right, remove `reply` from the probe {send}"),
            };
            let message = format!("the probe of pool `{name}` got an unexpected answer");
            return Some(
                Finding::error(message)
                    .row("asked", escaped(&exchange.question))
                    .row("expected", escaped(wanted))
                    .row("got", escaped(answer))
                    .hint(hint),
            );
        }
        let text = bytes::Bytes::copy_from_slice(answer);
        let judge = Judge::new(&self.settings.program.wire);
        let detail = match judge.judge(&exchange.question, text, exchange.proven) {
            Verdict::Good(_) => return None,
            Verdict::ProgramError(_) => {
                let message = format!("the probe of pool `{name}` got an error as its answer");
                return Some(
                    Finding::warning(message)
                        .row("asked", escaped(&exchange.question))
                        .row("got", escaped(answer))
                        .hint("ask something in `probe` that the program can answer"),
                );
            }
            Verdict::Unfit { detail } | Verdict::Doubtful { detail } => detail,
        };
        // A probe with a `reply` of its own may be another kind of question.
        let message = format!("the answer of pool `{name}` does not fit: {detail}");
        let finding =
            if wanted.is_some() { Finding::warning(message) } else { Finding::error(message) };
        let finding = finding.row("asked", escaped(&exchange.question));
        let finding = match &self.settings.program.wire.reply {
            ReplyShape::Pattern(pattern) if pattern.has_input() => {
                let echo = "an answer that repeats the question, because `reply` has `{input}`";
                finding.row("expected", echo)
            }
            _ => finding,
        };
        Some(finding.row("got", escaped(answer)).hint(self.other_reply(&exchange.question, answer)))
    }

    /// Suggests a `reply` that fits this answer.
    fn other_reply(&self, question: &[u8], answer: &[u8]) -> String {
        match &self.settings.program.wire.reply {
            ReplyShape::Json => {
                "remove `reply = \"json\"`, or make the program print a JSON document".to_owned()
            }
            ReplyShape::Http => {
                "print JSON with `status`, `headers` and `body`, or remove `reply = \"http\"`"
                    .to_owned()
            }
            ReplyShape::Pattern(_) | ReplyShape::Plain => match pattern_for(question, answer) {
                Some(reply) => self.write_reply(&reply),
                None => "its answers do not repeat the question: remove `{input}` from `reply`, \
                         or make the program print the question with its answer"
                    .to_owned(),
            },
        }
    }

    /// Suggests a framing that fits this output.
    fn other_framing(&self, said: &[u8]) -> String {
        let send = &self.settings.program.wire.framing.send;
        match fitting(said) {
            Some((reply, note)) => {
                let both = format!(
                    "framing = {{ send = {}, reply = {} }}",
                    quoted(&shown(send)),
                    quoted(&reply)
                );
                let note = if note.is_empty() { String::new() } else { format!(", {note}") };
                format!("{}{note}", self.write(&both, None))
            }
            None if !said.ends_with(b"\n") => {
                "its answer has no end: make the program print a line feed after it".to_owned()
            }
            None => {
                "no framing fits this output; make the program print one line per answer".to_owned()
            }
        }
    }

    /// Judges how the trial ended.
    fn end(&self) -> Option<Finding> {
        match &self.record.end {
            TrialEnd::Ready => None,
            TrialEnd::Ended { exit, after, stage } => {
                let answered =
                    self.record.exchanges.last().is_some_and(|last| last.stage == *stage);
                if answered && *stage == Stage::Probe {
                    return self.one_shot(exit);
                }
                let finding = self.not_ready().row("ended", ending(exit, &time(*after)));
                let finding = self.with_words(finding);
                Some(finding.hint(self.after_exit(exit)))
            }
            TrialEnd::Closed { stage } => {
                let how = format!("it closed a pipe before {} was complete", named(*stage));
                let finding = self.with_words(self.not_ready().row("closed", how));
                Some(finding.hint("a worker must keep stdin and stdout open"))
            }
            TrialEnd::Unsendable { stage, why } => {
                let message = format!("{} of pool `{}` cannot be sent", named(*stage), self.name());
                Some(Finding::error(message).row("because", why.as_str()))
            }
            TrialEnd::OutOfStep { stage, why, raw } => {
                let message = format!("{} of pool `{}` got no answer", named(*stage), self.name());
                let finding =
                    Finding::error(message).row("it wrote", escaped(raw)).row("but", why.as_str());
                Some(finding.hint(self.back_in_step(raw)))
            }
            TrialEnd::Stalled(stall) => Some(self.stalled(stall)),
        }
    }

    /// Reports a program that ends after its first answer.
    fn one_shot(&self, exit: &Exit) -> Option<Finding> {
        if self.settings.rules.recycle.calls == Some(1) {
            return None;
        }
        let message = format!("pool `{}` ends after its first answer", self.name());
        let finding = self.with_words(Finding::error(message).row("ended", exit.to_string()));
        let write = self.write("recycle = { calls = 1 }", None);
        Some(finding.hint(format!("make it read questions in a loop, or {write}")))
    }

    /// Suggests what to do about a program that ended.
    fn after_exit(&self, exit: &Exit) -> String {
        if let Exit::NotRun(_) = exit {
            return "correct `command` or `dir`".to_owned();
        }
        missing_part(&self.record.words).unwrap_or_else(|| match exit {
            Exit::Code(0) => "a worker must read questions from stdin until the end of input; \
                              this program ended without waiting for one"
                .to_owned(),
            _ => "run the command by hand in its `dir`, with a question on stdin".to_owned(),
        })
    }

    /// Suggests what to do about output that matches no call.
    fn back_in_step(&self, raw: &[u8]) -> String {
        let current = self.settings.program.wire.framing.reply.clone();
        let mut decoder = Decoder::new(&current, self.settings.program.wire.message_max);
        let is_message = matches!(decoder.next(&mut BytesMut::from(raw), None), Ok(Some(_)));
        if !is_message {
            return self.other_framing(raw);
        }
        let wants = match self.settings.program.wire.matching {
            Matching::Tag => "begin with the tag, the number in front of their question",
            Matching::Echo => "repeat their question where `reply` has `{input}`",
            Matching::JsonId => "be JSON objects with the `id` of their question",
            Matching::Order => {
                return "the program must write exactly one message per question".to_owned();
            }
        };
        let order = self.write("matching = \"order\"", Some("`--matching order`"));
        format!("its answers must {wants}; if they come in order, {order}")
    }

    /// Reports output that did not arrive in time.
    fn stalled(&self, stall: &Stall) -> Finding {
        if stall.stage == Stage::Banner {
            return self.no_banner(stall);
        }
        let waited = time(stall.waited);
        let asked = |finding: Finding| finding.row("asked", escaped(&stall.question));
        if !stall.said.is_empty() {
            let framing =
                shown(&self.settings.program.wire.framing.reply).escape_debug().to_string();
            let name = self.name();
            let message = format!("the answer of pool `{name}` never ends under `{framing}`");
            let finding = asked(Finding::error(message)).row("it wrote", escaped(&stall.said));
            return self.with_words(finding).hint(self.other_framing(&stall.said));
        }
        let finding = asked(self.not_ready());
        if stall.computes() {
            let cpu = time(stall.recent_cpu);
            let how =
                format!("it was still computing after {waited} ({cpu} of CPU in the last second)");
            let timeout = show_duration(self.settings.rules.start_timeout);
            let hint = format!("raise `start_timeout` ({timeout}), or ask less in `probe`");
            return self.with_words(finding.row("but", how)).hint(hint);
        }
        if stall.unread > 0 {
            let how = format!("it left {} bytes of the question unread", stall.unread);
            let finding = self.with_words(finding.row("but", format!("{how} for {waited}")));
            return finding.hint("a worker must read its questions from stdin");
        }
        self.held_back(stall, finding)
    }

    /// Reports a banner that did not arrive or does not match `ready`.
    fn no_banner(&self, stall: &Stall) -> Finding {
        let pattern =
            self.settings.program.start.ready.as_ref().map(ToString::to_string).unwrap_or_default();
        let finding = self.not_ready().row("ready", pattern);
        if stall.said.is_empty() {
            if !stall.at_end.is_empty() || self.tried.worked.is_some() {
                return self.held_back(stall, finding);
            }
            let finding = self.with_words(finding.row("but", "it wrote nothing"));
            return finding.hint("remove `ready`, or raise `start_timeout` if it starts slowly");
        }
        let finding = self.with_words(finding.row("it wrote", escaped(&stall.said)));
        match ready_for(&stall.said) {
            Some(ready) => finding.hint(self.write(&format!("ready = {}", quoted(&ready)), None)),
            None => finding.hint("`ready` must match what it writes"),
        }
    }

    /// Reports output that the program holds back.
    fn held_back(&self, stall: &Stall, finding: Finding) -> Finding {
        let what = if stall.stage == Stage::Banner {
            "it waits for input and wrote nothing"
        } else {
            "it read the question, went idle and wrote nothing"
        };
        let mut finding = finding.row("but", what);
        if !stall.at_end.is_empty() {
            let late = format!("{}, when its input ended", escaped(&stall.at_end));
            finding = finding.row("it wrote", late);
        }
        finding = self.with_words(finding);
        let failed = self.tried.failed.join("`, `");
        if !failed.is_empty() {
            finding = finding.row("no help", format!("`{failed}`"));
        }
        if let Some(remedy) = &self.tried.worked {
            finding = finding.row("helps", format!("`{}`", remedy.name));
            let option = remedy.command.as_ref().map(|command| format!("`-- {command}`"));
            let write = self.write(&remedy.change, option.as_deref());
            return finding
                .hint(format!("it holds its output back: {write}, or flush after each answer"));
        }
        finding.hint(if stall.at_end.is_empty() {
            "check `framing` and `probe`, because the program may wait for the rest of the \
             question; or its output is held back: flush after each answer"
        } else {
            "it answers only when its input ends: answer each question as it comes, and flush \
             after each answer"
        })
    }

    /// Warns if the answers do not show which call they belong to.
    fn unproven(&self) -> Option<Finding> {
        let settings = self.settings;
        if settings.program.wire.proves_question() {
            return None;
        }
        let message = format!(
            "answers of pool `{}` do not show which call they belong to: an extra line is detected \
             if it comes with the answer or before the next question, but not later",
            settings.name
        );
        let hint = "if the program can repeat the question, `{input}` in `reply` proves every answer; \
                    so do `tag` and `json-id`";
        Some(Finding::warning(message).hint(hint))
    }
}

#[cfg(test)]
mod tests;
