//! Answer patterns: literal text with captures, as in `{input}|{result:int}`.
//!
//! Pure. `{input}` is the question without its framing and must be equal byte for byte. Every
//! other capture takes as little as possible, and the last one the rest. The whole message must
//! match.
//!
//! A pattern is kept as fixed runs with a capture between each two. Each run is looked for
//! once, from where the one before it ended, so a fit costs no more than reading the answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

use super::parameter::{is_json_int, is_json_number};
use crate::sync::pieces;

/// A compiled `reply` or `error` pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it was written; patterns are equal if their texts are.
    text: String,
    /// The runs before, between and after the captures: always one more than captures.
    runs: Vec<FixedText>,
    captures: Vec<Capture>,
    /// The run that holds `{input}`.
    input_run: Option<usize>,
}

/// Text that an answer must have, with `{input}` in it or not.
#[derive(Clone, Debug, Default)]
struct FixedText {
    before: Vec<u8>,
    input: bool,
    /// Empty unless `input`.
    after: Vec<u8>,
    /// Looks for `before`, in runs that hold nothing else.
    finder: Option<memmem::Finder<'static>>,
}

#[derive(Clone, Debug)]
struct Capture {
    name: String,
    /// `"name":`, as it stands in the JSON object.
    key: Vec<u8>,
    kind: CaptureKind,
}

/// What a captured text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureKind {
    /// A string.
    Text,
    /// A whole number, as it was written.
    Int,
    /// A number, as it was written.
    Float,
    /// Any JSON, passed on.
    Json,
    /// A string of base64, of any bytes.
    Base64,
}

/// What a pattern makes of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It fits. The captures other than `{input}` as a JSON object, in the order of the
    /// pattern; the whole answer where the pattern has none.
    Fits(Bytes),
    /// The answer does not fit, and nothing shows that it belongs to this question: pairing is
    /// in doubt.
    Doubtful,
    /// `{input}`, the text up to it and the text that follows it at once were as they must be,
    /// so the answer belongs to this question, but the rest does not fit; says why, in words
    /// that do not repeat the answer.
    ProvenButUnfit(String),
}

/// Why a text is not a pattern, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternProblem(pub String);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// An answer stops fitting the pattern; `proven` if its question was found before that.
struct Misfit {
    proven: bool,
}

impl Pattern {
    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Compiles a pattern.
    ///
    /// A run of braces before what could be a capture is read in pairs from the left, each pair
    /// one brace; one that is left over begins the capture. All other braces are themselves.
    ///
    /// # Errors
    ///
    /// A type that does not exist, a name that appears twice, and two captures (`{input}` is
    /// one) with nothing between them.
    pub fn parse(text: &str) -> Result<Self, PatternProblem> {
        let mut pattern = Self {
            text: text.to_owned(),
            runs: vec![FixedText::default()],
            captures: vec![],
            input_run: None,
        };
        let mut rest = text;
        // The capture right before this place; text must come between it and the next.
        let mut after_capture: Option<&str> = None;
        while let Some(brace) = rest.find('{') {
            let (literal, from_brace) = rest.split_at(brace);
            let braces = from_brace.len() - from_brace.trim_start_matches('{').len();
            let inside = &from_brace[braces..];
            let capture = inside.find('}').and_then(|end| read_capture(&inside[..end]));
            let escaped = if capture.is_some() { braces / 2 } else { braces };
            if !literal.is_empty() || escaped > 0 {
                after_capture = None;
            }
            pattern.push_literal(literal.as_bytes());
            pattern.push_literal(&from_brace.as_bytes()[..escaped]);
            rest = inside;
            if let Some((written, name, kind)) = capture.filter(|_| braces % 2 == 1) {
                if let Some(before) = after_capture {
                    return Err(nothing_between(before, written));
                }
                pattern.push_capture(written, name, kind)?;
                after_capture = Some(written);
                rest = &inside[written.len() + 1..];
            }
        }
        pattern.push_literal(rest.as_bytes());
        for run in pattern.runs.iter_mut().filter(|run| !run.input) {
            run.finder = Some(memmem::Finder::new(&run.before).into_owned());
        }
        Ok(pattern)
    }

    fn push_literal(&mut self, text: &[u8]) {
        let run = self.last_run();
        if run.input { run.after.extend(text) } else { run.before.extend(text) }
    }

