//! What a worker in a sandbox has of its own: a directory for its temporary files, and a control group where
//! its memory is bounded by one.

use std::io;
use std::sync::Arc;

use super::child::Owner;
use super::guard::Guard;
use super::memory_group::{self, MemoryGroup};
use super::own::WorkerPlaces;
use super::process::Process;
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
    /// group of its own. If this is cancelled, the worker ends.
    pub(super) async fn share(
        &self,
        launch: &LaunchSettings,
        guard: &Guard,
        mut worker: Process,
    ) -> io::Result<Process> {
        let group = group(launch, guard)?;
        if let Some(group) = &group {
            worker = taken(Arc::clone(group), worker).await?;
        }
        worker.keep(Self { scratch: self.scratch.clone(), group });
        Ok(worker)
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
async fn taken(group: Arc<MemoryGroup>, worker: Process) -> io::Result<Process> {
    let take = move || group.take(worker.id()).map(|()| worker);
    tokio::task::spawn_blocking(take).await?
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
    use std::io::{Read as _, Write as _};
    use std::os::unix::process::CommandExt as _;
    use std::path::{Path, PathBuf};
    use std::process::Stdio;
    use std::task::Poll;

    use rustix::process::Pid;

    use super::super::own::command;
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
    async fn a_worker_whose_fork_is_given_up_keeps_its_number_until_it_is_written() {
        let guard = Guard::start("/bin/true").expect("a process");
        let mut cat = command(Path::new("cat"));
        cat.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut cat = cat.spawn().expect("it is there");
        let id = guard.register(|| Ok(Pid::from_child(&cat))).expect("it is registered");
        let worker = Process::adopt(id, &guard, Belongings::default()).expect("it is our child");
        let (group, file) = slow_group(&guard);
        // The test removes what stands for it.
        std::mem::forget(Arc::clone(&group));
        let mut taking = Box::pin(taken(group, worker));
        let polled = std::future::poll_fn(|context| Poll::Ready(taking.as_mut().poll(context)));
        assert!(polled.await.is_pending(), "nobody reads");
        drop(taking);
        cat.stdin.as_ref().expect("a pipe").write_all(b"x").ok();
        let mut said = [0];
        let lives = cat.stdout.as_mut().expect("a pipe").read_exact(&mut said).is_ok();
        let dir = file.parent().expect("it is in one").to_owned();
        let written = tokio::task::spawn_blocking(move || std::fs::read_to_string(file));
        let written = written.await.expect("no panic").expect("a pipe");
        assert!(lives, "it was killed before its number was written");
        assert_eq!(written, id.as_raw_pid().to_string());
        while guard.knows(id) {
            tokio::task::yield_now().await;
        }
        std::fs::remove_dir_all(dir).expect("it is ours");
    }
}
