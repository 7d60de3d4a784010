//! Control groups that limit the memory of workers, one for each worker, as containers and service
//! managers use them.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::passed_over;

/// Where version 1 of the memory controller is mounted.
const CONTROLLER: &str = "/sys/fs/cgroup/memory";

/// A group with one group below it for each worker. Dropping it removes them.
#[derive(Debug)]
pub(crate) struct MemoryGroups {
    dir: PathBuf,
}

impl MemoryGroups {
    /// Creates the group. Returns `None`, and reports the test as skipped, if this machine cannot.
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(CONTROLLER).join(format!("test-{}-{count}", std::process::id()));
        let made = fs::create_dir(&dir).map(|()| Self { dir });
        let groups = match made {
            Ok(groups) => groups,
            Err(why) => {
                let hint = "it takes root and version 1 of the memory controller";
                passed_over(&format!("no group can be made in {CONTROLLER}: {why}"), hint);
                return None;
            }
        };
        let has_limit = groups.dir.join("memory.limit_in_bytes").exists();
        if !has_limit {
            passed_over(&format!("{CONTROLLER} limits no memory"), "it may not be mounted");
        }
        has_limit.then_some(groups)
    }

    /// Returns a script for `sh` that runs its arguments as a command with this much memory, swap
    /// included.
    pub(crate) fn program(&self, limit: u64) -> String {
        let dir = self.dir.display();
        format!(
            "group={dir}/$$\nmkdir $group\necho {limit} >$group/memory.limit_in_bytes\n\
             [ ! -e $group/memory.memsw.limit_in_bytes ] || \
             echo {limit} >$group/memory.memsw.limit_in_bytes\n\
             echo $$ >$group/cgroup.procs\nexec \"$@\"\n"
        )
    }

    /// Returns how many processes the kernel has killed in the groups that still exist.
    pub(crate) fn killed(&self) -> u64 {
        let groups = fs::read_dir(&self.dir).expect("it is ours").filter_map(Result::ok);
        let counts = groups.filter_map(|group| {
            let text = fs::read_to_string(group.path().join("memory.oom_control")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse::<u64>().ok()
        });
        counts.sum()
    }
}

impl Drop for MemoryGroups {
    fn drop(&mut self) {
        // Each is empty once its worker was reaped; a failed test may leave one behind.
        for group in fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok) {
            drop(fs::remove_dir(group.path()));
        }
        drop(fs::remove_dir(&self.dir));
    }
}
