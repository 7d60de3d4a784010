//! Starts a program in its sandbox under `strace`, which tells what the kernel refuses it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::belongings::Belongings;
use super::guard::Guard;
use super::own;
use super::process::Process;
use super::scratch::ScratchDir;
use super::spawn::{Streams, open_streams_for};
use super::starter;
use crate::config::LaunchSettings;

/// The calls of a program that failed, as `strace` writes them.
#[derive(Debug)]
pub struct FailedCalls {
    strace: PathBuf,
    /// Where they are written. The program cannot reach it.
    dir: ScratchDir,
}

impl FailedCalls {
    /// Nothing was written yet. `strace` is the path of the tool.
    pub fn new(strace: &Path, guard: &Guard) -> io::Result<Self> {
        Ok(Self { strace: strace.to_owned(), dir: ScratchDir::make(guard, None)? })
    }

    /// Returns what was written.
    pub fn text(&self) -> String {
        let bytes = std::fs::read(self.file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("calls")
    }

    /// Starts a program as [`spawn`](super::spawn::spawn) does. Its process is the one that is
    /// returned; the tool is a descendant of it.
    pub async fn spawn(
        &self,
        launch: &LaunchSettings,
        guard: &Guard,
    ) -> io::Result<(Process, Streams)> {
        let (theirs, streams) = open_streams_for(launch)?;
        let belongings = Belongings::make(launch, guard)?;
        // The tool is another program, for which `/proc/self/exe` is itself.
        let binary = guard.binary().canonicalize()?;
        let child = own::new_child(&binary, launch, &streams.token, theirs, belongings.places())?;
        let file = self.file();
        let words = ["strace", "-D", "-f", "-qq", "-Z", "-s", "256", "-e", "signal=none", "-o"];
        let words = words.into_iter().map(OsStr::new).chain([file.as_os_str()]);
        let child = child.below(self.strace.as_os_str(), words)?;
        let leader = starter::start(child, guard).await?;
        Ok((Process::adopt(leader, belongings)?, streams))
    }
}
