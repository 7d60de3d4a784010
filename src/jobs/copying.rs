//! Copies the file of the jobs while it is in use.
//!
//! What is committed goes into the log of the database. As long as the log is not brought into the
//! file, the file is what it was, so another thread can copy it while jobs go on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How much is copied before the copying thread looks whether it is to stop.
const PIECE: usize = 1 << 20;

/// A copy that is being written.
#[derive(Debug)]
pub struct Copying {
    thread: JoinHandle<io::Result<()>>,
    stop: Arc<AtomicBool>,
}

impl Copying {
    /// Begins to copy a file that does not change meanwhile. The copy must not be there yet.
    pub fn start(from: Arc<File>, to: PathBuf) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("jobs copy".to_owned());
        let thread = thread.spawn(move || copy(&from, &to, &stopping))?;
        Ok(Self { thread, stop })
    }

    /// Returns true if it has ended, well or not.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    pub fn end(self) -> io::Result<()> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the copying thread ended")))
    }

    /// Lets it end before its time. Nothing is left of the copy then.
    pub fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Ends it before its time.
    pub fn stop(self) {
        self.ask_to_stop();
        self.end().ok();
    }
}

/// Writes a copy that only this user can read, and removes it again where that fails.
fn copy(from: &File, to: &Path, stop: &AtomicBool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    #[cfg(test)]
    super::fixture::gate();
    let copied = copy_into(from, &mut file, stop);
    let copied = copied.and_then(|()| sync_directory(to));
    if copied.is_err() {
        std::fs::remove_file(to).ok();
    }
    copied
}

fn copy_into(from: &File, file: &mut File, stop: &AtomicBool) -> io::Result<()> {
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match from.read_at(&mut piece, at)? {
            0 => return file.sync_all(),
            length => {
                file.write_all(&piece[..length])?;
                at += length as u64;
            }
        }
    }
}

fn sync_directory(of: &Path) -> io::Result<()> {
    File::open(of.parent().unwrap_or(Path::new("/")))?.sync_all()
}
