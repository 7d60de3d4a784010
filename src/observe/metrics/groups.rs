//! How many calls workers get together (`batch`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::report::{GroupSizeStatus, GroupStatus};

/// Upper bounds of the buckets, in calls.
pub(super) const GROUP_BOUNDS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// How often groups of each size were given to a worker.
#[derive(Debug, Default)]
pub(super) struct GroupSizes {
    /// One for each bound and a last one for what is above; not cumulated.
    buckets: [AtomicU64; GROUP_BOUNDS.len() + 1],
    calls: AtomicU64,
}

impl GroupSizes {
    pub(super) fn observe(&self, calls: usize) {
        let calls = u64::try_from(calls).unwrap_or(u64::MAX);
        let bucket = GROUP_BOUNDS.partition_point(|bound| *bound < calls);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.calls.fetch_add(calls, Relaxed);
    }

    /// How many groups were at most of the size of each bound, `+Inf` last.
    pub(super) fn cumulated(&self) -> [u64; GROUP_BOUNDS.len() + 1] {
        let mut below = 0;
        std::array::from_fn(|bucket| {
            below += self.buckets[bucket].load(Relaxed);
            below
        })
    }

    /// Returns what operators are told of them.
    pub(super) fn status(&self) -> GroupStatus {
        let counts = self.buckets.each_ref().map(|bucket| bucket.load(Relaxed));
        let bounds = GROUP_BOUNDS.iter().copied().map(Some).chain([None]);
        let sizes = bounds.zip(counts).filter(|(_, groups)| *groups > 0);
        GroupStatus {
            groups: counts.iter().sum(),
            calls: self.calls(),
            sizes: sizes.map(|(most, groups)| GroupSizeStatus { most, groups }).collect(),
        }
    }

    /// How many calls there were in all of them.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Returns true if there were any.
    pub(super) fn are_any(&self) -> bool {
        self.calls() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_falls_in_the_bucket_whose_bound_it_does_not_pass() {
        let sizes = GroupSizes::default();
        assert!(!sizes.are_any());
        for calls in [1, 2, 3, 16, 17, 1000] {
            sizes.observe(calls);
        }
        assert_eq!(sizes.cumulated(), [1, 2, 3, 3, 4, 5, 5, 5, 5, 5, 6]);
        assert_eq!((sizes.calls(), sizes.are_any()), (1039, true));
        let status = sizes.status();
        assert_eq!((status.groups, status.calls), (6, 1039));
        let sizes: Vec<_> = status.sizes.iter().map(|size| (size.most, size.groups)).collect();
        assert_eq!(
            sizes,
            [(Some(1), 1), (Some(2), 1), (Some(4), 1), (Some(16), 1), (Some(32), 1), (None, 1)]
        );
    }
}
