//! Builds everything from a configuration, and takes it down again.

use crate::config::{Config, ConfigSource};

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// This build cannot serve.
    #[error("this build cannot serve {0} yet")]
    NotBuilt(String),
}

/// Serves until told to stop. `source` is what a reload loads again.
#[expect(clippy::needless_pass_by_value, reason = "the server will own both")]
pub fn run(config: Config, source: ConfigSource) -> Result<(), ServeError> {
    let pools: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    let name = source.path.map_or_else(|| pools.join(", "), |path| path.display().to_string());
    Err(ServeError::NotBuilt(name))
}
