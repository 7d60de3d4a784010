//! Notices that something may have changed in directories, by inotify.
//!
//! These are only hints: the receiver looks at the files itself. A hint may come without a change,
//! and may be missing if the kernel sees no change, as on a network file system.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::Errno;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// Most directories that are watched; the kernel's own limit is for all processes of a user.
const DIRECTORIES_MOST: usize = 1024;

/// File systems whose changes the kernel does not see if another machine makes them: NFS, SMB,
/// CIFS, 9P, FUSE.
const REMOTE: [i64; 6] = [0x6969, 0x517b, 0xfe53_4d42, 0xff53_4d42, 0x0102_1997, 0x6573_5546];

/// Waits for changes in directories.
#[derive(Debug)]
pub struct Hints {
    /// `None`: there is no inotify.
    events: Option<Receiver>,
    gap: Option<String>,
}

impl Hints {
    /// Watches nothing yet. Must be called inside a runtime.
    pub fn new() -> Self {
        let open = || {
            let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            // It is no pipe, but is waited for and read as one.
            Receiver::from_owned_fd_unchecked(inotify)
        };
        match open() {
            Ok(events) => Self { events: Some(events), gap: None },
            Err(error) => Self { events: None, gap: Some(format!("no inotify: {error}")) },
        }
    }

    /// Returns why changes may be missed, in words; `None`: none is.
    pub fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }

    /// Watches the directories of these files, `dirs`, and all directories above them: a link or
    /// a directory on the way may be replaced as well. Does nothing about what is watched already.
    pub fn watch<'a>(
        &mut self,
        files: impl Iterator<Item = &'a Path>,
        dirs: impl Iterator<Item = &'a Path>,
    ) {
        let Some(events) = &self.events else { return };
        let mut watched: BTreeMap<&Path, WatchFlags> = BTreeMap::new();
        for dir in files.filter_map(Path::parent).chain(dirs) {
            *watched.entry(dir).or_insert(entries()) |= contents();
            for above in dir.ancestors().skip(1) {
                watched.entry(above).or_insert(entries());
            }
        }
        self.gap = (watched.len() > DIRECTORIES_MOST)
            .then(|| format!("more than {DIRECTORIES_MOST} directories"));
        for (dir, flags) in watched.into_iter().take(DIRECTORIES_MOST) {
            match add_watch(events, dir, flags | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD) {
                // A directory that does not exist will be created in one above it.
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => {}
                Err(error) => {
                    self.gap = Some(format!("{}: {}", dir.display(), io::Error::from(error)));
                }
            }
            let is_remote = rustix::fs::statfs(dir).is_ok_and(|it| REMOTE.contains(&it.f_type));
            if is_remote && flags.contains(contents()) {
                self.gap = Some(format!("{} is on a remote file system", dir.display()));
            }
        }
    }

    /// Waits until something may have changed. For ever, if there is no inotify.
    pub async fn next(&mut self) {
        let Some(events) = &mut self.events else { return std::future::pending().await };
        // What happened where does not matter.
        let mut buffer = [0; 4096];
        if let Err(error) = events.read(&mut buffer).await {
            (self.events, self.gap) = (None, Some(error.to_string()));
        }
    }
}

/// Names that come, go, or lead elsewhere.
fn entries() -> WatchFlags {
    WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
}

/// Files that are written to or touched.
fn contents() -> WatchFlags {
    WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_way_to_change_a_file_is_hinted_at() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let dir = std::env::temp_dir().join(format!("httpipe-watch-{}", std::process::id()));
            let (one, two) = (dir.join("one"), dir.join("two"));
            std::fs::create_dir_all(&one).expect("it can be made");
            std::fs::create_dir_all(&two).expect("it can be made");
            std::os::unix::fs::symlink(&one, dir.join("link")).expect("it can be made");
            let file = dir.join("link/file");
            let mut hints = Hints::new();
            if hints.gap().is_some() {
                // Others on this machine use all of inotify.
                return std::fs::remove_dir_all(dir).expect("it is there");
            }
            let write = |text: &str| std::fs::write(&file, text).expect("it can be written");
            let swap = || {
                let next = dir.join("next");
                std::os::unix::fs::symlink(&two, &next).expect("it can be made");
                std::fs::rename(next, dir.join("link")).expect("it can be replaced");
            };
            let replace = || {
                std::fs::write(two.join("fresh"), "c").expect("it can be written");
                std::fs::rename(two.join("fresh"), &file).expect("it can be replaced");
            };
            let steps: [(&str, &dyn Fn()); 5] = [
                ("made", &|| write("a")),
                ("written", &|| write("b")),
                ("linked elsewhere", &swap),
                ("replaced", &replace),
                ("gone with its directory", &|| std::fs::remove_dir_all(&two).expect("there")),
            ];
            for (what, change) in steps {
                hints.watch(std::iter::once(&*file), std::iter::empty());
                change();
                let hinted = tokio::time::timeout(Duration::from_secs(10), hints.next()).await;
                assert!(hinted.is_ok(), "{what}");
                while tokio::time::timeout(Duration::from_millis(20), hints.next()).await.is_ok() {}
            }
            std::fs::remove_dir_all(dir).expect("it is there");
        });
    }
}
