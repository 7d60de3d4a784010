//! What load balancers say at the agent port, and what they are told.
//!
//! Pure. The words are those of HAProxy's `agent-check`. A server that was drained stays so until
//! it says `ready`, and `maxconn:0` would take the limit away.

use std::fmt;
use std::num::NonZeroUsize;

/// Most bytes of the line of a balancer.
pub(super) const LINE_MOST: usize = 64;
/// Most balancers that share one server.
const SHARE_MOST: usize = 1000;

/// What is told to a balancer whose line is unknown. It contains no word that HAProxy acts on.
pub(super) const MISTAKEN: &str =
    "error: agent-send may be \"share=K\\n\", with K from 1 to 1000\n";

/// What the server can take now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Nothing: it is not ready, or it is about to stop.
    Drain,
    /// This many calls at once, from all balancers together.
    Ready {
        /// How many.
        slots: usize,
    },
}

/// What one balancer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allotment {
    Drain,
    Ready { most: NonZeroUsize },
}

impl Offer {
    /// Returns the part of one of `share` balancers. Each gets at least one call, because 0 would
    /// stand for any number.
    pub(super) fn part(self, share: NonZeroUsize) -> Allotment {
        match self {
            Self::Drain => Allotment::Drain,
            Self::Ready { slots } => {
                let most = NonZeroUsize::new(slots / share).unwrap_or(NonZeroUsize::MIN);
                Allotment::Ready { most }
            }
        }
    }
}

impl fmt::Display for Allotment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain => write!(f, "drain"),
            Self::Ready { most } => write!(f, "ready up maxconn:{most}"),
        }
    }
}

/// Reads what a balancer sent: nothing, or how many balancers share the server. Returns `None` if it
/// is neither.
pub(super) fn share(sent: &[u8]) -> Option<NonZeroUsize> {
    let line = sent.strip_suffix(b"\n").unwrap_or(sent);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Some(NonZeroUsize::MIN);
    }
    let digits = str::from_utf8(line.strip_prefix(b"share=")?).ok()?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let share: NonZeroUsize = digits.parse().ok().filter(|_| is_number)?;
    (share.get() <= SHARE_MOST).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balancer_says_nothing_or_how_many_there_are() {
        for (sent, expected) in [
            ("", Some(1)),
            ("\n", Some(1)),
            ("\r\n", Some(1)),
            ("share=1\n", Some(1)),
            ("share=3\r\n", Some(3)),
            ("share=3", Some(3)),
            ("share=1000\n", Some(1000)),
            ("share=1001\n", None),
            ("share=0\n", None),
            ("share=-1\n", None),
            ("share=+1\n", None),
            ("share= 2\n", None),
            ("share=\n", None),
            ("share=2\nshare=3\n", None),
            ("Share=2\n", None),
            ("share=99999999999999999999999\n", None),
            ("GET / HTTP/1.1\r\n", None),
        ] {
            assert_eq!(share(sent.as_bytes()).map(NonZeroUsize::get), expected, "{sent:?}");
        }
        assert_eq!(share(b"share=\xff\n"), None);
    }

    #[test]
    fn the_parts_are_never_more_than_the_whole_and_never_zero() {
        for slots in 0..50 {
            for share in (1..60).filter_map(NonZeroUsize::new) {
                let Allotment::Ready { most } = Offer::Ready { slots }.part(share) else {
                    panic!("it is ready")
                };
                let all = most.get() * share.get();
                assert!(
                    all <= slots || most.get() == 1,
                    "{slots} slots, {share} balancers: {most}"
                );
            }
        }
        assert_eq!(Offer::Drain.part(NonZeroUsize::MIN), Allotment::Drain);
    }

    /// HAProxy goes through the words of the first line and acts on those that it knows.
    #[test]
    fn the_words_are_those_that_haproxy_acts_on_and_an_error_has_none_of_them() {
        let most = NonZeroUsize::new(4).expect("not zero");
        assert_eq!(Allotment::Ready { most }.to_string(), "ready up maxconn:4");
        assert_eq!(Allotment::Drain.to_string(), "drain");
        let known = ["up", "down", "stopped", "fail", "ready", "drain", "maint"];
        for word in MISTAKEN.split([' ', ',', '\t', '\n']) {
            assert!(!known.contains(&word) && !word.starts_with("maxconn:"), "{word}");
            assert!(!word.ends_with('%'), "{word}");
        }
    }
}
