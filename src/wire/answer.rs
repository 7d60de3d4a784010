//! Decides what an answer is worth: a reply, an error of the program's own, or a reason to
//! distrust the worker.
//!
//! Pure: the pattern `error` is tried first, then `reply`.

use bytes::Bytes;

use super::verdict::Verdict;
use super::{http_reply, kinds};
use crate::base::json;
use crate::base::pattern::{Match, Pattern};
use crate::base::{Failure, Reply, ReplyForm};
use crate::config::{Matching, ReplyShape, WireSettings};

/// Judges the answers of one pool.
#[derive(Clone, Debug)]
pub struct Judge {
    reply: ReplyShape,
    error: Option<Pattern>,
    error_status: u16,
    /// Callers may read what only developers need.
    in_full: bool,
    /// Answers are known to be JSON: their `id` was found in it.
    is_json: bool,
}

impl Judge {
    /// A judge for this pool.
    pub fn new(wire: &WireSettings) -> Self {
        let judge = Self::of(wire.reply.clone(), wire.error.clone(), wire.error_status);
        let is_json = wire.matching == Matching::JsonId;
        Self { in_full: wire.tells_details, is_json, ..judge }
    }

    /// A judge for answers of these shapes. `error_status` is the key of the pool.
    pub fn of(reply: ReplyShape, error: Option<Pattern>, error_status: u16) -> Self {
        Self { reply, error, error_status, in_full: false, is_json: false }
    }

    /// Says which patterns answers are held against, for the log; empty if there are none.
    pub fn patterns(&self) -> String {
        let reply = match &self.reply {
            ReplyShape::Pattern(pattern) => Some(("reply", pattern)),
            _ => None,
        };
        let error = self.error.as_ref().map(|pattern| ("error", pattern));
        reply.into_iter().chain(error).fold(String::new(), |said, (key, pattern)| {
            format!("{said}; `{key}` is `{}`", pattern.text())
        })
    }

    /// Returns true if no answer can be refused, so that none is read.
    pub fn takes_all(&self) -> bool {
        self.error.is_none() && matches!(self.reply, ReplyShape::Plain)
    }

    /// Judges the answer to `question`. `proven` says that the message itself shows which
    /// question it answers; see [`super::Received::Answer`].
    pub fn judge(&self, question: &[u8], answer: Bytes, proven: bool) -> Verdict {
        if matches!(self.reply, ReplyShape::Kinds) {
            return kinds::judge(&answer, self.in_full);
        }
        let mut unfit = None;
        if let Some(error) = &self.error {
            match error.fit(question, &answer) {
                Match::Fits(_) => {
                    return Verdict::ProgramError(self.program_error(error, question, &answer));
                }
                Match::ProvenButUnfit(why) => unfit = Some(misfit("error", &why)),
                Match::Doubtful => {}
            }
        }
        let proven = proven || unfit.is_some();
        let (body, form) = match &self.reply {
            ReplyShape::Plain => (answer, ReplyForm::Plain),
            ReplyShape::Pattern(pattern) => match pattern.fit(question, &answer) {
                Match::Fits(body) if pattern.has_fields() => (body, ReplyForm::Json),
                Match::Fits(body) => (body, ReplyForm::Plain),
                Match::ProvenButUnfit(why) => {
                    return Verdict::Unfit { detail: misfit("reply", &why) };
                }
                Match::Doubtful => {
                    let other = || "the answer does not have the shape of `reply`".to_owned();
                    return misshapen(proven, unfit.unwrap_or_else(other));
                }
            },
            ReplyShape::Json if self.is_json || json::is_json(&answer) => (answer, ReplyForm::Json),
            ReplyShape::Json => return misshapen(proven, "the answer is not JSON".to_owned()),
            ReplyShape::Kinds => unreachable!("judged above"),
            ReplyShape::Http => match http_reply::read(&answer) {
                Ok(reply) => return Verdict::Good(reply),
                Err(detail) => return misshapen(proven, detail),
            },
        };
        Verdict::Good(Reply { body, form })
    }

    fn program_error(&self, error: &Pattern, question: &[u8], answer: &Bytes) -> Failure {
        let message = error.capture("message", question, answer);
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(answer).into_owned());
        Failure::ProgramError { status: self.error_status, message: message.into() }
    }
}

/// The verdict on an answer that does not have the agreed shape.
fn misshapen(proven: bool, detail: String) -> Verdict {
    if proven { Verdict::Unfit { detail } } else { Verdict::Doubtful { detail } }
}

