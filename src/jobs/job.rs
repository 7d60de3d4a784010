//! What a job is: its states, its name, and what is written down of it.
//!
//! Pure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::{Failure, Question, Reply, ReplyForm};

/// The name of a job: 128 random bits, which nobody guesses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub [u8; 16]);

/// A text that is not the name of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoJobId;

impl fmt::Display for JobId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl FromStr for JobId {
    type Err = NoJobId;

    fn from_str(text: &str) -> Result<Self, NoJobId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(NoJobId);
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| NoJobId)
    }
}

/// How far a job is. The numbers are those in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    /// It waits for a worker.
    Queued = 0,
    /// A worker has it.
    Running = 1,
    /// It has an answer.
    Succeeded = 2,
    /// It has none, and gets none.
    Failed = 3,
    /// Its caller or an operator ended it.
    Canceled = 4,
}

impl JobState {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Canceled];

    /// Returns the state of a number in the file.
    pub fn of(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Returns true if the job has ended. It can only be removed then, or retried by an operator.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

impl FromStr for JobState {
    type Err = NoJobId;

    fn from_str(text: &str) -> Result<Self, NoJobId> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(NoJobId)
    }
}

/// A moment by the clock of the wall, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub i64);

impl WallTime {
    /// Returns the moment this much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time.as_millis().try_into().unwrap_or(i64::MAX)))
    }

    /// Returns the time from an earlier moment to this one; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).try_into().unwrap_or(0))
    }
}

/// What a caller sends so that a repeated request finds the job that the first one made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatKey {
    /// What the caller chose.
    pub text: Arc<str>,
    /// A hash of the question.
    pub hash: [u8; 32],
}

/// A job before it is accepted.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its name.
    pub id: JobId,
    /// The name of its pool.
    pub pool: Arc<str>,
    /// The match text of its route.
    pub route: Arc<str>,
    /// The name of the key that asked; `None`: there was none.
    pub owner: Option<Arc<str>>,
    /// Its owner is one of several, and may have a quarter of what may be kept.
    pub has_share: bool,
    /// It may run twice.
    pub idempotent: bool,
    /// How many times it may be started at most.
    pub starts_most: u32,
    /// It counts as this much older than it is, or younger.
    pub priority_minutes: i32,
    /// How long it may wait for a worker.
    pub wait: Duration,
    /// How long it is kept after its end.
    pub keep: Duration,
    /// What its caller sends to find it again; `None`: nothing.
    pub repeat: Option<RepeatKey>,
    /// The text of the question.
    pub text: Bytes,
    /// The text of `{nonce}` in it.
    pub nonce: Option<Bytes>,
    /// The id of the request that asked.
    pub request_id: Arc<str>,
}

/// A job as it stands in the file, without its question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its place in the order of acceptance.
    pub seq: i64,
    /// Its name.
    pub id: JobId,
    /// The name of its pool.
    pub pool: Arc<str>,
    /// The match text of its route.
    pub route: Arc<str>,
    /// The name of the key that asked.
    pub owner: Option<Arc<str>>,
    /// How far it is.
    pub state: JobState,
    /// How many times it was started.
    pub attempts: u32,
    /// Where it stands among those that wait: earlier ones go first.
    pub due: WallTime,
    /// When it was accepted.
    pub created: WallTime,
    /// When it was started last.
    pub started: Option<WallTime>,
    /// When it ended.
    pub ended: Option<WallTime>,
    /// When it fails if it still waits then; once it has ended: when it is removed.
    pub expires: WallTime,
    /// Why it has no answer.
    pub failure: Option<Failure>,
    /// The id of the request that asked.
    pub request_id: Arc<str>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// With an answer.
    Answer {
        /// The body.
        body: Bytes,
        /// What the body is.
        form: AnswerForm,
    },
    /// Without one.
    Failure(Failure),
}

/// What the body of a kept answer is, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// The answer as the program wrote it, of this content type.
    Plain(String),
    /// A JSON document.
    Json,
    /// The program chose status and headers.
    Http(u16, Vec<(String, String)>),
}

