//! Which other nodes there are, as far as their beats tell.
//!
//! Pure. A node that is silent for [`GONE_AFTER`] is gone. Nodes are bounded in number and in bytes,
//! whatever is sent: beyond it those that are unknown are not noted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::few::Few;
use super::message::{Beat, BeatCut, BeatPool, HostMessage, LINE_MAX, POOLS_MAX};
use super::node::Seal;
use crate::base::NodeId;

/// How long a node may be silent.
pub const GONE_AFTER: Duration = Duration::from_millis(3500);
/// Most nodes that are noted.
const NODES_MOST: usize = 4096;
/// Most bytes of their beats, as they were sent.
const BYTES_MOST: usize = 8 << 20;

/// The other nodes.
#[derive(Debug, Default)]
pub struct OtherNodes {
    nodes: BTreeMap<NodeId, OtherNode>,
    bytes: usize,
}

#[derive(Debug)]
struct OtherNode {
    heard: Instant,
    beat: Beat,
    /// How many bytes its beat has.
    bytes: usize,
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
    pub fn heard(&mut self, now: Instant, mut beat: Beat) -> bool {
        let node = beat.node;
        let before = self.remove(node);
        if let Some(before) = &before {
            beat.add_what_was_cut(&before.beat);
        }
        let bytes = size(&beat);
        let is_news = before.as_ref().map(|before| places(&before.beat)) != Some(places(&beat));
        if self.nodes.len() >= NODES_MOST || self.bytes + bytes > BYTES_MOST {
            return before.is_some();
        }
        self.bytes += bytes;
        self.nodes.insert(node, OtherNode { heard: now, beat, bytes });
        is_news
    }

    fn remove(&mut self, node: NodeId) -> Option<OtherNode> {
        let node = self.nodes.remove(&node)?;
        self.bytes -= node.bytes;
        Some(node)
    }

    /// Forgets the nodes that are silent. Returns true if there were any.
    pub fn forget_silent(&mut self, now: Instant) -> bool {
        let is_silent = |node: &OtherNode| now.saturating_duration_since(node.heard) >= GONE_AFTER;
        let silent = self.nodes.iter().filter(|(_, node)| is_silent(node));
        let silent: Vec<NodeId> = silent.map(|(id, _)| *id).collect();
        silent.iter().filter_map(|id| self.remove(*id)).count() > 0
    }

    /// When [`OtherNodes::forget_silent`] may find one.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.nodes.values().map(|node| node.heard + GONE_AFTER).min()
    }

    /// Forgets all, because nothing can be heard.
    pub fn forget_all(&mut self) {
        *self = Self::default();
    }

    /// Returns all nodes, with when each was heard last.
    pub fn all(&self) -> impl Iterator<Item = (Instant, &Beat)> {
        self.nodes.values().map(|node| (node.heard, &node.beat))
    }

    /// Returns how many others have workers for the calls of this pool, and how many workers.
    pub fn workers_for(&self, name: &str, seal: Seal) -> (usize, usize) {
        let serving = self.nodes.values().map(|node| &node.beat).filter(|beat| !beat.draining);
        let workers = serving.map(|beat| {
            let pools = beat.pools.0.iter().filter(|pool| pool.name == name && pool.seal == seal);
            pools.map(|pool| pool.workers as usize).sum::<usize>()
        });
        let workers = workers.filter(|workers| *workers > 0);
        workers.fold((0, 0), |(hosts, all), workers| (hosts + 1, all + workers))
    }

    /// Returns the other pools of this name.
    pub fn pools<'a>(&'a self, name: &'a str) -> impl Iterator<Item = OtherPool<'a>> {
        self.nodes.values().flat_map(move |OtherNode { beat, .. }| {
            let of_name = beat.pools.0.iter().filter(move |pool| pool.name == name);
            of_name.map(move |pool| OtherPool { beat, pool })
        })
    }
}

impl Beat {
    /// Returns the messages, of at most `most` bytes each, that say this. What a pool is made of is
    /// left out where not all fits into one; where that is not enough, each names some of the pools.
    /// `None`: not even one pool fits.
    pub fn messages(mut self, most: usize) -> Option<Vec<Bytes>> {
        let most = most.min(LINE_MAX);
        let whole = HostMessage::Beat(self.clone()).encode(b"");
        if whole.len() <= most {
            return Some(vec![whole]);
        }
        self.pools.0.iter_mut().for_each(|pool| pool.facts = Few::default());
        let all = self.pools.0.len();
        let mut count = all;
        // Some names are longer than others, so it is tried.
        while count > 0 {
            let messages = (0..all).step_by(count).map(|at| {
                let pools = self.pools.0.iter().skip(at).take(count).cloned().collect();
                let cut = (count < all).then_some(BeatCut { at, all });
                let beat = Self { pools, cut, machine: self.machine.clone(), ..self };
                HostMessage::Beat(beat).encode(b"")
            });
            let messages: Vec<Bytes> = messages.collect();
            if messages.iter().all(|message| message.len() <= most) {
                return Some(messages);
            }
            count /= 2;
        }
        None
    }

