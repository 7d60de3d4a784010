//! Makes a process that becomes a program at once, without a copy of the server.
//!
//! The child shares the memory of the server until it becomes the program, and the thread that made
//! it stands still until then, as with `vfork` and inside `posix_spawn`. So no page table is copied,
//! and nothing that the child does may allocate, lock or panic: it makes only the system calls below.
//! What it needs is laid out before.
//!
//! If a step fails, the child becomes the shim instead, which tries again and says in words what is
//! wrong. A program that runs as another user is made by the shim alone: a child of that user must not share
//! the memory of the server, nor hold up its thread. One that enters a control group is, too: that takes
//! some hundredths of a second.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use super::births::ChildId;
use super::fence::{self, LaidFence};
use rustix::process::{Pid, Resource, getpid, getrlimit};

/// Room for the few calls that the child makes, and for a signal frame of a large processor.
const STACK: usize = 64 << 10;
/// The highest signal.
const SIGNALS: c_int = 64;

/// The ends of a worker's streams that the worker gets.
#[derive(Debug)]
pub(super) struct TheirEnds {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// The user and the group that a file belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl TheirEnds {
    /// Makes them files of this user, who could not open `/dev/stdout` otherwise.
    pub(super) fn give_to(&self, owner: Owner) -> io::Result<()> {
        for stream in [&self.stdin, &self.stdout, &self.stderr] {
            std::os::unix::fs::fchown(stream, Some(owner.user), Some(owner.group))?;
        }
        Ok(())
    }
}

/// What a child becomes.
#[derive(Debug)]
pub(super) struct Image {
    path: CString,
    arguments: Vec<CString>,
}

/// The environment of a program, in a form that means nothing to what runs before the program.
///
/// The shim may run as root while the program does not, and the loader of a process obeys variables such as
/// `LD_PRELOAD`. So each variable is the value of one that is called `_`, until the program is executed.
#[derive(Debug)]
pub(super) struct ChildEnvironment(Vec<CString>);

/// What comes before each variable.
const VEIL: &[u8] = b"_=";

impl ChildEnvironment {
    /// Hides variables, in this order.
    ///
    /// # Errors
    ///
    /// One of them holds a NUL byte.
    pub(super) fn hide<'a>(
        variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
    ) -> io::Result<Self> {
        let hide = |(name, value): (&OsStr, &OsStr)| {
            let parts = [VEIL, name.as_bytes(), b"=", value.as_bytes()];
            CString::new(parts.concat()).map_err(io::Error::from)
        };
        variables.map(hide).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the variables as the program is to see them.
    fn bare(&self) -> Vec<*const c_char> {
        let bare = |hidden: &CString| hidden.as_bytes_with_nul()[VEIL.len()..].as_ptr().cast();
        with_null(self.0.iter().map(bare))
    }
}

/// Uncovers the variables of this process, which was started with those of a [`ChildEnvironment`]. What it
/// executes from now on gets them.
#[expect(unsafe_code, reason = "no safe call keeps variables that have no name, or one name twice")]
pub(super) fn uncover_environment() {
    unsafe extern "C" {
        static environ: *mut *mut c_char;
    }
    // SAFETY: called on the only thread. The list ends with null, and each text with NUL; one that begins with
    // the veil is at least as long.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            if CStr::from_ptr(*next).to_bytes().starts_with(VEIL) {
                *next = (*next).add(VEIL.len());
            }
            next = next.add(1);
        }
    }
}

/// A child that is about to be made.
#[derive(Debug)]
pub(super) struct NewChild {
    /// The program.
    pub(super) program: Image,
    /// The shim, which has to become the same program.
    pub(super) shim: Image,
    /// The environment of the program.
    pub(super) environment: ChildEnvironment,
    /// Where the program runs.
    pub(super) dir: CString,
    /// Its standard streams.
    pub(super) streams: TheirEnds,
    /// The soft limit of open files that it gets, if that is less than ours; 0: ours.
    pub(super) files: u64,
    /// It keeps its user even if it is set-uid, and leaves no core file.
    pub(super) keeps_user: bool,
    /// What the fence around it is about; `None`: there is no fence, or the shim raises it.
    pub(super) fence: Option<fence::Spec>,
    /// The shim must make the program of it.
    pub(super) needs_shim: bool,
    /// The program is another one, which runs the shim.
    pub(super) is_below: bool,
}