impl JobEnd {
    /// Returns what is kept of an answer. `content_type` is that of the route, `most` how many
    /// bytes an answer may have.
    pub fn of(result: Result<Reply, Failure>, content_type: &str, most: u64) -> Self {
        let Reply { body, form } = match result {
            Ok(reply) => reply,
            Err(failure) => return Self::Failure(failure),
        };
        if body.len() as u64 > most {
            let detail = format!("the answer is longer than the {most} bytes that `result` allows");
            return Self::Failure(Failure::BadAnswer { detail: detail.into() });
        }
        let form = match form {
            ReplyForm::Plain => AnswerForm::Plain(content_type.to_owned()),
            ReplyForm::Json => AnswerForm::Json,
            ReplyForm::Http { status, headers } => AnswerForm::Http(status, headers),
            // No route has both jobs and answers in parts.
            ReplyForm::Parts(..) => return Self::Failure(Failure::Internal),
        };
        Self::Answer { body, form }
    }
}

impl AnswerForm {
    /// Returns the answer with this body, and its content type if that is not in its form.
    pub fn reply(self, body: Bytes) -> (Reply, Option<String>) {
        let (form, content_type) = match self {
            Self::Plain(content_type) => (ReplyForm::Plain, Some(content_type)),
            Self::Json => (ReplyForm::Json, None),
            Self::Http(status, headers) => (ReplyForm::Http { status, headers }, None),
        };
        (Reply { body, form }, content_type)
    }
}

/// One start of a job. What comes of it changes nothing if the job was started again since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobStart {
    /// The place of the job in the order of acceptance.
    pub seq: i64,
    /// When it was. No other start of the job was then.
    pub at: WallTime,
}

/// A job that a worker may begin.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// This start of it.
    pub start: JobStart,
    /// How many starts came to nothing before this one.
    pub lost: u32,
    /// It may be started again if this start comes to nothing.
    pub may_start_again: bool,
    /// The match text of its route.
    pub route: Arc<str>,
    /// It may run twice.
    pub idempotent: bool,
    /// The question.
    pub question: Question,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Code;

    #[test]
    fn a_name_is_32_small_hexadecimal_digits() {
        let id = JobId(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233343536373839616263646566");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "3031", "+0313233343536373839616263646566", &"A".repeat(32)] {
            assert_eq!(wrong.parse::<JobId>(), Err(NoJobId), "{wrong}");
        }
    }

    #[test]
    fn states_are_what_their_numbers_in_the_file_say() {
        for (number, state) in (0..).zip(JobState::ALL) {
            assert_eq!((state as i64, JobState::of(number)), (number, Some(state)));
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!([JobState::of(5), JobState::of(-1)], [None, None]);
    }

    #[test]
    fn failures_and_forms_can_be_read_back() {
        for code in Code::ALL {
            let failure = Failure::sample(code);
            let text = serde_json::to_string(&failure).expect("it is JSON");
            assert!(text.contains(code.as_str()), "{text} names its code");
            assert_eq!(serde_json::from_str::<Failure>(&text).expect(&text), failure);
        }
        let headers = vec![("x-a".to_owned(), "b".to_owned())];
        for form in
            [AnswerForm::Plain("a/b".into()), AnswerForm::Json, AnswerForm::Http(404, headers)]
        {
            let text = serde_json::to_string(&form).expect("it is JSON");
            assert_eq!(serde_json::from_str::<AnswerForm>(&text).expect(&text), form);
        }
    }

    #[test]
    fn an_answer_beyond_the_limit_is_a_failure() {
        let end = |body: &str| {
            let reply = Reply { body: body.to_owned().into(), form: ReplyForm::Plain };
            JobEnd::of(Ok(reply), "text/plain", 4)
        };
        assert!(matches!(end("1234"), JobEnd::Answer { .. }));
        assert!(matches!(end("12345"), JobEnd::Failure(Failure::BadAnswer { .. })));
    }
}
