//! What the end of a trial means.
//!
//! Pure.

use super::Diagnosis;
use crate::base::Conduct;
use crate::base::units::show_duration;
use crate::cli::check::advice::{ending, named};
use crate::cli::check::finding::{Finding, escaped, time};
use crate::cli::check::framings::ready_for;
use crate::cli::check::record::{OUTPUT_MAX, Stall, TrialEnd, TrialPhase};
use crate::config::words::quoted;
use crate::config::{Framing, Matching};
use crate::doctor::remedy::{framing_change, missing_options};
use crate::worker::advice::missing_part;
use crate::worker::process::Exit;

impl Diagnosis<'_> {
    /// Judges how the trial ended.
    pub(super) fn end(&self) -> Option<Finding> {
        let record = self.record();
        match &record.end {
            TrialEnd::Passed if record.output_at_end.is_empty() => None,
            TrialEnd::Passed => {
                let message = format!("pool `{}` answers only when its input ends", self.name());
                let late = format!("{}, when its input ended", escaped(&record.output_at_end));
                let finding = self.with_command(message).row("it wrote", late);
                Some(self.remedied(
                    self.with_stderr(finding),
                    TrialPhase::Sample,
                    &record.output_at_end,
                ))
            }
            TrialEnd::Ended { exit, after, phase, question } => {
                let last = record.exchanges.last();
                let has_answered = last.is_some_and(|last| last.question == *question);
                match phase {
                    TrialPhase::Sample if !has_answered || *exit != Exit::Code(0) => {
                        Some(self.ended_by_question(exit, question))
                    }
                    TrialPhase::Probe | TrialPhase::Sample if has_answered => self.one_shot(exit),
                    _ => {
                        let finding = self.not_ready().row("ended", ending(exit, &time(*after)));
                        Some(self.with_stderr(finding).hint(self.after_exit(exit)))
                    }
                }
            }
            TrialEnd::Closed { phase } => {
                let how = format!("it closed a pipe before {} was complete", named(*phase));
                let finding = self.with_stderr(self.not_ready().row("closed", how));
                Some(finding.hint("a worker must keep stdin and stdout open"))
            }
            TrialEnd::Unread { question } => {
                let message = format!("pool `{}` ends without reading its question", self.name());
                let finding = self.with_command(message).row("asked", escaped(question));
                Some(self.with_stderr(finding).hint("a program must read its question from stdin"))
            }
            TrialEnd::Unsendable { phase, why } => {
                let message = format!("{} of pool `{}` cannot be sent", named(*phase), self.name());
                Some(Finding::error(message).row("because", why.as_str()))
            }
            TrialEnd::OutOfStep { phase, question, why, output } => {
                let message = format!("{} of pool `{}` got no answer", named(*phase), self.name());
                let finding = Finding::error(message).row("asked", escaped(question));
                let finding = finding.row("it wrote", escaped(output)).row("but", why.as_str());
                Some(finding.hint(self.back_in_step(output)))
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
        let finding = self.with_stderr(Finding::error(message).row("ended", exit.to_string()));
        let write = self.write("recycle = { calls = 1 }", None);
        Some(finding.hint(format!("make it read questions in a loop, or {write}")))
    }

    /// Reports a program that ends at a question that was made up.
    fn ended_by_question(&self, exit: &Exit, question: &[u8]) -> Finding {
        let finding = self
            .with_command(format!("the program of pool `{}` ends at a question", self.name()))
            .row("asked", escaped(question))
            .row("ended", exit.to_string());
        let finding = self.with_stderr(finding);
        if let Some(part) = missing_part(&self.record().stderr) {
            return finding.hint(part);
        }
        let name = self.name_a_question();
        finding.hint(format!("if this is no question for it, name one that it answers: {name}"))
    }

    /// Suggests what to do about a program that ended.
    fn after_exit(&self, exit: &Exit) -> String {
        if let Exit::NotRun(_) = exit {
            return "correct `command` or `dir`".to_owned();
        }
        missing_part(&self.record().stderr).unwrap_or_else(|| match exit {
            Exit::Code(0) => "a worker must read questions from stdin until the end of input; \
                              this program ended without waiting for one"
                .to_owned(),
            _ => "run the command by hand in its `dir`, with a question on stdin".to_owned(),
        })
    }

    /// Suggests what to do about output that matches no call.
    fn back_in_step(&self, output: &[u8]) -> String {
        if !self.begins_with_message(output) {
            return self.other_framing(output);
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

    /// Reports output that did not come.
    fn stalled(&self, stall: &Stall) -> Finding {
        if stall.phase == TrialPhase::Start {
            return self.not_started(stall);
        }
        let waited = time(stall.waited);
        if self.settings.program.wire.ends_with_answer() {
            let message = format!("pool `{}` does not end after its question", self.name());
            let how = format!("its input ended, and it still runs after {waited}");
            let finding = self.with_command(message).row("asked", escaped(&stall.question));
            let finding = finding.row("it wrote", escaped(&stall.output)).row("but", how);
            let hint = "a program with `framing = \"eof\"` must end when its input ends: remove it \
                        if the program answers line by line, or raise `timeout`";
            return self.with_stderr(finding).hint(hint);
        }
        let asked = |finding: Finding| finding.row("asked", escaped(&stall.question));
        if !stall.output.is_empty() {
            let framing =
                self.settings.program.wire.framing.reply.to_string().escape_debug().to_string();
            let name = self.name();
            let message = format!("the answer of pool `{name}` never ends under `{framing}`");
            let finding = asked(Finding::error(message)).row("it wrote", escaped(&stall.output));
            let finding = self.with_stderr(finding);
            let hint = self.other_framing(&stall.output);
            let remedy = self.examination.remedies.worked.as_ref();
            return match remedy.map(|remedy| &remedy.settings.program.wire.framing.reply) {
                Some(Framing::Turn) => {
                    finding.hint(format!("make it print a line feed after each answer, or {hint}"))
                }
                _ => finding.hint(hint),
            };
        }
        let finding = match stall.phase {
            TrialPhase::Sample => {
                asked(self.with_command(format!("pool `{}` does not answer", self.name())))
            }
            _ => asked(self.not_ready()),
        };
        let conduct = stall.signs().conduct();
        if conduct == Conduct::Works {
            let cpu = time(stall.recent_cpu);
            let how =
                format!("it was still computing after {waited} ({cpu} of CPU in the last second)");
            return self.with_stderr(finding.row("but", how)).hint(self.more_time(stall.phase));
        }
        if conduct == Conduct::NotReading {
            let how = format!("it left {} bytes of the question unread", stall.unread);
            let finding = self.with_stderr(finding.row("but", format!("{how} for {waited}")));
            return finding.hint("a worker must read its questions from stdin");
        }
        let what = if conduct == Conduct::HoldsOutput {
            "it read the question, wrote nothing, and waits for the next".to_owned()
        } else {
            format!("it read the question and wrote nothing for {waited}")
        };
        self.silent(stall, finding.row("but", what))
    }

    /// Suggests to allow more time.
    fn more_time(&self, phase: TrialPhase) -> String {
        let rules = &self.settings.rules;
        if phase == TrialPhase::Sample {
            let timeout = show_duration(rules.timeout);
            let name = self.name_a_question();
            return format!("raise `timeout` ({timeout}), or name an easier question: {name}");
        }
        let timeout = show_duration(rules.start_timeout);
        format!("raise `start_timeout` ({timeout}), or ask less in `probe`")
    }

    /// Reports a worker that could not be asked: its banner did not come, or it does not wait.
    fn not_started(&self, stall: &Stall) -> Finding {
        let timeout = show_duration(self.settings.rules.start_timeout);
        let Some(ready) = &self.settings.program.start.ready else {
            if stall.output.len() < OUTPUT_MAX {
                let cpu = time(stall.recent_cpu);
                let how = format!("it was still computing ({cpu} of CPU in the last second)");
                let finding = self.with_stderr(self.not_ready().row("but", how));
                return finding.hint(format!("raise `start_timeout` ({timeout})"));
            }
            let what = "what it writes before the first question does not end";
            let finding = self.not_ready().row("but", what).row("it wrote", escaped(&stall.output));
            return finding.hint("it must wait for a question on stdin before it writes");
        };
        let finding = self.not_ready().row("ready", ready.to_string());
        if stall.output.is_empty() {
            if !stall.output_at_end.is_empty() || self.examination.remedies.worked.is_some() {
                return self
                    .silent(stall, finding.row("but", "it waits for input and wrote nothing"));
            }
            let finding = self.with_stderr(finding.row("but", "it wrote nothing"));
            return finding.hint("remove `ready`, or raise `start_timeout` if it starts slowly");
        }
        let finding = self.with_stderr(finding.row("it wrote", escaped(&stall.output)));
        match ready_for(&stall.output) {
            Some(ready) => finding.hint(self.write(&format!("ready = {}", quoted(&ready)), None)),
            None => finding.hint("`ready` must match what it writes"),
        }
    }

    /// Reports output that the program holds back, or does not write.
    fn silent(&self, stall: &Stall, mut finding: Finding) -> Finding {
        if !stall.output_at_end.is_empty() {
            let late = format!("{}, when its input ended", escaped(&stall.output_at_end));
            finding = finding.row("it wrote", late);
        }
        self.remedied(self.with_stderr(finding), stall.phase, &stall.output_at_end)
    }

    /// Adds which remedies helped, and what to write.
    fn remedied(&self, mut finding: Finding, phase: TrialPhase, late_output: &[u8]) -> Finding {
        let remedies = &self.examination.remedies;
        let failed = remedies.failed.join("`, `");
        if !failed.is_empty() {
            finding = finding.row("no help", format!("`{failed}`"));
        }
        if let Some(remedy) = &remedies.worked {
            let write = self.write_remedy(remedy);
            let finding = finding.row("helps", format!("`{}`", remedy.name));
            if remedy.settings.program.wire.ends_with_answer() {
                let is_probed = self.settings.program.start.probe.is_some();
                let probe = if is_probed { "; `probe` has to go" } else { "" };
                return finding.hint(format!(
                    "it answers when its input ends: {write}, which gives each question a process \
                     of its own{probe}"
                ));
            }
            return finding
                .hint(format!("it holds its output back: {write}, or flush after each answer"));
        }
        if late_output.is_empty() {
            let silence = self.silence_hint();
            return finding.hint(match phase {
                TrialPhase::Sample => {
                    let name = self.name_a_question();
                    let timeout = show_duration(self.settings.rules.timeout);
                    format!(
                        "name a question that it answers: {name}; if it only takes longer, raise \
                         `timeout` ({timeout}); {silence}"
                    )
                }
                _ => format!(
                    "it may wait for the rest of the question (`framing`), or hold its output back \
                     (flush after each answer); {silence}"
                ),
            });
        }
        finding.hint(
            "it answers only when its input ends: answer each question as it comes, and flush \
             after each answer",
        )
    }

    /// Suggests what to do where no output is an answer.
    pub(super) fn silence_hint(&self) -> String {
        let wire = &self.settings.program.wire;
        let change = framing_change(&wire.framing.send, "turn");
        let is_line = wire.framing.send == Framing::Line;
        let write = self.write(&change, is_line.then_some("`--framing turn`"));
        let unbuffered = match missing_options(&self.settings.program.launch) {
            Some(options) => format!(", and add `{}`", options.join(" ")),
            None => String::new(),
        };
        format!("where no output is an answer, {write}{unbuffered}")
    }
}
