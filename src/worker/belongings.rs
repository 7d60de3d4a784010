//! What a worker in a sandbox has of its own: a directory for its temporary files, and a control group where
//! its memory is bounded by one.

use std::io;
use std::sync::Arc;

use rustix::process::Pid;

use super::child::Owner;
use super::guard::Guard;
use super::memory_group::{self, MemoryGroup};
use super::own::WorkerPlaces;
use super::scratch::ScratchDir;
use crate::config::LaunchSettings;

/// What goes with a worker. A worker without a sandbox has none of it.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    scratch: Option<Arc<ScratchDir>>,
    group: Option<Arc<MemoryGroup>>,
}

impl Belongings {
    /// Makes what a worker of this program needs.
    pub(super) fn make(launch: &LaunchSettings, guard: &Guard) -> io::Result<Self> {
        if launch.fence.sandbox().is_none() {
            return Ok(Self::default());
        }
        let scratch = Some(Arc::new(ScratchDir::make(guard, owner(launch))?));
        Ok(Self { scratch, group: group(launch, guard)? })
    }

    /// Takes in a worker that a fork server with these belongings has made. It shares the directory, and gets a
    /// group of its own.
    pub(super) async fn share(
        &self,
        launch: &LaunchSettings,
        guard: &Guard,
        worker: Pid,
    ) -> io::Result<Self> {
        let group = group(launch, guard)?;
        if let Some(group) = group.clone() {
            tokio::task::spawn_blocking(move || group.take(worker)).await??;
        }
        Ok(Self { scratch: self.scratch.clone(), group })
    }

    /// Returns where they are.
    pub(super) fn places(&self) -> WorkerPlaces<'_> {
        WorkerPlaces {
            scratch: self.scratch.as_ref().map(|dir| dir.path()),
            group: self.group.as_ref().map(|group| group.path()),
        }
    }

    /// Returns true if the kernel has ended a process for its memory.
    pub(super) fn ran_out(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.ran_out())
    }
}

/// Returns the user and the group that the files of a program belong to; `None`: those of the server.
pub(super) fn owner(launch: &LaunchSettings) -> Option<Owner> {
    let user = launch.fence.sandbox()?.user.as_ref()?;
    Some(Owner { user: user.id, group: user.group })
}

/// Makes the group of a worker; `None`: its memory is bounded otherwise, or not at all.
fn group(launch: &LaunchSettings, guard: &Guard) -> io::Result<Option<Arc<MemoryGroup>>> {
    let Some(most) = launch.fence.sandbox().and_then(|sandbox| sandbox.memory) else {
        return Ok(None);
    };
    let Ok(groups) = memory_group::groups() else { return Ok(None) };
    groups.make(most, guard).map(|group| Some(Arc::new(group)))
}
