//! A call and its answer, as every room between HTTP and a worker passes them on.
//!
//! Pure: data only.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::places::IdPlaces;
use super::{BatchId, CallId, Failure, HostTag, PlaceId, RouteId, Tenant, TenantId, WorkerId};
use crate::sync::at_once::Hold;
use crate::sync::parts;

/// The text of one question, before framing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The rendered `send` template, without what the framing adds.
    pub text: Bytes,
    /// The text of `{nonce}`; `None` if the route's `send` does not use it. An `until:` framing
    /// with `{nonce}` searches the answer for this text.
    pub nonce: Option<Bytes>,
    /// The name of the call in what its caller is told before the answer, which nobody else knows;
    /// empty if that needs no name. `None` if its caller is told nothing before.
    pub listener: Option<Bytes>,
    /// Where the kept answers of its route stand in it; `None` if its `send` does not ask for them.
    pub kept: Option<Box<Range<usize>>>,
    /// What was found in it already; `None` if it is short, or its worker gets nothing of ours in it.
    pub places: Option<Arc<IdPlaces>>,
}

impl Question {
    /// A question without a nonce and without kept answers.
    pub fn plain(text: impl Into<Bytes>) -> Self {
        Self { text: text.into(), nonce: None, listener: None, kept: None, places: None }
    }

    /// Writes this object in the place of the kept answers.
    pub fn tell_kept(&mut self, object: &[u8]) {
        let Some(place) = &mut self.kept else { return };
        if self.text[Range::clone(place)] == *object {
            return;
        }
        self.text = [&self.text[..place.start], object, &self.text[place.end..]].concat().into();
        place.end = place.start + object.len();
    }
}

/// Who sends a message of JSON-RPC, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The holder of the key that the caller shows.
    pub tenant: TenantId,
    /// The address of the caller, also behind a proxy that is trusted; `None`: they connect by a socket
    /// file.
    pub address: Option<IpAddr>,
    /// The number of the connection.
    pub connection: u64,
    /// The session that the caller named (`Mcp-Session-Id`).
    pub session: Option<Bytes>,
}

impl Speaker {
    /// Returns true if both are the same caller. A proxy may send the requests of several callers over
    /// one connection.
    fn is(&self, other: &Self) -> bool {
        let place = |speaker: &Self| (speaker.connection, speaker.address);
        self.tenant == other.tenant
            && match (&self.session, &other.session) {
                (Some(own), Some(others)) => own == others,
                _ => place(self) == place(other),
            }
    }
}

/// The name of a call as its caller knows it. Others may use the same `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnName {
    /// The caller.
    pub speaker: Speaker,
    /// The text of the caller's `id`.
    pub id: Bytes,
    /// The call is a greeting: where `hello` has sent one, its answer is the answer.
    pub greets: bool,
}

impl OwnName {
    /// Returns true if both are the same call of the same caller.
    pub fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.speaker.is(&other.speaker)
    }
}

/// A message to a pool that nobody answers.
#[derive(Clone, Debug)]
pub struct Word {
    /// The message.
    pub text: Question,
    /// What it is for.
    pub errand: Errand,
}

/// What a message to a pool is for.
#[derive(Clone, Debug)]
pub enum Errand {
    /// It tells a worker something.
    Tell,
    /// It cancels a call.
    Cancel(Cancels),
    /// It answers a question of a worker, whose name is at this place in the message.
    Answer(Range<usize>),
    /// It tells of progress with the answer to a question of a worker, whose name is at this place;
    /// `None` if it names none.
    Progress(Option<Range<usize>>),
    /// It says that its sender has taken the answer to the greeting.
    Greeted,
}

/// What a message cancels.
#[derive(Clone, Debug)]
pub struct Cancels {
    /// The call; `None` if the message names none.
    pub call: Option<OwnName>,
    /// Where the `id` of the call is in the message.
    pub place: Range<usize>,
}

/// How a call comes to a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// A caller waits for it: it waits in the queue of the pool.
    #[default]
    Interactive,
    /// It is an item of this batch: background work, which waits for a worker without other work.
    Batch(BatchId),
    /// It is a job, for which this place was offered: background work as well. If its worker is lost,
    /// the source of the job decides whether it is tried again, and not the pool.
    Job {
        /// The place.
        place: PlaceId,
        /// How many starts of it came to nothing before.
        lost: u32,
    },
}

impl Class {
    /// Returns true for work that never waits in the queue.
    pub fn is_background(self) -> bool {
        self != Self::Interactive
    }
}

/// One question to a pool, with what the pool must know about it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The route of the request; metrics are counted under it.
    pub route: RouteId,
    /// The question.
    pub question: Question,
    /// The call may run twice. Only such calls are retried, sent ahead or rescued.
    pub idempotent: bool,
    /// When its caller stops waiting (`X-Timeout`); `None` if only the limits of the pool hold.
    pub caller_deadline: Option<Instant>,
    /// The name by which the caller may cancel it; `None` if nobody may.
    pub own_name: Option<Box<OwnName>>,
    /// Whose call it is.
    pub tenant: Tenant,
    /// Its part of the calls that its caller may have at once; `None`: as many as they like.
    pub hold: Option<Hold>,
    /// How it comes to a worker.
    pub class: Class,
    /// How long it may take in a worker; `None`: as long as any call of the pool.
    pub timeout: Option<Duration>,
}

