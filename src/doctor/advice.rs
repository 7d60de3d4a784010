//! What operators are told of a worker whose oldest call runs long.
//!
//! Pure.

use std::path::Path;

use super::remedy::likeliest;
use crate::base::Conduct;
use crate::config::PoolSettings;

/// What is wrong with a worker, and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What the worker does, after `worker 3`.
    pub text: &'static str,
    /// What to write into the configuration; `None`: no key of it would help. It holds no
    /// arguments of the command, which may be secrets.
    pub fix: Option<String>,
}

/// Returns what to say of a worker of this pool; `None`: nothing is wrong with it. `stdbuf`: its
/// path, if it is installed.
pub fn advice(pool: &PoolSettings, conduct: Conduct, stdbuf: Option<&Path>) -> Option<Advice> {
    let is_once = pool.program.wire.ends_with_answer();
    let (text, fix) = match conduct {
        Conduct::Works => return None,
        Conduct::HoldsOutput => (
            "has read its question, has used no CPU since and has written nothing: it most likely \
             holds its output back",
            likeliest(pool, stdbuf),
        ),
        Conduct::HalfAnswer if is_once => (
            "has written something, uses no CPU and does not end, although its input has ended",
            None,
        ),
        Conduct::HalfAnswer => (
            "has written something that is no whole answer under `framing`, and nothing since: \
             `httpipe check` finds the framing that fits",
            None,
        ),
        Conduct::NotReading => {
            ("does not read its question and uses no CPU: a worker must read from stdin", None)
        }
        Conduct::Silent => (
            "has read its question, uses no CPU and writes nothing: it waits for something else, as \
             for a lock, the network or another program",
            None,
        ),
    };
    Some(Advice { text, fix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_wrong_is_told_and_work_is_not() {
        let pool = PoolSettings::for_tests();
        for conduct in Conduct::ALL {
            let advice = advice(&pool, conduct, None);
            assert_eq!(advice.is_none(), conduct == Conduct::Works, "{advice:?}");
        }
    }
}
