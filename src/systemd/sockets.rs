//! The listening sockets that the service manager opened, by `LISTEN_FDS` and its companions.

use std::ffi::OsString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// The number of the first passed descriptor.
const FIRST: RawFd = 3;
/// Most sockets that are taken. A larger number is a mistake.
const MOST: RawFd = 1024;

/// What a passed socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketPurpose {
    /// Callers connect there.
    Callers,
    /// Operators connect there.
    Operators,
}

/// A variable of the service manager that cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("cannot take the sockets of the service manager: {reason}\n\nhint: {remedy}")]
pub struct BadVariable {
    reason: String,
    remedy: &'static str,
}

/// Takes the sockets that the service manager passed to this process, with what each is for.
/// Must be called once, before this process opens anything that it keeps.
///
/// # Errors
///
/// A variable says something that cannot be true, or a descriptor is not open.
pub fn passed_sockets() -> Result<Vec<(OwnedFd, SocketPurpose)>, BadVariable> {
    let purposes = announced(&Variables::of_this_process(), std::process::id())?;
    (FIRST..).zip(purposes).map(|(number, purpose)| Ok((take(number)?, purpose))).collect()
}

/// Takes one descriptor, so that no other process inherits it.
#[expect(unsafe_code, reason = "a number from outside becomes a descriptor")]
fn take(number: RawFd) -> Result<OwnedFd, BadVariable> {
    // SAFETY: the descriptor is only looked at here, and this process has not closed it.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    if fcntl_setfd(borrowed, FdFlags::CLOEXEC).is_err() {
        return Err(BadVariable {
            reason: format!("descriptor {number} is not open, and LISTEN_FDS counts it"),
            remedy: "LISTEN_FDS counts the descriptors from 3 on",
        });
    }
    // SAFETY: it is open, the service manager has given it away, and it is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The variables that say which sockets were passed.
#[derive(Debug, Default)]
struct Variables {
    process: Option<OsString>,
    count: Option<OsString>,
    names: Option<OsString>,
}

impl Variables {
    fn of_this_process() -> Self {
        let variable = |name| std::env::var_os(name);
        Self {
            process: variable("LISTEN_PID"),
            count: variable("LISTEN_FDS"),
            names: variable("LISTEN_FDNAMES"),
        }
    }
}

/// Returns what each passed socket is for, in the order of their numbers. There are none if the
/// variables are for another process, as where a shell that was given them runs this one.
fn announced(variables: &Variables, own: u32) -> Result<Vec<SocketPurpose>, BadVariable> {
    let (Some(process), Some(count)) = (&variables.process, &variables.count) else {
        return Ok(Vec::new());
    };
    if process.to_str().and_then(|text| text.parse().ok()) != Some(own) {
        return Ok(Vec::new());
    }
    let number = count.to_str().and_then(|text| text.parse().ok());
    let Some(number @ 0..=MOST) = number else {
        return Err(BadVariable {
            reason: format!("LISTEN_FDS is `{}`", count.display()),
            remedy: "it is the number of sockets, at most 1024",
        });
    };
    let count = usize::try_from(number).unwrap_or_default();
    let Some(names) = &variables.names else { return Ok(vec![SocketPurpose::Callers; count]) };
    let names = names.to_string_lossy();
    let names: Vec<&str> = if count == 0 { Vec::new() } else { names.split(':').collect() };
    if names.len() != count {
        return Err(BadVariable {
            reason: format!("LISTEN_FDNAMES has {} names for {count} sockets", names.len()),
            remedy: "it has one name for each socket, with a `:` between two",
        });
    }
    names.into_iter().map(purpose).collect()
}

/// Returns what a socket of this name is for. Where a unit sets no name, systemd gives its own.
fn purpose(name: &str) -> Result<SocketPurpose, BadVariable> {
    match name {
        "admin" => Ok(SocketPurpose::Operators),
        "listen" | "unknown" | "" => Ok(SocketPurpose::Callers),
        unit if unit.ends_with(".socket") => Ok(SocketPurpose::Callers),
        other => Err(BadVariable {
            reason: format!("a socket is named `{}`", other.escape_debug()),
            remedy: "FileDescriptorName= is `listen` for callers and `admin` for operators",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::SocketPurpose::{Callers, Operators};
    use super::*;

    fn read(process: &str, count: &str, names: Option<&str>) -> Result<Vec<SocketPurpose>, String> {
        let some = |text: &str| Some(text.into());
        let variables =
            Variables { process: some(process), count: some(count), names: names.and_then(some) };
        announced(&variables, 7).map_err(|error| error.to_string())
    }

    #[test]
    fn each_socket_has_a_purpose_by_its_name() {
        assert_eq!(announced(&Variables::default(), 7).ok(), Some(vec![]));
        assert_eq!(read("7", "2", None), Ok(vec![Callers, Callers]));
        assert_eq!(read("7", "0", Some("")), Ok(vec![]));
        assert_eq!(
            read("7", "4", Some("admin:listen:unknown:httpipe.socket")),
            Ok(vec![Operators, Callers, Callers, Callers])
        );
    }

    #[test]
    fn sockets_of_another_process_are_not_taken() {
        for process in ["8", "", "7x", "-7"] {
            assert_eq!(read(process, "1", None), Ok(vec![]), "{process}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_true_says_what_is_wrong() {
        for (count, names, said) in [
            ("x", None, "LISTEN_FDS is `x`"),
            ("-1", None, "LISTEN_FDS is `-1`"),
            ("1025", None, "at most 1024"),
            ("2", Some("admin"), "1 names for 2 sockets"),
            ("1", Some("admin:listen"), "2 names for 1 sockets"),
            ("1", Some("adimn"), "`admin` for operators"),
        ] {
            let error = read("7", count, names).expect_err(count);
            assert!(error.contains(said), "{count} {names:?}: {error}");
        }
    }
}
