//! Which hosts requests may be for, and which web pages may send them.
//!
//! Pure.

use std::collections::HashSet;

/// The hosts that a request on a loopback listener may be for, besides loopback itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Every one, and every web page may ask.
    Any,
    /// These names, in lower case and without ports.
    Named(HashSet<Box<str>>),
}

impl Hosts {
    /// Returns true if this name, without a port, is among them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named(names) => !names.is_empty() && names.contains(&*name.to_ascii_lowercase()),
        }
    }
}

/// The web pages of other origins that may ask and read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// All.
    Any,
    /// Those of these origins, as browsers write them.
    Listed(HashSet<Box<str>>),
}

impl Cors {
    /// Returns true if this origin is among them.
    pub fn has(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(origins) => origins.contains(origin),
        }
    }
}
