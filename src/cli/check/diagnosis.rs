//! The diagnosis: what the record of a trial means, and what to change.
//!
//! Pure.

mod answers;
mod ending;

use bytes::BytesMut;

use super::advice::{option_for, row_name, toml_key};
use super::examination::Examination;
use super::finding::{Finding, escaped, row, time};
use super::framings::ready_for;
use super::questions::NONE_MADE_UP;
use super::record::{Exchange, Record, TrialEnd};
use crate::config::words::{quoted, shell_word};
use crate::config::{Framing, PoolSettings};
use crate::doctor::remedy::Remedy;
use crate::wire::{Correlator, Decoder, Received};

pub(super) use answers::misfit;

/// Where the `command` of a pool is configured.
#[derive(Clone, Debug, Default)]
pub(super) struct CommandPlace {
    /// A file and line, `httpipe.toml:3`; `None`: the program is named on the command line.
    pub(super) command: Option<String>,
}

/// A pool and what was found out about it.
#[derive(Debug)]
pub(super) struct Diagnosis<'a> {
    pub(super) settings: &'a PoolSettings,
    pub(super) place: &'a CommandPlace,
    pub(super) examination: &'a Examination,
    /// Why no question was asked.
    pub(super) why_not_asked: Option<&'static str>,
}

impl Diagnosis<'_> {
    /// Describes what the worker did, line by line.
    pub(super) fn report(&self) -> String {
        let record = self.record();
        let mut report =
            format!("pool `{}`: {}\n", self.name(), self.settings.program.launch.command_line());
        if record.is_started {
            let how = match record.doubt {
                None => ", and waits for its input",
                Some(_) => "",
            };
            report.push_str(&row("start", &format!("after {}{how}", time(record.start))));
        }
        if record.banner.taken.is_some() {
            report.push_str(&row("banner", &escaped(&record.banner.bytes)));
        }
        let mut reported: Option<&Exchange> = None;
        for exchange in &record.exchanges {
            let is_repeated = |last: &Exchange| {
                (last.phase, &last.question) == (exchange.phase, &exchange.question)
            };
            if reported.is_some_and(is_repeated) {
                continue;
            }
            reported = Some(exchange);
            let asked = escaped(&exchange.question);
            let text = match &exchange.answer {
                Some(answer) => {
                    format!("{asked} answered after {}: {}", time(exchange.took), escaped(answer))
                }
                None => format!("{asked} sent, no answer expected"),
            };
            report.push_str(&row(&row_name(exchange.phase), &text));
        }
        if let Some(why) = self.why_not_asked.filter(|_| record.is_passed()) {
            report.push_str(&row("probe", why));
        }
        report
    }

    /// Returns what is wrong or could be better, and what to change.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        // A prompt is told of with the answers that it ends.
        findings.extend(self.banner().filter(|_| self.record().prompt().is_none()));
        findings.extend(self.answers());
        findings.extend(self.end());
        findings.extend(self.examination.other.as_ref().and_then(|other| self.unanswerable(other)));
        findings.extend(self.uncertain());
        findings.extend(self.untried_group());
        findings
    }

    fn record(&self) -> &Record {
        &self.examination.record
    }

    fn name(&self) -> &str {
        &self.settings.name
    }

    /// Returns a hint that says where to write a key of the pool; or, if there is no file, what to
    /// write on the command line. `option`: what that is, unless it is the option of the key.
    fn write(&self, change: &str, option: Option<&str>) -> String {
        match (&self.place.command, option) {
            (Some(_), _) => format!("write `{change}` in `[pool.{}]`", toml_key(self.name())),
            (None, Some(option)) => format!("write {option}"),
            (None, None) => format!("write `{}`", option_for(change)),
        }
    }

    fn write_remedy(&self, remedy: &Remedy) -> String {
        self.write(&remedy.change, remedy.option.as_deref())
    }

    fn write_reply(&self, reply: &str) -> String {
        let option = format!("`--reply {}`", shell_word(reply));
        self.write(&format!("reply = {}", quoted(reply)), Some(&option))
    }

    /// Suggests to name a question that the program can answer.
    fn name_a_question(&self) -> String {
        self.write("probe = { send = \"QUESTION\" }", Some("`--probe QUESTION`"))
    }

    /// Begins a finding: no worker became ready.
    fn not_ready(&self) -> Finding {
        self.with_command(format!("no worker of pool `{}` became ready", self.name()))
    }

    fn with_command(&self, message: String) -> Finding {
        let command = self.settings.program.launch.command_line();
        match &self.place.command {
            Some(place) => Finding::error(message).row("command", format!("{command}  ({place})")),
            None => Finding::error(message).row("command", command),
        }
    }

    /// Adds the last lines of stderr to a finding.
    fn with_stderr(&self, finding: Finding) -> Finding {
        match self.record().stderr.as_slice() {
            [] => finding,
            lines => finding.row("stderr", lines.join("\n")),
        }
    }

    /// Judges what the worker wrote before the first question.
    fn banner(&self) -> Option<Finding> {
        let record = self.record();
        let banner = &record.banner;
        let untaken = banner.untaken();
        // What did not become ready is reported with the end of the trial.
        if untaken.is_empty() || !record.is_started || self.is_notifications(untaken) {
            return None;
        }
        let name = self.name();
        let finding = match (&self.settings.program.start.ready, record.doubt) {
            (Some(_), _) => {
                Finding::error(format!("pool `{name}` writes more than `ready` removes"))
            }
            (None, None) => {
                // A prompt is written before each question.
                if self.banner_is_prompt() {
                    return None;
                }
                let message = "writes before the first question, which is dropped";
                Finding::note(format!("pool `{name}` {message}"))
            }
            (None, Some(_)) => {
                let message = "writes before the first question, and cannot be seen to wait for it";
                Finding::warning(format!("pool `{name}` {message}"))
            }
        };
        let finding = finding.row("it wrote", escaped(&banner.bytes));
        Some(match ready_for(&banner.bytes) {
            Some(ready) => {
                let write = self.write(&format!("ready = {}", quoted(&ready)), None);
                finding.hint(format!("to name its end, {write}"))
            }
            None => finding.hint("make it write nothing before the first question, or describe what it writes with `ready`"),
        })
    }

    /// Returns true if an answer ends with the text that the banner ends with.
    fn banner_is_prompt(&self) -> bool {
        let banner = &self.record().banner.bytes;
        match &self.settings.program.wire.framing.reply {
            Framing::Until(end) => banner.ends_with(end.as_bytes()),
            _ => false,
        }
    }

    /// Returns true if a worker may write this without a question.
    fn is_notifications(&self, output: &[u8]) -> bool {
        let wire = &self.settings.program.wire;
        let mut books = Correlator::<()>::new(wire);
        let mut decoder = Decoder::new(&wire.framing.reply, wire.message_max);
        let mut buffer = BytesMut::from(output);
        while let Ok(Some(message)) = decoder.next(&mut buffer, None) {
            if let Received::Mismatch(_) | Received::Stray(_) | Received::Answer { .. } =
                books.received(message)
            {
                return false;
            }
        }
        buffer.is_empty()
    }

    /// Warns if nothing shows that the program answers several questions together.
    fn untried_group(&self) -> Option<Finding> {
        let is_untried = self.record().is_passed() && self.why_not_asked == Some(NONE_MADE_UP);
        self.settings.program.wire.group.filter(|_| is_untried)?;
        let name = self.name();
        let message =
            format!("pool `{name}` was asked nothing, so whether its `batch` works is not known");
        let probe = self.write("probe = { send = \"[QUESTION, QUESTION]\" }", None);
        Some(
            Finding::warning(message)
                .hint(format!("name two questions that it answers as one: {probe}")),
        )
    }

    /// Warns if an answer may reach another call than its own.
    fn uncertain(&self) -> Option<Finding> {
        let record = self.record();
        let wire = &self.settings.program.wire;
        let is_proven = wire.proves_question() || wire.ends_with_answer();
        if is_proven || !matches!(record.end, TrialEnd::Passed) {
            return None;
        }
        let name = self.name();
        let remedy = "let each answer repeat its question (`{input}` in `reply`), or use \
                      `matching = \"tag\"` or `\"json-id\"`";
        let why = record.doubt?.doubt();
        let risk = match wire.framing.reply {
            Framing::Turn => "where an answer ends is a guess",
            _ => "a line too many can reach wrong callers before it is found",
        };
        let message = format!("pool `{name}` cannot be seen to wait for its input: {risk}");
        Some(Finding::warning(message).row("because", why).hint(remedy))
    }
}

#[cfg(test)]
mod tests;
