//! What the answers of a worker mean.
//!
//! Pure.

use bytes::{Bytes, BytesMut};

use super::Diagnosis;
use crate::cli::check::advice::{named, pattern_for};
use crate::cli::check::finding::{Finding, escaped};
use crate::cli::check::framings::fittings;
use crate::cli::check::record::{Exchange, Record, TrialEnd, TrialPhase};
use crate::config::words::{quoted, shell_word};
use crate::config::{Framing, GroupShape, PoolSettings, ReplyShape};
use crate::doctor::remedy::framing_change;
use crate::wire::{CANCELLED_UNASKED, Decoder, Judge, Verdict, group};

/// Returns what is wrong with the answer of this exchange; `None`: it fits `reply` or `error`.
pub(in crate::cli::check) fn misfit(pool: &PoolSettings, exchange: &Exchange) -> Option<String> {
    match verdict(pool, exchange)? {
        Verdict::Good(_) | Verdict::ProgramError(_) => None,
        Verdict::Cancelled => Some(CANCELLED_UNASKED.to_owned()),
        Verdict::Unfit { detail } | Verdict::Doubtful { detail } => Some(detail),
    }
}

fn verdict(pool: &PoolSettings, exchange: &Exchange) -> Option<Verdict> {
    let wire = &pool.program.wire;
    let answer = exchange.answer.clone().filter(|_| wire.stream.is_none())?;
    let judge = Judge::new(wire);
    let Some(shape) = wire.group.filter(|shape| group::is_joined(*shape, &exchange.question))
    else {
        return Some(judge.judge(&exchange.question, answer, exchange.proven));
    };
    let questions = group::parts(shape, &exchange.question);
    let answers = match group::split(shape, &answer, questions.len()) {
        Ok(answers) => answers,
        Err(detail) => return Some(Verdict::Doubtful { detail }),
    };
    let judged = questions.iter().zip(answers);
    let mut judged =
        judged.map(|(question, answer)| judge.judge(question, answer, exchange.proven));
    let first = judged.next();
    let is_fit = |verdict: &Verdict| matches!(verdict, Verdict::Good(_) | Verdict::ProgramError(_));
    judged.find(|verdict| !is_fit(verdict)).filter(|_| first.as_ref().is_some_and(is_fit)).or(first)
}

