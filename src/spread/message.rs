//! What front ends and worker hosts tell each other, as bytes.
//!
//! Pure. A message is one line of JSON, a line feed, and a body, which may be empty. The line is an
//! object with one member, whose name is the kind of the message. Members that are unknown are
//! ignored, so that a later version may add some. A kind that is unknown is an error of its own, to
//! be counted. Nothing here trusts its sender: the length of a line, the number of entries in a list
//! and the depth of what is kept are bounded before anything is kept.

use std::borrow::Cow;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::few::Few;
use super::node::{Seal, node_text};
use crate::base::{Failure, NodeId, RunId};

/// Most bytes of the line of a message.
pub const LINE_MAX: usize = 64 << 10;
/// Most calls that one message lists.
pub const RUNS_MAX: usize = 512;
/// Most answers whose progress one pong tells. Together with the list of calls, they fit in a line.
pub const SENT_MAX: usize = 256;
/// What `check` sends, to see whether it may. It is no message.
pub const TRIAL: &[u8] = b"{}";
/// Most pools of a host.
pub const POOLS_MAX: usize = 256;
/// Most bytes of what a worker says of how far a call is.
pub const PROGRESS_MAX: usize = 8 << 10;
/// Most characters of the name of a machine, as the kernel has it.
const MACHINE_MAX: usize = 64;
/// Most headers of an answer.
const HEADERS_MAX: usize = 128;
/// How many facts may make up the seal of a pool.
const FACTS_MAX: usize = 32;

/// A message without its body.
#[derive(Clone, Debug, PartialEq)]
pub enum HostMessage {
    /// An owner has calls that wait.
    Demand(Demand),
    /// The oldest call of an owner has waited long.
    Hungry(Hungry),
    /// A host has a free worker and asks for a call.
    Claim(SeatClaim),
    /// An owner gives a call to a host. The body is its question, unless that comes in parts.
    Grant(Grant),
    /// An owner has no call for a claim.
    Nothing(Nothing),
    /// A host refuses a grant: the call was not begun.
    NotBegun(GrantRefused),
    /// A call has ended. The body is its reply, unless that went in parts.
    Answer(HostAnswer),
    /// A part of a question or of a reply; it is the body.
    Part(HostPart),
    /// How far a call is, as its worker says; it is the body.
    Progress(HostProgress),
    /// The receiver of parts has room for more.
    More(More),
    /// The caller has left, or nobody wants the rest.
    Leave(Leave),
    /// An owner asks what became of calls.
    Ping(Ping),
    /// A host says it.
    Pong(Pong),
    /// A node says that it is there.
    Beat(Beat),
}

/// An owner has calls that wait.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Demand {
    /// The owner.
    #[serde(with = "node_text")]
    pub owner: NodeId,
    /// How many.
    #[serde(default)]
    pub calls: u32,
    /// How often hosts have passed it on.
    #[serde(default)]
    pub hops: u32,
}

/// The oldest call of an owner has waited long.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hungry {
    /// The owner.
    #[serde(with = "node_text")]
    pub owner: NodeId,
    /// How long the call has waited, in milliseconds.
    pub age_ms: u64,
}

/// A host has a free worker, which it reserves, and asks for a call.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SeatClaim {
    /// The host.
    #[serde(with = "node_text")]
    pub host: NodeId,
    /// The number of the claim at the host.
    pub claim: u64,
    /// How many workers are free there.
    pub seats: u32,
}

/// An owner gives a call to a host.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// The owner.
    #[serde(with = "node_text")]
    pub owner: NodeId,
    /// The claim that is answered.
    pub claim: u64,
    /// Which attempt at which call it is.
    pub run: RunId,
    /// How long the call may take from now on, in milliseconds.
    pub left_ms: u64,
    /// The text of `{nonce}` in the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// How many bytes the question has. If the body is empty, they come in parts.
    pub len: u64,
    /// Its caller wants to know how far it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub listens: bool,
    /// The last ping that the owner has sent before.
    #[serde(default)]
    pub ping: u64,
}

/// An owner has no call for a claim.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Nothing {
    /// The owner.
    #[serde(with = "node_text")]
    pub owner: NodeId,
    /// The claim.
    pub claim: u64,
}

/// A host refuses a grant: the call was not begun.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GrantRefused {
    /// The host.
    #[serde(with = "node_text")]
    pub host: NodeId,
    /// The attempt.
    pub run: RunId,
}

