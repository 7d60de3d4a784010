//! The directory for the temporary files of a program in a sandbox.
//!
//! To remove one can take milliseconds, as on a file system that tells its disk at once what is free (`discard`). So
//! another thread removes it, and makes one for a later worker at once.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::geteuid;
use tokio::runtime::Handle;

use super::child::Owner;
use super::guard::Guard;
use super::lasting::LastingThread;

/// Only its user may enter one.
const MODE: u32 = 0o700;

/// How many that are not empty are removed at a time by threads of their own.
const FULL_MOST: usize = 16;

/// Removes directories that nobody uses.
static SWEEPER: LastingThread<Leaving> = LastingThread::new("sweeper", |leaving: Leaving| {
    // Most workers that end are followed by another.
    make_ahead(&leaving.guard);
    sweep(leaving);
});
/// How many are being removed by threads of their own.
static FULL: AtomicUsize = AtomicUsize::new(0);

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
    // Rules are about the directory that a path leads to.
    let place = std::path::absolute(std::env::temp_dir().join("."))?.canonicalize()?;
    let path = place.join(name);
    // Before it is there: the server may end at any moment.
    guard.note_scratch(&path);
    if let Err(error) = DirBuilder::new().mode(MODE).create(&path) {
        guard.forget_scratch(&path);
        return Err(error);
    }
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

/// Makes the directories of the next workers, if they can be made.
fn make_ahead(guard: &Guard) {
    while guard.wants_spare() {
        let Ok(path) = new_directory(guard) else { return };
        guard.keep_spare(path);
    }
}

/// Removes a directory. What a program has left in one may be much, and is to hold up no other: another thread
/// removes it then.
fn sweep(leaving: Leaving) {
    if leaving.is_removed_at_once() {
        return;
    }
    let Some(place) = FullPlace::take() else { return };
    let thread = std::thread::Builder::new().name("sweeper".to_owned());
    // Where there is no thread for it, it is removed here.
    thread.spawn(move || drop((leaving, place))).ok();
}

/// The right to one more thread that removes what is not empty.
struct FullPlace;

impl FullPlace {
    fn take() -> Option<Self> {
        // One that is too much is given back at once.
        let count = FULL.fetch_add(1, Ordering::Relaxed);
        Some(Self).filter(|_| count < FULL_MOST)
    }
}

impl Drop for FullPlace {
    fn drop(&mut self) {
        FULL.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let leaving = Leaving { path: std::mem::take(&mut self.path), guard: self.guard.clone() };
        if Handle::try_current().is_ok() {
            // What is given back is removed here.
            SWEEPER.give(leaving).ok();
        }
    }
}

/// A directory that nobody uses. Dropping it removes it.
struct Leaving {
    path: PathBuf,
    guard: Guard,
}

impl Leaving {
    /// Removes it if it is empty, as it mostly is. Follows no link, whatever the program has put there.
    fn is_removed_at_once(&self) -> bool {
        let is_removed = std::fs::remove_dir(&self.path).is_ok();
        if is_removed {
            self.guard.forget_scratch(&self.path);
        }
        is_removed
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.is_removed_at_once() {
            return;
        }
        match std::fs::remove_dir_all(&self.path) {
            Ok(()) => self.guard.forget_scratch(&self.path),
            // It was removed at once.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.guard.forget_scratch(&self.path);
            }
            Err(error) => {
                let path = self.path.display().to_string();
                tracing::warn!(path, %error, "temporary files of a worker cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn guard() -> Guard {
        Guard::start("/bin/true").expect("a process")
    }

    /// Makes a directory ahead.
    fn spare(guard: &Guard) -> PathBuf {
        let path = new_directory(guard).expect("a directory");
        guard.keep_spare(path.clone());
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
    fn in_a_server_another_thread_removes_it_and_makes_those_of_the_next_workers() {
        let guard = guard();
        let made = ScratchDir::make(&guard, None).expect("a directory");
        std::fs::write(made.path().join("left"), "").expect("it is ours");
        let path = made.path().to_owned();
        let server = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let inside = server.enter();
        drop(made);
        drop(inside);
        let begun = Instant::now();
        while path.exists() || guard.wants_spare() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{path:?} {guard:?}");
            std::thread::yield_now();
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
