//! Kept answers, bounded in bytes.
//!
//! The key is compared in full, so two questions never share an answer, whatever their hashes.
//! An answer that is past its time is dropped when it is looked up; one that is not looked up
//! again is dropped when its room is needed.

mod aged;
pub mod flight;
mod known;
#[cfg_attr(not(feature = "redis"), path = "no_redis.rs")]
pub mod redis;
#[cfg_attr(
    not(feature = "redis"),
    allow(dead_code, unused_imports, reason = "there is nothing to share by")
)]
pub mod shared;

use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quick_cache::sync::{Cache as Store, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter};

pub use self::aged::AgeFields;
use self::known::KeptAnswers;
pub use self::known::KeptBounds;
use crate::base::{Reply, ReplyForm};
use crate::config::{CacheSettings, RouteAction, RouteSettings};
use crate::sync::memory::Lent;

/// What an answer depends on beside its question: the program, how it is spoken to, and how the
/// route makes questions and keeps answers. It is the same after a reload that changes none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scope(pub u128);

impl Scope {
    /// The scope of a route whose calls go to a program with this fingerprint.
    pub fn new(program: u128, route: &RouteSettings) -> Self {
        let RouteSettings { label, action, .. } = route;
        let kept = match action {
            RouteAction::Call(call) => Some((&call.send, call.cache)),
            RouteAction::Text { .. } => None,
        };
        Self(fingerprint(&(program, label, kept)))
    }
}

/// A hash of all that a value shows of itself. The same build makes the same of equal values, in
/// whatever process.
pub fn fingerprint(value: &impl fmt::Debug) -> u128 {
    xxhash_rust::xxh3::xxh3_128(format!("{value:?}").as_bytes())
}

/// What makes two calls the same. Compared in full.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where the question is asked.
    pub scope: Scope,
    /// What tells the question from others of its scope.
    pub question: Bytes,
}

/// A borrowed [`Key`]: a look-up needs no copy of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyRef<'a> {
    /// Where the question is asked.
    pub scope: Scope,
    /// What tells the question from others of its scope.
    pub question: &'a [u8],
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        let Key { scope, question } = key;
        *self == KeyRef { scope: *scope, question }
    }
}

/// An answer that is kept.
#[derive(Debug)]
pub struct Stored {
    /// The answer.
    pub reply: Reply,
    /// The strong entity tag over the body, in its quotes.
    pub etag: Bytes,
    /// When it was kept.
    pub since: Instant,
    /// How long it may be served after that.
    pub ttl: Duration,
    /// Counts its body while it is being read, perhaps longer than it is kept.
    pub lent: Lent,
    /// What its header says of its age.
    pub age_fields: AgeFields,
}

/// Kept answers, bounded in bytes, shared by all threads.
#[derive(Debug)]
pub struct Cache {
    store: Store<Key, Arc<Stored>, Bytewise>,
    /// What routes are told of it.
    known: Mutex<KeptAnswers>,
}

/// Whether the shared cache can be asked.
#[derive(Clone, Debug)]
pub struct SharedState {
    /// It can.
    pub is_connected: bool,
    /// Since when that is so.
    pub since: Instant,
    /// Why not, as far as it is known.
    pub error: Option<String>,
}

impl SharedState {
    /// Not yet.
    #[cfg(feature = "redis")]
    pub fn new(since: Instant) -> Self {
        Self { is_connected: false, since, error: None }
    }
}

/// What a trial of the shared cache has shown.
#[derive(Debug, Default)]
pub struct SharedTrial {
    /// Where it is.
    pub server: String,
    /// How long a look took; `None`: none was possible.
    pub took: Option<Duration>,
    /// Which answers it drops where its memory is full, if it says so and drops any.
    pub eviction: Option<String>,
    /// Why it cannot be used, and what to do.
    pub error: Option<(String, String)>,
    /// What is unwise, and what to do.
    pub warnings: Vec<(String, String)>,
}

/// What each kept answer costs beside its text, in bytes: key, counts, times, tag, its places in
/// the table, and what the allocator rounds up.
const OVERHEAD: u64 = 512;

/// What each header of a kept `reply = "http"` costs beside its text, in bytes.
const HEADER_OVERHEAD: u64 = 64;

#[derive(Clone, Debug)]
struct Bytewise;

impl Weighter<Key, Arc<Stored>> for Bytewise {
    fn weight(&self, key: &Key, stored: &Arc<Stored>) -> u64 {
        let headers = match &stored.reply.form {
            ReplyForm::Plain | ReplyForm::Json | ReplyForm::Parts(..) => 0,
            ReplyForm::Http { headers, .. } => headers
                .iter()
                .map(|(name, value)| (name.len() + value.len()) as u64 + HEADER_OVERHEAD)
                .sum(),
        };
        OVERHEAD + key.question.len() as u64 + stored.reply.body.len() as u64 + headers
    }
}