    fn push_capture(
        &mut self,
        written: &str,
        name: &str,
        kind: Option<&str>,
    ) -> Result<(), PatternProblem> {
        let twice = match name {
            "input" => self.input_run.is_some(),
            _ => self.captures.iter().any(|capture| capture.name == name),
        };
        if twice {
            return Err(PatternProblem(format!(
                "`{{{name}}}` appears twice; give the second one another name, or write the text \
                 itself if it is always the same"
            )));
        }
        if name == "input" {
            if kind.is_some() {
                return Err(PatternProblem(format!(
                    "`{{{written}}}`: the question is compared as it was sent, so it has no type; \
                     write `{{input}}`"
                )));
            }
            self.input_run = Some(self.runs.len() - 1);
            self.last_run().input = true;
            return Ok(());
        }
        let kind = match kind {
            None | Some("text") => CaptureKind::Text,
            Some("int") => CaptureKind::Int,
            Some("float") => CaptureKind::Float,
            Some("json") => CaptureKind::Json,
            Some("base64") => CaptureKind::Base64,
            Some(kind) => {
                return Err(PatternProblem(format!(
                    "`{{{written}}}`: there is no type `{kind}`; write `{{{name}}}` for text, or \
                     one of the types `int`, `float`, `json` and `base64`"
                )));
            }
        };
        let key = format!("{}:", serde_json::Value::from(name)).into_bytes();
        self.captures.push(Capture { name: name.to_owned(), key, kind });
        self.runs.push(FixedText::default());
        Ok(())
    }

    fn last_run(&mut self) -> &mut FixedText {
        self.runs.last_mut().expect("a pattern always has a run")
    }

    /// Returns true if it has `{input}`, so that an answer proves its question.
    pub fn has_input(&self) -> bool {
        self.input_run.is_some()
    }

    /// Returns true if it captures anything besides `{input}`, so that a fit is a JSON object.
    pub fn has_fields(&self) -> bool {
        !self.captures.is_empty()
    }

    /// Returns the names of its captures, `{input}` aside, and what they become.
    pub fn fields(&self) -> impl Iterator<Item = (&str, CaptureKind)> {
        self.captures.iter().map(|capture| (capture.name.as_str(), capture.kind))
    }

    /// Returns true if it has a capture of this name, `{input}` aside.
    pub fn has_field(&self, name: &str) -> bool {
        self.captures.iter().any(|capture| capture.name == name)
    }

    /// Matches one answer against the pattern and the question it should belong to.
    pub fn fit(&self, question: &[u8], answer: &Bytes) -> Match {
        let unfit = |proven, why: String| {
            if proven { Match::ProvenButUnfit(why) } else { Match::Doubtful }
        };
        if !self.has_fields() {
            let fits = self.walk(question, answer, |_, _| ()).is_ok();
            return if fits { Match::Fits(answer.clone()) } else { Match::Doubtful };
        }
        let mut problem = None;
        let (object, walked) = pieces::written(|object| {
            object.reserve(answer.len() + 16);
            let walked = self.walk(question, answer, |capture, value| {
                object.push(if object.is_empty() { b'{' } else { b',' });
                object.extend(&capture.key);
                if let (Err(what), None) = (capture.kind.write(value, object), &problem) {
                    problem = Some(format!("`{}` is not {what}", capture.name));
                }
            });
            object.push(b'}');
            walked
        });
        match (walked, problem) {
            (Ok(()), None) => Match::Fits(object),
            (Ok(()), Some(problem)) => unfit(self.has_input(), problem),
            (Err(misfit), _) => {
                unfit(misfit.proven, "it does not have the shape of the pattern".to_owned())
            }
        }
    }

    /// The text of one capture by its name (`message` of an `error` pattern), where the answer
    /// fits and the text is UTF-8.
    pub fn capture(&self, name: &str, question: &[u8], answer: &[u8]) -> Option<String> {
        String::from_utf8(self.captured(name, question, answer)?.to_vec()).ok()
    }

