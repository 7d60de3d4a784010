//! The questions that a worker is tried with: greetings, and the probe or samples of a route.

use super::record::TrialPhase;
use crate::base::Question;
use crate::config::{Config, Matching, PoolSettings, RouteAction, RouteSettings};
use crate::front::sample::{SAMPLES_MAX, Sample};
use crate::wire::group;
use crate::worker::ready::question;

/// How many different samples a worker is asked one after the other.
const ASKED_IN_A_ROW: usize = 2;

/// One question to be asked.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) phase: TrialPhase,
    pub(super) question: Question,
    /// The worker answers it.
    pub(super) is_answered: bool,
}

/// What a worker of one pool can be asked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Greetings and the probe, which every new worker is asked.
    start: Vec<Planned>,
    /// Questions that were made up. A worker is asked one group of them; the other groups are for
    /// a program that cannot answer the first.
    samples: Vec<Vec<Planned>>,
    /// Why there are no samples and no probe.
    pub(super) why_none: Option<&'static str>,
}

/// Why nothing was asked of a pool whose routes say too little of what they pass on.
pub(super) const NONE_MADE_UP: &str = "not configured, and no question could be made up";

impl Plan {
    /// Plans the questions for the pool of this number. `asks`: questions may be made up.
    pub(super) fn new(config: &Config, number: usize, asks: bool) -> Self {
        let pool = &config.pools[number];
        let start = start(pool);
        let mut plan = Self { start, samples: Vec::new(), why_none: None };
        if pool.program.start.probe.is_some() {
            return plan;
        }
        if !asks {
            plan.why_none = Some("not configured, so no question was asked");
        } else if pool.program.wire.matching == Matching::JsonId {
            plan.why_none = Some("not configured, and questions with an `id` are not made up");
        } else {
            let leads_here = |route: &&RouteSettings| {
                let is_harmless = matches!(route.method.as_str(), "GET" | "POST" | "ANY");
                is_harmless && matches!(&route.action, RouteAction::Call(it) if it.pool == number)
            };
            let routes = config.routes.iter().filter(leads_here);
            let mut samples = routes.map(|route| samples(route, pool));
            plan.samples = samples.find(|samples| !samples.is_empty()).unwrap_or_default();
            if plan.samples.is_empty() {
                plan.why_none = Some(NONE_MADE_UP);
            }
        }
        plan
    }

    /// Returns how many groups of samples there are; with none, a worker is still asked what every
    /// new one is asked.
    pub(super) fn groups(&self) -> usize {
        self.samples.len()
    }

    /// Returns all questions for one worker, with this group of samples.
    pub(super) fn questions(&self, group: usize) -> Vec<Planned> {
        let samples = self.samples.get(group).into_iter().flatten();
        self.start.iter().chain(samples).cloned().collect()
    }
}

fn start(pool: &PoolSettings) -> Vec<Planned> {
    let start = &pool.program.start;
    let greetings = start.hello.iter().enumerate().map(|(index, greeting)| Planned {
        phase: TrialPhase::Hello(index + 1),
        question: question(&greeting.send),
        is_answered: greeting.answer,
    });
    let probe = start.probe.iter().map(|probe| Planned {
        phase: TrialPhase::Probe,
        question: question(&probe.send),
        is_answered: true,
    });
    greetings.chain(probe).collect()
}

/// Makes up questions of this route, in groups; those of a later group were not in one before.
fn samples(route: &RouteSettings, pool: &PoolSettings) -> Vec<Vec<Planned>> {
    let mut groups: Vec<Vec<Planned>> = Vec::new();
    for first in (0..SAMPLES_MAX).step_by(ASKED_IN_A_ROW) {
        let mut group: Vec<Planned> = (first..first + ASKED_IN_A_ROW)
            .filter_map(|number| {
                let nonce = question("{nonce}").nonce.unwrap_or_default();
                let nonce = String::from_utf8_lossy(&nonce);
                let question = Sample::new(route, number)?.question(&pool.program.wire, &nonce);
                Some(Planned {
                    phase: TrialPhase::Sample,
                    question: question.ok()?,
                    is_answered: true,
                })
            })
            .collect();
        let is_asked = |planned: &Planned| {
            let mut asked = groups.iter().flatten();
            asked.any(|other| other.question.text == planned.question.text)
        };
        if group.is_empty() || group.iter().any(is_asked) {
            break;
        }
        // Another caller may ask the same.
        group.extend(group.last().cloned());
        if let Some(shape) = pool.program.wire.group {
            // So the program gets them: together.
            let texts = group.iter().map(|planned| &planned.question.text[..]);
            let question = Question::plain(group::join(shape, texts));
            group = vec![Planned { phase: TrialPhase::Sample, question, is_answered: true }];
        }
        groups.push(group);
    }
    groups
}
