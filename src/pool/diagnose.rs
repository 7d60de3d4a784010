//! Looks at a worker whose oldest call runs long, and tells operators what is wrong with it.

use std::time::Instant;

use super::Pool;
use super::links::Link;
use super::turns::Turns;
use crate::base::{CallId, Conduct, WorkerId};
use crate::doctor::{Pipework, Visit, advice, stdbuf_of, visit};
use crate::worker::pipes::Pipes;

impl Pool {
    /// Looks at a worker because of this call, its oldest. What it does is known when two looks in a
    /// row agree.
    pub(super) fn diagnose(&self, now: Instant, worker: WorkerId, call: CallId) {
        let Some(link) = self.links.get(worker) else { return };
        let seen = self.visit(now, &link, call);
        let before = link.visited.replace(seen.map(|seen| (call, seen)));
        let before = before.filter(|(of, _)| *of == call);
        let Some((seen, (_, before))) = seen.zip(before) else { return };
        let Some(conduct) = seen.since(&before) else { return };
        if self.state.borrow_mut().found(worker, call, conduct) {
            self.metrics.diagnosed(conduct);
            self.tell_conduct(now, worker, conduct);
        }
    }

    /// Returns what workers were seen to do with their oldest calls, which run long.
    pub fn conducts(&self) -> Vec<(WorkerId, Conduct)> {
        self.state.borrow().conducts()
    }

    /// Looks at a worker once. Returns `None` if it waits for us: for its question, or because a
    /// reader of its answer does not keep up, so that what it wrote is not read.
    fn visit(&self, now: Instant, link: &Link, call: CallId) -> Option<Visit> {
        let process = link.process()?;
        if link.turns.get().is_some_and(Turns::is_resting) {
            return None;
        }
        let pipes = link.pipes.borrow();
        let pipes = pipes.as_ref().filter(|pipes| !pipes.has_output())?;
        let state = self.state.borrow();
        let entry = state.payload(call)?;
        let has_part = pipes.has_part()
            || entry.has_begun()
            || link.turns.get().is_some_and(Turns::has_output);
        let unread = pipes.unread_of(call, entry.question.text.len());
        let pipework = Pipework { unread, read: pipes.bytes_read(), has_part };
        let ends = (!pipes.ends_with_answer()).then(|| Pipes::ends(pipes));
        Some(visit(now, process, ends, pipework))
    }

    /// Logs what is wrong with a worker, if the pool has not been told of lately.
    fn tell_conduct(&self, now: Instant, worker: WorkerId, conduct: Conduct) {
        let settings = self.settings();
        let stdbuf = stdbuf_of(&settings.program.launch);
        let Some(advice) = advice(&settings, conduct, stdbuf.as_deref()) else { return };
        let Some(diagnoses) = self.ill.borrow_mut().may_say(now, 1) else { return };
        let (pool, verdict) = (settings.name.as_str(), conduct.label());
        let (why, hint) = (advice.text, advice.fix);
        tracing::warn!(
            pool,
            worker = worker.0,
            verdict,
            why,
            hint,
            diagnoses,
            "a call runs long: the worker {why}"
        );
    }
}
