//! What the operator asked for, checked and complete.
//!
//! Two stages: `file` and `flags` hold what was typed; [`Config`] holds what it means. The
//! rest of the server sees only the second, and each room only its own struct of it.
//! Everything here is valid by construction: `check` makes it or reports [`Problem`]s.

pub mod check;
mod check_parameter;
mod check_pool;
mod check_route;
mod check_stream;
pub mod file;
pub mod flags;
pub mod framing;
pub mod launch;
pub mod load;
pub mod problem;
pub mod reference;
pub mod route_text;
pub mod scalar;
pub mod schema;
pub mod shape;
pub mod tree;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

use crate::base::parameter::Parameter;
use crate::base::pattern::Pattern;
use crate::base::template::Template;
use crate::base::{ByteSize, RouteId};

pub use framing::{Framing, Framings, Matching};
pub use load::ConfigSource;
pub use problem::{Problem, Problems};

/// Everything one server is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where callers connect; at least one.
    pub listen: Vec<ListenAddress>,
    /// Where operators connect.
    pub admin: AdminSettings,
    /// Threads that own connections; 1 or more.
    pub threads: usize,
    /// How long accepted calls may take to finish once the server is told to stop.
    pub drain: Duration,
    /// Where and how the log is written.
    pub log: LogSettings,
    /// What one connection and one request may cost.
    pub limits: LimitSettings,
    /// The pools, in file order; names are unique.
    pub pools: Vec<Arc<PoolSettings>>,
    /// The routes, in file order; [`RouteId`] is the index.
    pub routes: Vec<RouteSettings>,
    /// Where answers are kept.
    pub cache: CacheSettings,
}

/// One place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `127.0.0.1:3000`, `[::1]:0`.
    Tcp(std::net::SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// `None`: switched off.
    pub address: Option<ListenAddress>,
    /// The operator named this address, so it is an error when the port is taken; if not,
    /// any free port is taken instead.
    pub explicit: bool,
    /// What a Bearer token must be, for a listener that is not loopback.
    pub token: Option<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON lines.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where and how the log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// The least important level that is written: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// One line a request?
    pub access: bool,
}

/// What one connection and one request may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Most bytes of a request's head.
    pub header: ByteSize,
    /// Most bytes of a request's body.
    pub body: ByteSize,
    /// From a head's first byte to its last.
    pub header_timeout: Duration,
    /// From the head's end to the body's last byte.
    pub body_timeout: Duration,
    /// Longest time a response may make no progress towards its reader.
    pub write_timeout: Duration,
    /// Longest time a connection may be silent between requests.
    pub idle_timeout: Duration,
    /// Most connections at once.
    pub connections: usize,
}

/// Where answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Most bytes of kept answers, keys and book-keeping included.
    pub memory: ByteSize,
}

/// One program and how its workers are run and asked.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The name after `pool.`.
    pub name: String,
    /// The process and its surroundings.
    pub launch: LaunchSettings,
    /// Workers kept ready; 1 or more.
    pub workers_least: usize,
    /// Most workers under load; `workers_least` or more.
    pub workers_most: usize,
    /// Calls in one worker at once.
    pub in_flight: InFlight,
    /// How bytes are cut into messages.
    pub framing: Framings,
    /// How an answer finds its call.
    pub matching: Matching,
    /// What an answer looks like.
    pub reply: ReplyShape,
    /// What the program's own error looks like; tried before `reply`.
    pub error: Option<Pattern>,
    /// The status of such an error; 400 to 599.
    pub error_status: u16,
    /// Of one call inside a worker.
    pub timeout: Duration,
    /// How long a call that nobody waits for may run on.
    pub abandoned: Duration,
    /// What may wait.
    pub queue: QueueSettings,
    /// How often a call is tried again after its worker was lost.
    pub retries: u32,
    /// Banner, hello and probe together.
    pub start_timeout: Duration,
    /// What the worker writes up to the end of the first match is its banner.
    pub ready: Option<Regex>,
    /// Sent once at start, after the banner and before the probe.
    pub hello: Vec<Greeting>,
    /// A worker is ready when this was answered.
    pub probe: Option<Probe>,
    /// From TERM to KILL.
    pub stop_grace: Duration,
    /// Most bytes of one question or answer.
    pub message_max: usize,
    /// When a worker is replaced for its age.
    pub recycle: RecycleSettings,
    /// How answers that come in parts end; `None`: an answer is one message.
    pub stream: Option<StreamSettings>,
    /// What a worker is told about a call that nobody waits for any more, `{id}` being the
    /// call's; only with `json-id`.
    pub cancel: Option<String>,
}

