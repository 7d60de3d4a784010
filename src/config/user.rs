//! The users of this machine, as the C library knows them, and whether the server can run programs as
//! one of them.

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt as _;
use std::ptr;

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::fence::OtherUser;

/// Room for what is known of a user: first, and at most.
const ROOM: usize = 1 << 10;
const ROOM_MOST: usize = 1 << 20;
/// Groups of a user: first, and at most.
const GROUPS: usize = 32;
const GROUPS_MOST: usize = 1 << 16;

/// What a server needs in order to run a program as another user, to end it, and to remove its files.
const NEEDED: [(CapabilitySet, &str); 6] = [
    (CapabilitySet::CHOWN, "CAP_CHOWN"),
    (CapabilitySet::DAC_OVERRIDE, "CAP_DAC_OVERRIDE"),
    (CapabilitySet::FOWNER, "CAP_FOWNER"),
    (CapabilitySet::KILL, "CAP_KILL"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
];

/// What a server needs in order to treat such a program as any other, and what is lost without it.
const WANTED: [(CapabilitySet, &str, &str); 2] = [
    (
        CapabilitySet::SYS_PTRACE,
        "CAP_SYS_PTRACE",
        "the server does not see when a worker waits, so no turn of `framing = \"turn\"` ends",
    ),
    (CapabilitySet::SYS_NICE, "CAP_SYS_NICE", "a long call does not give way to short ones"),
];

/// Says what this process lacks in order to run programs as another user; `None`: nothing.
pub fn missing_privilege() -> Option<String> {
    let user = geteuid();
    if !user.is_root() {
        return Some(format!("this is user {user}, who cannot end the processes of others"));
    }
    // Where it is not told what root may do, the start of the first worker tells it.
    let held = capabilities(None).ok()?.effective;
    let (_, name) = NEEDED.iter().find(|(needed, _)| !held.contains(*needed))?;
    Some(format!("this root has no {name} (`CapabilityBoundingSet=` in a unit of systemd)"))
}

/// Returns what else this process lacks, each with what is lost of programs that run as another user.
pub fn wanted_privileges() -> Vec<(&'static str, &'static str)> {
    capabilities(None).map(|sets| wanted(sets.effective)).unwrap_or_default()
}

fn wanted(held: CapabilitySet) -> Vec<(&'static str, &'static str)> {
    let missing = WANTED.into_iter().filter(|(wanted, ..)| !held.contains(*wanted));
    missing.map(|(_, name, lost)| (name, lost)).collect()
}

/// Returns the user with this name; `None`: there is none.
pub fn named(name: &str) -> io::Result<Option<OtherUser>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let Some(user) = entry(&name)? else { return Ok(None) };
    Ok(Some(OtherUser { groups: groups(&name, user.group)?, ..user }))
}

/// Returns what is known of a user, without the groups.
#[expect(unsafe_code, reason = "no safe call asks for a user")]
fn entry(name: &CStr) -> io::Result<Option<OtherUser>> {
    let mut room = vec![0_u8; ROOM];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        // SAFETY: the call writes an entry and what it points to into the room that it is told of.
        let error = unsafe {
            let (text, length) = (room.as_mut_ptr().cast::<c_char>(), room.len());
            libc::getpwnam_r(name.as_ptr(), entry.as_mut_ptr(), text, length, &raw mut found)
        };
        match error {
            libc::EINTR => {}
            libc::ERANGE if room.len() < ROOM_MOST => room.resize(room.len() * 2, 0),
            // Some of its sources say so of a name that they do not know.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: it was found, so the entry is written; its texts end with NUL, in `room`.
                let (entry, home) = unsafe {
                    let entry = entry.assume_init();
                    (entry, CStr::from_ptr(entry.pw_dir).to_bytes().to_vec())
                };
                return Ok(Some(OtherUser {
                    name: name.to_string_lossy().into_owned(),
                    home: OsString::from_vec(home).into(),
                    id: entry.pw_uid,
                    group: entry.pw_gid,
                    groups: Vec::new(),
                }));
            }
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Returns the groups of a user. This one comes first.
#[expect(unsafe_code, reason = "no safe call asks for the groups of a user")]
fn groups(name: &CStr, first: u32) -> io::Result<Vec<u32>> {
    let mut room = GROUPS;
    while room <= GROUPS_MOST {
        let mut groups = vec![0; room];
        let mut count = c_int::try_from(room).unwrap_or(c_int::MAX);
        // SAFETY: the call writes no more numbers than `count` says that there is room for.
        let written = unsafe {
            libc::getgrouplist(name.as_ptr(), first, groups.as_mut_ptr(), &raw mut count)
        };
        if written >= 0 {
            groups.truncate(usize::try_from(written).unwrap_or_default());
            return Ok(groups);
        }
        room *= 2;
    }
    Err(io::Error::other("it is in too many groups"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_capability_is_for_is_told_where_it_is_missing() {
        let names = |held| wanted(held).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let both = CapabilitySet::SYS_PTRACE | CapabilitySet::SYS_NICE;
        assert!(names(both).is_empty());
        assert_eq!(names(CapabilitySet::SYS_NICE), ["CAP_SYS_PTRACE"]);
        assert_eq!(names(CapabilitySet::KILL), ["CAP_SYS_PTRACE", "CAP_SYS_NICE"]);
    }

    #[test]
    fn users_are_found_by_their_names() {
        let root = named("root").expect("it can be asked").expect("there is one");
        assert_eq!((root.id, root.group, root.home.to_str()), (0, 0, Some("/root")));
        assert!(root.groups.contains(&0), "{root:?}");
        for unknown in ["no-such-user", "", "a\0b"] {
            assert_eq!(named(unknown).expect("it can be asked"), None, "{unknown:?}");
        }
    }
}
