//! Workers in a sandbox whose memory a control group of version 2 bounds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{NOBODY, without_privileges};
use crate::support::{Plan, Server, passed_over, shell};

/// Enters a group, and then runs a command.
const ENTER: &str = "group=$1\nshift\necho 0 >$group/cgroup.procs\nexec \"$@\"\n";

/// A group as systemd gives it to a unit with `Delegate=memory`. Dropping it removes it.
#[derive(Debug)]
struct UnitGroup(PathBuf);

impl UnitGroup {
    /// Makes one. Returns `None`, and reports the test as skipped, if this machine cannot.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let made = places.into_iter().find_map(|place| {
            let controllers = fs::read_to_string(place.join("cgroup.controllers")).ok()?;
            let has_memory = controllers.split_ascii_whitespace().any(|name| name == "memory");
            fs::write(place.join("cgroup.subtree_control"), "+memory")
                .ok()
                .filter(|()| has_memory)?;
            fs::create_dir(place.join(&name)).ok().map(|()| Self(place.join(&name)))
        });
        if made.is_none() {
            passed_over(
                "no group can be made",
                "it takes root and version 2 of the memory controller",
            );
        }
        made
    }

    /// Gives the group to a user, as systemd does.
    fn give_to(&self, user: u32) {
        for name in [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            std::os::unix::fs::chown(self.0.join(name), Some(user), None).expect("root may");
        }
    }

    /// Returns how many groups of workers there are.
    fn workers(&self) -> usize {
        let entries = fs::read_dir(&self.0).expect("it is ours").filter_map(Result::ok);
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("httpipe-")).count()
    }

    fn enters(&self, plan: Plan, user: &str) -> Plan {
        let under = format!("sh enter {} {user}", self.0.display());
        plan.file("enter", ENTER).under(&under)
    }
}

impl Drop for UnitGroup {
    fn drop(&mut self) {
        // A failed test may leave processes in one.
        fs::write(self.0.join("cgroup.kill"), "1").ok();
        let remove = format!("find {} -depth -type d -exec rmdir {{}} \\;", self.0.display());
        shell(&remove);
    }
}

const POOL: &str = "workers = 1\nretries = 0\nsandbox = { memory = \"64MiB\" }";

#[test]
fn a_group_of_its_own_bounds_the_memory_of_a_worker_and_goes_with_it() {
    let Some(group) = UnitGroup::new() else { return };
    if without_privileges() != Some(NOBODY) {
        return;
    }
    group.give_to(65534);
    let mut server = group.enters(Server::with(POOL), NOBODY).start();
    server.wait_for_log("`memory` of `sandbox` bounds each worker, by control groups");
    assert_eq!(server.answers("leak 16MiB a").body, "leak 16MiB a");
    let first = server.workers()[0];
    for round in 1..=2 {
        let answer = server.answers(&format!("leak 1GiB {round}"));
        assert_eq!((answer.status, answer.code().as_str()), (502, "worker_lost"));
        assert!(answer.detail().contains("more memory than its sandbox allows"), "{answer:?}");
        server.wait_for_count("httpipe_workers{state=\"ready\"}", 1.0);
    }
    server.wait_until("those that ended have no group", |_| group.workers() == 1);
    assert!(!server.is_alive(first));
    server.signal("KILL");
    server.exit_code();
    server.wait_until("no group of a worker is left", |_| group.workers() == 0);
}

#[test]
fn where_others_are_in_the_group_each_process_is_bounded_by_itself() {
    let Some(group) = UnitGroup::new() else { return };
    if without_privileges() != Some(NOBODY) {
        return;
    }
    group.give_to(65534);
    let list = group.0.join("cgroup.procs").display().to_string();
    let other = shell(&format!(
        "sh -c 'echo 0 >{list}; exec sleep 60' >/dev/null 2>&1 & until grep -q . {list}; do :; done"
    ));
    assert_eq!(other.0, 0);
    let server = group.enters(Server::with(POOL), NOBODY).start();
    server.wait_for_log("is none of this server");
    assert_eq!(server.answers("leak 1GiB a").status, 502);
    assert_eq!(group.workers(), 0);
}

/// Root can write every group. Most belong to systemd.
#[test]
fn root_leaves_groups_alone_that_it_was_not_given() {
    let Some(group) = UnitGroup::new() else { return };
    let server = group.enters(Server::with(POOL), "env").start();
    server.wait_for_log("is not delegated to this server");
    assert_eq!(group.workers(), 0);
}
