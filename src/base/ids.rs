//! The numbers of calls, workers and routes inside one server.
//!
//! Pure: each kind of number has its own type, so that no two are confused.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU32;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

/// An accepted call of one pool. No number is used twice in the life of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

impl CallId {
    /// The low bits are a place in the books of the pool. The rest counts calls.
    pub const PLACE_BITS: u32 = 24;

    /// Returns the name that people see: how many calls of the pool there were before, in
    /// hexadecimal.
    pub fn name(self) -> String {
        format!("{:x}", self.ordinal())
    }

    /// Returns the number in the name.
    pub fn ordinal(self) -> u64 {
        self.0 >> Self::PLACE_BITS
    }
}

/// A process of one server. Counted from 1 in the order of the starts. No number is used twice, in
/// no pool, so a log line always names the same worker, and an operator needs no pool to name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u64);

/// The place of a route in the configuration, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub u16);

/// A batch: many items that came together. No number is used twice in the life of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// A place in a worker that a pool has offered for a job. No number is used twice in the life of the
/// pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(pub u64);

/// A pool of a server among the servers that share it, from its start to its end. It is drawn at random
/// at the start, so no message for an earlier one reaches a later one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u128);

/// The first 32 bits of a [`NodeId`], which all pools of a server share: what logs call it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostTag(NonZeroU32);

impl NodeId {
    /// Returns this node as one of the server with this tag.
    #[must_use]
    pub fn of_server(self, HostTag(tag): HostTag) -> Self {
        Self(self.0 & (u128::MAX >> 32) | u128::from(tag.get()) << 96)
    }

    /// Returns the part that all nodes of a server share.
    pub fn tag(self) -> HostTag {
        HostTag(NonZeroU32::new((self.0 >> 96) as u32).unwrap_or(NonZeroU32::MIN))
    }
}

impl HostTag {
    /// Returns it as a number, which is shown with eight hexadecimal digits.
    pub fn number(self) -> u32 {
        self.0.get()
    }
}

/// One attempt to run a call on another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId {
    /// The number of the call at the server whose caller waits for it.
    pub call: u64,
    /// Which attempt it is. It counts the attempts of all calls of that server.
    pub attempt: u32,
    /// A random number, which a sender of forged answers does not know.
    pub key: u64,
}

/// Numbers workers. The pools of a server share one.
#[derive(Clone, Debug, Default)]
pub struct WorkerCount(Rc<Cell<u64>>);

impl WorkerCount {
    /// Returns the number of one more worker.
    pub fn next(&self) -> WorkerId {
        self.0.set(self.0.get() + 1);
        WorkerId(self.0.get())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for HostTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for HostTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