impl Stored {
    /// An answer to keep, with the tag of its body. The body is copied: it may be a small part
    /// of a large buffer, all of which would live as long as the answer.
    pub fn new(reply: Reply, since: Instant, ttl: Duration) -> Self {
        let body = Bytes::copy_from_slice(&reply.body);
        let etag = format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(&body)).into();
        let (reply, lent) = (Reply { body, ..reply }, Lent::default());
        Self { reply, etag, since, ttl, lent, age_fields: AgeFields::default() }
    }

    /// An answer that another server has kept before, and that may still be served for `left`.
    pub fn aged(reply: Reply, now: Instant, ttl: Duration, left: Duration) -> Self {
        let age = ttl.saturating_sub(left);
        // A clock that began later than that: it is as if the answer were fresh, for `left` only.
        match now.checked_sub(age) {
            Some(since) => Self::new(reply, since, ttl),
            None => Self::new(reply, now, left.min(ttl)),
        }
    }

    /// How long it has been kept, for the `Age` header.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// How long it may still be served; zero if its time is over.
    pub fn time_left(&self, now: Instant) -> Duration {
        self.ttl.saturating_sub(self.age(now))
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(settings: &CacheSettings) -> Self {
        let capacity = settings.memory.0;
        // One shard: each of several would refuse an answer larger than its part.
        let options = OptionsBuilder::new()
            .shards(1)
            .weight_capacity(capacity)
            .estimated_items_capacity(usize::try_from(capacity / (2 * OVERHEAD)).unwrap_or(0))
            .build()
            .expect("capacity and estimate are given");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let store = Store::with_options(options, Bytewise, hasher, lifecycle);
        Self { store, known: Mutex::default() }
    }

    /// The answer kept under this key, unless its time is over.
    pub fn get(&self, key: &(impl Equivalent<Key> + Hash), now: Instant) -> Option<Arc<Stored>> {
        let stored = self.store.get(key)?;
        if stored.time_left(now) > Duration::ZERO {
            return Some(stored);
        }
        // Only this answer: another thread may have put a fresh one in its place.
        self.store.remove_if(key, |kept| Arc::ptr_eq(kept, &stored));
        None
    }

    /// Keeps an answer in place of an older one with the same key. An answer larger than the
    /// whole cache, less a few percent, is not kept.
    pub fn put(&self, mut key: Key, stored: Arc<Stored>) {
        // The question, like the body, may be a small part of a large buffer.
        key.question = Bytes::copy_from_slice(&key.question);
        self.store.insert(key, stored);
    }

    /// Remembers an answer for the questions of its route that come later. The key must be made of
    /// the values of the question, each after its length.
    pub fn note(&self, key: &Key, stored: &Stored, bounds: KeptBounds) {
        self.known().note(key, stored, bounds.held);
    }

    /// Returns the answers that were kept for a route as a JSON object, the newest first.
    pub fn known_to(&self, scope: Scope, bounds: KeptBounds, now: Instant) -> String {
        self.known().object(scope, bounds.told, now)
    }

    /// Forgets what is remembered for all other scopes.
    pub fn remember_only(&self, scopes: &[Scope]) {
        self.known().keep_only(scopes);
    }

    fn known(&self) -> MutexGuard<'_, KeptAnswers> {
        // Whole after each step: a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes held now, keys and overhead included.
    pub fn bytes(&self) -> u64 {
        self.store.weight()
    }

    /// Answers held now, those past their time included.
    pub fn entries(&self) -> usize {
        self.store.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ByteSize;

    const HOUR: Duration = Duration::from_hours(1);

    fn cache(bytes: u64) -> Cache {
        Cache::new(&CacheSettings { memory: ByteSize(bytes), shared: None })
    }

    fn key(question: impl Into<Bytes>) -> Key {
        Key { scope: Scope(0), question: question.into() }
    }

    fn stored(body: impl Into<Bytes>, since: Instant, ttl: Duration) -> Arc<Stored> {
        let reply = Reply { body: body.into(), form: ReplyForm::Plain };
        Arc::new(Stored::new(reply, since, ttl))
    }

    #[test]
    fn an_answer_is_served_until_its_time_is_over_and_then_dropped() {
        let (cache, start) = (cache(1 << 20), Instant::now());
        cache.put(key("q"), stored("a", start, HOUR));
        let just_before = start + HOUR.checked_sub(Duration::from_nanos(1)).expect("positive");
        let kept = cache.get(&key("q"), just_before).expect("still fresh");
        assert_eq!((&kept.reply.body[..], kept.age(just_before)), (&b"a"[..], just_before - start));
        assert_eq!(kept.time_left(start), HOUR);
        assert!(cache.get(&key("q"), start + HOUR).is_none());
        assert_eq!((cache.entries(), cache.bytes()), (0, 0));
    }

    #[test]
    fn every_part_of_the_key_tells_answers_apart() {
        let (cache, now) = (cache(1 << 20), Instant::now());
        cache.put(key("q"), stored("a", now, HOUR));
        let borrowed = KeyRef { scope: Scope(0), question: b"q" };
        assert!(cache.get(&borrowed, now).is_some());
        assert!(cache.get(&KeyRef { scope: Scope(1), ..borrowed }, now).is_none());
        let others = [key("Q"), key("q "), Key { scope: Scope(1), ..key("q") }];
        assert!(cache.get(&key("q"), now).is_some());
        for other in others {
            assert!(cache.get(&other, now).is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_million_keys_stay_under_the_bound() {
        let (cache, now) = (cache(1 << 20), Instant::now());
        let mut most = 0;
        let body = Bytes::from(vec![b'x'; 100]);
        for number in 0..1_000_000_u32 {
            cache.put(key(number.to_string()), stored(body.clone(), now, HOUR));
            most = most.max(cache.bytes());
        }
        assert!(most <= 1 << 20, "{most}");
        assert!(cache.entries() as u64 <= (1 << 20) / OVERHEAD, "{} entries", cache.entries());
        assert!(most > 1 << 19, "the room is used: {most}");
        let found = (0..1_000_000_u32).filter(|n| cache.get(&key(n.to_string()), now).is_some());
        assert_eq!(found.count(), cache.entries());
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept_and_pushes_nothing_out() {
        let (cache, now) = (cache(64 << 10), Instant::now());
        cache.put(key("small"), stored("a", now, HOUR));
        cache.put(key("large"), stored(vec![0; 64 << 10], now, HOUR));
        assert!(cache.get(&key("large"), now).is_none());
        assert!(cache.get(&key("small"), now).is_some());
    }

    #[test]
    fn what_nearly_fills_the_cache_is_kept() {
        let (cache, now) = (cache(64 << 10), Instant::now());
        cache.put(key("large"), stored(vec![0; 60 << 10], now, HOUR));
        assert!(cache.get(&key("large"), now).is_some());
    }

    #[test]
    fn a_new_answer_that_is_too_large_does_not_leave_the_old_one() {
        let (cache, now) = (cache(64 << 10), Instant::now());
        cache.put(key("q"), stored("old", now, HOUR));
        cache.put(key("q"), stored(vec![0; 64 << 10], now, HOUR));
        assert!(cache.get(&key("q"), now).is_none());
    }

    #[test]
    fn a_newer_answer_takes_the_place_of_the_older() {
        let (cache, now) = (cache(1 << 20), Instant::now());
        cache.put(key("q"), stored("first", now, HOUR));
        let bytes = cache.bytes();
        cache.put(key("q"), stored("later", now, HOUR));
        assert_eq!(cache.get(&key("q"), now).expect("kept").reply.body, "later");
        assert_eq!(cache.bytes(), bytes);
    }

    #[test]
    fn headers_of_an_answer_count_too() {
        let (cache, now) = (cache(1 << 20), Instant::now());
        let headers = vec![("x-long".to_owned(), "v".repeat(1_000))];
        let form = ReplyForm::Http { status: 200, headers };
        let reply = Reply { body: Bytes::from_static(b"b"), form };
        cache.put(key("q"), Arc::new(Stored::new(reply, now, HOUR)));
        assert_eq!(cache.bytes(), OVERHEAD + HEADER_OVERHEAD + 1 + 1 + 6 + 1_000);
    }

    #[test]
    fn the_tag_is_strong_quoted_and_over_the_body_alone() {
        let now = Instant::now();
        let (one, same, other) =
            (stored("a", now, HOUR), stored("a", now + HOUR, HOUR), stored("b", now, HOUR));
        assert_eq!(one.etag, same.etag);
        assert_ne!(one.etag, other.etag);
        // XXH3 with 128 bits of nothing, from its specification.
        assert_eq!(stored("", now, HOUR).etag, "\"99aa06d3014798d86001c324468d497f\"");
    }

    #[test]
    fn a_kept_answer_does_not_hold_the_buffer_it_was_read_into() {
        let buffer = Bytes::from(vec![b'x'; 64 << 10]);
        let kept = stored(buffer.slice(..1), Instant::now(), HOUR);
        assert!(buffer.is_unique(), "the answer still refers to it");
        assert_eq!(kept.reply.body, "x");
    }
}
