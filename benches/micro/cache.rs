//! The cache: hits among few and many answers, misses, and answers that push others out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use httpipe::testing::base::{ByteSize, Reply, ReplyForm};
use httpipe::testing::cache::{Cache, Key, Scope, Stored};
use httpipe::testing::config::CacheSettings;

use crate::Bench;

const HOUR: Duration = Duration::from_hours(1);

pub(crate) fn all(bench: &Bench) {
    let now = Instant::now();
    for count in [1_u32, 1000, 1_000_000] {
        let name = format!("cache: a hit among {count}");
        if !bench.wants(&name) {
            continue;
        }
        let cache = Cache::new(&CacheSettings { memory: ByteSize(2 << 30), shared: None });
        (0..count).for_each(|number| cache.put(key(number), stored(now)));
        let mut number = 0;
        bench.run(&name, 1, || {
            // Large steps, so that the processor has not cached the next one.
            number = (number + 7919) % count;
            cache.get(&key(number), now).expect("it is kept")
        });
    }
    let cache = Cache::new(&CacheSettings { memory: ByteSize(64 << 20), shared: None });
    bench.run("cache: a miss", 1, || cache.get(&key(1), now).is_none());
    let mut number = 0_u32;
    bench.run("cache: keep one more, the cache is full", 1, || {
        number = number.wrapping_add(1);
        cache.put(key(number), stored(now));
    });
}

fn key(number: u32) -> Key {
    Key { scope: Scope(1), question: Bytes::from(number.to_string()) }
}

fn stored(now: Instant) -> Arc<Stored> {
    let reply = Reply { body: Bytes::from_static(b"{\"result\":\"55\"}"), form: ReplyForm::Json };
    Arc::new(Stored::new(reply, now, HOUR))
}
