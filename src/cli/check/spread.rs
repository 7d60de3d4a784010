//! Tries the way to other servers, and prints what it says.

use std::sync::Arc;

use super::finding::{Finding, row};
use crate::cli::say;
use crate::config::{PoolSettings, SpreadSettings};
use crate::spread::trial::{SpreadTrial, try_spread};

/// Tries it, and returns what is wrong with it.
pub(super) async fn findings(
    settings: &SpreadSettings,
    pools: &[Arc<PoolSettings>],
    has_callers: bool,
) -> Vec<Finding> {
    let trial = try_spread(settings, pools, has_callers).await;
    let SpreadTrial { server, version, took, subjects, max_payload, others, errors, warnings } =
        trial;
    if server.is_empty() {
        say("NATS\n");
    } else {
        say(&format!("NATS {server}\n"));
        say(&row(
            "server",
            &format!("nats-server {version}, messages of at most {max_payload} bytes"),
        ));
        if let Some(took) = took.filter(|_| errors.is_empty()) {
            let took = took.as_secs_f64() * 1e3;
            say(&row("subjects", &format!("{subjects} tried, {took:.1} ms there and back")));
        }
        let others = if others.is_empty() { "none is heard".to_owned() } else { others.join("\n") };
        say(&row("hosts", &others));
    }
    say("\n");
    let place = if server.is_empty() { "NATS".to_owned() } else { format!("NATS {server}") };
    let finding = |message: String| format!("{place}: {message}");
    let errors =
        errors.into_iter().map(|(message, hint)| Finding::error(finding(message)).hint(hint));
    let warnings =
        warnings.into_iter().map(|(message, hint)| Finding::warning(finding(message)).hint(hint));
    let findings: Vec<Finding> = errors.chain(warnings).collect();
    for finding in &findings {
        say(&finding.shown());
    }
    findings
}
