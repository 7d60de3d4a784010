//! Kept answers.

pub mod flight;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::base::{Reply, RouteId};
use crate::config::CacheSettings;

/// What makes two calls the same: route, generation of the pool, the rendered question with an
/// empty nonce. Compared in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The route.
    pub route: RouteId,
    /// Changes when a reload changes what the route or its pool would answer.
    pub generation: u64,
    /// The rendered question.
    pub question: Bytes,
}

/// A kept answer.
#[derive(Debug)]
pub struct Stored {
    /// The answer.
    pub reply: Reply,
    /// The strong entity tag over the body, in its quotes.
    pub etag: Box<str>,
    /// When it was kept.
    pub since: Instant,
    /// How long it may be served from then on.
    pub ttl: Duration,
}

/// Kept answers, bounded in bytes, shared by all threads.
#[derive(Debug)]
pub struct Cache {}

impl Stored {
    /// An answer to keep, with the tag of its body.
    pub fn new(_reply: Reply, _since: Instant, _ttl: Duration) -> Self {
        todo!()
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(_settings: &CacheSettings) -> Self {
        todo!()
    }

    /// The kept answer, unless it is older than its time.
    pub fn get(&self, _key: &Key, _now: Instant) -> Option<Arc<Stored>> {
        todo!()
    }

    /// Keeps an answer; what is larger than the whole cache is not kept.
    pub fn put(&self, _key: Key, _stored: Arc<Stored>) {
        todo!()
    }

    /// Bytes held now, keys and book-keeping included.
    pub fn bytes(&self) -> u64 {
        todo!()
    }
}
