//! What the server as a whole is told.
//!
//! Pure.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::file::{LogFormat, LogLevel};
use super::pool::PoolSettings;
use super::route::RouteSettings;
use crate::base::ByteSize;

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
    /// The routes, in file order; [`RouteId`](crate::base::RouteId) is the index.
    pub routes: Vec<RouteSettings>,
    /// Where answers are kept.
    pub cache: CacheSettings,
}

/// One place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `127.0.0.1:3000`, `[::1]:0`.
    Tcp(SocketAddr),
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

/// Where and how the log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
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
