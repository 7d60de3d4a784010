//! What the facts of a trial mean, and what to change.
//!
//! Pure.

use bytes::BytesMut;

use super::advice::{ending, missing_part, named, pattern_for, said_as, shown, toml_key};
use super::finding::{Finding, escaped, row, time};
use super::framings::{fitting, quoted, ready_for};
use super::remedy::{Remedy, command, shell_word};
use super::seen::{End, Exchange, Seen, Silence, Stage};
use crate::base::units::show_duration;
use crate::config::{Matching, PoolSettings, ReplyShape};
use crate::wire::{Correlator, Decoder, Judge, Received, Verdict};
use crate::worker::spawn::Exit;

/// Where a pool was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// `httpipe.toml:3`; `None`: nowhere, the command line names the program.
    pub(super) command: Option<String>,
}

/// What was tried against output that is held back.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// What helped.
    pub(super) worked: Option<Remedy>,
    /// What did not.
    pub(super) failed: Vec<String>,
}

/// One pool and the trial of a worker of it.
#[derive(Debug)]
pub(super) struct Diagnosis<'a> {
    pub(super) settings: &'a PoolSettings,
    pub(super) place: &'a Place,
    pub(super) seen: &'a Seen,
    pub(super) tried: Tried,
}

impl Diagnosis<'_> {
    /// What was seen, line by line.
    pub(super) fn report(&self) -> String {
        let seen = self.seen;
        let mut report =
            format!("pool `{}`: {}\n", self.name(), command(&self.settings.program.launch));
        let start = time(seen.start);
        let ended = matches!(seen.end, End::Ended { .. }) && seen.exchanges.is_empty();
        if !ended {
            let how = if seen.waited { ", and waits for its input" } else { "" };
            report.push_str(&row("start", &format!("after {start}{how}")));
        }
        if seen.banner.taken.is_some() {
            report.push_str(&row("banner", &escaped(&seen.banner.bytes)));
        }
        for exchange in &seen.exchanges {
            let asked = escaped(&exchange.question);
            let text = match &exchange.answer {
                Some(answer) => {
                    format!("{asked} answered after {}: {}", time(exchange.took), escaped(answer))
                }
                None => format!("{asked} sent, no answer wanted"),
            };
            report.push_str(&row(&said_as(exchange.stage), &text));
        }
        if self.settings.program.start.probe.is_none() && seen.is_ready() {
            report.push_str(&row("probe", "none is configured, so it was asked nothing"));
        }
        report
    }

    /// What is wrong or could be better, and what to change.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<_> = self.banner().into_iter().collect();
        for exchange in &self.seen.exchanges {
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

    /// Tells where to write a key of the pool, or which option says the same.
    fn write(&self, change: &str, option: Option<&str>) -> String {
        match (&self.place.command, option) {
            (Some(_), _) => format!("write `{change}` in `[pool.{}]`", toml_key(self.name())),
            (None, Some(option)) => format!("write {option}"),
            (None, None) => {
                format!("write `{change}` in the pool of a file, which `httpipe init` makes")
            }
        }
    }

    fn write_reply(&self, reply: &str) -> String {
        let option = format!("`--reply {}`", shell_word(reply));
        self.write(&format!("reply = {}", quoted(reply)), Some(&option))
    }

    fn not_ready(&self) -> Finding {
        let message = format!("no worker of pool `{}` became ready", self.name());
        let command = command(&self.settings.program.launch);
        match &self.place.command {
            Some(place) => Finding::error(message).row("command", format!("{command}  ({place})")),
            None => Finding::error(message).row("command", command),
        }
    }

    fn with_words(&self, finding: Finding) -> Finding {
        match self.seen.words.as_slice() {
            [] => finding,
            words => finding.row("it said", words.join("\n")),
        }
    }

    fn banner(&self) -> Option<Finding> {
        let banner = &self.seen.banner;
        let untaken = banner.untaken();
        let is_missed = self.settings.program.start.ready.is_some() && banner.taken.is_none();
        // A `ready` that does not match is told with the end of the trial.
        if untaken.is_empty() || is_missed || self.is_notifications(untaken) {
            return None;
        }
        let (message, change) = match &self.settings.program.start.ready {
            None => ("writes before it is asked anything", "add"),
            Some(_) => ("writes more than `ready` takes away", "change it"),
        };
        let finding = Finding::error(format!("pool `{}` {message}", self.name()))
            .row("it wrote", escaped(&banner.bytes));
        Some(match ready_for(&banner.bytes) {
            Some(ready) => {
                let write = self.write(&format!("ready = {}", quoted(&ready)), None);
                let why = if change == "add" { ", which takes its banner away" } else { "" };
                finding.hint(format!("{write}{why}"))
            }
            None => finding.hint("make it silent until it is asked, or describe it by `ready`"),
        })
    }

    /// May it say this unasked?
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

    fn exchange(&self, exchange: &Exchange) -> Vec<Finding> {
        let stage = named(exchange.stage);
        let asked = |finding: Finding| finding.row("asked", escaped(&exchange.question));
        if !exchange.extra.is_empty() {
            let Some(_) = exchange.answer else {
                let message =
                    format!("{stage} of pool `{}` is answered, and should not be", self.name());
                let hint = "remove `answer = false` from it";
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

    /// What to do about a first answer with too much behind it.
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
                "asked again it wrote only {again}, so what it wrote first is a banner that comes \
                 late: give it an option that makes it quiet"
            );
        }
        self.other_framing(&exchange.again)
    }

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
                Err(_) => format!("if that answer is right, leave `reply` out of the probe {send}"),
            };
            let message = format!("the probe of pool `{name}` was answered otherwise");
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
                let message = format!("the probe of pool `{name}` is answered with an error");
                return Some(
                    Finding::warning(message)
                        .row("asked", escaped(&exchange.question))
                        .row("got", escaped(answer))
                        .hint("ask something in `probe` that the program can answer"),
                );
            }
            Verdict::Unfit { detail } | Verdict::Doubtful { detail } => detail,
        };
        // A probe whose own answer is as configured may be another kind of question.
        let message = format!("the answer of pool `{name}` does not fit: {detail}");
        let finding =
            if wanted.is_some() { Finding::warning(message) } else { Finding::error(message) };
        let finding = finding.row("asked", escaped(&exchange.question));
        let finding = match &self.settings.program.wire.reply {
            ReplyShape::Pattern(pattern) if pattern.has_input() => {
                let echo = "with the question in it, as `{input}` in `reply` says";
                finding.row("expected", echo)
            }
            _ => finding,
        };
        Some(finding.row("got", escaped(answer)).hint(self.other_reply(&exchange.question, answer)))
    }

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
                None => "its answers do not repeat the question: leave `{input}` out of `reply`, \
                         or make the program print the question with its answer"
                    .to_owned(),
            },
        }
    }

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
                "it does not end its answer: make the program print a line end".to_owned()
            }
            None => "no framing fits this; make the program print one line a question".to_owned(),
        }
    }

    fn end(&self) -> Option<Finding> {
        match &self.seen.end {
            End::Ready => None,
            End::Ended { exit, after, stage } => {
                let answered = self.seen.exchanges.last().is_some_and(|last| last.stage == *stage);
                if answered && *stage == Stage::Probe {
                    return self.one_shot(exit);
                }
                let finding = self.not_ready().row("ended", ending(exit, &time(*after)));
                let finding = self.with_words(finding);
                Some(finding.hint(self.after_exit(exit)))
            }
            End::Closed { stage } => {
                let how = format!("it closed a pipe before {} was through", named(*stage));
                let finding = self.with_words(self.not_ready().row("closed", how));
                Some(finding.hint("a worker must keep stdin and stdout open"))
            }
            End::Unsendable { stage, why } => {
                let message = format!("{} of pool `{}` cannot be sent", named(*stage), self.name());
                Some(Finding::error(message).row("because", why.as_str()))
            }
            End::OutOfStep { stage, why, raw } => {
                let message = format!("{} of pool `{}` got no answer", named(*stage), self.name());
                let finding =
                    Finding::error(message).row("it wrote", escaped(raw)).row("but", why.as_str());
                Some(finding.hint(self.back_in_step(raw)))
            }
            End::Silent(silence) => Some(self.silent(silence)),
        }
    }

    fn one_shot(&self, exit: &Exit) -> Option<Finding> {
        if self.settings.rules.recycle.calls == Some(1) {
            return None;
        }
        let message = format!("pool `{}` ends after its first answer", self.name());
        let finding = self.with_words(Finding::error(message).row("ended", exit.to_string()));
        let write = self.write("recycle = { calls = 1 }", None);
        Some(finding.hint(format!("make it read questions in a loop, or {write}")))
    }

    fn after_exit(&self, exit: &Exit) -> String {
        if let Exit::NotRun(_) = exit {
            return "correct `command` or `dir`".to_owned();
        }
        missing_part(&self.seen.words).unwrap_or_else(|| match exit {
            Exit::Code(0) => "a worker must read questions from stdin until that ends; this \
                              one did not wait for any"
                .to_owned(),
            _ => "run the command by hand in its `dir`, with a question on stdin".to_owned(),
        })
    }

    fn back_in_step(&self, raw: &[u8]) -> String {
        let current = self.settings.program.wire.framing.reply.clone();
        let mut decoder = Decoder::new(&current, self.settings.program.wire.message_max);
        let is_message = matches!(decoder.next(&mut BytesMut::from(raw), None), Ok(Some(_)));
        if !is_message {
            return self.other_framing(raw);
        }
        let wants = match self.settings.program.wire.matching {
            Matching::Tag => "begin with the tag of their question, the number put before it",
            Matching::Echo => "repeat their question where `reply` has `{input}`",
            Matching::JsonId => "be JSON objects with the `id` of their question",
            Matching::Order => return "it must write one message a question".to_owned(),
        };
        let order = self.write("matching = \"order\"", Some("`--matching order`"));
        format!("its answers must {wants}; if they come in order, {order}")
    }

    fn silent(&self, silence: &Silence) -> Finding {
        if silence.stage == Stage::Banner {
            return self.no_banner(silence);
        }
        let waited = time(silence.waited);
        let asked = |finding: Finding| finding.row("asked", escaped(&silence.question));
        if !silence.said.is_empty() {
            let framing =
                shown(&self.settings.program.wire.framing.reply).escape_debug().to_string();
            let name = self.name();
            let message = format!("the answer of pool `{name}` never ends under `{framing}`");
            let finding = asked(Finding::error(message)).row("it wrote", escaped(&silence.said));
            return self.with_words(finding).hint(self.other_framing(&silence.said));
        }
        let finding = asked(self.not_ready());
        if silence.computes() {
            let cpu = time(silence.cpu_lately);
            let how =
                format!("it was still computing after {waited} ({cpu} of CPU in the last 1s)");
            let timeout = show_duration(self.settings.rules.start_timeout);
            let hint = format!("raise `start_timeout` ({timeout}), or ask less in `probe`");
            return self.with_words(finding.row("but", how)).hint(hint);
        }
        if silence.unread > 0 {
            let how = format!("it never read {} of its bytes", silence.unread);
            let finding = self.with_words(finding.row("but", format!("{how} in {waited}")));
            return finding.hint("a worker must read its questions from stdin");
        }
        self.held_back(silence, finding)
    }

    fn no_banner(&self, silence: &Silence) -> Finding {
        let pattern =
            self.settings.program.start.ready.as_ref().map(ToString::to_string).unwrap_or_default();
        let finding = self.not_ready().row("ready", pattern);
        if silence.said.is_empty() {
            if !silence.at_end.is_empty() || self.tried.worked.is_some() {
                return self.held_back(silence, finding);
            }
            let finding = self.with_words(finding.row("but", "it wrote nothing"));
            return finding.hint("remove `ready`, or raise `start_timeout` if it starts slowly");
        }
        let finding = self.with_words(finding.row("it wrote", escaped(&silence.said)));
        match ready_for(&silence.said) {
            Some(ready) => finding.hint(self.write(&format!("ready = {}", quoted(&ready)), None)),
            None => finding.hint("`ready` must match what it writes"),
        }
    }

    fn held_back(&self, silence: &Silence, finding: Finding) -> Finding {
        let what = if silence.stage == Stage::Banner {
            "it waits for input and wrote nothing"
        } else {
            "it read the question, went idle and wrote nothing"
        };
        let mut finding = finding.row("but", what);
        if !silence.at_end.is_empty() {
            let late = format!("{}, when its input ended", escaped(&silence.at_end));
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
        finding.hint(if silence.at_end.is_empty() {
            "is the question whole for this program? look at `framing` and at the probe; or its \
             output is held back: flush after each answer"
        } else {
            "it answers only when its input ends: flush after each answer, and answer each \
             question as it comes"
        })
    }

    /// Nothing shows whose an answer is.
    fn unproven(&self) -> Option<Finding> {
        let settings = self.settings;
        if settings.program.wire.proves_question() {
            return None;
        }
        let message = format!(
            "answers of pool `{}` do not show which call they are for: a line too many is caught \
             when it comes with the answer or before the next question, not later",
            settings.name
        );
        let hint = "`{input}` in `reply` proves every answer, if the program can print the \
                    question with it; so do `tag` and `json-id`";
        Some(Finding::warning(message).hint(hint))
    }
}

#[cfg(test)]
mod tests;