/// A successful answer, judged and shaped. Nothing is left to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The body of the response.
    pub body: Bytes,
    /// The kind of body.
    pub form: ReplyForm,
}

impl Reply {
    /// Returns true if other callers with the same question may have the reply too. Not so where
    /// the program says in the header that it is for one caller.
    pub fn may_be_shared(&self) -> bool {
        match &self.form {
            ReplyForm::Http { headers, .. } => {
                !headers.iter().any(|(name, value)| is_private(name, value))
            }
            ReplyForm::Plain | ReplyForm::Json | ReplyForm::Parts(..) => true,
        }
    }

    /// Returns true if the reply may be kept for later callers with the same question. A failure
    /// that the program reports is not kept, nor is "not modified", which is for one caller only.
    pub fn may_be_kept(&self) -> bool {
        match &self.form {
            ReplyForm::Http { status, .. } => {
                *status < 400 && *status != 304 && self.may_be_shared()
            }
            ReplyForm::Plain | ReplyForm::Json => true,
            ReplyForm::Parts(..) => false,
        }
    }
}

/// Returns true if a field of the program's header says that its answer is for one caller, or for
/// this moment only.
fn is_private(name: &str, value: &str) -> bool {
    let has = |words: &[&str]| {
        value.split(',').any(|one| {
            let one = one.trim().to_ascii_lowercase();
            words.iter().any(|word| {
                one.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            })
        })
    };
    match name {
        "set-cookie" | "vary" => true,
        "cache-control" => has(&["no-store", "private", "no-cache", "max-age=0", "s-maxage=0"]),
        "pragma" => has(&["no-cache"]),
        _ => false,
    }
}

/// What the bytes of a [`Reply`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyForm {
    /// The answer as the program wrote it. The route decides its content type.
    Plain,
    /// A JSON document: the captures of a `reply` pattern, or `reply = "json"`.
    Json,
    /// `reply = "http"`: the program chose status and headers. Both are checked: the status is
    /// from 200 to 599; no header is hop-by-hop, gives a length, or contains a control character.
    Http {
        /// The status code.
        status: u16,
        /// The names, in lower case, and the values of the headers.
        headers: Vec<(String, String)>,
    },
    /// The answer comes in parts, and the first one has come; `body` is empty.
    Parts(PartForm, Parts),
}

/// What the parts of an answer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartForm {
    /// Messages as the program wrote them. The route decides their content type.
    Plain,
    /// Bytes as they came, cut anywhere. The route decides their content type.
    Raw,
    /// Each is a JSON document.
    Json,
    /// Messages of JSON-RPC. The last one is the answer to the call with this id. They are always
    /// events.
    Messages(Bytes),
}

/// The parts of one answer, for its caller. Dropping the last clone means that the caller has
/// left.
pub type Parts = parts::Parts<Failure>;

/// The worker's end of [`Parts`].
pub type PartSender = parts::Sender<Failure>;

/// Tells a worker whether the caller of [`Parts`] keeps up.
pub type PartGate = parts::Gate<Failure>;

/// Makes the two ends of an answer in parts; the worker is held back beyond `limit` bytes.
pub fn answer_in_parts(limit: usize) -> (PartSender, Parts) {
    parts::channel(limit, Failure::Internal)
}

/// How long one call waited and worked, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From acceptance until the call was last given to a worker.
    pub queue: Duration,
    /// From then until its answer or failure.
    pub work: Duration,
    /// The call; `None` if it was refused when it arrived, or is many.
    pub call: Option<CallId>,
    /// The worker that was given it last; `None` if none was.
    pub worker: Option<WorkerId>,
    /// The other server that was given it last; `None` if a worker here was, or nobody.
    pub away: Option<AwayTime>,
}

/// Where a call was that another server has worked on, and what the way there and back took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwayTime {
    /// The other server.
    pub host: HostTag,
    /// The time that its answer was neither in the queue nor in the worker, in microseconds; 0 if
    /// it did not answer.
    pub way_us: u32,
}

/// How one call ended, or that its first part has come. Each accepted call has exactly one.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answer, or why there is none.
    pub result: Result<Reply, Failure>,
    /// How long it took.
    pub timing: Timing,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Callers behind one proxy share its connection.
    #[test]
    fn a_connection_is_one_caller_only_if_nothing_else_tells_them_apart() {
        let speaker = |tenant, address: [u8; 4], connection, session: &'static str| Speaker {
            tenant: TenantId(tenant),
            address: Some(address.into()),
            connection,
            session: (!session.is_empty()).then(|| Bytes::from_static(session.as_bytes())),
        };
        let (here, there) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        let same = |one: &Speaker, other: &Speaker| {
            assert_eq!(one.is(other), other.is(one));
            one.is(other)
        };
        let plain = speaker(0, here, 7, "");
        assert!(same(&plain, &plain) && same(&plain, &speaker(0, here, 7, "s")));
        assert!(!same(&plain, &speaker(0, here, 8, "")), "another connection");
        assert!(!same(&plain, &speaker(1, here, 7, "")), "another key");
        assert!(!same(&plain, &speaker(0, there, 7, "")), "another address");
        let session = speaker(1, here, 7, "s");
        assert!(same(&session, &speaker(1, there, 8, "s")), "a session moves");
        assert!(!same(&session, &speaker(1, here, 7, "t")), "another session");
        assert!(!same(&session, &speaker(2, here, 7, "s")), "the session of another key");
    }
}
