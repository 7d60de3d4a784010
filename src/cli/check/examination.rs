//! What was found out about one pool.
//!
//! Pure: data only. `examine` fills it in, `diagnosis` interprets it.

use super::record::Record;
use crate::doctor::remedy::Remedy;

/// What was found out about one pool.
#[derive(Debug)]
pub(super) struct Examination {
    /// The worker that shows best what the pool does.
    pub(super) record: Record,
    /// A worker that failed at other questions than those in `record`, which are answered.
    pub(super) other: Option<Record>,
    /// The remedies that were tried against what `record` shows.
    pub(super) remedies: RemedyResults,
}

/// The remedies that were tried.
#[derive(Debug, Default)]
pub(super) struct RemedyResults {
    /// The remedy that helped.
    pub(super) worked: Option<Remedy>,
    /// The names of those that did not.
    pub(super) failed: Vec<String>,
}
