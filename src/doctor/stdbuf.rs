//! Where `stdbuf` is, which makes many programs write each line at once.

use std::path::PathBuf;

use crate::config::LaunchSettings;

/// Looks for `stdbuf` in the `PATH` of a worker.
pub fn stdbuf_of(launch: &LaunchSettings) -> Option<PathBuf> {
    let path = launch.env.value("PATH")?;
    let places = std::env::split_paths(path).map(|folder| folder.join("stdbuf"));
    places.map(|place| launch.dir.join(place)).find(|place| place.is_file())
}
