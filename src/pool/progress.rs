//! What a worker says of how far a call is, and who is told.
//!
//! Jobs are told through their source, and callers who take an answer in parts as events. All others
//! are told nothing. Progress never holds a worker back: what is not told yet is replaced by the next.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::Pool;
use super::links::Link;
use crate::base::{CallId, Class, PartGate, Progress};
use crate::worker::pipes::Pipes;

/// The least time between two events of one call.
const PAUSE: Duration = Duration::from_millis(250);

impl Pool {
    /// Tells those who look at the calls of a worker how far these are, if it has said so.
    pub(super) fn pass_progress_on(self: &Rc<Self>, now: Instant, link: &Link) {
        let told = link.pipes.borrow_mut().as_mut().and_then(Pipes::take_progress);
        let Some(told) = told else { return };
        for (call, progress) in told {
            let class = {
                let state = self.state.borrow();
                let Some(entry) = state.payload(call) else { continue };
                let is_heard = self.answers.come_in_parts && entry.question.listener.is_some();
                match &entry.terms {
                    Some(terms) if terms.guest.get().is_none() => terms.class,
                    _ if is_heard => Class::Interactive,
                    _ => continue,
                }
            };
            match class {
                Class::Job { place, .. } => self.tell_source(place, progress),
                Class::Interactive => self.show_progress(now, link, call, progress),
                Class::Batch(_) => {}
            }
        }
    }

    /// Tells the caller of an answer in parts. It has begun then, and may not run twice.
    fn show_progress(self: &Rc<Self>, now: Instant, link: &Link, call: CallId, progress: Progress) {
        let begun = self.state.borrow_mut().has_begun(now, call);
        let state = self.state.borrow();
        let Some(entry) = state.payload(call) else { return };
        let Some(gate) = self.open(now, Some(link), (call, entry), begun) else { return };
        if let Some(shown) = entry.shown.get() {
            shown.send_replace(progress);
            return;
        }
        // At once, so that it comes before the part that follows it.
        gate.remark(event(&progress));
        let (told, latest) = watch::channel(progress);
        if entry.shown.set(told).is_ok() {
            self.services.tasks.spawn_local(show(latest, gate));
        }
    }
}

/// Shows a caller what is told of their call after the first time, until it is over.
async fn show(mut latest: watch::Receiver<Progress>, gate: PartGate) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if latest.changed().await.is_err() {
            return;
        }
        let progress = latest.borrow_and_update().clone();
        if !gate.remark(event(&progress)) {
            return;
        }
    }
}

fn event(progress: &Progress) -> Bytes {
    Bytes::copy_from_slice(progress.json().as_bytes())
}
