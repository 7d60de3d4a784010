//! The shim: where a new process cannot become the program at once (`child`), it becomes our own
//! binary, which tries again and says what is wrong. A program that runs as another user is always made here.
//!
//! `httpipe __exec TOKEN SERVER FILES FENCE … DIR PROGRAM NAME ARGUMENT…` runs before anything else of the
//! binary, on one thread. It makes sure that the program dies with the server, has no descriptors
//! but 0, 1 and 2, and starts with no signal ignored or blocked. If the program cannot be run, the
//! shim writes one line with the TOKEN to stderr and ends with code 127 (not found) or 126.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};

use super::child::{keep_user, uncover_environment};
use super::fence;
use super::own::{KEEPS_USER, command, shim_line_prefix};

const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// Becomes the program that `arguments` (those after `__exec`) name. Returns only if it cannot.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut next = || arguments.next();
    let (Some(token), Some(server), Some(files), Some(fence)) = (next(), next(), next(), next())
    else {
        return ExitCode::from(NOT_RUNNABLE);
    };
    let Some(fence) = TheirFence::read(&fence, &mut next) else {
        return ExitCode::from(NOT_RUNNABLE);
    };
    let (Some(dir), Some(program), Some(name)) = (next(), next(), next()) else {
        return ExitCode::from(NOT_RUNNABLE);
    };
    let reason = match die_with(&server) {
        Ok(()) => {
            reset_signals();
            restore_file_limit(&files);
            close_inherited_on_exec();
            let lay = || fence.lay(&server);
            become_program(lay, Path::new(&dir), (Path::new(&program), &name), arguments)
        }
        Err(error) => Reason { text: not_tied(&error), code: NOT_RUNNABLE },
    };
    // A server that has gone does not read it.
    io::stderr().write_all(marked_line(&token, &reason.text).as_bytes()).ok();
    ExitCode::from(reason.code)
}

/// What the program is kept from.
enum TheirFence {
    Off,
    Usual,
    Sandbox(fence::Spec),
}

impl TheirFence {
    /// Reads it: a word, or a number of words that follow.
    fn read(first: &OsStr, next: &mut impl FnMut() -> Option<OsString>) -> Option<Self> {
        let word = first.to_str()?;
        Some(match word.parse::<usize>() {
            Ok(count) => Self::Sandbox(fence::read((0..count).map_while(|_| next()))?),
            Err(_) if word == KEEPS_USER => Self::Usual,
            Err(_) => Self::Off,
        })
    }

    /// Lays it out, sets its limits, and makes this process one of its user. What is left to do comes
    /// after the directory was entered, which that user may not be allowed to.
    fn lay(&self, server: &OsStr) -> Result<Option<Laid>, String> {
        let spec = match self {
            Self::Off => return Ok(None),
            Self::Usual => return Ok(Some(Laid { fence: None, user: None })),
            Self::Sandbox(spec) => spec,
        };
        let lay = || fence::lay(spec, false).map_err(|error| fence::why_none(None, &error));
        let laid = if spec.open { None } else { Some(lay()?) };
        if let Some(group) = &spec.group {
            let cannot = |error: io::Error| {
                format!("it cannot enter the group {}: {}", group.display(), in_words(&error))
            };
            fence::enter_group(group).map_err(cannot)?;
        }
        laid.as_ref().map_or(Ok(()), fence::LaidFence::limit).map_err(why_gap)?;
        if let Some(user) = &spec.user {
            let cannot = |error: io::Error| {
                let why = in_words(&error);
                format!("it cannot become user {}: {why}", user.id)
            };
            fence::become_user(user).map_err(cannot)?;
            die_with(server).map_err(|error| not_tied(&error))?;
        }
        Ok(Some(Laid { fence: laid, user: spec.user.as_ref().map(|user| user.id) }))
    }
}

/// A fence that is to be raised.
struct Laid {
    /// `None`: the usual one.
    fence: Option<fence::LaidFence>,
    /// Who this process has become; `None`: it is the user of the server.
    user: Option<u32>,
}

impl Laid {
    /// Raises it around this process.
    fn raise(&self) -> Result<(), String> {
        if !keep_user() {
            return Err("the kernel does not keep it from becoming another user".to_owned());
        }
        self.fence.as_ref().map_or(Ok(()), |laid| laid.raise().map_err(why_gap))
    }
}

fn why_gap(gap: fence::FenceGap) -> String {
    fence::why_none(Some(gap), &io::Error::last_os_error())
}

fn not_tied(error: &io::Error) -> String {
    format!("cannot be tied to the server: {}", in_words(error))
}

/// Why the program cannot be run.
struct Reason {
    text: String,
    code: u8,
}

