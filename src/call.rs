//! The one place that says in which order a call asks cache, flight and pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::{Call, Failure, Reply, Timing};
use crate::cache::Stored;

/// What `front` hands over: a call, the pool it is for, and how its answer may be kept.
#[derive(Clone, Debug)]
pub struct Request {
    /// The index of the pool in the configuration.
    pub pool: usize,
    /// The call.
    pub call: Call,
    /// `None`: the route keeps nothing, and identical calls run apart.
    pub keep: Option<Keep>,
}

/// How an answer may be kept.
#[derive(Clone, Debug)]
pub struct Keep {
    /// The question with an empty nonce; with route and generation it is the key.
    pub question: Bytes,
    /// How long.
    pub ttl: Duration,
}

/// How a call ended, with how the cache had part in it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The answer, or why there is none.
    pub result: Result<Reply, Failure>,
    /// What it cost; zero for a hit.
    pub timing: Timing,
    /// `None`: the route keeps nothing.
    pub cache: Option<CacheUse>,
}

/// How the cache served one call.
#[derive(Clone, Debug)]
pub enum CacheUse {
    /// From what was kept.
    Hit(Arc<Stored>),
    /// By a run of its own; kept, unless it failed.
    Miss(Option<Arc<Stored>>),
    /// By the run of another caller; kept, unless it failed.
    Collapsed(Option<Arc<Stored>>),
}

/// The way from a request to its answer.
#[derive(Clone, Debug)]
pub struct Gateway {}

impl Gateway {
    /// A kept answer, if there is one: the shortest way, without a call.
    pub fn kept(&self, _request: &Request, _now: Instant) -> Option<Answer> {
        todo!()
    }

    /// Answers a request exactly once. Dropping the future means that the caller left.
    pub async fn call(&self, _request: Request) -> Answer {
        todo!()
    }
}
