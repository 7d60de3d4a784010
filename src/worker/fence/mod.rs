//! The fence around a program in a sandbox, which is raised just before a process becomes the program. (A child may
//! have the filter of system calls from the thread that makes it.) All that the program starts is inside, too.
//!
//! Landlock says which files it may use (`landlock`), a filter which system calls (`filter`). Neither
//! needs a privilege, and neither can be taken down again. What they need is laid out before, because
//! the child that raises the fence shares the memory of the server (`child`).

mod filter;
mod landlock;
pub mod spec;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Gid, Resource, Uid, getrlimit};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

pub(super) use spec::{Spec, UserIds, group_word, read, words};

/// A fence that is ready to be raised.
#[derive(Debug)]
pub(super) struct LaidFence {
    limits: Vec<(libc::__rlimit_resource_t, libc::rlimit)>,
    rules: OwnedFd,
    /// `None`: the process has it already.
    filter: Option<filter::Filter>,
}

/// Which part of a fence could not be raised; the error is in `errno`.
#[derive(Clone, Copy, Debug)]
pub(super) enum FenceGap {
    Limits,
    Capabilities,
    Files,
    Calls,
}

/// Lays out a fence. `is_filtered`: who raises it has the filter of system calls already, from the thread that made it.
pub(super) fn lay(spec: &Spec, is_filtered: bool) -> io::Result<LaidFence> {
    let limits = [
        (libc::RLIMIT_CORE, Resource::Core, Some(0)),
        (libc::RLIMIT_DATA, Resource::Data, spec.memory.filter(|_| spec.group.is_none())),
        (libc::RLIMIT_NPROC, Resource::Nproc, spec.processes),
        (libc::RLIMIT_FSIZE, Resource::Fsize, spec.file),
    ];
    let limits = limits.into_iter().filter_map(|(number, resource, most)| {
        // A limit that is lower already cannot be raised.
        let most = getrlimit(resource).maximum.map_or(most?, |now| now.min(most.unwrap_or(now)));
        Some((number, libc::rlimit { rlim_cur: most, rlim_max: most }))
    });
    let filter = if is_filtered { None } else { Some(filter::Filter::new(spec.network)?) };
    Ok(LaidFence { limits: limits.collect(), rules: landlock::rules(spec)?, filter })
}

/// Gives this thread the filter of system calls of a sandbox: with a network or without one. All processes and
/// threads that it makes from now on have it, too, and nothing takes it away again, so the thread must do nothing
/// else. Returns false if the kernel refuses.
pub(super) fn filter_thread(network: bool) -> bool {
    let filter = filter::Filter::new(network);
    filter.is_ok_and(|filter| set_no_new_privs(true).is_ok() && filter.install())
}

impl LaidFence {
    /// Sets the limits of this process. Makes system calls and does nothing else, so that a child that
    /// shares the memory of the server may call it.
    #[expect(unsafe_code, reason = "no safe call sets this limit for libc's numbers")]
    pub(super) fn limit(&self) -> Result<(), FenceGap> {
        for (resource, limit) in &self.limits {
            // SAFETY: it changes a limit of this process.
            if unsafe { libc::setrlimit(*resource, limit) } != 0 {
                return Err(FenceGap::Limits);
            }
        }
        Ok(())
    }

    /// Keeps this process within the fence from now on. Must come after `no_new_privs`. Makes system
    /// calls and does nothing else, as [`LaidFence::limit`].
    pub(super) fn raise(&self) -> Result<(), FenceGap> {
        if !drop_capabilities() {
            return Err(FenceGap::Capabilities);
        }
        if !landlock::enforce(&self.rules) {
            return Err(FenceGap::Files);
        }
        let is_filtered = self.filter.as_ref().is_none_or(filter::Filter::install);
        if is_filtered { Ok(()) } else { Err(FenceGap::Calls) }
    }
}

/// The file that lists the processes of a control group, and moves one that is written into it.
pub(super) const PROCESSES: &str = "cgroup.procs";

/// Moves this process into a control group.
pub(super) fn enter_group(group: &Path) -> io::Result<()> {
    std::fs::write(group.join(PROCESSES), "0")
}

/// Makes this process one of another user, which only root can. A process that shares memory with the
/// server must not do that: other processes of this user could stop it, and the server with it. The
/// kernel forgets by it whose end this process is tied to.
pub(super) fn become_user(user: &UserIds) -> io::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (id, group) = (Uid::from_raw(user.id), Gid::from_raw(user.group));
    set_thread_groups(&groups)?;
    set_thread_res_gid(group, group, group)?;
    Ok(set_thread_res_uid(id, id, id)?)
}

/// Gives up what root may do beyond others, for good: nothing is gained again with `no_new_privs`.
#[expect(unsafe_code, reason = "the safe call is about threads of a library")]
fn drop_capabilities() -> bool {
    #[repr(C)]
    struct CapabilityHead {
        version: u32,
        process: libc::c_int,
    }
    // The third version of the interface, which has two words for each of three sets.
    let head = CapabilityHead { version: 0x2008_0522, process: 0 };
    let none = [0_u32; 6];
    // SAFETY: the kernel reads a head and the sets that this version has.
    unsafe { libc::syscall(libc::SYS_capset, &raw const head, &raw const none) == 0 }
}

/// Says why a fence cannot be laid, or has a gap.
pub(super) fn why_none(gap: Option<FenceGap>, error: &io::Error) -> String {
    match (gap, error.raw_os_error()) {
        (None, Some(libc::ENOSYS | libc::EOPNOTSUPP)) => {
            "this kernel has no Landlock, which `sandbox` needs: it takes Linux 5.13 or later, with \
             `landlock` among the modules of `lsm=`"
                .to_owned()
        }
        (None, Some(libc::EPERM)) => {
            "Landlock is refused: what started this server filters system calls; let \
             `landlock_create_ruleset`, `landlock_add_rule`, `landlock_restrict_self` and `seccomp` pass \
             (`SystemCallFilter=` in a unit of systemd)"
                .to_owned()
        }
        (None, _) => format!("its rules are refused: {error}"),
        (Some(FenceGap::Limits), _) => format!("a limit cannot be set: {error}"),
        (Some(FenceGap::Capabilities), _) => format!("it keeps its capabilities: {error}"),
        (Some(FenceGap::Files), _) => format!("Landlock cannot be used: {error}"),
        (Some(FenceGap::Calls), _) => format!("system calls cannot be filtered: {error}"),
    }
}
