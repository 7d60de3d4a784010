//! Looks at the file of the jobs as the start of a server would.

use super::finding::Finding;
use crate::config::Config;
use crate::jobs::{self, NotOpened};

/// Returns what is wrong with the file of the jobs.
pub(super) fn report(config: &Config) -> Option<Finding> {
    let error = jobs::examine(&config.jobs.as_ref()?.file).err()?;
    let told = error.to_string();
    let (message, hint) = told.split_once("\n\nhint: ").unwrap_or((&told, ""));
    Some(match error {
        // The server that runs may be the one of this very configuration.
        NotOpened::Busy(path) => {
            Finding::note(format!("a server has the file of the jobs now, {}", path.display()))
                .hint("a second one would be refused: one server has one file")
        }
        _ => Finding::error(message).hint(hint),
    })
}
