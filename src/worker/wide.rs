//! Pipes that were made wider for large messages. Through a pipe of the usual width, a megabyte takes
//! sixteen turns of both sides.
//!
//! The kernel counts the pages of all pipes of a user. Beyond a limit (`pipe-user-pages-soft`, 64 MiB) it
//! gives new pipes only two pages, so few are made wide.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::pipe::fcntl_setpipe_size;

/// The width of a wide pipe: the most that anybody may have by default.
pub(super) const WIDE: usize = 1 << 20;
/// The width that pipes have.
pub(super) const USUAL: usize = 64 << 10;
/// How many pipes are wide at most: half of the limit of a user.
const MOST: usize = 32;

static WIDENED: AtomicUsize = AtomicUsize::new(0);

/// Whether one pipe is wide. It is made so at most once.
#[derive(Debug, Default)]
pub(super) enum Width {
    /// It may be made wide.
    #[default]
    Usual,
    /// It is.
    Wide(WidePlace),
    /// It stays as it is: too many others are wide, or the kernel does not permit it.
    Fixed,
}

/// The place of one wide pipe. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct WidePlace(());

impl Width {
    /// Makes a pipe wide, unless that was tried before.
    pub(super) fn widen(&mut self, pipe: impl AsFd) {
        if matches!(self, Self::Usual) {
            *self = WidePlace::take()
                .filter(|_| fcntl_setpipe_size(pipe, WIDE).is_ok())
                .map_or(Self::Fixed, Self::Wide);
        }
    }
}

impl WidePlace {
    fn take() -> Option<Self> {
        let one_more = |count| (count < MOST).then_some(count + 1);
        let order = Ordering::Relaxed;
        WIDENED.fetch_update(order, order, one_more).ok().map(|_| Self(()))
    }
}

impl Drop for WidePlace {
    fn drop(&mut self) {
        WIDENED.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{fcntl_getpipe_size, pipe};

    use super::*;

    #[test]
    fn few_pipes_are_wide_at_once() {
        let pipes: Vec<_> = (0..=MOST).map(|_| pipe().expect("a pipe")).collect();
        let mut widths: Vec<_> = pipes.iter().map(|_| Width::default()).collect();
        for ((_, writer), width) in pipes.iter().zip(&mut widths) {
            width.widen(writer);
        }
        let size = |at: usize| fcntl_getpipe_size(&pipes[at].1).expect("it is one");
        assert!(matches!(widths[MOST], Width::Fixed) && size(MOST) < WIDE);
        // Where the user has many pipes, the kernel may refuse all of them.
        for (at, width) in widths.iter().enumerate().filter(|(_, it)| matches!(it, Width::Wide(_)))
        {
            assert_eq!(size(at), WIDE, "{width:?}");
        }
        drop(widths);
        assert!(WidePlace::take().is_some(), "their places are free again");
    }
}
