//! The directory for the temporary files of a program in a sandbox.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::child::Owner;
use super::guard::Guard;

/// A directory that only one user can enter. Dropping it removes it with all that is in it; if the
/// server ends before, the guard does.
#[derive(Debug)]
pub(super) struct ScratchDir {
    path: PathBuf,
    guard: Guard,
}

impl ScratchDir {
    /// Makes one, where the temporary files of this process are. `None`: it belongs to the user of the
    /// server.
    pub(super) fn make(guard: &Guard, owner: Option<Owner>) -> io::Result<Self> {
        // Nobody can know the name before, and a link that is there already is an error.
        let name = format!("httpipe-{:032x}", fastrand::u128(..));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        // Rules are about the directory that a path leads to.
        let path = path.canonicalize()?;
        guard.note_scratch(&path);
        let made = Self { path, guard: guard.clone() };
        if let Some(Owner { user, group }) = owner {
            std::os::unix::fs::lchown(&made.path, Some(user), Some(group))?;
        }
        Ok(made)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // Mostly it is empty.
        if std::fs::remove_dir(&self.path).is_ok() {
            self.guard.forget_scratch(&self.path);
            return;
        }
        let (path, guard) = (std::mem::take(&mut self.path), self.guard.clone());
        let remove = move || {
            // It follows no link, whatever the program has put there.
            match std::fs::remove_dir_all(&path) {
                Ok(()) => guard.forget_scratch(&path),
                Err(error) => {
                    let path = path.display().to_string();
                    tracing::warn!(path, %error, "temporary files of a worker cannot be removed");
                }
            }
        };
        std::thread::Builder::new().name("remove".into()).spawn(remove).ok();
    }
}