/// A call has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct HostAnswer {
    /// The host.
    #[serde(with = "node_text")]
    pub host: NodeId,
    /// The attempt.
    pub run: RunId,
    /// How it ended.
    pub out: Out,
    /// How many bytes the reply has. If the body is empty, they came in parts.
    #[serde(default)]
    pub len: u64,
    /// How much of the reply its caller has got in parts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after: u64,
    /// How long the question waited at the host, in microseconds.
    #[serde(default)]
    pub queue_us: u64,
    /// How long its worker took, in microseconds.
    #[serde(default)]
    pub work_us: u64,
    /// The question can be the only reason why a worker was lost.
    #[serde(default, skip_serializing_if = "is_false")]
    pub blamed: bool,
    /// The worker is free again, and asks for the next call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<NextClaim>,
}

/// A claim that comes with an answer, for the pool of the answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NextClaim {
    /// The number of the claim at the host.
    pub claim: u64,
    /// How many workers are free there.
    pub seats: u32,
}

/// How a call ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Out {
    /// With an answer as the program wrote it.
    Plain,
    /// With a JSON document.
    Json,
    /// With an answer whose program chose status and headers.
    Http {
        /// The status.
        status: u16,
        /// The headers.
        headers: Few<(String, String), HEADERS_MAX>,
    },
    /// With an answer whose parts went before, if it has any.
    Parts,
    /// With a failure.
    Failed(Failure),
}

/// A part of a question or of a reply.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HostPart {
    /// Who sends it.
    #[serde(with = "node_text")]
    pub from: NodeId,
    /// The attempt.
    pub run: RunId,
    /// How much went before.
    pub at: u64,
    /// How many bytes the whole has, if it counts only as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    /// The body ends inside a part of the program's answer, which goes on in the next one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cut: bool,
}

/// How far a call is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HostProgress {
    /// The host.
    #[serde(with = "node_text")]
    pub host: NodeId,
    /// The attempt.
    pub run: RunId,
}

/// The receiver of parts has room for more.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct More {
    /// Who receives the parts.
    #[serde(with = "node_text")]
    pub from: NodeId,
    /// The attempt.
    pub run: RunId,
    /// How many bytes were taken since the beginning.
    pub taken: u64,
}

/// The caller has left, or nobody wants the rest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Leave {
    /// Who no longer wants it.
    #[serde(with = "node_text")]
    pub from: NodeId,
    /// The attempt.
    pub run: RunId,
}

/// An owner asks what became of calls.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ping {
    /// The owner.
    #[serde(with = "node_text")]
    pub owner: NodeId,
    /// Its number; each is greater than the one before.
    pub ping: u64,
    /// Calls that it has given to the host, and has no answer to.
    pub holds: Few<RunId, RUNS_MAX>,
    /// Those are not all, so an answer to another call is kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partial: bool,
}

/// A host says what became of calls.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pong {
    /// The host.
    #[serde(with = "node_text")]
    pub host: NodeId,
    /// The ping that is answered.
    pub ping: u64,
    /// Calls of which it knows nothing.
    #[serde(default)]
    pub unknown: Few<RunId, RUNS_MAX>,
    /// It forgot no end that was not heard: what it does not know was not begun.
    #[serde(default)]
    pub sure: bool,
    /// It works on one call, and nothing else.
    #[serde(default)]
    pub alone: bool,
    /// How much it has sent of each answer that comes in parts.
    #[serde(default)]
    pub sent: Few<(RunId, u64), SENT_MAX>,
}

/// A node says that it is there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Beat {
    /// The node.
    #[serde(with = "node_text")]
    pub node: NodeId,
    /// What its machine is called.
    #[serde(default, deserialize_with = "shown_name::<MACHINE_MAX, _>")]
    pub machine: String,
    /// It takes no further calls.
    #[serde(default)]
    pub draining: bool,
    /// Its pools.
    #[serde(default)]
    pub pools: Few<BeatPool, POOLS_MAX>,
    /// Where they are among all of them, if one message cannot hold all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<BeatCut>,
}

/// Which of its pools a node names.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BeatCut {
    /// How many are named before them.
    pub at: usize,
    /// How many there are.
    pub all: usize,
}

