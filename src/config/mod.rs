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
pub mod pool;
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

use crate::base::parameter::Parameter;
use crate::base::template::Template;
use crate::base::{ByteSize, RouteId};

pub use framing::{Framing, Framings, Matching};
pub use load::ConfigSource;
pub use pool::{
    Greeting, InFlight, LaunchSettings, PoolSettings, Probe, ProgramSettings, QueueSettings,
    RecycleSettings, ReplyShape, RuleSettings, StartSettings, StreamEnd, StreamSettings,
    WireSettings,
};
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

/// Which requests become which calls.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub enum SendShape {
    /// Text with slots.
    Template(Template),
    /// The declared parameters as a JSON object.
    Json,
    /// The whole request as JSON.
    Http,
}
