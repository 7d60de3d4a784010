//! The network between servers.

use httpipe::testing::spread::{ToHost, ToOwner};

use super::{At, Cluster, Event, Letter, Loses, Node, micros};

impl Cluster {
    /// Sends a message on its way, if the network lets it.
    pub(super) fn send(&mut self, from: At, letter: &Letter) {
        if self.nodes[from].is_cut {
            return;
        }
        self.trace(|| format!("{from}: says {letter:?}"));
        let live = |node: &Node| node.is_alive && !node.is_cut;
        let everywhere = 0..self.nodes.len();
        let to: Vec<At> = match letter {
            Letter::ToHost { to, .. } | Letter::ToOwner { to, .. } => {
                everywhere.filter(|at| self.nodes[*at].id == *to).collect()
            }
            Letter::Hungry { .. } => everywhere.collect(),
            Letter::Demand { .. } => {
                let idle = |at: &At| live(&self.nodes[*at]) && self.nodes[*at].listens;
                let idle: Vec<At> = everywhere.filter(idle).collect();
                let chosen = (!idle.is_empty()).then(|| self.rng.usize(..idle.len()));
                chosen.map(|one| idle[one]).into_iter().collect()
            }
        };
        for to in to {
            if let Letter::ToHost { to: host, .. } = *letter
                && !live(&self.nodes[to])
            {
                let delay = micros(&mut self.rng, self.net.delay);
                self.after(delay, Event::Unheard(from, host));
            }
            self.carry(from, to, letter);
        }
    }

    fn carry(&mut self, from: At, to: At, letter: &Letter) {
        let is_cut = self.net.cuts.contains(&(from, to));
        if is_cut || !self.nodes[to].is_alive || self.nodes[to].is_cut {
            return;
        }
        let kind = match letter {
            Letter::ToHost { what: ToHost::Grant { .. }, .. } => Some(Loses::Grant),
            Letter::ToOwner { what: ToOwner::Answer { .. }, .. } => Some(Loses::Answer),
            Letter::ToOwner { what: ToOwner::NotBegun { .. }, .. } => Some(Loses::NotBegun),
            _ => None,
        };
        if kind.is_some() && self.net.next == kind {
            self.net.next = None;
            return;
        }
        let copies = 1 + usize::from(self.draw(self.net.copies));
        for _ in 0..copies {
            if self.draw(self.net.loses) {
                continue;
            }
            let mut delay = micros(&mut self.rng, self.net.delay);
            if self.draw(self.net.delays) {
                // Others overtake it.
                delay += micros(&mut self.rng, (0, 400_000));
            } else {
                let last = self.order.get(&(from, to)).copied().unwrap_or(self.now);
                delay = delay.max(last.saturating_duration_since(self.now));
                self.order.insert((from, to), self.now + delay);
            }
            self.after(delay, Event::Deliver(to, Box::new(letter.clone())));
        }
    }
}
