//! Which files a program may read and write, by Landlock, which needs no privilege.
//!
//! The three system calls are made by hand: the kernel's interface is two structs.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::spec::Spec;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
/// All that the first version knows.
const FIRST: u64 = (1 << 13) - 1;
/// Since the second version: a file may move to another directory.
const REFER: u64 = 1 << 13;
/// Since the third.
const TRUNCATE: u64 = 1 << 14;
/// What a rule about a file, which is no directory, may allow.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE;
const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
/// Since the sixth version: no abstract sockets and no signals to processes outside.
const SCOPES: u64 = 0b11;
const SCOPED_SINCE: i64 = 6;

const ASK_VERSION: libc::c_uint = 1;
const PATH_BENEATH: libc::c_uint = 1;

/// Devices that every program may read and write, and those that it may read.
const BOTH_WAYS: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];
const READABLE: [&str; 2] = ["/dev/random", "/dev/urandom"];
/// Where named semaphores and shared memory are.
const SHARED_MEMORY: &str = "/dev/shm";

#[repr(C)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scopes: u64,
}

#[repr(C, packed)]
struct BelowPath {
    allowed: u64,
    path: RawFd,
}

/// Returns the rules that keep a process from all files but those of `spec`.
pub(super) fn rules(spec: &Spec) -> io::Result<OwnedFd> {
    let version = version()?;
    let mut all = FIRST;
    all |= if version >= 2 { REFER } else { 0 };
    all |= if version >= 3 { TRUNCATE } else { 0 };
    let scopes = if version >= SCOPED_SINCE { SCOPES } else { 0 };
    let ruleset = create(&RulesetAttributes { files: all, network: 0, scopes })?;
    let write = all & !(MAKE_CHAR | MAKE_BLOCK);
    let paths = |list: &'static [&'static str]| list.iter().map(Path::new);
    let listed = [
        (spec.read.iter().map(AsRef::as_ref).collect::<Vec<&Path>>(), READ),
        (spec.list.iter().map(AsRef::as_ref).collect(), READ_DIR),
        (spec.write.iter().map(AsRef::as_ref).collect(), write),
        (paths(&BOTH_WAYS).collect(), READ_FILE | WRITE_FILE | (all & TRUNCATE)),
        (paths(&READABLE).collect(), READ_FILE),
        (vec![Path::new(SHARED_MEMORY)], write & !EXECUTE),
    ];
    for (paths, allowed) in listed {
        paths.into_iter().try_for_each(|path| allow(&ruleset, path, allowed))?;
    }
    Ok(ruleset)
}

/// Returns the version of Landlock in this kernel.
#[expect(unsafe_code, reason = "there is no safe call")]
fn version() -> io::Result<i64> {
    // SAFETY: with this flag the kernel reads no memory.
    checked(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, 0_usize, 0_usize, ASK_VERSION)
    })
}

#[expect(unsafe_code, reason = "there is no safe call")]
fn create(attributes: &RulesetAttributes) -> io::Result<OwnedFd> {
    // A kernel that knows fewer fields takes the whole struct if the others are zero.
    // SAFETY: the kernel reads a struct of this size, and returns a descriptor that is ours.
    unsafe {
        let created = checked(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::from_ref(attributes),
            size_of::<RulesetAttributes>(),
            0,
        ))?;
        Ok(OwnedFd::from_raw_fd(RawFd::try_from(created).map_err(io::Error::other)?))
    }
}

/// Allows something below a path. What is not there, or may not be looked at, needs no rule.
#[expect(unsafe_code, reason = "there is no safe call")]
fn allow(ruleset: &OwnedFd, path: &Path, allowed: u64) -> io::Result<()> {
    let Ok(opened) = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else {
        return Ok(());
    };
    let add = |allowed| {
        let rule = BelowPath { allowed, path: opened.as_raw_fd() };
        // SAFETY: the kernel reads the struct, whose descriptor is open.
        checked(unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                PATH_BENEATH,
                &raw const rule,
                0,
            )
        })
        .map(drop)
    };
    match add(allowed) {
        // A file takes no rights of directories. This costs less than to ask first what it is.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => match allowed & OF_FILES {
            0 => Ok(()),
            of_files => add(of_files),
        },
        added => added,
    }
}

/// Holds this process and its descendants to rules. Must come after `no_new_privs`. Returns false if
/// the kernel refuses.
#[expect(unsafe_code, reason = "there is no safe call")]
pub(super) fn enforce(rules: &OwnedFd) -> bool {
    // SAFETY: it changes only what this process may do.
    unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) == 0 }
}

fn checked(result: libc::c_long) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
