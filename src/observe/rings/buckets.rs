//! Times sorted into buckets, four an octave.
//!
//! Pure. To count a time costs a shift and an addition; a percentile is off by an eighth at most, or
//! by half a microsecond.

use std::time::Duration;

/// How many buckets there are. The last one begins above two hours.
pub const BUCKETS: usize = 128;
/// Times are counted in units of 1.024 µs: a shift, not a division.
const UNIT_BITS: u32 = 10;
/// Each octave has `1 << OCTAVE_BITS` buckets of one width.
const OCTAVE_BITS: u32 = 2;

/// How many times fell into each bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times([u32; BUCKETS]);

impl Default for Times {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Times {
    /// Counts a time.
    pub fn count(&mut self, time: Duration) {
        let bucket = &mut self.0[bucket_of(time)];
        *bucket = bucket.saturating_add(1);
    }

    /// Adds what others have counted.
    pub fn add(&mut self, others: &Self) {
        for (count, other) in self.0.iter_mut().zip(&others.0) {
            *count = count.saturating_add(*other);
        }
    }

    /// Returns the bucket that holds the time which this share of all times does not exceed; `None`
    /// if there are none.
    pub fn percentile(&self, share: f64) -> Option<u8> {
        let total: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        u8::try_from(bucket).ok()
    }
}

/// Returns the bucket of a time.
fn bucket_of(time: Duration) -> usize {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    let nanos = whole.saturating_add(time.subsec_nanos().into());
    let units = nanos >> UNIT_BITS;
    if units < 1 << OCTAVE_BITS {
        return units as usize;
    }
    let octave = units.ilog2() - OCTAVE_BITS;
    // The two bits below the highest one, and before them how many octaves there are below.
    let bucket = (u64::from(octave) << OCTAVE_BITS) + (units >> octave);
    (bucket as usize).min(BUCKETS - 1)
}

/// Returns the middle of a bucket: what its times are taken for.
pub fn middle_of(bucket: u8) -> Duration {
    let (bucket, per_octave) = (u64::from(bucket), 1 << OCTAVE_BITS);
    let octave = (bucket / per_octave).saturating_sub(1);
    let begin = (bucket - octave * per_octave) << octave;
    let width: u64 = 1 << octave;
    Duration::from_nanos((begin << UNIT_BITS) + (width << UNIT_BITS) / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for units in 0..1_u64 << 20 {
            let bucket = bucket_of(Duration::from_nanos(units << UNIT_BITS));
            assert!(bucket == last || bucket == last + 1, "{units}: {bucket} after {last}");
            last = bucket;
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
        assert!(middle_of(127) > Duration::from_hours(2), "{:?}", middle_of(127));
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Times::default().percentile(0.99), None);
    }

    proptest! {
        #[test]
        fn a_percentile_is_off_by_an_eighth_or_half_a_microsecond(
            nanos in prop::collection::vec(
                prop_oneof![0..10_000_u64, 0..1_000_000_u64, 0..5_000_000_000_000_u64], 1..200),
            share in prop_oneof![Just(0.5), Just(0.95), Just(0.99), Just(1.0)],
        ) {
            let mut times = Times::default();
            let mut sorted: Vec<Duration> = nanos.into_iter().map(Duration::from_nanos).collect();
            for time in &sorted {
                times.count(*time);
            }
            sorted.sort_unstable();
            let rank = ((sorted.len() as f64 * share).ceil() as usize).max(1);
            let exact = sorted[rank - 1];
            let found = middle_of(times.percentile(share).expect("there are times"));
            let allowed = (exact / 8).max(Duration::from_nanos(513));
            prop_assert!(found.abs_diff(exact) <= allowed, "{found:?} for {exact:?}");
        }

        #[test]
        fn what_is_added_is_as_if_it_was_counted_here(
            ours in prop::collection::vec(0..u64::MAX, 0..50),
            theirs in prop::collection::vec(0..u64::MAX, 0..50),
        ) {
            let of = |list: &[u64]| {
                let mut times = Times::default();
                for nanos in list {
                    times.count(Duration::from_nanos(*nanos));
                }
                times
            };
            let mut sum = of(&ours);
            sum.add(&of(&theirs));
            prop_assert_eq!(sum, of(&[ours, theirs].concat()));
        }
    }
}
