//! The signs that a worker shows while its answer does not come, and what they mean.
//!
//! Pure.

use std::time::Duration;

use crate::base::Conduct;

/// A program that uses less of a processor than one in this many parts of the time is idle.
const IDLE_PART: u32 = 10;

/// What was seen of a worker over a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one sign, and any of them may be there")]
pub struct Signs {
    /// How long it was watched.
    pub watched: Duration,
    /// The CPU time that it used meanwhile.
    pub cpu: Duration,
    /// It ran, or would have run if a processor had been free, at every moment that was seen. A busy
    /// machine may have given it none.
    pub runs: bool,
    /// It wrote meanwhile.
    pub writes: bool,
    /// It has written something that is no whole answer.
    pub has_part: bool,
    /// Bytes of its questions that it has not read.
    pub unread: u64,
    /// Each of its threads waits for its input: it writes nothing more.
    pub waits: bool,
}

impl Signs {
    /// Returns true if it computes.
    pub fn computes(&self) -> bool {
        !self.waits && (self.runs || self.cpu * IDLE_PART >= self.watched)
    }

    /// Returns what the worker does with its question.
    pub fn conduct(&self) -> Conduct {
        if self.writes || self.computes() {
            return Conduct::Works;
        }
        match self {
            Self { has_part: true, .. } => Conduct::HalfAnswer,
            Self { unread: 1.., .. } => Conduct::NotReading,
            Self { waits: true, .. } => Conduct::HoldsOutput,
            _ => Conduct::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// It has read its question, and sleeps.
    const SLEEPS: Signs = Signs {
        watched: SECOND,
        cpu: Duration::ZERO,
        runs: false,
        writes: false,
        has_part: false,
        unread: 0,
        waits: false,
    };

    #[test]
    fn a_program_that_does_nothing_is_told_by_what_it_has_read_and_written() {
        assert_eq!(SLEEPS.conduct(), Conduct::Silent);
        assert_eq!(Signs { waits: true, ..SLEEPS }.conduct(), Conduct::HoldsOutput);
        assert_eq!(Signs { unread: 1, ..SLEEPS }.conduct(), Conduct::NotReading);
        assert_eq!(Signs { unread: 1, waits: true, ..SLEEPS }.conduct(), Conduct::NotReading);
        for waits in [false, true] {
            assert_eq!(Signs { has_part: true, waits, ..SLEEPS }.conduct(), Conduct::HalfAnswer);
        }
    }

    #[test]
    fn a_program_that_computes_or_writes_works_whatever_else_is_seen() {
        let rest = Signs { has_part: true, unread: 7, ..SLEEPS };
        for works in [
            Signs { cpu: SECOND / 10, ..rest },
            Signs { runs: true, ..rest },
            Signs { writes: true, ..rest },
            Signs { writes: true, waits: true, ..rest },
        ] {
            assert_eq!(works.conduct(), Conduct::Works, "{works:?}");
        }
        assert_eq!(Signs { cpu: SECOND / 11, ..SLEEPS }.conduct(), Conduct::Silent);
    }

    #[test]
    fn what_a_program_that_waits_used_before_is_no_work() {
        assert_eq!(Signs { waits: true, cpu: SECOND, ..SLEEPS }.conduct(), Conduct::HoldsOutput);
    }
}
