//! Which other nodes there are, as far as their beats tell.
//!
//! Pure. A node that is silent for [`GONE_AFTER`] is gone. Nodes are bounded in number, whatever is
//! sent: beyond it those that are unknown are not noted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::message::{Beat, BeatPool};
use super::node::Seal;
use crate::base::NodeId;

/// How long a node may be silent.
pub const GONE_AFTER: Duration = Duration::from_millis(3500);
/// Most nodes that are noted.
const NODES_MOST: usize = 4096;

/// The other nodes.
#[derive(Debug, Default)]
pub struct OtherNodes {
    nodes: BTreeMap<NodeId, (Instant, Beat)>,
}

/// What there is of one pool on another node.
#[derive(Clone, Debug)]
pub struct OtherPool<'a> {
    /// The node.
    pub beat: &'a Beat,
    /// The pool.
    pub pool: &'a BeatPool,
}

impl OtherNodes {
    /// Notes that a node is there. Returns true if that is news: the node is new, or other workers are
    /// there than before.
    pub fn heard(&mut self, now: Instant, beat: Beat) -> bool {
        if !self.nodes.contains_key(&beat.node) && self.nodes.len() >= NODES_MOST {
            return false;
        }
        let before = self.nodes.get(&beat.node).map(|(_, before)| places(before));
        let is_news = before != Some(places(&beat));
        self.nodes.insert(beat.node, (now, beat));
        is_news
    }

    /// Forgets the nodes that are silent. Returns true if there were any.
    pub fn forget_silent(&mut self, now: Instant) -> bool {
        let before = self.nodes.len();
        self.nodes.retain(|_, (heard, _)| now.saturating_duration_since(*heard) < GONE_AFTER);
        self.nodes.len() < before
    }

    /// When [`OtherNodes::forget_silent`] may find one.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.nodes.values().map(|(heard, _)| *heard + GONE_AFTER).min()
    }

    /// Forgets all, because nothing can be heard.
    pub fn forget_all(&mut self) {
        self.nodes.clear();
    }

    /// Returns all nodes, with when each was heard last.
    pub fn all(&self) -> impl Iterator<Item = (Instant, &Beat)> {
        self.nodes.values().map(|(heard, beat)| (*heard, beat))
    }

    /// Returns how many others have workers for the calls of this pool, and how many workers.
    pub fn workers_for(&self, name: &str, seal: Seal) -> (usize, usize) {
        let serving = self.pools(name).filter(|it| it.pool.seal == seal && !it.beat.draining);
        let workers = serving.map(|it| it.pool.workers as usize).filter(|workers| *workers > 0);
        workers.fold((0, 0), |(hosts, all), workers| (hosts + 1, all + workers))
    }

    /// Returns the other pools of this name.
    pub fn pools<'a>(&'a self, name: &'a str) -> impl Iterator<Item = OtherPool<'a>> {
        self.nodes.values().flat_map(move |(_, beat)| {
            let of_name = beat.pools.0.iter().filter(move |pool| pool.name == name);
            of_name.map(move |pool| OtherPool { beat, pool })
        })
    }
}

fn places(beat: &Beat) -> (bool, Vec<(&str, Seal, u32)>) {
    let pools = beat.pools.0.iter().map(|pool| (pool.name.as_str(), pool.seal, pool.workers));
    (beat.draining, pools.collect())
}

impl OtherPool<'_> {
    /// Returns the keys in which this pool differs from one that is made of these facts.
    pub fn differs_in<'a>(&self, facts: &'a [(String, Seal)]) -> Vec<&'a str> {
        let theirs = &self.pool.facts.0;
        let is_other = |(name, seal): &&(String, Seal)| {
            theirs.iter().find(|their| their.0 == *name).is_none_or(|their| their.1 != *seal)
        };
        facts.iter().filter(is_other).map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::few::Few;
    use super::*;

    fn beat(node: u128, workers: u32, version: &str) -> Beat {
        let facts = vec![
            ("framing".to_owned(), Seal::of("line")),
            ("version".to_owned(), Seal::of(version)),
        ];
        let pool = BeatPool {
            name: "fib".to_owned(),
            node: NodeId(node + 100),
            seal: Seal::of(version),
            facts: Few(facts),
            workers,
            busy: 0,
        };
        Beat { node: NodeId(node), machine: String::new(), draining: false, pools: Few(vec![pool]) }
    }

    #[test]
    fn workers_of_the_same_program_count_as_long_as_they_are_heard() {
        let (mut nodes, now) = (OtherNodes::default(), Instant::now());
        assert!(nodes.heard(now, beat(1, 4, "a")));
        assert!(!nodes.heard(now, beat(1, 4, "a")), "that is known");
        assert!(nodes.heard(now + Duration::from_secs(1), beat(2, 2, "a")));
        assert!(nodes.heard(now, beat(3, 8, "b")));
        assert_eq!(nodes.workers_for("fib", Seal::of("a")), (2, 6));
        assert!(nodes.heard(now, Beat { draining: true, ..beat(3, 8, "b") }));
        assert_eq!(nodes.workers_for("fib", Seal::of("b")), (0, 0));
        assert_eq!(nodes.next_deadline(), Some(now + GONE_AFTER));
        assert!(nodes.forget_silent(now + GONE_AFTER));
        assert_eq!(nodes.workers_for("fib", Seal::of("a")), (1, 2));
    }

    #[test]
    fn the_key_that_differs_is_named() {
        let (mut nodes, now) = (OtherNodes::default(), Instant::now());
        nodes.heard(now, beat(1, 4, "b"));
        let ours = beat(2, 1, "a").pools.0.remove(0);
        let theirs = nodes.pools("fib").next().expect("one");
        assert_eq!(theirs.differs_in(&ours.facts.0), ["version"]);
        assert!(nodes.pools("other").next().is_none());
    }

    #[test]
    fn nodes_are_bounded() {
        let (mut nodes, now) = (OtherNodes::default(), Instant::now());
        for node in 0..NODES_MOST as u128 + 5 {
            nodes.heard(now, beat(node, 1, "a"));
        }
        assert_eq!(nodes.all().count(), NODES_MOST);
    }
}