    /// The bytes of one capture by its name, where the answer fits.
    pub fn captured<'a>(&self, name: &str, question: &[u8], answer: &'a [u8]) -> Option<&'a [u8]> {
        let mut found = None;
        let walked = self.walk(question, answer, |capture, value| {
            if capture.name == name {
                found = Some(value);
            }
        });
        walked.ok()?;
        found
    }

    /// Returns the part of an answer that `{input}` stands for, if the text around it allows
    /// only one reading. `matching = "echo"` finds the call by it.
    ///
    /// Returns `None` if several readings are possible (`1|2|3` for `{input}|{result}`) or
    /// `{input}` stands between captures; then [`Pattern::fit`] can be asked about each
    /// question that waits.
    pub fn echoed<'a>(&self, answer: &'a [u8]) -> Option<&'a [u8]> {
        let index = self.input_run?;
        let run = &self.runs[index];
        let first = index == 0;
        let last = index == self.runs.len() - 1;
        match (first, last) {
            (true, true) => answer.strip_prefix(&run.before[..])?.strip_suffix(&run.after[..]),
            (true, false) => {
                let rest = answer.strip_prefix(&run.before[..])?;
                let end = only(rest, &run.after)?;
                Some(&rest[..end])
            }
            (false, true) => {
                let rest = answer.strip_suffix(&run.after[..])?;
                let start = only(rest, &run.before)?;
                Some(&rest[start + run.before.len()..])
            }
            (false, false) => None,
        }
    }

    /// Splits an answer along the pattern and hands each capture its part, in order.
    fn walk<'a>(
        &self,
        question: &[u8],
        answer: &'a [u8],
        mut take: impl FnMut(&Capture, &'a [u8]),
    ) -> Result<(), Misfit> {
        // A run that fits shows that all runs before it did, so with the run of `{input}` the
        // question is proven.
        let misfit = |fitted: usize| Misfit {
            proven: self.input_run.is_some_and(|input_run| fitted > input_run),
        };
        let (first, others) = self.runs.split_first().expect("a pattern always has a run");
        let mut rest = first.strip_from(question, answer).ok_or(misfit(0))?;
        let Some((last, between)) = others.split_last() else {
            // The end is what follows `{input}` here, so without it nothing is proven.
            return if rest.is_empty() { Ok(()) } else { Err(misfit(0)) };
        };
        for (index, run) in between.iter().enumerate() {
            let (start, end) = run.find_in(question, rest).ok_or(misfit(1 + index))?;
            take(&self.captures[index], &rest[..start]);
            rest = &rest[end..];
        }
        let value = last.strip_end_from(question, rest).ok_or(misfit(others.len()))?;
        take(self.captures.last().expect("a capture before each further run"), value);
        Ok(())
    }
}

impl FixedText {
    fn strip_from<'a>(&self, question: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
        let text = text.strip_prefix(&self.before[..])?;
        let text = if self.input { text.strip_prefix(question)? } else { text };
        text.strip_prefix(&self.after[..])
    }

    fn strip_end_from<'a>(&self, question: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
        let text = text.strip_suffix(&self.after[..])?;
        let text = if self.input { text.strip_suffix(question)? } else { text };
        text.strip_suffix(&self.before[..])
    }

    /// The start and end of its first occurrence.
    fn find_in(&self, question: &[u8], text: &[u8]) -> Option<(usize, usize)> {
        if let Some(finder) = &self.finder {
            let start = finder.find(text)?;
            return Some((start, start + self.before.len()));
        }
        let whole = [&self.before, question, &self.after].concat();
        let start = memmem::find(text, &whole)?;
        Some((start, start + whole.len()))
    }
}

impl CaptureKind {
    /// Writes a captured text as a JSON value, or says what it should have been.
    fn write(self, value: &[u8], json: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Self::Text => {
                let text = str::from_utf8(value).map_err(|_| "UTF-8")?;
                serde_json::to_writer(json, text).expect("a Vec takes all that is written");
            }
            Self::Int if is_json_int(value) => json.extend(value),
            Self::Int => return Err("a whole number"),
            Self::Float if is_json_number(value) => json.extend(value),
            Self::Float => return Err("a number"),
            Self::Json => {
                let valid: &RawValue = serde_json::from_slice(value).map_err(|_| "JSON")?;
                json.extend(valid.get().as_bytes());
            }
            Self::Base64 => {
                json.push(b'"');
                json.extend(BASE64.encode(value).as_bytes());
                json.push(b'"');
            }
        }
        Ok(())
    }
}

