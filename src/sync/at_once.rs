//! How many of something may go on at once: each that does holds its part until it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts what goes on now.
#[derive(Debug, Default)]
pub struct AtOnce(AtomicU32);

/// The right to take a part, as long as fewer than `most` are taken.
#[derive(Clone, Debug)]
pub struct Claim {
    taken: Arc<AtOnce>,
    most: u32,
}

/// One part that is taken. It is given back when its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Hold {
    _taken: Arc<TakenPart>,
}

#[derive(Debug)]
struct TakenPart(Arc<AtOnce>);

impl Claim {
    /// The right to take a part of these as long as fewer than `most` are taken.
    pub fn new(taken: &Arc<AtOnce>, most: u32) -> Self {
        Self { taken: Arc::clone(taken), most }
    }

    /// Takes a part.
    ///
    /// # Errors
    ///
    /// How many may be taken, which are all taken now.
    pub fn take(&self) -> Result<Hold, u32> {
        let one_more = |taken| (taken < self.most).then_some(taken + 1);
        match self.taken.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Hold { _taken: Arc::new(TakenPart(Arc::clone(&self.taken))) }),
            Err(_) => Err(self.most),
        }
    }
}

impl Drop for TakenPart {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_free_again_when_its_last_clone_is_gone() {
        let taken = Arc::default();
        let claim = Claim::new(&taken, 2);
        let first = claim.take().expect("one of two");
        let second = claim.take().expect("two of two");
        assert_eq!(claim.take().err(), Some(2));
        let clone = second.clone();
        drop(second);
        assert_eq!(claim.take().err(), Some(2), "a clone is left");
        drop(clone);
        drop((first, claim.take().expect("free again")));
        // A lower limit holds at once, for what is taken already too.
        let held = claim.take().expect("free");
        assert_eq!(Claim::new(&taken, 1).take().err(), Some(1));
        drop(held);
    }
}
