//! Tries the cache that servers share, and prints what it says.

use super::finding::{Finding, row};
use crate::cache::SharedTrial;
use crate::cache::redis::try_shared;
use crate::cli::say;
use crate::config::SharedCacheSettings;

/// Tries it, and returns what is wrong with it.
pub(super) async fn findings(settings: &SharedCacheSettings) -> Vec<Finding> {
    let SharedTrial { server, took, eviction, error, warnings } = try_shared(settings).await;
    say(&format!("shared cache {server}\n"));
    if let Some(took) = took {
        let drops = eviction.map(|policy| format!(", `{policy}` where its memory is full"));
        let took = took.as_secs_f64() * 1e3;
        say(&row("look", &format!("{took:.1} ms{}", drops.unwrap_or_default())));
    }
    say("\n");
    let finding = |message: &str| format!("shared cache {server}: {message}");
    let error = error.map(|(message, hint)| Finding::error(finding(&message)).hint(hint));
    let warnings =
        warnings.into_iter().map(|(message, hint)| Finding::warning(finding(&message)).hint(hint));
    let findings: Vec<Finding> = error.into_iter().chain(warnings).collect();
    for finding in &findings {
        say(&finding.shown());
    }
    findings
}
