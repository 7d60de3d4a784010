//! The directory for the temporary files of a program in a sandbox.
//!
//! To remove one can take milliseconds, as on a file system that tells its disk at once what is free (`discard`). So
//! another thread removes it, and makes the next one before a worker needs it.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::geteuid;
use tokio::runtime::Handle;

use super::child::Owner;
use super::guard::Guard;

/// Only its user may enter one.
const MODE: u32 = 0o700;
/// How many may be removed at a time by threads of their own. One more is removed at once, while its server
/// waits.
const LEAVING_MOST: usize = 16;

/// How many are being removed.
static LEAVING: AtomicUsize = AtomicUsize::new(0);

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
        let ready = guard.take_spare().filter(|path| {
            let is_sound = is_sound(path);
            if !is_sound {
                // It follows no link, and leaves what holds anything.
                std::fs::remove_dir(path).ok();
                guard.forget_scratch(path);
            }
            is_sound
        });
        let path = ready.map_or_else(|| new_directory(guard), Ok)?;
        let made = Self { path, guard: guard.clone() };
        make_ahead(guard);
        if let Some(Owner { user, group }) = owner {
            std::os::unix::fs::lchown(&made.path, Some(user), Some(group))?;
        }
        Ok(made)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory, and tells the guard of it.
fn new_directory(guard: &Guard) -> io::Result<PathBuf> {
    // Nobody can know the name before, and a link that is there already is an error.
    let name = format!("httpipe-{:032x}", fastrand::u128(..));
    let path = std::env::temp_dir().join(name);
    DirBuilder::new().mode(MODE).create(&path)?;
    // Rules are about the directory that a path leads to.
    let path = path.canonicalize()?;
    guard.note_scratch(&path);
    Ok(path)
}

/// Returns true if a directory that was made ahead is still there. What cleans up old temporary files may have
/// removed it, and anybody may have put something else in its place.
fn is_sound(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| {
        // A directory takes the bit of its group from the one it is in, which opens nothing.
        let mode = Permissions::mode(&found.permissions()) & 0o777;
        found.is_dir() && found.uid() == geteuid().as_raw() && mode == MODE
    })
}

/// Lets another thread make the directory of the next worker, unless it is there or on its way.
fn make_ahead(guard: &Guard) {
    if Handle::try_current().is_ok() && guard.wants_spare() {
        let maker = guard.clone();
        if !run_apart(move || maker.keep_spare(new_directory(&maker).ok())) {
            guard.keep_spare(None);
        }
    }
}

/// Runs this on a thread of its own, which no stop waits for. Returns false, with the work dropped, if the
/// system has no thread left.
fn run_apart(work: impl FnOnce() + Send + 'static) -> bool {
    std::thread::Builder::new().name("scratch".to_owned()).spawn(work).is_ok()
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let count = LEAVING.fetch_add(1, Ordering::Relaxed);
        let leaving = Leaving { path: std::mem::take(&mut self.path), guard: self.guard.clone() };
        if count < LEAVING_MOST && Handle::try_current().is_ok() {
            // Where there is no thread for it, it is removed here.
            run_apart(move || drop(leaving));
        }
    }
}

/// A directory that nobody uses. Dropping it removes it.
struct Leaving {
    path: PathBuf,
    guard: Guard,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        // It follows no link, whatever the program has put there. Mostly it is empty.
        let removed = std::fs::remove_dir(&self.path);
        match removed.or_else(|_| std::fs::remove_dir_all(&self.path)) {
            Ok(()) => self.guard.forget_scratch(&self.path),
            Err(error) => {
                let path = self.path.display().to_string();
                tracing::warn!(path, %error, "temporary files of a worker cannot be removed");
            }
        }
        LEAVING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::start("/bin/true").expect("a process")
    }

    /// Makes a directory ahead, as another thread does.
    fn spare(guard: &Guard) -> PathBuf {
        assert!(guard.wants_spare() && !guard.wants_spare(), "one is enough");
        let path = new_directory(guard).expect("a directory");
        guard.keep_spare(Some(path.clone()));
        path
    }

    #[test]
    fn a_directory_that_was_made_ahead_is_used_once() {
        let guard = guard();
        let ahead = spare(&guard);
        let made = [(); 2].map(|()| ScratchDir::make(&guard, None).expect("a directory"));
        assert!(made[0].path() == ahead && made[1].path() != ahead, "{made:?} {ahead:?}");
        drop(made);
        assert!(!ahead.exists());
    }

    #[test]
    fn a_directory_that_has_the_bit_of_its_group_is_used() {
        let guard = guard();
        let ahead = spare(&guard);
        std::fs::set_permissions(&ahead, Permissions::from_mode(0o2700)).expect("it is ours");
        assert_eq!(ScratchDir::make(&guard, None).expect("a directory").path(), ahead);
    }

    #[test]
    fn what_was_put_in_the_place_of_a_directory_made_ahead_is_not_used() {
        let guard = guard();
        let put: [fn(&Path) -> io::Result<()>; 3] = [
            |_| Ok(()),
            |path| std::os::unix::fs::symlink("/", path),
            |path| DirBuilder::new().mode(0o755).create(path),
        ];
        for put in put {
            let ahead = spare(&guard);
            std::fs::remove_dir(&ahead).expect("it is empty");
            put(&ahead).expect("nothing is there");
            let made = ScratchDir::make(&guard, None).expect("a directory");
            assert!(!ahead.is_dir() || ahead.is_symlink(), "an empty directory is not left behind");
            std::fs::remove_file(&ahead).or_else(|_| std::fs::remove_dir(&ahead)).ok();
            assert!(made.path() != ahead && is_sound(made.path()), "{made:?}");
        }
    }

    #[test]
    fn a_directory_that_nobody_took_goes_with_the_server() {
        let guard = guard();
        let ahead = spare(&guard);
        assert!(ahead.exists());
        drop(guard);
        assert!(!ahead.exists());
    }
}
