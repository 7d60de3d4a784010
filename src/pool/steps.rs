//! What happens next to a worker that serves. The order of the questions is the same for every
//! worker: an order to leave, then what waits to be written, what can be read, a look that is due,
//! and last the end of the process.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

use super::links::Link;
use crate::base::ExitReason;
use crate::sync::seldom::Seldom;
use crate::worker::pipes::Pipes;
use crate::worker::turn::NextLook;

/// How long a worker that closed its pipes may take to end by itself. Its own exit tells more than
/// the signal that we would send.
pub(super) const CLOSING: Duration = Duration::from_millis(200);

/// One thing that happened to a worker.
pub(super) enum Step {
    /// It has written something, which was read.
    Heard,
    /// A look at it is due.
    Look,
    /// It has closed a pipe.
    Closed,
    /// It has ended.
    Ended,
    /// It was told to leave.
    Ordered(ExitReason),
}

/// The steps of one worker, as they happen. `ended` is the end of its process.
pub(super) struct Steps<'a, F> {
    link: &'a Link,
    ended: Seldom<F>,
    looks: LookTimer,
    is_output_over: bool,
}

impl<'a, F: Future<Output = ()> + Unpin> Steps<'a, F> {
    pub(super) fn new(link: &'a Link, ended: F) -> Self {
        let (ended, looks) = (Seldom::new(ended), LookTimer::default());
        Self { link, ended, looks, is_output_over: false }
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Step {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready(reason) = self.link.poll_order(context) {
            return Poll::Ready(Step::Ordered(reason));
        }
        let mut pipes = self.link.pipes.borrow_mut();
        let Some(pipes) = pipes.as_mut() else { return Poll::Ready(Step::Closed) };
        // One that ends with its answer may close a pipe at any time: its end tells what it made of
        // its question.
        let may_close = pipes.ends_with_answer();
        match pipes.poll_flush(context) {
            Poll::Ready(Err(_)) if !may_close => return Poll::Ready(Step::Closed),
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a worker does not read its question");
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        if !self.is_output_over && self.link.poll_room(context).is_ready() {
            match pipes.poll_read(context) {
                Poll::Ready(Ok(1..)) => return Poll::Ready(Step::Heard),
                Poll::Ready(_) if may_close => self.is_output_over = true,
                Poll::Ready(_) => return Poll::Ready(Step::Closed),
                Poll::Pending => {}
            }
            let next_look = self.link.turns.get().and_then(|turns| turns.next_look(pipes));
            if next_look.is_some_and(|next| self.looks.poll(context, next).is_ready()) {
                return Poll::Ready(Step::Look);
            }
        }
        self.ended.poll(context).map(|()| Step::Ended)
    }

    /// Waits a moment for the end of a worker that has closed a pipe. Returns false if it goes on.
    pub(super) async fn wait_for_end(&mut self) -> bool {
        let ended = poll_fn(|context| self.ended.poll(context));
        tokio::time::timeout(CLOSING, ended).await.is_ok()
    }
}

impl Link {
    /// Reads what a worker wrote before it ended, because its last answers count. Reads no more than
    /// that: other processes may hold the pipe, and write without end. Calls `heard` after each
    /// read, and stops with the first reason that it returns.
    pub(super) async fn drain(
        &self,
        mut heard: impl AsyncFnMut() -> Option<ExitReason>,
    ) -> Option<ExitReason> {
        let mut left = self.pipes.borrow().as_ref().map_or(0, Pipes::left_to_read);
        while left > 0 {
            let read = self.pipes.borrow_mut().as_mut().map_or(0, Pipes::read_now);
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read);
            if let Some(reason) = heard().await {
                return Some(reason);
            }
        }
        None
    }
}

/// Wakes the task of a worker for its next look. It is set again only after it has rung: most turns
/// are over before their first timed look, and setting a timer costs more than the look itself.
#[derive(Default)]
struct LookTimer(Option<Pin<Box<Sleep>>>);

impl LookTimer {
    fn poll(&mut self, context: &mut Context<'_>, next: NextLook) -> Poll<()> {
        let NextLook::At(time) = next else { return Poll::Ready(()) };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(time.into())));
        if sleep.deadline() > time.into() {
            sleep.as_mut().reset(time.into());
        }
        while sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= time {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(time.into());
        }
        Poll::Pending
    }
}