/// A pool of a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BeatPool {
    /// The name of the pool.
    #[serde(deserialize_with = "shown_name::<{ usize::MAX }, _>")]
    pub name: String,
    /// What it is called in subjects.
    #[serde(with = "node_text")]
    pub node: NodeId,
    /// What the pool is.
    pub seal: Seal,
    /// Of what the seal is made: the name of a key, and a hash of its value. Empty: it was left out
    /// for want of room.
    #[serde(default)]
    pub facts: Few<(String, Seal), FACTS_MAX>,
    /// Its workers that are ready or busy.
    #[serde(default)]
    pub workers: u32,
    /// Those that are busy.
    #[serde(default)]
    pub busy: u32,
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadMessage {
    /// It may be one of a later version.
    #[error("a message of an unknown kind")]
    UnknownKind,
    /// It is none of any version.
    #[error("bytes that are no message")]
    Malformed,
}

/// Reads the first characters of a name that operators will see. None of them is obeyed by a terminal.
fn shown_name<'de, const MOST: usize, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = Cow::<str>::deserialize(from)?;
    Ok(name.chars().take(MOST).map(|it| if it.is_control() { '?' } else { it }).collect())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl HostMessage {
    /// Returns the message with its body as bytes.
    pub fn encode(&self, body: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(320 + body.len());
        match self {
            Self::Demand(it) => line(&mut out, "demand", it),
            Self::Hungry(it) => line(&mut out, "hungry", it),
            Self::Claim(it) => line(&mut out, "claim", it),
            Self::Grant(it) => line(&mut out, "grant", it),
            Self::Nothing(it) => line(&mut out, "none", it),
            Self::NotBegun(it) => line(&mut out, "not_begun", it),
            Self::Answer(it) => line(&mut out, "answer", it),
            Self::Part(it) => line(&mut out, "part", it),
            Self::Progress(it) => line(&mut out, "progress", it),
            Self::More(it) => line(&mut out, "more", it),
            Self::Leave(it) => line(&mut out, "leave", it),
            Self::Ping(it) => line(&mut out, "ping", it),
            Self::Pong(it) => line(&mut out, "pong", it),
            Self::Beat(it) => line(&mut out, "beat", it),
        }
        out.put_slice(body);
        out.freeze()
    }

    /// Returns the message and its body.
    ///
    /// # Errors
    ///
    /// If the bytes are no message of a kind that is known, or have a body that its kind has not.
    pub fn decode(bytes: &Bytes) -> Result<(Self, Bytes), BadMessage> {
        let head = &bytes[..bytes.len().min(LINE_MAX)];
        let end = memchr::memchr(b'\n', head).ok_or(BadMessage::Malformed)?;
        let body = bytes.slice(end + 1..);
        let (kind, value) = member(&bytes[..end]).ok_or(BadMessage::Malformed)?;
        let message = match kind {
            b"demand" => Self::Demand(read(value)?),
            b"hungry" => Self::Hungry(read(value)?),
            b"claim" => Self::Claim(read(value)?),
            b"grant" => Self::Grant(read(value)?),
            b"none" => Self::Nothing(read(value)?),
            b"not_begun" => Self::NotBegun(read(value)?),
            b"answer" => Self::Answer(read(value)?),
            b"part" => Self::Part(read(value)?),
            b"progress" => Self::Progress(read(value)?),
            b"more" => Self::More(read(value)?),
            b"leave" => Self::Leave(read(value)?),
            b"ping" => Self::Ping(read(value)?),
            b"pong" => Self::Pong(read(value)?),
            b"beat" => Self::Beat(read(value)?),
            _ => return Err(BadMessage::UnknownKind),
        };
        let len = body.len() as u64;
        let is_right = match &message {
            Self::Grant(Grant { len: all, .. }) | Self::Answer(HostAnswer { len: all, .. }) => {
                len == 0 || len == *all
            }
            Self::Part(_) => true,
            Self::Progress(_) => body.len() <= PROGRESS_MAX,
            _ => len == 0,
        };
        if !is_right {
            return Err(BadMessage::Malformed);
        }
        Ok((message, body))
    }
}

fn line<T: Serialize>(out: &mut BytesMut, kind: &str, value: &T) {
    out.put_slice(b"{\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\":");
    // A text, a number or a list of them can always be written.
    serde_json::to_writer((&mut *out).writer(), value).unwrap_or_default();
    out.put_slice(b"}\n");
}