/// The process behind a worker. Resolved: starting it again needs no look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchSettings {
    /// The absolute path of the program, and its arguments.
    pub program: PathBuf,
    /// What it is told to be called (`argv[0]`), as the operator wrote it.
    pub name: String,
    /// The arguments after `argv[0]`.
    pub arguments: Vec<String>,
    /// The absolute directory it runs in.
    pub dir: PathBuf,
    /// The whole environment it gets.
    pub env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// Its stdout is a raw pseudo-terminal instead of a pipe.
    pub tty: bool,
}

/// Calls in one worker at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// Never more than this; 1 or more.
    Fixed(u32),
    /// Several while calls are far shorter than the wake-up of an idle worker, else one.
    Auto,
}

/// What may wait for a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Most calls that wait at once.
    pub length: usize,
    /// Most bytes of questions that wait at once.
    pub bytes: ByteSize,
    /// Longest time from acceptance to the first hand-over.
    pub wait: Duration,
}

/// What an answer looks like and what is made of it.
#[derive(Clone, Debug)]
pub enum ReplyShape {
    /// Bytes as they are.
    Plain,
    /// A pattern of literal text and captures.
    Pattern(Pattern),
    /// A JSON document, passed on.
    Json,
    /// JSON with `status`, `headers` and `body` or `body_base64`.
    Http,
}

/// One thing said to a new worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The text, without the end that the framing adds.
    pub send: String,
    /// Does the worker answer it?
    pub answer: bool,
}

/// The question that shows that a worker works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The text, without the end that the framing adds.
    pub send: String,
    /// The answer it must give; `None`: any.
    pub reply: Option<String>,
}

/// When a worker is replaced although nothing is wrong with it; each optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecycleSettings {
    /// After so many calls.
    pub calls: Option<u64>,
    /// When its resident memory is above this.
    pub memory: Option<ByteSize>,
    /// After this time.
    pub age: Option<Duration>,
}

/// Answers that come in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// How the last part is known.
    pub end: StreamEnd,
    /// Most bytes of one answer that wait for their reader before the worker is held back; 1 or
    /// more.
    pub buffer: usize,
}

/// How the last part of an answer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// It is followed by a message that is exactly this text.
    Until(String),
    /// It is a JSON document without `"more": true` at its top level.
    More,
}

/// Which requests become which calls.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Its place in the file.
    pub id: RouteId,
    /// The match text as written, which metrics and logs call it by.
    pub label: Arc<str>,
    /// The method in upper case. HEAD is taken by routes of GET.
    pub method: String,
    /// What the path must be, one part for each segment; `/` is one empty literal.
    pub path: Vec<PathPart>,
    /// The last part was `/*`: whatever follows `path` is taken too.
    pub rest: bool,
    /// The declared parameters, in the order of the match text.
    pub parameters: Vec<Parameter>,
    /// What is done with a request that matches.
    pub action: RouteAction,
}

/// One segment of a path, between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPart {
    /// Exactly this text, after decoding.
    Literal(String),
    /// Any text; it is the parameter at this index of `parameters`.
    Parameter(usize),
}

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum RouteAction {
    /// Always this.
    Text {
        /// The body.
        text: String,
        /// Its content type.
        content_type: String,
    },
    /// A call.
    Call(CallSettings),
}

/// How a request becomes a call.
#[derive(Clone, Debug)]
pub struct CallSettings {
    /// The index of the pool in [`Config::pools`].
    pub pool: usize,
    /// What the question is made of.
    pub send: SendShape,
    /// How long a good answer is kept; `None`: not at all.
    pub cache: Option<Duration>,
    /// May a call run twice?
    pub idempotent: bool,
    /// Of an answer that is passed on as it is.
    pub content_type: String,
}

/// What a question is made of.
#[derive(Clone, Debug)]
pub enum SendShape {
    /// Text with slots.
    Template(Template),
    /// The declared parameters as a JSON object.
    Json,
    /// The whole request as JSON.
    Http,
}