    /// Adds the pools that this one does not name, as they were named before.
    fn add_what_was_cut(&mut self, before: &Self) {
        let Some(BeatCut { at, all }) = self.cut else { return };
        let mut pools: Vec<BeatPool> = before.pools.0.iter().take(at).cloned().collect();
        let end = at.saturating_add(self.pools.0.len());
        pools.append(&mut self.pools.0);
        pools.extend(before.pools.0.iter().skip(end).cloned());
        pools.truncate(all.min(POOLS_MAX));
        self.pools = Few(pools);
    }
}

/// How many bytes this beat has, about.
fn size(beat: &Beat) -> usize {
    let of_pool = |pool: &BeatPool| {
        let facts = pool.facts.0.iter().map(|(name, _)| name.len() + 24);
        128 + pool.name.len() + facts.sum::<usize>()
    };
    128 + beat.machine.len() + beat.pools.0.iter().map(of_pool).sum::<usize>()
}

fn places(beat: &Beat) -> (bool, Vec<(&str, Seal, u32)>) {
    let pools = beat.pools.0.iter().map(|pool| (pool.name.as_str(), pool.seal, pool.workers));
    (beat.draining, pools.collect())
}

impl OtherPool<'_> {
    /// Returns the keys in which this pool differs from one that is made of these facts; none if it does
    /// not say of what it is made.
    pub fn differs_in<'a>(&self, facts: &'a [(String, Seal)]) -> Vec<&'a str> {
        let theirs = &self.pool.facts.0;
        if theirs.is_empty() {
            return Vec::new();
        }
        let is_other = |(name, seal): &&(String, Seal)| {
            theirs.iter().find(|their| their.0 == *name).is_none_or(|their| their.1 != *seal)
        };
        facts.iter().filter(is_other).map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
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
        let (node, machine, pools) = (NodeId(node), String::new(), Few(vec![pool]));
        Beat { node, machine, draining: false, pools, cut: None }
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

    /// One with this many pools, whose names have 64 characters.
    fn large_beat(node: u128, pools: usize) -> Beat {
        let mut beat = beat(node, 1, "a");
        let pool = beat.pools.0.remove(0);
        let of = |at: usize| BeatPool { name: format!("{at:064}"), ..pool.clone() };
        Beat { pools: (0..pools).map(of).collect(), ..beat }
    }

    #[test]
    fn what_is_noted_is_bounded_in_bytes() {
        let (mut nodes, now) = (OtherNodes::default(), Instant::now());
        for node in 0..1000 {
            nodes.heard(now, large_beat(node, POOLS_MAX));
        }
        let noted = nodes.all().count();
        assert!((50..500).contains(&noted) && nodes.bytes <= BYTES_MOST, "{noted}");
        assert!(!nodes.heard(now, large_beat(0, POOLS_MAX)), "one that is known stays");
        assert!(nodes.heard(now, large_beat(0, 1)), "and may change");
        assert!(nodes.forget_silent(now + GONE_AFTER) && nodes.bytes == 0);
    }

    #[test]
    fn a_pool_that_is_named_twice_is_on_one_host() {
        let (mut nodes, now) = (OtherNodes::default(), Instant::now());
        let mut twice = beat(1, 2, "a");
        twice.pools.0.extend(twice.pools.0.clone());
        nodes.heard(now, twice);
        assert_eq!(nodes.workers_for("fib", Seal::of("a")), (1, 4));
    }

    #[test]
    fn a_node_with_many_pools_is_seen_whole_however_small_its_messages_are() {
        for (pools, most, messages) in
            [(256, 1 << 20, 1), (256, 4096, 16), (256, 300, 256), (1, 1 << 20, 1), (0, 300, 1)]
        {
            let sent = large_beat(1, pools);
            let all = sent.clone().messages(most).expect("they fit");
            assert_eq!(all.len(), messages, "{pools} of {most}");
            let (mut nodes, now) = (OtherNodes::default(), Instant::now());
            // One that is lost at first comes a second later.
            for message in all.iter().skip(1).chain(&all).chain(&all) {
                assert!(message.len() <= most);
                let read = HostMessage::decode(message);
                let Ok((HostMessage::Beat(beat), _)) = read else { panic!("{read:?}") };
                nodes.heard(now, beat);
            }
            let names = |beat: &Beat| -> Vec<String> {
                beat.pools.0.iter().map(|pool| pool.name.clone()).collect()
            };
            let (_, seen) = nodes.all().next().expect("one");
            assert_eq!(names(seen), names(&sent));
            let fewer = large_beat(1, pools / 2);
            for message in fewer.clone().messages(most).expect("they fit") {
                let read = HostMessage::decode(&message);
                let Ok((HostMessage::Beat(beat), _)) = read else { panic!("{read:?}") };
                nodes.heard(now, beat);
            }
            assert_eq!(names(nodes.all().next().expect("one").1), names(&fewer));
        }
        assert!(large_beat(1, 1).messages(200).is_none());
    }
}