/// What the child reads.
struct Orders<'a> {
    program: *const c_char,
    arguments: *const *const c_char,
    shim: *const c_char,
    shim_arguments: *const *const c_char,
    environment: *const *const c_char,
    /// The environment of the shim, from which it takes that of the program.
    hidden: *const *const c_char,
    dir: *const c_char,
    streams: [RawFd; 3],
    server: libc::pid_t,
    files: Option<libc::rlimit>,
    keeps_user: bool,
    fence: Option<&'a LaidFence>,
    needs_shim: bool,
}

impl Image {
    /// A program at this path with these arguments. The first argument is its name.
    ///
    /// # Errors
    ///
    /// One of them holds a NUL byte.
    pub(super) fn new<'a>(
        path: &OsStr,
        arguments: impl Iterator<Item = &'a OsStr>,
    ) -> io::Result<Self> {
        let arguments = arguments.map(text).collect::<Result<_, _>>()?;
        Ok(Self { path: text(path)?, arguments })
    }
}

impl NewChild {
    /// Makes of it a child that becomes another program, which runs the shim: that raises the fence.
    /// `words` are the first arguments of that program, its name included.
    pub(super) fn below<'b>(
        self,
        program: &OsStr,
        words: impl Iterator<Item = &'b OsStr>,
    ) -> io::Result<Self> {
        let mut image = Image::new(program, words)?;
        image.arguments.push(self.shim.path.clone());
        image.arguments.extend_from_slice(&self.shim.arguments[1..]);
        Ok(Self { program: image, fence: None, needs_shim: false, is_below: true, ..self })
    }

    /// Makes the child. The kernel kills it when the thread that calls this ends. `is_filtered`: that thread has the
    /// filter of system calls of the fence, and so the child has it, too. `id`: where the kernel writes
    /// its process id.
    pub(super) fn begin(&self, id: &ChildId, is_filtered: bool) -> io::Result<Pid> {
        // If it cannot be laid, the shim says why.
        let fence = self.fence.as_ref().map(|spec| fence::lay(spec, is_filtered)).transpose();
        let [arguments, shim_arguments, hidden] =
            [&self.program.arguments, &self.shim.arguments, &self.environment.0].map(|it| list(it));
        let bare = if self.is_below { Vec::new() } else { self.environment.bare() };
        let orders = Orders {
            program: self.program.path.as_ptr(),
            arguments: arguments.as_ptr(),
            shim: self.shim.path.as_ptr(),
            shim_arguments: shim_arguments.as_ptr(),
            environment: if self.is_below { hidden.as_ptr() } else { bare.as_ptr() },
            hidden: hidden.as_ptr(),
            dir: self.dir.as_ptr(),
            streams: [&self.streams.stdin, &self.streams.stdout, &self.streams.stderr]
                .map(AsRawFd::as_raw_fd),
            server: getpid().as_raw_pid(),
            files: lower_limit(self.files),
            keeps_user: self.keeps_user,
            fence: fence.as_ref().ok().and_then(Option::as_ref),
            needs_shim: self.needs_shim || fence.is_err(),
        };
        let child = run(&orders, id);
        debug_assert!(child.as_ref().is_ok_and(|child| id.is(*child)) || child.is_err());
        child
    }
}

/// Returns a text as the kernel reads it.
pub(super) fn text(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(io::Error::from)
}

/// Returns a list as the kernel reads it: pointers with a null after the last.
fn list(texts: &[CString]) -> Vec<*const c_char> {
    with_null(texts.iter().map(|text| text.as_ptr()))
}

fn with_null(texts: impl Iterator<Item = *const c_char>) -> Vec<*const c_char> {
    texts.chain(std::iter::once(ptr::null())).collect()
}