/// Name and type of a capture, from the text between its braces; `None` if it is not one.
fn read_capture(written: &str) -> Option<(&str, &str, Option<&str>)> {
    let (name, kind) = match written.split_once(':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (written, None),
    };
    (is_word(name) && kind.is_none_or(is_word)).then_some((written, name, kind))
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn nothing_between(before: &str, after: &str) -> PatternProblem {
    PatternProblem(format!(
        "nothing stands between `{{{before}}}` and `{{{after}}}`, so nobody can tell where one \
         ends; let the program write a text between them, as in `{{{before}}}|{{{after}}}`"
    ))
}

/// Where the needle is, if it occurs exactly once.
fn only(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = memmem::find(text, needle)?;
    memmem::find(&text[first + 1..], needle).is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern")
    }

    fn fit(text: &str, question: &str, answer: &[u8]) -> Match {
        pattern(text).fit(question.as_bytes(), &Bytes::copy_from_slice(answer))
    }

    fn fits(json: &str) -> Match {
        Match::Fits(Bytes::copy_from_slice(json.as_bytes()))
    }

    fn proven(why: &str) -> Match {
        Match::ProvenButUnfit(why.to_owned())
    }

    #[test]
    fn an_answer_becomes_an_object_of_its_captures() {
        for (text, question, answer, json) in [
            ("{input}|{result}", "10", "10|55", r#"{"result":"55"}"#),
            ("{input}|{result}", "", "|", r#"{"result":""}"#),
            ("{input}|{result:int}", "10", "10|-55", r#"{"result":-55}"#),
            ("{x:float};{y:float}", "", "1.50;2e+07", r#"{"x":1.50,"y":2e+07}"#),
            ("{v:json}", "", r#" {"a": 1.0} "#, r#"{"v":{"a": 1.0}}"#),
            ("{v:base64}", "", "abc", r#"{"v":"YWJj"}"#),
            ("= {a} of {input}.", "q", "= 1 of 2 of q.", r#"{"a":"1 of 2"}"#),
            ("{a}, {input}, {b}", "q", "p, q, r, q, s", r#"{"a":"p","b":"r, q, s"}"#),
            (r#"{"ok": {v:json}}"#, "", r#"{"ok": [1, 2]}"#, r#"{"v":[1, 2]}"#),
            ("{{a}{b}", "", "{a}x", r#"{"b":"x"}"#),
            ("{a}", "", "say \"hi\"\n\u{1}", r#"{"a":"say \"hi\"\n\u0001"}"#),
        ] {
            assert_eq!(fit(text, question, answer.as_bytes()), fits(json), "{text} {answer}");
        }
    }

    #[test]
    fn captures_are_shortest_and_the_last_takes_the_rest() {
        assert_eq!(fit("{a},{b}", "", b"1,2,3"), fits(r#"{"a":"1","b":"2,3"}"#));
        assert_eq!(fit("{a};", "", b"1;2;"), fits(r#"{"a":"1;2"}"#));
    }

    #[test]
    fn a_pattern_without_fields_passes_the_whole_answer_on() {
        assert_eq!(fit("{input}", "ping", b"ping"), fits("ping"));
        assert_eq!(fit("ok {input}!", "a\u{ff}b", "ok a\u{ff}b!".as_bytes()), fits("ok a\u{ff}b!"));
        assert_eq!(fit("ok", "", b"ok"), fits("ok"));
        assert_eq!(fit("ok", "", b"ok\n"), Match::Doubtful);
        assert!(!pattern("ok {input}").has_fields());
    }

    #[test]
    fn an_answer_to_another_question_is_never_proven() {
        for (text, question, answer) in [
            ("{input}|{result:int}", "1", "10|55"),
            ("{input}|{result:int}", "1", "2|55"),
            ("{input}|{result:int}", "10", "1|0|55"),
            ("{input}", "1", "10"),
            ("{result:int} is {input}", "1", "5 is 11"),
            ("{result}", "1", "\u{0}"),
            ("ok {result:int}", "1", "ok x"),
        ] {
            let matched = fit(text, question, answer.as_bytes());
            let doubtful = matches!(matched, Match::Doubtful);
            assert!(doubtful || !pattern(text).has_input(), "{text} {answer}: {matched:?}");
        }
        assert_eq!(fit("ok {result:int}", "1", b"ok x"), Match::Doubtful);
        assert_eq!(fit("{result}", "1", b"\xff"), Match::Doubtful);
    }

    #[test]
    fn what_was_wrong_after_the_proof_is_said() {
        assert_eq!(fit("{input}|{r:int}", "1", b"1|x"), proven("`r` is not a whole number"));
        assert_eq!(fit("{input}|{r:int}", "1", b"1|007"), proven("`r` is not a whole number"));
        assert_eq!(fit("{input}|{r:float}", "1", b"1|nan"), proven("`r` is not a number"));
        assert_eq!(fit("{input}|{r:json}", "1", b"1|{"), proven("`r` is not JSON"));
        assert_eq!(fit("{input}|{r}", "1", b"1|\xff"), proven("`r` is not UTF-8"));
        let shape = proven("it does not have the shape of the pattern");
        assert_eq!(fit("{input}|{a};{b}", "1", b"1|x"), shape);
        assert_eq!(fit("{input}|{a};", "1", b"1|x"), shape);
    }

    #[test]
    fn an_end_never_overlaps_what_was_read_before() {
        assert_eq!(
            fit("{input}|{r}|", "1", b"1|"),
            proven("it does not have the shape of the pattern")
        );
        assert_eq!(fit("aba{r}aba", "", b"ababa"), Match::Doubtful);
    }

    #[test]
    fn the_message_of_an_error_is_found_by_its_name() {
        let error = pattern("e|{input}|{message}");
        let message = |answer| error.capture("message", b"-1", answer);
        assert_eq!(message(b"e|-1|must be positive"), Some("must be positive".to_owned()));
        assert_eq!(message(b"e|-2|must be positive"), None);
        assert_eq!(message(b"e|-1|\xff"), None);
        assert_eq!(error.capture("other", b"-1", b"e|-1|x"), None);
    }

    #[test]
    fn an_echo_is_read_only_where_it_can_be_read_one_way() {
        let echoed = |text: &str, answer: &'static [u8]| pattern(text).echoed(answer);
        assert_eq!(echoed("{input}|{r}", b"10|55"), Some(&b"10"[..]));
        assert_eq!(echoed("{input}|{r}", b"10|5|5"), None);
        assert_eq!(echoed("{input}aa{r}", b"10aaa"), None);
        assert_eq!(echoed("> {input}", b"> 10"), Some(&b"10"[..]));
        assert_eq!(echoed("> {input}", b"10"), None);
        assert_eq!(echoed("{r}|{input}.", b"55|10."), Some(&b"10"[..]));
        assert_eq!(echoed("{r}", b"55"), None);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_what_to_write() {
        for (text, part) in [
            ("{input}{r}", "`{input}|{r}`"),
            ("{a}{b:int}", "`{a}|{b:int}`"),
            ("{r}|{r}", "another name"),
            ("{input}|{input}", "twice"),
            ("{r:number}", "`int`, `float`, `json` and `base64`"),
            ("{input:int}", "write `{input}`"),
        ] {
            let said = Pattern::parse(text).expect_err(text).to_string();
            assert!(said.contains(part), "{said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_answer_of_an_echoing_program_always_fits(
            question in "[ -~]{0,20}",
            result in "[ -~é\"\\\\]{0,20}",
        ) {
            let answer = Bytes::from(format!("{question}|{result}"));
            let json = serde_json::json!({ "result": result }).to_string();
            let fitted = pattern("{input}|{result}").fit(question.as_bytes(), &answer);
            proptest::prop_assert_eq!(fitted, fits(&json));
        }

        #[test]
        fn a_fit_is_always_json(
            text in "(\\{[ab](:int|:json|:float)?\\}|[,;]){1,5}",
            answer in "[0-9a,;\\[\\]\"]{0,12}",
        ) {
            if let Ok(parsed) = Pattern::parse(&text)
                && parsed.has_fields()
                && let Match::Fits(json) = parsed.fit(b"", &Bytes::from(answer))
            {
                serde_json::from_slice::<serde_json::Value>(&json).expect("JSON");
            }
        }

        #[test]
        fn splitting_finds_a_way_wherever_there_is_one(
            a in "[xy,]{0,6}",
            b in "[xy,]{0,6}",
            c in "[xy,]{0,6}",
        ) {
            let answer = Bytes::from(format!("{a},{b},{c}"));
            let fitted = pattern("{a},{b},{c}").fit(b"", &answer);
            proptest::prop_assert!(matches!(fitted, Match::Fits(_)));
        }
    }
}
