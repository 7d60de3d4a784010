//! What a server does with what it hears of a question: take an answer, run the question, or wait for
//! another server that runs it.
//!
//! Pure: time is an argument.

use std::time::{Duration, Instant};

use super::value::SharedValue;
use super::{LOOK, RunToken};
use crate::base::{Failure, Reply};

/// What was heard of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedSeen {
    /// There is a value, and how long it may still be served.
    Value(SharedValue, Duration),
    /// There is a value that is no answer to this question.
    Unusable,
    /// There is nothing, and this server now runs it.
    Leads,
    /// There is nothing, and no server is told that this one runs it.
    Nothing,
    /// Another server runs it.
    Runs(RunToken),
    /// The run that this server has waited for has ended so.
    Ended(SharedValue),
    /// Nothing can be written down there.
    Refused,
    /// Nothing was heard.
    Fault(SharedFault),
}

/// Why nothing was heard of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedFault {
    /// It took too long.
    Late,
    /// The cache said that it cannot, or was gone.
    Failed,
    /// There is no connection.
    Away,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedStep {
    /// Give this answer.
    Take(SharedFound),
    /// Run the question. Other servers wait for this run if `leads`.
    Run {
        /// This server has the lease.
        leads: bool,
        /// What for.
        why: WhyRun,
    },
    /// Wait for the end of this run, and look again then; look again at this time in any case.
    Wait(RunToken, Instant),
}

/// An answer that another server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedFound {
    /// The answer, or why there is none.
    pub result: Result<Reply, Failure>,
    /// How long it may still be served; `None`: to those who have waited only.
    pub left: Option<Duration>,
    /// This server has waited for it.
    pub followed: bool,
}

/// Why a server runs a question itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyRun {
    /// No server has its answer, and none runs it.
    Missed,
    /// Its answer is not shared, or another server's run took too long.
    Alone,
    /// What was there is no answer to it.
    Unusable,
    /// Nothing can be written down there.
    Refused,
    /// Nothing was heard.
    Fault(SharedFault),
}

/// One search for an answer.
#[derive(Debug)]
pub struct Search {
    /// When this server waits no longer.
    until: Instant,
    /// The run that it waits for.
    run: Option<RunToken>,
}

impl Search {
    /// Begins a search that waits for others this long at most.
    pub fn new(now: Instant, patience: Duration) -> Self {
        Self { until: now + patience, run: None }
    }

    /// The run that is waited for, whose end is asked for with each look.
    pub fn run(&self) -> Option<RunToken> {
        self.run
    }

