//! What a worker in a sandbox has of its own: a directory for its temporary files, and a control group where
//! its memory is bounded by one.

use std::io;
use std::sync::Arc;

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

    /// Takes in a worker that a fork server with these belongings has made: its number, and what it is. It shares
    /// the directory, and gets a group of its own. If this is cancelled, the worker is dropped.
    pub(super) async fn share<W: Send + 'static>(
        &self,
        launch: &LaunchSettings,
        guard: &Guard,
        (id, mut worker): (u32, W),
    ) -> io::Result<(W, Self)> {
        let group = group(launch, guard)?;
        if let Some(group) = &group {
            worker = taken(Arc::clone(group), id, worker).await?;
        }
        Ok((worker, Self { scratch: self.scratch.clone(), group }))
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

/// Moves a worker into a group. The thread that does it has the worker: it cannot be reaped before, so its
/// number does not become that of another process, even if nobody waits any longer.
async fn taken<W: Send + 'static>(group: Arc<MemoryGroup>, id: u32, worker: W) -> io::Result<W> {
    tokio::task::spawn_blocking(move || group.take(id).map(|()| worker)).await?
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::task::Poll;

    use super::*;

    /// A file that stands for `cgroup.procs`, and can be written only once somebody reads it.
    fn slow_group(guard: &Guard) -> (Arc<MemoryGroup>, PathBuf) {
        let name = format!("httpipe-slow-group-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        let file = dir.join(super::super::fence::PROCESSES);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).expect("a pipe");
        (Arc::new(MemoryGroup::at(dir, guard)), file)
    }

    #[tokio::test]
    async fn a_worker_whose_fork_is_given_up_lives_until_its_number_is_written() {
        let guard = Guard::start("/bin/true").expect("a process");
        let (group, file) = slow_group(&guard);
        // The test removes what stands for it.
        std::mem::forget(Arc::clone(&group));
        let worker = Arc::new(());
        let weak = Arc::downgrade(&worker);
        let mut taking = Box::pin(taken(group, 7, worker));
        let polled = std::future::poll_fn(|context| Poll::Ready(taking.as_mut().poll(context)));
        assert!(polled.await.is_pending(), "nobody reads");
        drop(taking);
        let lives = weak.upgrade().is_some();
        let dir = file.parent().expect("it is in one").to_owned();
        let written = tokio::task::spawn_blocking(move || std::fs::read_to_string(file));
        assert_eq!(written.await.expect("no panic").expect("a pipe"), "7");
        assert!(lives, "it was dropped before its number was written");
        std::fs::remove_dir_all(dir).expect("it is ours");
    }
}
