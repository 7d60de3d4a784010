//! The directory for the temporary files of a program in a sandbox.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A directory that only this user can enter. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(super) struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    /// Makes one, where the temporary files of this process are.
    pub(super) fn make() -> io::Result<Self> {
        // Nobody can know the name before, and a link that is there already is an error.
        let name = format!("httpipe-{:032x}", fastrand::u128(..));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        // Rules are about the directory that a path leads to.
        let path = path.canonicalize()?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // Mostly it is empty.
        if std::fs::remove_dir(&self.path).is_ok() {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            // It follows no link, whatever the program has put there.
            if let Err(error) = std::fs::remove_dir_all(&path) {
                let path = path.display().to_string();
                tracing::warn!(path, %error, "temporary files of a worker cannot be removed");
            }
        };
        std::thread::Builder::new().name("remove".into()).spawn(remove).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn it_is_private_and_goes_with_its_files_but_not_with_what_its_links_lead_to() {
        let kept = ScratchDir::make().expect("it can be made");
        std::fs::write(kept.path().join("file"), "x").expect("written");
        let path = {
            let dir = ScratchDir::make().expect("it can be made");
            let mode = std::fs::metadata(dir.path()).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            std::fs::create_dir(dir.path().join("below")).expect("made");
            symlink(kept.path(), dir.path().join("trap")).expect("linked");
            symlink(kept.path(), dir.path().join("below/trap")).expect("linked");
            dir.path().to_owned()
        };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while path.exists() {
            assert!(std::time::Instant::now() < end, "it is not removed");
            std::thread::yield_now();
        }
        assert!(kept.path().join("file").exists());
    }
}
