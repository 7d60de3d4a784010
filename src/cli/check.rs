//! `httpipe check`: validate, and try each pool.

use std::process::ExitCode;

use super::{REFUSED, is_terminal, say, shown};
use crate::config::{Config, ConfigSource};

/// Something that was seen when a pool was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub weight: Weight,
    /// What was seen.
    pub message: String,
    /// What to change.
    pub hint: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The pool would not work.
    Error,
    /// It works, but not as well or as safely as it could.
    Warning,
}

/// Says what is wrong, or that nothing is.
pub(super) fn run(source: &ConfigSource) -> ExitCode {
    let config = match source.load() {
        Ok(config) => config,
        Err(problems) => {
            say(&shown(&problems, source, is_terminal(&std::io::stdout())));
            return ExitCode::from(REFUSED);
        }
    };
    let findings = check_pools(&config);
    for finding in &findings {
        say(&finding.shown());
    }
    let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count();
    if errors > 0 {
        return ExitCode::from(REFUSED);
    }
    let warnings = match findings.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning")),
    };
    let pools = counted(config.pools.len(), "pool");
    let routes = counted(config.routes.len(), "route");
    say(&format!("no errors in {pools} and {routes}{warnings}\n"));
    ExitCode::SUCCESS
}

/// Starts one worker of each pool and tells what was seen. Nothing is tried yet.
fn check_pools(_config: &Config) -> Vec<Finding> {
    Vec::new()
}

fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

impl Finding {
    fn shown(&self) -> String {
        let weight = match self.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
        };
        let hint = self.hint.as_ref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
        format!("{weight}: {}\n{hint}\n", self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_shown_with_what_to_change() {
        let finding = Finding {
            weight: Weight::Warning,
            message: "pool `a` holds its output back".to_owned(),
            hint: Some("add `tty = true`".to_owned()),
        };
        let shown = "warning: pool `a` holds its output back\nhint: add `tty = true`\n\n";
        assert_eq!(finding.shown(), shown);
    }
}
