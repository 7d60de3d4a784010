//! The settings of the server as a whole.
//!
//! Pure.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::callers::{CallersSettings, WhoMayAsk};
use super::file::{LogFormat, LogLevel};
use super::jobs::JobsSettings;
use super::origins::{Cors, Hosts};
use super::pool::PoolSettings;
use super::problem::Warning;
use super::route::RouteSettings;
use super::secret::Secret;
use super::shared::SharedCacheSettings;
use super::spread::SpreadSettings;
use super::stamp::Stamps;
use super::tls::TlsSettings;
use crate::base::ByteSize;

/// The whole configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the configuration file, and those with its secrets, looked like just before they were
    /// read.
    pub files: Stamps,
    /// What is unwise in it.
    pub warnings: Vec<Warning>,
    /// Where callers connect; empty only where some pool is spread.
    pub listen: Vec<ListenAddress>,
    /// Where operators connect.
    pub admin: AdminSettings,
    /// Where load balancers ask how many calls the server can take; `None`: nowhere.
    pub agent: Option<ListenAddress>,
    /// The certificate of the server; `None`: callers speak plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Who may ask.
    pub callers: CallersSettings,
    /// Those whom it trusts must say for whom they connect.
    pub proxy_protocol: bool,
    /// By which names this server may be asked on a loopback listener.
    pub hosts: Arc<Hosts>,
    /// Which pages may read what no route answers; the routes have their own.
    pub cors: Option<Arc<Cors>>,
    /// Where callers find what can be asked.
    pub docs: DocsSettings,
    /// Threads that handle connections; 1 or more.
    pub threads: usize,
    /// How long accepted calls may take to finish once the server is told to stop.
    pub drain: Duration,
    /// What is logged, and in which format.
    pub log: LogSettings,
    /// Limits of one connection and one request.
    pub limits: LimitSettings,
    /// The pools, in file order; names are unique.
    pub pools: Vec<Arc<PoolSettings>>,
    /// The routes, in file order; `RouteId` is the index.
    pub routes: Vec<RouteSettings>,
    /// Where answers are kept.
    pub cache: CacheSettings,
    /// Where jobs are kept; `None`: there are none.
    pub jobs: Option<JobsSettings>,
    /// Through which NATS server calls are shared with other hosts; `None`: they are not.
    pub spread: Option<SpreadSettings>,
}

impl Config {
    /// Makes the paths to the shared cache absolute, which are relative to this directory.
    pub(super) fn in_base(mut self, base: &Path) -> Self {
        self.cache.shared = self.cache.shared.map(|shared| shared.in_base(base));
        self
    }

    /// Returns true if the operator has said who may ask, or callers must show a certificate.
    pub fn says_who_may_ask(&self) -> bool {
        self.demands_certificates() || self.callers.who != WhoMayAsk::Unsaid
    }

    /// Returns true if callers must show a certificate.
    pub fn demands_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.files.clients.is_some())
    }
}

/// One place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `127.0.0.1:3000`, `[::1]:0`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// Where callers find what can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocsSettings {
    /// At [`DocsSettings::USUAL`] if only this machine can ask, and no route takes the path.
    WherePrivate,
    /// At this path, which no route takes.
    At(Arc<str>),
    /// Nowhere.
    Off,
}

impl DocsSettings {
    /// Where the page is if the configuration does not say it.
    pub const USUAL: &str = "/docs";
}

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// `None`: switched off.
    pub address: Option<ListenAddress>,
    /// Whether the operator named this address. If so, a port that is taken is an error; if
    /// not, any free port is used.
    pub explicit: bool,
    /// The Bearer token that operators must send; always set if the address is not loopback.
    pub token: Option<Secret>,
}

/// What is logged, and in which format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LogLevel,
    /// Where each request is logged.
    pub access: AccessSettings,
}

/// Where each request is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessSettings {
    /// Nowhere.
    Off,
    /// With everything else.
    Log,
    /// In this file; the path is absolute.
    File(PathBuf),
}

/// Limits of one connection and one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Most bytes of a request's head.
    pub header: ByteSize,
    /// Most bytes of a request's body.
    pub body: ByteSize,
    /// Most bytes of bodies and answers that all connections hold together.
    pub memory: ByteSize,
    /// From a head's first byte to its last.
    pub header_timeout: Duration,
    /// From the head's end to the body's last byte.
    pub body_timeout: Duration,
    /// Longest time that the client may take none of the bytes of a response.
    pub write_timeout: Duration,
    /// Longest time that a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// Most connections open at once.
    pub connections: usize,
    /// Most connections open at once from one address.
    pub per_address: PerAddressSettings,
}

/// How many connections one address may have open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerAddressSettings {
    /// The most.
    pub most: usize,
    /// The addresses of this machine have this limit, too.
    pub is_for_loopback: bool,
}

impl PerAddressSettings {
    /// Makes it of what the configuration says.
    pub fn new(said: Option<usize>) -> Self {
        // Before a server on this machine there may be a proxy that nobody had to name.
        Self { most: said.unwrap_or(256), is_for_loopback: said.is_some() }
    }
}

/// The memory for kept answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Most bytes of kept answers, including their keys and bookkeeping.
    pub memory: ByteSize,
    /// Where servers share them; `None`: nowhere.
    pub shared: Option<Arc<SharedCacheSettings>>,
}
