//! Which file a text of the configuration names.

use std::path::{Path, PathBuf};

use super::problem::Place;

/// Returns the absolute path that is written as `text` at this place: one in the file is relative to
/// its directory `base`, one of an option to where that was typed.
pub fn path_at(place: &Place, text: &str, base: &Path) -> PathBuf {
    match place {
        Place::Option(_) => std::path::absolute(text).unwrap_or_else(|_| text.into()),
        Place::File(_) | Place::Nowhere => base.join(text),
    }
}