/// Returns the name and the value of the one member of an object, as [`line()`] writes it. The value
/// is not looked at.
fn member(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = line.strip_prefix(b"{\"")?.strip_suffix(b"}")?;
    let end = memchr::memchr(b'"', rest)?;
    let (kind, rest) = rest.split_at(end);
    let is_word = !kind.is_empty() && kind.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
    is_word.then_some((kind, rest.strip_prefix(b"\":")?))
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Result<T, BadMessage> {
    serde_json::from_slice(value).map_err(|_| BadMessage::Malformed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const RUN: RunId = RunId { call: 7, attempt: 1, key: u64::MAX };

    fn all() -> Vec<HostMessage> {
        let (node, seal) = (NodeId(3), Seal(9));
        let answer = |out| HostAnswer {
            host: node,
            run: RUN,
            out,
            len: 3,
            after: 0,
            queue_us: 1,
            work_us: 2,
            blamed: true,
            claim: Some(NextClaim { claim: 4, seats: 1 }),
        };
        let failure = Failure::WorkerLost { exit: Arc::from("signal 9") };
        let headers = Few(vec![("a".to_owned(), "b\"".to_owned())]);
        let pool = BeatPool {
            name: "fib".to_owned(),
            node,
            seal,
            facts: Few(vec![("framing".to_owned(), seal)]),
            workers: 4,
            busy: 1,
        };
        vec![
            HostMessage::Demand(Demand { owner: node, calls: 3, hops: 1 }),
            HostMessage::Hungry(Hungry { owner: node, age_ms: 120 }),
            HostMessage::Claim(SeatClaim { host: node, claim: 1, seats: 2 }),
            HostMessage::Grant(Grant {
                owner: node,
                claim: 1,
                run: RUN,
                left_ms: 30_000,
                nonce: Some("n".to_owned()),
                len: 3,
                listens: true,
                ping: 5,
            }),
            HostMessage::Nothing(Nothing { owner: node, claim: 1 }),
            HostMessage::NotBegun(GrantRefused { host: node, run: RUN }),
            HostMessage::Answer(answer(Out::Plain)),
            HostMessage::Answer(answer(Out::Http { status: 201, headers })),
            HostMessage::Answer(answer(Out::Failed(failure))),
            HostMessage::Answer(answer(Out::Parts)),
            HostMessage::Part(HostPart { from: node, run: RUN, at: 2, len: Some(7), cut: true }),
            HostMessage::Progress(HostProgress { host: node, run: RUN }),
            HostMessage::More(More { from: node, run: RUN, taken: 1 << 20 }),
            HostMessage::Leave(Leave { from: node, run: RUN }),
            HostMessage::Ping(Ping { owner: node, ping: 9, holds: Few(vec![RUN]), partial: true }),
            HostMessage::Pong(Pong {
                host: node,
                ping: 9,
                unknown: Few(vec![RUN]),
                sure: true,
                alone: true,
                sent: Few(vec![(RUN, 7)]),
            }),
            HostMessage::Beat(Beat {
                node,
                machine: "m".to_owned(),
                draining: true,
                pools: Few(vec![pool]),
                cut: Some(BeatCut { at: 1, all: 2 }),
            }),
        ]
    }

    fn decode(text: impl Into<Vec<u8>>) -> Result<(HostMessage, Bytes), BadMessage> {
        HostMessage::decode(&Bytes::from(text.into()))
    }

    #[test]
    fn what_is_written_is_read_back() {
        for message in all() {
            let body: &[u8] = match message {
                HostMessage::Grant(_)
                | HostMessage::Answer(_)
                | HostMessage::Part(_)
                | HostMessage::Progress(_) => b"a\nb",
                _ => b"",
            };
            let bytes = message.encode(body);
            let line = bytes.iter().position(|byte| *byte == b'\n').expect("a line");
            assert!(serde_json::from_slice::<serde_json::Value>(&bytes[..line]).is_ok());
            assert_eq!(HostMessage::decode(&bytes), Ok((message, Bytes::from(body))), "{bytes:?}");
        }
    }

    #[test]
    fn no_character_of_a_name_is_obeyed_by_a_terminal() {
        let name = "a\u{1b}[2J\n\u{9b}";
        let Some(HostMessage::Beat(mut beat)) = all().pop() else { panic!("the last one") };
        name.clone_into(&mut beat.pools.0[0].name);
        beat.machine = name.to_owned() + &"x".repeat(LINE_MAX / 2);
        let read = HostMessage::decode(&HostMessage::Beat(beat).encode(b""));
        let Ok((HostMessage::Beat(read), _)) = read else { panic!("{read:?}") };
        assert_eq!(read.pools.0[0].name, "a?[2J??");
        assert_eq!(read.machine, format!("a?[2J??{}", "x".repeat(MACHINE_MAX - 7)));
    }

    #[test]
    fn a_later_version_may_add_members_and_kinds() {
        let id = NodeId(3);
        let more = format!("{{\"demand\":{{\"owner\":\"{id}\",\"later\":[{{}}]}}}}\n");
        assert_eq!(
            decode(more).map(|it| it.0),
            Ok(HostMessage::Demand(Demand { owner: id, calls: 0, hops: 0 }))
        );
        assert_eq!(decode("{\"later\":{}}\n"), Err(BadMessage::UnknownKind));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let id = NodeId(3);
        let upper = "A".repeat(32);
        for text in [
            String::new(),
            "\n".to_owned(),
            "{}\n".to_owned(),
            format!("{{\"demand\":{{\"owner\":\"{id}\"}}}}"),
            format!("{{\"demand\":{{\"owner\":\"{id}\"}}}}\nbody"),
            format!("{{\"demand\":{{\"owner\":\"{id}\"}},\"hungry\":{{}}}}\n"),
            format!("{{\"demand\":{{\"owner\":\"{upper}\"}}}}\n"),
            format!("{{\"demand\":{{\"owner\":\"{id}0\"}}}}\n"),
            format!("{{\"hungry\":{{\"owner\":\"{id}\",\"age_ms\":-1}}}}\n"),
            format!("{{\"hungry\":{{\"owner\":\"{id}\",\"age_ms\":1.5}}}}\n"),
            format!("{{\"demand\" :{{\"owner\":\"{id}\"}}}}\n"),
            format!("{{\"de\u{e9}\":{{\"owner\":\"{id}\"}}}}\n"),
        ] {
            assert_eq!(decode(text.clone()), Err(BadMessage::Malformed), "{text}");
        }
    }

    #[test]
    fn a_body_is_as_long_as_the_message_says() {
        let grant = all().swap_remove(3);
        assert!(HostMessage::decode(&grant.encode(b"abc")).is_ok());
        assert!(HostMessage::decode(&grant.encode(b"")).is_ok(), "it comes in parts");
        for body in [&b"abcd"[..], b"ab"] {
            assert_eq!(HostMessage::decode(&grant.encode(body)), Err(BadMessage::Malformed));
        }
    }

    #[test]
    fn long_lines_long_lists_and_deep_objects_are_refused() {
        let id = NodeId(3);
        let long =
            format!("{{\"demand\":{{\"owner\":\"{id}\",\"x\":\"{}\"}}}}\n", "x".repeat(LINE_MAX));
        assert_eq!(decode(long), Err(BadMessage::Malformed));
        let run = "{\"call\":1,\"attempt\":1,\"key\":1}";
        let runs = vec![run; RUNS_MAX + 1].join(",");
        let many = format!("{{\"ping\":{{\"owner\":\"{id}\",\"ping\":1,\"holds\":[{runs}]}}}}\n");
        assert!(many.len() < LINE_MAX);
        assert_eq!(decode(many), Err(BadMessage::Malformed));
        let deep = format!(
            "{{\"pong\":{{\"host\":\"{id}\",\"ping\":1,\"unknown\":{}{}}}}}\n",
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert_eq!(decode(deep), Err(BadMessage::Malformed));
    }

    #[test]
    fn failures_cross_as_they_are() {
        let failure = Failure::Timeout { after: Duration::from_millis(1500), conduct: None };
        let message = HostMessage::Answer(HostAnswer {
            host: NodeId(1),
            run: RUN,
            out: Out::Failed(failure),
            len: 0,
            after: 7,
            queue_us: 0,
            work_us: 0,
            blamed: false,
            claim: None,
        });
        assert_eq!(HostMessage::decode(&message.encode(b"")), Ok((message, Bytes::new())));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            decode(bytes).ok();
        }

        #[test]
        fn a_message_with_one_other_byte_is_read_or_refused(
            which in 0_usize..17, at in any::<prop::sample::Index>(), byte in any::<u8>()
        ) {
            let mut bytes = all()[which].encode(b"").to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok((message, body)) = decode(bytes) {
                prop_assert_eq!(HostMessage::decode(&message.encode(&body)), Ok((message, body)));
            }
        }
    }
}
