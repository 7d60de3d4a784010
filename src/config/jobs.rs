//! The settings of jobs.
//!
//! Pure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::ByteSize;

/// Where jobs are kept, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobsSettings {
    /// The file; the path is absolute.
    pub file: PathBuf,
    /// Most jobs that wait or run.
    pub length: u64,
    /// Most bytes of questions and answers.
    pub bytes: ByteSize,
    /// Most bytes of one answer.
    pub result: ByteSize,
}

/// The rules of the jobs of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRules {
    /// How long one may take in a worker.
    pub timeout: Duration,
    /// How long one may wait for a worker.
    pub wait: Duration,
    /// How long one is kept after its end.
    pub keep: Duration,
    /// By how many minutes one counts as earlier than it came.
    pub priority: i32,
}

impl JobsSettings {
    /// How the paths of jobs begin, which are those of no route then.
    pub const PATH: &str = "/-/jobs/";
    /// What stands behind the name of the file in the name of a backup, before its time.
    pub const BACKUP: &str = ".backup-";

    /// Returns them with a file that is relative to this directory.
    #[must_use]
    pub fn below(self, base: &Path) -> Self {
        Self { file: base.join(&self.file), ..self }
    }
}
