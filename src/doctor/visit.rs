//! One look at a worker of a running server whose oldest call runs long.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::activity::CpuUse;
use super::signs::Signs;
use crate::base::Conduct;
use crate::worker::look::{Look, Watcher};

/// What the pipes of a worker show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipework {
    /// Bytes of its questions that it has not read.
    pub unread: u64,
    /// Bytes that were read from it since its start.
    pub read: u64,
    /// It has written something for this call that is no whole answer.
    pub has_part: bool,
}

/// What one look at a worker showed. Two of them that agree tell what it does.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    at: Instant,
    pipes: Pipework,
    /// `None`: the kernel does not show it.
    cpu: Option<CpuUse>,
    waits: bool,
}

/// Looks at the worker with this first process, whose questions come through the first pipe and
/// whose answers leave through the second. `None`: it gets one question, whose end it has seen, so
/// it waits for no other. A look costs some microseconds for each thread.
pub fn visit(
    now: Instant,
    leader: u32,
    ends: Option<[BorrowedFd<'_>; 2]>,
    pipes: Pipework,
) -> Visit {
    let waits = ends.is_some_and(|[stdin, stdout]| {
        Watcher::new(leader, stdin, stdout).look_closely() == Look::Waits
    });
    Visit { at: now, pipes, cpu: CpuUse::of(leader), waits }
}

impl Visit {
    /// Returns what the worker does with its call, if this look agrees with the one before.
    pub fn since(&self, before: &Self) -> Option<Conduct> {
        let writes = self.pipes.read != before.pipes.read;
        if writes {
            return Some(Conduct::Works);
        }
        let (then, now) = (before.cpu?, self.cpu?);
        let agrees =
            self.waits == before.waits && self.pipes == before.pipes && then.runs == now.runs;
        let signs = Signs {
            watched: self.at.saturating_duration_since(before.at),
            cpu: now.time.saturating_sub(then.time),
            runs: then.runs && now.runs,
            writes,
            has_part: self.pipes.has_part,
            unread: self.pipes.unread,
            waits: self.waits,
        };
        (agrees || signs.computes()).then(|| signs.conduct())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What a program shows that has read its question and waits for the next.
    fn waiting() -> Visit {
        let pipes = Pipework { unread: 0, read: 40, has_part: false };
        let cpu = Some(CpuUse { time: Duration::from_millis(500), runs: false });
        Visit { at: Instant::now(), pipes, cpu, waits: true }
    }

    /// What is concluded if this is what is seen one second later.
    fn one_second_later(change: impl Fn(&mut Visit)) -> Option<Conduct> {
        let before = waiting();
        let mut after = Visit { at: before.at + Duration::from_secs(1), ..before };
        change(&mut after);
        after.since(&before)
    }

    #[test]
    fn two_looks_that_agree_tell_what_it_does_and_others_nothing() {
        assert_eq!(one_second_later(|_| ()), Some(Conduct::HoldsOutput));
        assert_eq!(one_second_later(|after| after.waits = false), None);
        assert_eq!(one_second_later(|after| after.pipes.unread = 9), None, "it was given more");
        assert_eq!(one_second_later(|after| after.cpu = None), None, "it is hidden");
        let runs = |after: &mut Visit| after.cpu.as_mut().expect("seen").runs = true;
        assert_eq!(one_second_later(runs), None);
    }

    #[test]
    fn what_it_wrote_or_computed_in_between_is_work() {
        assert_eq!(one_second_later(|after| after.pipes.read += 1), Some(Conduct::Works));
        let computes = |after: &mut Visit| {
            after.waits = false;
            after.cpu.as_mut().expect("seen").time += Duration::from_millis(300);
        };
        assert_eq!(one_second_later(computes), Some(Conduct::Works));
    }
}
