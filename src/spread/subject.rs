//! Where messages go.
//!
//! Pure. `N.1.POOL.SEAL.demand` and its like are of a pool, `N.1.owner.ID` and `N.1.host.ID` of one
//! node, `N.1.hosts` of all; `N` is `spread.name`, and 1 the version of the messages. The name of a
//! pool may hold what ends a token, so it is written in hexadecimal after a hyphen where it does.

use std::fmt::Write as _;

use super::node::{Seal, parse_node};
use crate::base::NodeId;

/// The version of the messages.
const VERSION: u32 = 1;

/// The subjects of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    /// The subjects of the cluster of this name, which is one token.
    pub fn of(name: &str) -> Self {
        Self { prefix: format!("{name}.{VERSION}") }
    }

    /// Where owners say that they have calls that wait. A host gets it.
    pub fn demand(&self, pool: &str, seal: Seal) -> String {
        format!("{}.{}.{seal}.demand", self.prefix, token(pool))
    }

    /// Where owners say how long their oldest call has waited. All hosts get it.
    pub fn hungry(&self, pool: &str, seal: Seal) -> String {
        format!("{}.{}.{seal}.hungry", self.prefix, token(pool))
    }

    /// Where an owner is told of its calls.
    pub fn owner(&self, node: NodeId) -> String {
        format!("{}.owner.{node}", self.prefix)
    }

    /// Where a host is given calls.
    pub fn host(&self, node: NodeId) -> String {
        format!("{}.host.{node}", self.prefix)
    }

    /// Where an owner is told that nobody hears what it tells this host.
    pub fn unheard(&self, owner: NodeId, host: NodeId) -> String {
        format!("{}.unheard.{owner}.{host}", self.prefix)
    }

    /// All that [`Subjects::unheard`] returns for an owner.
    pub fn all_unheard(&self, owner: NodeId) -> String {
        format!("{}.unheard.{owner}.*", self.prefix)
    }

    /// Returns the host in a subject of [`Subjects::unheard`].
    pub fn host_unheard(&self, subject: &str) -> Option<NodeId> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".unheard.")?;
        parse_node(rest.split_once('.')?.1)
    }

    /// Where all nodes say that they are there.
    pub fn hosts(&self) -> String {
        format!("{}.hosts", self.prefix)
    }
}

/// The name of a pool as a token of a subject.
fn token(pool: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if pool.bytes().all(is_plain) && !pool.starts_with('-') {
        return pool.to_owned();
    }
    let mut token = String::from("-");
    for byte in pool.bytes() {
        write!(token, "{byte:02x}").unwrap_or_default();
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_of_one_pool_and_one_kind() {
        let subjects = Subjects::of("httpipe");
        let seal = Seal(0xab);
        assert_eq!(subjects.demand("fib", seal), "httpipe.1.fib.00000000000000ab.demand");
        assert_eq!(subjects.demand("a.b", seal), "httpipe.1.-612e62.00000000000000ab.demand");
        assert_ne!(subjects.hungry("a.b", seal), subjects.hungry("-612e62", seal));
        assert_eq!(subjects.hosts(), "httpipe.1.hosts");
    }

    #[test]
    fn who_is_unheard_can_be_read_back() {
        let subjects = Subjects::of("httpipe");
        let (owner, host) = (NodeId(1), NodeId(u128::MAX));
        assert_eq!(subjects.host_unheard(&subjects.unheard(owner, host)), Some(host));
        assert_eq!(subjects.host_unheard(&subjects.owner(owner)), None);
        assert_eq!(subjects.host_unheard("other.1.unheard.x.y"), None);
    }
}