/// Returns the shim's line with this text, in which no character can end or disturb the line.
fn marked_line(token: &OsStr, text: &str) -> String {
    let text = text.replace(char::is_control, "?");
    format!("{}{text}\n", shim_line_prefix(&token.to_string_lossy()))
}

/// Makes the kernel kill this process when the server's thread that started it ends.
fn die_with(server: &OsStr) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // If the server died before that call, this process has another parent by now.
    if getppid().map(Pid::as_raw_pid) != server.to_str().and_then(|text| text.parse().ok()) {
        return Err(io::Error::other("it has gone"));
    }
    Ok(())
}

fn become_program(
    lay: impl FnOnce() -> Result<Option<Laid>, String>,
    dir: &Path,
    (program, name): (&Path, &OsStr),
    arguments: impl Iterator<Item = OsString>,
) -> Reason {
    let unfenced = |why: String| Reason {
        text: format!("cannot keep `{}` in its fence: {why}", program.display()),
        code: NOT_RUNNABLE,
    };
    let laid = match lay() {
        Ok(laid) => laid,
        Err(why) => return unfenced(why),
    };
    let user = laid.as_ref().and_then(|laid| laid.user);
    let whom = user.map_or_else(String::new, |user| format!(" as user {user}"));
    if let Err(error) = std::env::set_current_dir(dir) {
        let (dir, why) = (dir.display(), in_words(&error));
        let text = format!("cannot enter the directory `{dir}`{whom}: {why}");
        return Reason { text, code: NOT_RUNNABLE };
    }
    if let Some(Err(why)) = laid.map(|laid| laid.raise()) {
        return unfenced(why);
    }
    // Only now: until here this process may be root.
    uncover_environment();
    let error = command(program).arg0(name).args(arguments).exec();
    let missing = error.kind() == io::ErrorKind::NotFound;
    let reason = if missing && program.exists() {
        "the interpreter or loader that it names does not exist".to_owned()
    } else {
        in_words(&error)
    };
    let text = format!("cannot run `{}`{whom}: {reason}", program.display());
    Reason { text, code: if missing { NOT_FOUND } else { NOT_RUNNABLE } }
}

/// Describes an error in words, without its number.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ArgumentListTooLong => {
            "its arguments and environment are too long together".to_owned()
        }
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or_default().to_lowercase()
        }
    }
}

/// Sets every signal to its default and blocks none, as programs expect. The server may have been
/// started with others.
#[expect(unsafe_code, reason = "no safe call sets dispositions and the mask")]
fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: no handler is installed, only the default restored. The call refuses the signals
        // that cannot be changed (KILL, STOP, two of the C library's own), which does no harm.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = MaybeUninit::uninit();
    // SAFETY: the first call initialises the set before the second reads it.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Restores the soft limit of open files that the server was started with. A program that loops
/// over all numbers below the limit, or uses `select`, must not meet the one that the server has
/// raised for itself.
fn restore_file_limit(soft: &OsStr) {
    let soft = soft.to_str().and_then(|text| text.parse().ok()).filter(|soft| *soft > 0);
    let Some(soft): Option<u64> = soft else { return };
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current > soft) {
        // It only becomes smaller, which is always allowed.
        setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum }).ok();
    }
}

/// Makes exec close every descriptor above stderr, so that the program does not inherit those that
/// our starter left open.
fn close_inherited_on_exec() {
    above_stderr(libc::CLOSE_RANGE_CLOEXEC);
}

/// Closes every descriptor above stderr, for a process that does not exec.
pub(super) fn close_inherited() {
    above_stderr(0);
}

#[expect(unsafe_code, reason = "no safe call treats all descriptors at once")]
fn above_stderr(flags: libc::c_uint) {
    // SAFETY: called at the start of a process that owns no descriptor above stderr yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) };
    if result == 0 {
        return;
    }
    // For kernels before 5.11, and sandboxes without that system call.
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for number in numbers.filter(|number: &libc::c_int| *number > 2) {
        // SAFETY: it only sets a flag, and fails on a number that has been closed meanwhile.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marked_line_is_one_line_whatever_a_path_holds() {
        let line = marked_line(OsStr::new("t0"), "cannot run `a\nb\u{1b}[0m`");
        assert_eq!(line, "httpipe t0: cannot run `a?b?[0m`\n");
    }

    #[test]
    fn errors_are_words_without_numbers() {
        let words = |raw| in_words(&io::Error::from_raw_os_error(raw));
        assert_eq!(words(libc::ENOENT), "it does not exist");
        assert_eq!(words(libc::EACCES), "permission denied");
        assert_eq!(words(libc::ENOEXEC), "exec format error");
        assert_eq!(words(libc::ELOOP), "too many levels of symbolic links");
    }
}