    /// Decides by what was seen.
    pub fn seen(&mut self, seen: SharedSeen, now: Instant) -> SharedStep {
        let followed = self.run.is_some();
        let alone = |why| SharedStep::Run { leads: false, why };
        match seen {
            SharedSeen::Value(SharedValue::Reply(reply), left) => {
                SharedStep::Take(SharedFound { result: Ok(reply), left: Some(left), followed })
            }
            SharedSeen::Ended(SharedValue::Reply(reply)) => {
                SharedStep::Take(SharedFound { result: Ok(reply), left: None, followed })
            }
            SharedSeen::Ended(SharedValue::Failure(failure)) => {
                SharedStep::Take(SharedFound { result: Err(failure), left: None, followed })
            }
            SharedSeen::Value(SharedValue::Apart, _) | SharedSeen::Ended(SharedValue::Apart) => {
                alone(WhyRun::Alone)
            }
            // A failure is told, never kept.
            SharedSeen::Value(SharedValue::Failure(_), _) | SharedSeen::Unusable => {
                alone(WhyRun::Unusable)
            }
            SharedSeen::Leads => SharedStep::Run { leads: true, why: WhyRun::Missed },
            SharedSeen::Nothing => alone(WhyRun::Missed),
            SharedSeen::Refused => alone(WhyRun::Refused),
            SharedSeen::Fault(fault) => alone(WhyRun::Fault(fault)),
            SharedSeen::Runs(_) if now >= self.until => alone(WhyRun::Alone),
            SharedSeen::Runs(run) => {
                self.run = Some(run);
                SharedStep::Wait(run, self.until.min(now + LOOK))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::ReplyForm;
    use crate::cache::shared::LEASE;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// How long a run takes.
    const WORK: Duration = Duration::from_millis(700);
    const STEP: Duration = Duration::from_millis(50);

    /// What servers see of a question, as a Redis keeps it.
    #[derive(Default)]
    struct Store {
        answer: Option<SharedValue>,
        lease: Option<(RunToken, Instant)>,
    }

    /// A server with one search.
    enum Node {
        Looks(Search),
        Waits(Search, Instant),
        Runs { leads: bool, until: Instant },
        Ended,
        Died,
    }

    impl Node {
        fn is_over(&self) -> bool {
            matches!(self, Self::Ended | Self::Died)
        }
    }

    impl Store {
        fn look(&mut self, own: RunToken, now: Instant) -> SharedSeen {
            self.lease = self.lease.filter(|(_, until)| now < *until);
            match (&self.answer, self.lease) {
                (Some(answer), _) => SharedSeen::Value(answer.clone(), Duration::from_hours(1)),
                (None, Some((run, _))) => SharedSeen::Runs(run),
                (None, None) => {
                    self.lease = Some((own, now + LEASE));
                    SharedSeen::Leads
                }
            }
        }

        fn renew(&mut self, own: RunToken, now: Instant) {
            if let Some((_, until)) = self.lease.as_mut().filter(|(run, _)| *run == own) {
                *until = now + LEASE;
            }
        }
    }

    /// Servers that search for the same, and what became of them.
    struct Story {
        random: fastrand::Rng,
        /// So many of a hundred looks are not answered.
        faults: u8,
        /// So many of a hundred steps of a run kill its server.
        deaths: u8,
        store: Store,
        runs: usize,
        died: usize,
        took: Duration,
    }

    impl Story {
        fn tell(nodes: u32, seed: u64, faults: u8, deaths: u8) -> Self {
            let random = fastrand::Rng::with_seed(seed);
            let store = Store::default();
            let mut told =
                Self { random, faults, deaths, store, runs: 0, died: 0, took: Duration::ZERO };
            let start = Instant::now();
            // They begin one after the other.
            let new = |number| {
                Node::Waits(Search::new(start + STEP * number, PATIENCE), start + STEP * number)
            };
            let mut all: Vec<Node> = (0..nodes).map(new).collect();
            while !all.iter().all(Node::is_over) {
                let now = start + told.took;
                for (number, node) in all.iter_mut().enumerate() {
                    let old = std::mem::replace(node, Node::Ended);
                    *node = told.step(RunToken(number as u128), old, now);
                }
                told.took += STEP;
                assert!(told.took < Duration::from_mins(10), "nobody waits for ever");
            }
            told
        }

        fn step(&mut self, own: RunToken, node: Node, now: Instant) -> Node {
            match node {
                Node::Waits(search, until) if now >= until => Node::Looks(search),
                Node::Looks(mut search) => {
                    let seen = if self.random.u8(..100) < self.faults {
                        SharedSeen::Fault(SharedFault::Late)
                    } else {
                        self.store.look(own, now)
                    };
                    match search.seen(seen, now) {
                        SharedStep::Take(_) => Node::Ended,
                        SharedStep::Wait(_, until) => Node::Waits(search, until),
                        SharedStep::Run { leads, .. } => {
                            self.runs += 1;
                            Node::Runs { leads, until: now + WORK }
                        }
                    }
                }
                Node::Runs { .. } if self.random.u8(..100) < self.deaths => {
                    self.died += 1;
                    Node::Died
                }
                Node::Runs { leads, until } if now < until => {
                    if leads {
                        self.store.renew(own, now);
                    }
                    Node::Runs { leads, until }
                }
                Node::Runs { .. } => {
                    let body = "a".into();
                    let reply = Reply { body, form: ReplyForm::Plain };
                    self.store.answer = Some(SharedValue::Reply(reply));
                    Node::Ended
                }
                waiting_or_over => waiting_or_over,
            }
        }
    }

    #[test]
    fn where_nothing_fails_one_server_runs_it() {
        for seed in 0..50 {
            assert_eq!(Story::tell(20, seed, 0, 0).runs, 1, "seed {seed}");
        }
    }

    #[test]
    fn an_answer_that_is_not_shared_is_run_by_each() {
        let now = Instant::now();
        let mut search = Search::new(now, PATIENCE);
        let alone = SharedStep::Run { leads: false, why: WhyRun::Alone };
        assert_eq!(search.seen(SharedSeen::Value(SharedValue::Apart, LOOK), now), alone);
        let waits = SharedStep::Wait(RunToken(7), now + LOOK);
        assert_eq!(search.seen(SharedSeen::Runs(RunToken(7)), now), waits);
        assert_eq!(search.run(), Some(RunToken(7)));
        assert_eq!(search.seen(SharedSeen::Ended(SharedValue::Apart), now), alone);
        // A failure that somebody has kept is none.
        let failure = SharedSeen::Value(SharedValue::Failure(Failure::Poisonous), LOOK);
        let unusable = SharedStep::Run { leads: false, why: WhyRun::Unusable };
        assert_eq!(search.seen(failure, now), unusable);
        // After as long as a call may take, it waits no longer.
        assert_eq!(search.seen(SharedSeen::Runs(RunToken(7)), now + PATIENCE), alone);
    }

    proptest! {
        #[test]
        fn whatever_is_lost_all_end_within_their_patience(
            nodes in 1..12_u32, seed: u64, faults in 0..60_u8, deaths in 0..8_u8,
        ) {
            let story = Story::tell(nodes, seed, faults, deaths);
            prop_assert!(story.runs <= nodes as usize, "never more than one a server");
            let longest = PATIENCE + WORK + LOOK + STEP * (nodes + 5);
            prop_assert!(story.took <= longest, "{:?}", story.took);
            if faults == 0 && story.took < PATIENCE {
                // Each death costs one lease and one run.
                prop_assert!(story.runs <= story.died + 1, "{} runs", story.runs);
            }
        }
    }
}