fn misfit(key: &str, why: &str) -> String {
    format!("the answer does not fit `{key}`: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern")
    }

    fn judge(reply: ReplyShape, error: Option<&str>) -> Judge {
        Judge::of(reply, error.map(pattern), 422)
    }

    /// `question -> answer` as the judge sees it, the pairing not proven otherwise.
    fn unproven(judge: &Judge, question: &str, answer: &str) -> Verdict {
        judge.judge(question.as_bytes(), Bytes::copy_from_slice(answer.as_bytes()), false)
    }

    fn proven(judge: &Judge, question: &str, answer: &str) -> Verdict {
        judge.judge(question.as_bytes(), Bytes::copy_from_slice(answer.as_bytes()), true)
    }

    fn good(body: &'static str, form: ReplyForm) -> Verdict {
        Verdict::Good(Reply { body: Bytes::from_static(body.as_bytes()), form })
    }

    fn fib() -> Judge {
        judge(ReplyShape::Pattern(pattern("{input}|{result:int}")), Some("e|{input}|{message}"))
    }

    #[test]
    fn an_answer_of_the_agreed_shape_is_good() {
        assert_eq!(unproven(&fib(), "10", "10|55"), good(r#"{"result":55}"#, ReplyForm::Json));
        let checks = judge(ReplyShape::Pattern(pattern("{input}=ok")), None);
        assert_eq!(unproven(&checks, "a", "a=ok"), good("a=ok", ReplyForm::Plain));
        let plain = judge(ReplyShape::Plain, None);
        assert_eq!(unproven(&plain, "a", ""), good("", ReplyForm::Plain));
        let json = judge(ReplyShape::Json, None);
        assert_eq!(unproven(&json, "a", "[1.50, 2]"), good("[1.50, 2]", ReplyForm::Json));
        let http = judge(ReplyShape::Http, None);
        let form = ReplyForm::Http { status: 201, headers: Vec::new() };
        assert_eq!(unproven(&http, "a", r#"{"status":201,"body":"b"}"#), good("b", form));
    }

    #[test]
    fn the_programs_own_error_is_tried_first() {
        let failure = Failure::ProgramError { status: 422, message: "too big".into() };
        assert_eq!(unproven(&fib(), "99", "e|99|too big"), Verdict::ProgramError(failure));
        let json = judge(ReplyShape::Json, Some("null"));
        let failure = Failure::ProgramError { status: 422, message: "null".into() };
        assert_eq!(unproven(&json, "a", "null"), Verdict::ProgramError(failure));
    }

    #[test]
    fn an_answer_for_another_question_is_doubtful() {
        for answer in ["11|89", "", "10", "1|0|55", "e|11|too big", "e|1"] {
            let verdict = unproven(&fib(), "10", answer);
            assert!(matches!(verdict, Verdict::Doubtful { .. }), "{answer}: {verdict:?}");
        }
    }

    #[test]
    fn an_answer_that_repeats_its_question_may_be_unfit_without_doubt() {
        let detail = "the answer does not fit `reply`: `result` is not a whole number".to_owned();
        assert_eq!(unproven(&fib(), "10", "10|x"), Verdict::Unfit { detail });
    }

    #[test]
    fn an_error_that_repeats_its_question_takes_the_doubt_away() {
        let judge = judge(ReplyShape::Json, Some("e|{input}|{code:int}"));
        assert!(matches!(unproven(&judge, "10", "e|10|x"), Verdict::Unfit { .. }));
        assert!(matches!(unproven(&judge, "10", "e|11|x"), Verdict::Doubtful { .. }));
    }

    #[test]
    fn without_a_proof_an_answer_of_another_shape_is_doubtful() {
        let shapes = [
            (ReplyShape::Json, "{"),
            (ReplyShape::Json, ""),
            (ReplyShape::Json, "\"\u{1}\""),
            (ReplyShape::Http, "[]"),
            (ReplyShape::Http, r#"{"status":200,"headers":{"X":"a\r\nSet-Cookie: b"}}"#),
            (ReplyShape::Pattern(pattern("ok {n:int}")), "ok x"),
        ];
        for (reply, answer) in shapes {
            let judge = judge(reply, None);
            assert!(matches!(unproven(&judge, "a", answer), Verdict::Doubtful { .. }), "{answer}");
            assert!(matches!(proven(&judge, "a", answer), Verdict::Unfit { .. }), "{answer}");
        }
    }

    #[test]
    fn the_detail_does_not_repeat_the_answer() {
        for judge in [fib(), judge(ReplyShape::Json, None), judge(ReplyShape::Http, None)] {
            match unproven(&judge, "10", "10|secret") {
                Verdict::Unfit { detail } | Verdict::Doubtful { detail } => {
                    assert!(!detail.contains("secret"), "{detail}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
