//! A file that a run writes, and when what was in it is cut off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::input::{FileId, id_of};

/// Why the output cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum NoOutput {
    /// A file cannot be opened.
    #[error("cannot write `{}`: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is used for something else as well.
    #[error("`{}` holds the {what}, too", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// What else is in it.
        what: &'static str,
    },
    /// Another process writes the output.
    #[error("another run writes `{}`", .0.display())]
    Busy(PathBuf),
    /// The output was left unfinished.
    #[error("`{}` was left unfinished", .0.display())]
    Unfinished(PathBuf),
    /// There is nothing to go on with.
    #[error("`{}` has no journal: it is finished, or not from `httpipe map`", .0.display())]
    Finished(PathBuf),
    /// The journal cannot be used.
    #[error("cannot go on from `{}`: {why}", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file is shorter than the journal says.
    #[error("`{}` is shorter than its journal says", .0.display())]
    Short(PathBuf),
}

/// A file that is written, or stdout.
#[derive(Debug)]
pub(super) struct OutputFile {
    writer: BufWriter<File>,
    length: u64,
    /// What was in it before this run.
    length_before: u64,
    id: Option<FileId>,
    is_stdout: bool,
    /// It was made for this run, which has not begun.
    made: Option<PathBuf>,
}

impl OutputFile {
    /// Stdout, which `io::Stdout` would cut into lines.
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout();
        let file = File::from(stdout.as_fd().try_clone_to_owned().expect("stdout is open"));
        let mut stdout = Self::of(file, 0, None);
        stdout.is_stdout = true;
        stdout
    }

    /// Opens a file, and makes it if it is not there. It keeps what is in it.
    pub(super) fn open(path: &Path) -> Result<Self, NoOutput> {
        let mut options = OpenOptions::new();
        options.read(false).write(true);
        let opened = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                options.open(path).map(|file| (file, None))
            }
            made => made.map(|file| (file, Some(path.to_owned()))),
        };
        let opened = opened.and_then(|(file, made)| Ok((file.metadata()?.len(), file, made)));
        match opened {
            Ok((length, file, made)) => Ok(Self::of(file, length, made)),
            Err(error) => Err(NoOutput::Open { path: path.to_owned(), error }),
        }
    }

    fn of(file: File, length_before: u64, made: Option<PathBuf>) -> Self {
        let id = id_of(&file);
        let writer = BufWriter::with_capacity(64 << 10, file);
        Self { writer, length: 0, length_before, id, is_stdout: false, made }
    }

    /// Returns which file it is.
    pub(super) fn id(&self) -> Option<FileId> {
        self.id
    }

    /// Returns true if nothing was in it before this run.
    pub(super) fn is_empty(&self) -> bool {
        self.length_before == 0
    }

    /// Returns how long it is, with what is not yet written.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Locks it for this run. Returns false if another run has it. Some file systems have no locks, and
    /// nothing is known of other runs there.
    pub(super) fn lock(&mut self) -> bool {
        let lock = FlockOperation::NonBlockingLockExclusive;
        let is_own =
            self.id.is_none() || flock(self.writer.get_ref(), lock) != Err(Errno::WOULDBLOCK);
        if !is_own {
            self.made = None; // the other run writes what was made here
        }
        is_own
    }

    /// Chooses the length from which it is written.
    pub(super) fn go_on_at(&mut self, path: Option<&Path>, length: u64) -> Result<(), NoOutput> {
        match path {
            Some(path) if self.id.is_some() && self.length_before < length => {
                Err(NoOutput::Short(path.to_owned()))
            }
            _ => {
                self.length = length;
                Ok(())
            }
        }
    }

    /// Cuts off what comes after the chosen length.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.made = None;
        if self.id.is_some() && !self.is_stdout {
            let file = self.writer.get_mut();
            file.set_len(self.length)?;
            file.seek(SeekFrom::Start(self.length))?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.writer.write_all(bytes)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Brings what was written to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.writer.get_ref().sync_data()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            fs::remove_file(path).ok();
        }
    }
}