impl Diagnosis<'_> {
    /// Judges all answers.
    pub(super) fn answers(&self) -> Vec<Finding> {
        let exchanges = &self.record().exchanges;
        if let Some(exchange) = exchanges.iter().find(|exchange| !exchange.extra.is_empty()) {
            return vec![self.extra_output(exchange)];
        }
        let unasked = exchanges.iter().find(|exchange| !exchange.unasked.is_empty());
        if let Some(exchange) = unasked.filter(|it| !self.is_notifications(&it.unasked)) {
            let message = format!("pool `{}` writes while nothing is asked", self.name());
            let finding = Finding::error(message).row("it wrote", escaped(&exchange.unasked));
            return vec![finding.hint(
                "write to stderr what answers no question: for each such line a worker is lost",
            )];
        }
        let is_judged = |it: &&Exchange| matches!(it.phase, TrialPhase::Probe | TrialPhase::Sample);
        let mut judged = exchanges.iter().filter(is_judged);
        judged.find_map(|exchange| self.answer(exchange)).into_iter().collect()
    }

    /// Reports output that follows an answer.
    fn extra_output(&self, exchange: &Exchange) -> Finding {
        let name = self.name();
        let asked = |finding: Finding| finding.row("asked", escaped(&exchange.question));
        if exchange.answer.is_none() {
            let phase = named(exchange.phase);
            let message = format!(
                "{phase} of pool `{name}` got an answer, and `answer = false` says it has none"
            );
            let finding = asked(Finding::error(message));
            return finding
                .row("it wrote", escaped(&exchange.extra))
                .hint("remove `answer = false`");
        }
        let framing =
            self.settings.program.wire.framing.reply.to_string().escape_debug().to_string();
        let message = format!("pool `{name}` writes more than one answer to one question");
        let extra = format!("{}, under framing `{framing}`", escaped(&exchange.extra));
        let finding = asked(Finding::error(message)).row("it wrote", escaped(&exchange.output));
        finding.row("too much", extra).hint(self.less_output(exchange))
    }

    /// Returns what to do about output that follows an answer.
    fn less_output(&self, exchange: &Exchange) -> String {
        let exchanges = self.record().exchanges.iter();
        let mut similar = exchanges.filter(|it| it.answer.is_some() && it.phase == exchange.phase);
        if let Some(good) = similar.clone().find(|it| it.extra.is_empty()) {
            let output = escaped(&good.output);
            return format!(
                "asked {}, it wrote only {output}: write to stderr what does not belong to an \
                 answer (a log, a banner that comes late)",
                escaped(&good.question)
            );
        }
        if let Some(remedy) = &self.examination.remedies.worked {
            let write = self.write_remedy(remedy);
            return match remedy.settings.program.wire.framing.reply {
                Framing::Turn => format!(
                    "if a part of it is a log, write logs to stderr; if all of it is the answer, {write}"
                ),
                Framing::Lines(_) => format!("{write}, if every answer has this many lines"),
                _ => write,
            };
        }
        self.other_framing(similar.next_back().map_or(&exchange.output, |last| &last.output))
    }

    /// Judges the answer to a probe or a sample.
    fn answer(&self, exchange: &Exchange) -> Option<Finding> {
        let answer = exchange.answer.as_ref()?;
        let probe = self.settings.program.start.probe.as_ref();
        let probe = probe.filter(|_| exchange.phase == TrialPhase::Probe);
        let wanted = probe.and_then(|probe| probe.reply.as_ref()).map(String::as_bytes);
        if let Some((probe, wanted)) = probe.zip(wanted.filter(|wanted| wanted != answer)) {
            return Some(self.unexpected(exchange, answer, &probe.send, wanted));
        }
        let name = self.name();
        let detail = match verdict(self.settings, exchange)? {
            Verdict::Good(_) => return None,
            Verdict::ProgramError(_) if exchange.phase == TrialPhase::Sample => return None,
            Verdict::ProgramError(_) => {
                let message = format!("the probe of pool `{name}` got an error as its answer");
                return Some(
                    Finding::warning(message)
                        .row("asked", escaped(&exchange.question))
                        .row("got", escaped(answer))
                        .hint("ask something in `probe` that the program can answer"),
                );
            }
            Verdict::Cancelled => CANCELLED_UNASKED.to_owned(),
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
        let hint = self.other_group(&exchange.question, answer);
        let hint = hint.unwrap_or_else(|| self.other_reply(&exchange.question, answer));
        Some(finding.row("got", escaped(answer)).hint(hint))
    }

    /// Says what the answer to a group must be; `None`: this is one.
    fn other_group(&self, question: &Bytes, answer: &Bytes) -> Option<String> {
        let shape = self.settings.program.wire.group?;
        let calls = group::parts(shape, question).len();
        group::split(shape, answer, calls).err().filter(|_| group::is_joined(shape, question))?;
        let hint = match shape {
            GroupShape::Lines => {
                "answer each line with one line, in their order, and end with an empty one"
            }
            GroupShape::Array => {
                "answer an array with an array of as many elements, in their order; or remove `batch`"
            }
            GroupShape::Frames => "this should not happen; please report it",
        };
        Some(hint.to_owned())
    }

    /// Reports an answer to the probe that is not the configured one.
    fn unexpected(
        &self,
        exchange: &Exchange,
        answer: &Bytes,
        send: &str,
        wanted: &[u8],
    ) -> Finding {
        let hint = if let Ok(answer) = std::str::from_utf8(answer) {
            let option = format!("`--probe {}`", shell_word(&format!("{send}=>{answer}")));
            let (send, reply) = (quoted(send), quoted(answer));
            let probe = format!("probe = {{ send = {send}, reply = {reply} }}");
            format!("if that answer is right, {}", self.write(&probe, Some(&option)))
        } else {
            format!("if that answer is right, remove `reply` from the probe {}", quoted(send))
        };
        Finding::error(format!("the probe of pool `{}` got an unexpected answer", self.name()))
            .row("asked", escaped(&exchange.question))
            .row("expected", escaped(wanted))
            .row("got", escaped(answer))
            .hint(hint)
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
            ReplyShape::Kinds => "this should not happen; please report it".to_owned(),
            ReplyShape::Pattern(_) | ReplyShape::Plain => match pattern_for(question, answer) {
                Some(reply) => self.write_reply(&reply),
                None => "its answers do not repeat the question: remove `{input}` from `reply`, \
                         or make the program print the question with its answer"
                    .to_owned(),
            },
        }
    }

    /// Suggests a framing that fits this output.
    pub(super) fn other_framing(&self, output: &[u8]) -> String {
        if let Some(remedy) = &self.examination.remedies.worked {
            return self.write_remedy(remedy);
        }
        let send = &self.settings.program.wire.framing.send;
        match fittings(output).into_iter().next() {
            Some((reply, note)) => {
                let change = framing_change(send, &reply);
                let note = if note.is_empty() { String::new() } else { format!(", {note}") };
                format!("{}{note}", self.write(&change, None))
            }
            None if !output.ends_with(b"\n") => {
                "its answer has no end: make the program print a line feed after it".to_owned()
            }
            None => {
                "no framing fits this output; make the program print one line per answer".to_owned()
            }
        }
    }

    /// Returns true if this output begins with a whole message.
    pub(super) fn begins_with_message(&self, output: &[u8]) -> bool {
        let wire = &self.settings.program.wire;
        let mut decoder = Decoder::new(&wire.framing.reply, wire.message_max);
        matches!(decoder.next(&mut BytesMut::from(output), None), Ok(Some(_)))
    }

    /// Warns of a question that the program cannot answer, while it answers others.
    pub(super) fn unanswerable(&self, other: &Record) -> Option<Finding> {
        let name = self.name();
        let is_odd = |it: &&Exchange| !it.extra.is_empty() || misfit(self.settings, it).is_some();
        let exchange = other.exchanges.iter().find(is_odd);
        let typed = "refuse such questions with a type in the route (`?num={num:int}`)";
        let (question, message, hint) = match (&other.end, exchange) {
            // It says so with its exit code.
            (TrialEnd::Ended { .. }, _) if self.settings.program.wire.ends_with_answer() => {
                return None;
            }
            (TrialEnd::Ended { exit, question, .. }, _) => {
                let message = format!("a question ends the program of pool `{name}` ({exit})");
                let hint = format!(
                    "its caller gets 502 and a worker is lost: {typed}, or make the program answer \
                     with an error"
                );
                (question, message, hint)
            }
            (TrialEnd::Stalled(stall), _) if stall.output.is_empty() => {
                let message = format!("pool `{name}` writes nothing for a question");
                (&stall.question, message, self.silence_hint())
            }
            (TrialEnd::Stalled(stall), _) => {
                let message = format!("pool `{name}` does not end its answer to a question");
                (&stall.question, message, format!("its caller gets 502: {typed}"))
            }
            (TrialEnd::OutOfStep { question, why, .. }, _) => {
                let message = format!("pool `{name}` does not answer a question: {why}");
                let hint = format!("its caller gets 502 and a worker is lost: {typed}");
                (question, message, hint)
            }
            (_, Some(exchange)) if !exchange.extra.is_empty() => {
                let message = format!("pool `{name}` writes several messages for a question");
                let hint = format!(
                    "its caller gets 502: {typed}, or make the program answer with one message"
                );
                (&exchange.question, message, hint)
            }
            (_, Some(exchange)) => {
                let detail = misfit(self.settings, exchange)?;
                let message = format!("an answer of pool `{name}` does not fit: {detail}");
                let hint = format!(
                    "its caller gets 502: describe the program's own errors with `error`, or {typed}"
                );
                (&exchange.question, message, hint)
            }
            _ => return None,
        };
        let finding = Finding::warning(message).row("asked", escaped(question));
        let finding = match (exchange, &other.end) {
            (Some(exchange), _) => finding.row("it wrote", escaped(&exchange.output)),
            (None, TrialEnd::Stalled(stall)) if !stall.output.is_empty() => {
                finding.row("it wrote", escaped(&stall.output))
            }
            _ => finding,
        };
        Some(finding.hint(hint))
    }
}
