//! The file of its own that requests are logged in, however others move, empty or delete it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::sink::{Output, write_waiting};

/// The rights of a new file: lines have the addresses of callers.
const MODE: Mode = Mode::from_raw_mode(0o640);
/// How long all lines must have been written until the log says that it goes on.
const CALM: Duration = Duration::from_secs(10);

/// A file that lines are added to. What is wrong with it is said once in the log, not for each line.
#[derive(Debug)]
pub(super) struct OwnFile {
    path: PathBuf,
    file: File,
    /// Why the last lines were lost.
    trouble: Option<Trouble>,
    /// Why it could not be opened again.
    not_opened: Option<io::Error>,
}

/// A time in which lines are lost.
#[derive(Debug)]
struct Trouble {
    lost: u64,
    last: Instant,
}

impl OwnFile {
    /// Opens the file, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        Ok(Self { path: path.to_owned(), file, trouble: None, not_opened: None })
    }

    /// Opens the file again, and keeps the old one if that fails.
    fn open_again(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        Ok(())
    }
}

impl Write for OwnFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let found = self.file.metadata()?;
        if found.is_file() && found.nlink() == 0 {
            // It was deleted: nobody would ever see what is written there.
            self.open_again()?;
        }
        write_waiting(&self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for OwnFile {
    fn open_again(&mut self) {
        let opened = OwnFile::open_again(self);
        let path = self.path.display();
        match opened {
            Ok(()) => {
                if self.not_opened.take().is_some() {
                    tracing::info!(%path, "the access log was opened again");
                }
            }
            Err(error) => {
                if self.not_opened.is_none() {
                    tracing::warn!(%path, %error, "cannot open the access log again; the old file is kept");
                }
                self.not_opened = Some(error);
            }
        }
    }

    fn batch_ended(&mut self, lost: u64, error: Option<&io::Error>) {
        let path = self.path.display();
        match &mut self.trouble {
            None if lost == 0 => {}
            None => {
                let error = error.map_or_else(String::new, ToString::to_string);
                tracing::warn!(
                    %path,
                    error,
                    "cannot write the access log; its lines are dropped and counted until that works"
                );
                self.trouble = Some(Trouble { lost, last: Instant::now() });
            }
            Some(trouble) if lost > 0 => {
                trouble.lost += lost;
                trouble.last = Instant::now();
            }
            Some(trouble) if trouble.last.elapsed() < CALM => {}
            Some(Trouble { lost, .. }) => {
                tracing::info!(%path, lost, "the access log is written again");
                self.trouble = None;
            }
        }
    }
}

/// Opens a file to add to it. A pipe that nobody reads is an error, not a wait.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::open(path, flags, MODE)?))
}
