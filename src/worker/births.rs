//! Workers that are being made, and are not on the guard's list yet.
//!
//! Nobody may reap them meanwhile, and no fork server may say that they are its own.

use std::collections::{BTreeSet, HashMap};
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::Pid;

/// Where the kernel writes the process id of a child, before the child runs; zero until then.
#[derive(Clone, Debug, Default)]
pub(super) struct ChildId(Arc<AtomicI32>);

/// What is being made: children by threads of the server, and forks by fork servers.
#[derive(Debug, Default)]
pub(super) struct Births {
    /// The children.
    starts: Vec<ChildId>,
    /// How many forks have begun.
    forks_begun: u64,
    /// Those of them that are still open, by number.
    open_forks: BTreeSet<u64>,
    /// Children that were seen to have ended, each with `forks_begun` at that time.
    ended: HashMap<Pid, u64>,
}

impl ChildId {
    /// Returns the place for the kernel, which lives as long as this.
    pub(super) fn place(&self) -> *mut c_int {
        self.0.as_ptr()
    }

    /// Does what the kernel does.
    #[cfg(test)]
    pub(super) fn set(&self, id: Pid) {
        self.0.store(id.as_raw_pid(), Ordering::Release);
    }

    /// Returns true if this is the child.
    pub(super) fn is(&self, id: Pid) -> bool {
        self.0.load(Ordering::Acquire) == id.as_raw_pid()
    }
}

impl Births {
    /// Notes a child that is about to be made.
    pub(super) fn begin_start(&mut self) -> ChildId {
        let id = ChildId::default();
        self.starts.push(id.clone());
        id
    }

    /// Forgets it: it is on the list, or was not made.
    pub(super) fn end_start(&mut self, id: &ChildId) {
        self.starts.retain(|other| !Arc::ptr_eq(&other.0, &id.0));
    }

    /// Returns true if this child is one that a thread of the server makes.
    pub(super) fn is_start(&self, id: Pid) -> bool {
        self.starts.iter().any(|start| start.is(id))
    }

    /// Notes a fork that begins. Returns its number.
    pub(super) fn begin_fork(&mut self) -> u64 {
        self.forks_begun += 1;
        self.open_forks.insert(self.forks_begun);
        self.forks_begun
    }

    /// Notes that a fork is over.
    pub(super) fn end_fork(&mut self, number: u64) {
        self.open_forks.remove(&number);
    }

    /// Notes that this child is on the list.
    pub(super) fn is_listed(&mut self, id: Pid) {
        self.ended.remove(&id);
    }

    /// Returns true if this child, which has ended and is on no list, may be the worker of a fork
    /// that is open. A fork that began after the child was seen to have ended has not made it, so
    /// no child is held back for ever however many forks follow each other.
    pub(super) fn may_have_forked(&mut self, id: Pid) -> bool {
        let Some(oldest) = self.open_forks.first() else {
            self.ended.clear();
            return false;
        };
        let begun = *self.ended.entry(id).or_insert(self.forks_begun);
        if *oldest <= begun {
            return true;
        }
        self.ended.remove(&id);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(raw: i32) -> Pid {
        Pid::from_raw(raw).expect("not zero")
    }

    #[test]
    fn a_child_that_is_being_made_is_known_as_soon_as_it_has_an_id() {
        let mut births = Births::default();
        let [one, other] = [births.begin_start(), births.begin_start()];
        assert!(!births.is_start(child(7)));
        one.set(child(7));
        assert!(births.is_start(child(7)) && !births.is_start(child(8)));
        births.end_start(&other);
        assert!(births.is_start(child(7)));
        births.end_start(&one);
        assert!(!births.is_start(child(7)));
    }

    #[test]
    fn an_ended_child_is_held_back_for_the_forks_that_may_have_made_it_and_no_others() {
        let mut births = Births::default();
        assert!(!births.may_have_forked(child(7)), "no fork is open");
        let first = births.begin_fork();
        assert!(births.may_have_forked(child(7)));
        // Forks follow each other, and one is always open.
        let second = births.begin_fork();
        assert!(births.may_have_forked(child(7)) && births.may_have_forked(child(8)));
        births.end_fork(first);
        assert!(!births.may_have_forked(child(7)), "it had ended before the second began");
        assert!(births.may_have_forked(child(8)));
        births.end_fork(second);
        assert!(!births.may_have_forked(child(8)) && births.ended.is_empty());
    }
}
