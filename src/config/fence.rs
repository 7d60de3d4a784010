//! What the programs of a pool are kept from.
//!
//! Pure.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::ByteSize;

/// Most bytes of a file that a program in a sandbox writes, unless it may write elsewhere.
const FILE_MOST: ByteSize = ByteSize(1 << 30);

/// What the workers of a pool are kept from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fence {
    /// Nothing: a program that is set-uid becomes another user.
    Off,
    /// Becoming another user, and leaving a core file.
    #[default]
    Usual,
    /// All that the sandbox does not allow.
    Sandbox(Arc<Sandbox>),
}

/// What a program in a sandbox may do. All paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// What it may read and execute: files, and directories with all that is below, except `hidden`.
    /// Their paths are real, without links.
    pub system: Vec<PathBuf>,
    /// Files of the server that it must not read there, nor where these are links to.
    pub hidden: Vec<PathBuf>,
    /// What it may read and execute without exception.
    pub read: Vec<PathBuf>,
    /// What it may write, besides a directory for its temporary files.
    pub write: Vec<PathBuf>,
    /// It may use the network, and sockets in files.
    pub network: bool,
    /// Most memory of a worker, or of each of its processes.
    pub memory: Option<ByteSize>,
    /// Most processes and threads of its user.
    pub processes: Option<u64>,
    /// Who it runs as; `None`: the user of the server.
    pub user: Option<OtherUser>,
    /// It runs as its user, and nothing of the above holds.
    pub open: bool,
}

/// A user of this machine that a program runs as, in place of that of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OtherUser {
    /// Their name.
    pub name: String,
    /// Where their files are.
    pub home: PathBuf,
    /// Their number.
    pub id: u32,
    /// Their first group.
    pub group: u32,
    /// All their groups.
    pub groups: Vec<u32>,
}

impl Fence {
    /// Returns what a program in a sandbox may do.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        match self {
            Self::Sandbox(sandbox) => Some(sandbox),
            Self::Off | Self::Usual => None,
        }
    }

    /// Returns what is left without the sandbox. The program still runs as its user: it was never to run as
    /// root.
    #[must_use]
    pub fn outside(&self) -> Self {
        match self.sandbox().and_then(|sandbox| sandbox.user.clone()) {
            None => Self::Usual,
            user => Self::Sandbox(Arc::new(Sandbox { user, open: true, ..Sandbox::default() })),
        }
    }
}

impl Sandbox {
    /// Returns the most bytes of one file that it may write.
    pub fn file_most(&self) -> Option<ByteSize> {
        self.write.is_empty().then_some(FILE_MOST)
    }
}
