//! Finds programs that lose by what workers are kept from.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{getegid, geteuid};

use super::finding::Finding;
use crate::config::launch::program_at;
use crate::config::{Fence, PoolSettings, Sandbox, wanted_privileges};

/// Returns what a pool loses because its workers never become another user.
pub(super) fn findings(pool: &PoolSettings) -> Vec<Finding> {
    let launch = &pool.program.launch;
    if launch.fence == Fence::Off {
        return Vec::new();
    }
    // A program such as `env` runs one that its arguments name.
    let named = launch.arguments.iter().filter_map(|word| program_at(word, launch));
    let programs = std::iter::once(launch.program.clone()).chain(named);
    let lost = programs.filter_map(|program| {
        let what = privilege(&program, launch.fence.sandbox())?;
        let message = format!(
            "pool `{}`: `{}` {what}, which has no effect in a worker",
            pool.name,
            program.display()
        );
        let hint = "if it needs that, set `sandbox = false`: then whatever a worker executes may \
                    become another user";
        Some(Finding::warning(message).hint(hint))
    });
    lost.collect()
}

/// Returns what is lost of a pool because this root may not do all that root may.
pub(super) fn lost(pool: &PoolSettings) -> Vec<Finding> {
    let sandbox = pool.program.launch.fence.sandbox();
    let Some(user) = sandbox.and_then(|sandbox| sandbox.user.as_ref()) else { return Vec::new() };
    let lost = wanted_privileges().into_iter().map(|(name, lost)| {
        let message = format!(
            "pool `{}` runs as user `{}`, and this root has no {name}: {lost}",
            pool.name, user.name
        );
        Finding::warning(message)
            .hint("start the server with it: `CapabilityBoundingSet=` in a unit of systemd")
    });
    lost.collect()
}

/// Says what a program gets when it is executed, beyond what a worker has.
fn privilege(program: &Path, sandbox: Option<&Sandbox>) -> Option<&'static str> {
    let about = std::fs::metadata(program).ok()?;
    let other = sandbox.and_then(|sandbox| sandbox.user.as_ref());
    let (user, group) =
        other.map_or((geteuid().as_raw(), getegid().as_raw()), |other| (other.id, other.group));
    if let Some(what) = identity(&about, user, group) {
        return Some(what);
    }
    let mut room = [0_u8; 64];
    let has_capabilities = rustix::fs::getxattr(program, "security.capability", &mut room).is_ok();
    (has_capabilities && user != 0).then_some("has file capabilities")
}

fn identity(about: &Metadata, user: u32, group: u32) -> Option<&'static str> {
    let is_set = |bit: u32| about.mode() & bit != 0;
    if is_set(libc::S_ISUID) && about.uid() != user {
        return Some("is set-uid");
    }
    // Without the right to execute it, the group's bit means something else.
    let is_set_gid = is_set(libc::S_ISGID) && is_set(libc::S_IXGRP);
    (is_set_gid && about.gid() != group).then_some("is set-gid")
}
