//! What a pool keeps of workers that were lost.
//!
//! Calls that were inside, last words and numbers are always kept; contents only where the pool has
//! `record`. They are in memory only, and go with the pool.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Pool;
use super::inside::{Inside, LostWorker};
use super::links::{Ending, Link};
use crate::base::{ExitReason, WorkerId};
use crate::observe::tap::Recorder;
use crate::report::{InsideCall, WorkerRecord};

/// How many records a pool keeps.
const RECORDS_KEPT: usize = 8;

/// The records of one pool, oldest first.
#[derive(Debug, Default)]
pub(super) struct Records(RefCell<VecDeque<Kept>>);

/// One record. Its contents stay as they came until somebody reads them.
#[derive(Debug)]
struct Kept {
    record: WorkerRecord,
    contents: Option<Rc<Recorder>>,
}

impl Pool {
    /// Keeps the record of a worker that was lost. Of others there is none.
    pub(super) fn keep_record(&self, link: &Link, ending: &Ending) {
        let state = self.state.borrow();
        let Some(lost) = state.lost(ending.at, ending.worker) else { return };
        drop(state);
        if is_loss(ending.reason) {
            let record = self.record_of(link, ending, lost);
            self.records.keep(Kept { record, contents: link.traces.contents() });
        }
    }

    fn record_of(&self, link: &Link, ending: &Ending, lost: LostWorker) -> WorkerRecord {
        let left = link.traces.left();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WorkerRecord {
            worker: ending.worker.0,
            pool: self.name(),
            pid: link.process(),
            at: now.as_secs_f64(),
            reason: ending.reason.label().into(),
            exit: ending.how.clone(),
            why: link.why(),
            age: lost.age,
            calls: lost.calls,
            cpu: ending.cpu,
            memory: left.memory,
            memory_peak: ending.memory_peak,
            inside: lost.inside.into_iter().map(inside_call).collect(),
            inside_more: lost.inside_more,
            given_up: lost.given_up,
            unread_bytes: left.unread.unwrap_or(0),
            half_said_bytes: left.half_said,
            stderr: ending.said.clone(),
            exchanges: None,
        }
    }

    /// Returns the record of a worker, if it was lost and its record is still kept.
    pub fn record(&self, worker: WorkerId) -> Option<WorkerRecord> {
        self.records.get(worker)
    }

    /// Returns the workers of which there are records.
    pub fn recorded(&self) -> Vec<WorkerId> {
        self.records.0.borrow().iter().map(|kept| WorkerId(kept.record.worker)).collect()
    }

    /// Returns how many bytes of contents are kept, of living workers and of lost ones.
    pub(super) fn recorded_bytes(&self) -> u64 {
        let living: Vec<_> =
            self.links.all().iter().filter_map(|it| it.traces.contents()).collect();
        let records = self.records.0.borrow();
        let lost = records.iter().filter_map(|kept| kept.contents.as_ref());
        living.iter().chain(lost).map(|contents| contents.bytes() as u64).sum()
    }

    /// Keeps contents as `record` says from now on.
    pub(super) fn record_as_configured(&self) {
        if self.settings.borrow().rules.record == 0 {
            self.records.0.borrow_mut().iter_mut().for_each(|kept| kept.contents = None);
        }
    }
}

impl Records {
    fn keep(&self, kept: Kept) {
        let mut records = self.0.borrow_mut();
        if records.len() == RECORDS_KEPT {
            records.pop_front();
        }
        records.push_back(kept);
    }

    fn get(&self, worker: WorkerId) -> Option<WorkerRecord> {
        let records = self.0.borrow();
        let Kept { record, contents } = records.iter().find(|it| it.record.worker == worker.0)?;
        let contents = contents.as_ref().map(|it| it.events());
        Some(WorkerRecord { exchanges: contents, ..record.clone() })
    }
}

/// Returns true if a worker that ended for this reason was lost: it was not to end.
fn is_loss(reason: ExitReason) -> bool {
    match reason {
        ExitReason::Crash
        | ExitReason::Timeout
        | ExitReason::BadAnswer
        | ExitReason::UnaskedOutput
        | ExitReason::TooBig
        | ExitReason::StartFailed
        | ExitReason::Killed => true,
        ExitReason::Recycled
        | ExitReason::ScaledDown
        | ExitReason::Reloaded
        | ExitReason::Stopped => false,
    }
}

fn inside_call(inside: Inside) -> InsideCall {
    let Inside { call, route, since, bytes, retries, abandoned, unread, question } = inside;
    InsideCall {
        call: call.name(),
        route,
        since,
        bytes,
        retries,
        abandoned,
        unread,
        question: question.map(|question| question.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::PoolSettings;
    use crate::observe::tap::Piece;
    use crate::pool::traces::Traces;
    use crate::report::TapKind;

    fn record(worker: u64) -> WorkerRecord {
        WorkerRecord { worker, ..crate::report::fixture::record() }
    }

    #[test]
    fn only_the_last_records_are_kept() {
        let records = Records::default();
        for worker in 1..=100 {
            records.keep(Kept { record: record(worker), contents: None });
        }
        assert_eq!(records.0.borrow().len(), RECORDS_KEPT);
        assert_eq!(records.get(WorkerId(92)), None);
        assert_eq!(records.get(WorkerId(93)).map(|it| it.worker), Some(93));
    }

    #[test]
    fn contents_are_kept_only_while_they_are_wished_for() {
        let traces = Traces::default();
        traces.keep(2);
        let contents = traces.contents().expect("they are wished for");
        let settings = Arc::new(PoolSettings::for_tests());
        contents.push(Piece::new(TapKind::Read, settings, Some(WorkerId(1))).with(b"secret"));
        let records = Records::default();
        let kept = Kept { record: record(1), contents: traces.contents() };
        records.keep(kept);
        let shown = records.get(WorkerId(1)).and_then(|it| it.exchanges).expect("contents");
        assert_eq!(shown[0].text, "secret");
        traces.keep(0);
        assert!(traces.contents().is_none());
    }
}
