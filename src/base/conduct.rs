//! What a worker does with a call that it has held for long.
//!
//! Pure: a closed list. `doctor` finds out which it is.

use serde::{Deserialize, Serialize};

/// What a worker does with a call that it has held for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conduct {
    /// It has read the question and waits for the next, and has written nothing.
    HoldsOutput,
    /// It has written a part of an answer, and nothing since.
    HalfAnswer,
    /// It has not read the question, and uses no CPU.
    NotReading,
    /// It has read the question, uses no CPU and writes nothing: it waits for something else.
    Silent,
    /// It uses CPU, or writes.
    Works,
}

impl Conduct {
    /// Every conduct, in the order of declaration.
    pub const ALL: [Self; 5] =
        [Self::HoldsOutput, Self::HalfAnswer, Self::NotReading, Self::Silent, Self::Works];

    /// Returns the one word for it in metrics, log and status.
    pub fn label(self) -> &'static str {
        match self {
            Self::HoldsOutput => "holds_output",
            Self::HalfAnswer => "half_answer",
            Self::NotReading => "not_reading",
            Self::Silent => "silent",
            Self::Works => "works",
        }
    }

    /// Says it to a caller, after `the program did not answer within 30s:`.
    pub fn told(self) -> &'static str {
        match self {
            Self::HoldsOutput => {
                "it had read the question, used no CPU and wrote nothing, as programs do that hold \
                 their output back"
            }
            Self::HalfAnswer => "it had written a part of its answer, and then no more",
            Self::NotReading => "it had not read the question",
            Self::Silent => "it had read the question, used no CPU and wrote nothing",
            Self::Works => "it was still at work",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_its_words() {
        for (place, conduct) in Conduct::ALL.iter().enumerate() {
            assert_eq!(*conduct as usize, place);
            assert!(conduct.told().starts_with("it "), "{conduct:?}");
        }
    }
}