/// Returns the limits of open files with this soft one; `None` if that is no lower than ours.
fn lower_limit(files: u64) -> Option<libc::rlimit> {
    let ours = getrlimit(Resource::Nofile);
    let is_lower = files > 0 && ours.current.is_none_or(|current| current > files);
    let maximum = ours.maximum.unwrap_or(libc::RLIM_INFINITY);
    is_lower.then_some(libc::rlimit { rlim_cur: files, rlim_max: maximum })
}

/// Makes the child, with all signals blocked: no handler of ours may run in it.
#[expect(unsafe_code, reason = "no safe call makes a process that shares memory")]
fn run(orders: &Orders<'_>, id: &ChildId) -> io::Result<Pid> {
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    // SAFETY: both sets are written before they are read. The child gets a stack of its own, which
    // lives until the child has another image or has ended: `CLONE_VFORK` keeps this thread from
    // going on before. It reads `orders`, which lives as long. The place of its id does, too.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | libc::SIGCHLD;
        let orders = ptr::from_ref(orders).cast_mut().cast::<c_void>();
        let id = libc::clone(live, top, flags, orders, id.place());
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        if id > 0 { Pid::from_raw(id).ok_or(error) } else { Err(error) }
    }
}

/// The life of the child.
#[expect(unsafe_code, reason = "system calls between clone and exec")]
extern "C" fn live(orders: *mut c_void) -> c_int {
    // SAFETY: `run` passes orders that outlive this function, whose pointers are to texts and lists
    // that end with null. Nothing here allocates, locks or panics; all that is changed belongs to
    // this process: its descriptors, signals, directory and limits are copies.
    unsafe {
        let orders = &*orders.cast_const().cast::<Orders<'_>>();
        libc::setpgid(0, 0);
        let mut streams = 0..;
        for stream in orders.streams {
            // None of ours has one of these numbers, so none is overwritten.
            if let Some(number) = streams.next()
                && libc::dup2(stream, number) < 0
            {
                libc::_exit(126);
            }
        }
        if !orders.needs_shim {
            become_program(orders);
        }
        libc::execve(orders.shim, orders.shim_arguments, orders.hidden);
        libc::_exit(126)
    }
}

/// Becomes the program. Returns if it cannot.
#[expect(unsafe_code, reason = "system calls between clone and exec")]
unsafe fn become_program(orders: &Orders<'_>) {
    // SAFETY: as in `live`.
    unsafe {
        let is_tied = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0
            // If the server died before that call, this process has another parent by now.
            && libc::getppid() == orders.server;
        let is_closed_on_exec =
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
                == 0;
        if !is_tied || !is_closed_on_exec || libc::chdir(orders.dir) != 0 {
            return;
        }
        if let Some(files) = &orders.files {
            libc::setrlimit(libc::RLIMIT_NOFILE, files);
        }
        if orders.keeps_user && !keep_user() {
            return;
        }
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        let mut signal = 1;
        while signal <= SIGNALS {
            // Refused for those that cannot be changed, which does no harm.
            libc::sigaction(signal, &raw const default, ptr::null_mut());
            signal += 1;
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        if orders.fence.is_some_and(|fence| fence.limit().and(fence.raise()).is_err()) {
            return;
        }
        libc::execve(orders.program, orders.arguments, orders.environment);
    }
}

/// Makes sure that this process and its descendants never become another user by what they execute,
/// and that it leaves no core file unless it asks for one. Returns false if the kernel refuses.
#[expect(unsafe_code, reason = "system calls between clone and exec")]
pub(super) fn keep_user() -> bool {
    // SAFETY: nothing here allocates, locks or panics, and all that is changed belongs to this
    // process.
    unsafe {
        let mut core: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_CORE, &raw mut core) == 0 && core.rlim_cur > 0 {
            core.rlim_cur = 0;
            libc::setrlimit(libc::RLIMIT_CORE, &raw const core);
        }
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    }
}
