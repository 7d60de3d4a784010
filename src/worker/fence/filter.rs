//! Which system calls a program may make: a filter that the kernel runs for each.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Option<u32> = Some(0xC000_003E);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Option<u32> = Some(0xC000_00B7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: Option<u32> = None;

/// From this number on, calls on `x86_64` are those of programs with short pointers, which are the
/// others under another number.
const SHORT_POINTERS: u32 = 0x4000_0000;

/// Where the kernel puts what a filter looks at.
const NUMBER: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const fn argument(index: u32) -> u32 {
    // The lower half, on the two processors above.
    16 + 8 * index
}

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7FFF_0000;
const fn fail(error: i32) -> u32 {
    0x0005_0000 | error.cast_unsigned()
}

/// Calls that only rule the machine, look into other processes, or have had many holes.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Calls that libraries try first and do without: another error would end them.
const MISSING: &[libc::c_long] = &[
    // Its flags are in memory, which a filter cannot read. `clone` takes its place.
    libc::SYS_clone3,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
];

/// Flags of `clone` that make a namespace.
const NAMESPACES: u32 = (libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS)
    .cast_unsigned();

/// Writes into a terminal as if somebody had typed it.
const TYPE_INTO_TERMINAL: [u32; 2] = [0x5412, 0x541C];

/// A filter of system calls.
#[derive(Debug)]
pub(super) struct Filter(&'static [libc::sock_filter]);

/// The filters that there are: without a network, and with it.
static FILTERS: [OnceLock<Vec<libc::sock_filter>>; 2] = [OnceLock::new(), OnceLock::new()];

impl Filter {
    /// The filter of programs that may use the network, or may not.
    ///
    /// # Errors
    ///
    /// This processor numbers its system calls in a way that is not known here.
    pub(super) fn new(network: bool) -> io::Result<Self> {
        let Some(architecture) = ARCHITECTURE else {
            return Err(io::Error::other("system calls are not filtered on this processor"));
        };
        let steps = &FILTERS[usize::from(network)];
        Ok(Self(steps.get_or_init(|| filter(network, architecture))))
    }

    /// Installs it for this thread, and for all that it makes from now on. Must come after `no_new_privs`. Returns false
    /// if the kernel refuses.
    #[expect(unsafe_code, reason = "there is no safe call")]
    pub(super) fn install(&self) -> bool {
        let program =
            libc::sock_fprog { len: self.0.len() as u16, filter: self.0.as_ptr().cast_mut() };
        // SAFETY: the kernel copies the filter, whose length is right, and writes nothing.
        unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
                == 0
        }
    }
}

fn filter(network: bool, architecture: u32) -> Vec<libc::sock_filter> {
    let mut filter = FromEnd::default();
    let [allow, refuse, miss, deny] =
        [ALLOW, fail(libc::EPERM), fail(libc::ENOSYS), fail(libc::EACCES)]
            .map(|answer| filter.put(step(RETURN, answer)));
    let mut places: Vec<(u32, FilterStep)> = Vec::new();
    places.extend(REFUSED.iter().map(|call| (number(*call), refuse)));
    places.extend(MISSING.iter().map(|call| (number(*call), miss)));
    if !network {
        places.push((number(libc::SYS_socket), deny));
        // Pairs of streams reach nobody else; a socket for datagrams can send to any file.
        filter.branch(IF_EQUAL, libc::SOCK_DGRAM.cast_unsigned(), deny, allow);
        filter.put(step(AND, 0xF));
        places.push((number(libc::SYS_socketpair), filter.put(step(LOAD, argument(1)))));
    }
    filter.branch(IF_ANY_BIT, NAMESPACES, refuse, allow);
    places.push((number(libc::SYS_clone), filter.put(step(LOAD, argument(0)))));
    let other = filter.branch(IF_EQUAL, TYPE_INTO_TERMINAL[1], refuse, allow);
    filter.branch(IF_EQUAL, TYPE_INTO_TERMINAL[0], refuse, other);
    places.push((number(libc::SYS_ioctl), filter.put(step(LOAD, argument(1)))));
    let mut ranges = ranges(&places, allow);
    if cfg!(target_arch = "x86_64") {
        ranges.push(CallRange { first: SHORT_POINTERS, place: refuse });
    }
    filter.find(&ranges);
    let known = filter.put(step(LOAD, NUMBER));
    filter.branch(IF_EQUAL, architecture, known, refuse);
    filter.put(step(LOAD, ARCHITECTURE_AT));
    filter.steps.reverse();
    filter.steps
}

/// A step of a filter, counted from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FilterStep(usize);

/// A filter that is written from its end, since jumps only lead forward: where they lead to is there already, and
/// one answer serves all that have it. What is no jump and no answer goes on at the step that was put before it. The
/// kernel checks and compiles each step.
#[derive(Default)]
struct FromEnd {
    steps: Vec<libc::sock_filter>,
}

/// Calls from this number on, until the next range, lead to the same place.
struct CallRange {
    first: u32,
    place: FilterStep,
}

impl FromEnd {
    /// Puts a step before all others.
    fn put(&mut self, step: libc::sock_filter) -> FilterStep {
        self.steps.push(step);
        FilterStep(self.steps.len() - 1)
    }

    /// Puts a step that goes on at `then` if the condition holds, else at `otherwise`.
    fn branch(
        &mut self,
        condition: u16,
        value: u32,
        then: FilterStep,
        otherwise: FilterStep,
    ) -> FilterStep {
        let here = self.steps.len();
        let skip = |to: FilterStep| u8::try_from(here - to.0 - 1).expect("a short filter");
        self.put(libc::sock_filter {
            code: condition,
            jt: skip(then),
            jf: skip(otherwise),
            k: value,
        })
    }

    /// Puts steps that find the range of the number that is loaded, by halving. When a filter is installed, the
    /// kernel tries it with every number that there is: with a list of comparisons that takes a tenth of a millisecond.
    fn find(&mut self, ranges: &[CallRange]) -> FilterStep {
        if let [range] = ranges {
            return range.place;
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let (above, below) = (self.find(high), self.find(low));
        self.branch(IF_LEAST, high[0].first, above, below)
    }
}

/// Returns the ranges of numbers that lead to the same place. All that are not named lead to `others`.
fn ranges(places: &[(u32, FilterStep)], others: FilterStep) -> Vec<CallRange> {
    let behind = places.iter().map(|(number, _)| (number + 1, others));
    let mut starts: BTreeMap<u32, FilterStep> =
        std::iter::once((0, others)).chain(behind).collect();
    starts.extend(places.iter().copied());
    let ranges = starts.into_iter().map(|(first, place)| CallRange { first, place });
    let mut ranges: Vec<CallRange> = ranges.collect();
    ranges.dedup_by_key(|range| range.place);
    ranges
}

fn number(call: libc::c_long) -> u32 {
    call as u32
}

fn step(code: u16, value: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k: value }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHITECTURE: u32 = 7;

    /// Returns the answer of the filter.
    fn answer(network: bool, architecture: u32, number: u32, arguments: [u64; 3]) -> u32 {
        steps(network, architecture, number, arguments).0
    }

    /// Runs the filter as the kernel does. Returns its answer, and how many steps that took.
    fn steps(network: bool, architecture: u32, number: u32, arguments: [u64; 3]) -> (u32, usize) {
        let filter = filter(network, ARCHITECTURE);
        let (mut at, mut held, mut taken) = (0, 0, 0);
        loop {
            taken += 1;
            let libc::sock_filter { code, jt, jf, k } = filter[at];
            at += 1;
            let mut skip = |holds: bool| at += usize::from(if holds { jt } else { jf });
            match code {
                LOAD if k == NUMBER => held = number,
                LOAD if k == ARCHITECTURE_AT => held = architecture,
                LOAD => held = arguments[(k as usize - 16) / 8] as u32,
                AND => held &= k,
                IF_EQUAL => skip(held == k),
                IF_LEAST => skip(held >= k),
                IF_ANY_BIT => skip(held & k != 0),
                RETURN => return (k, taken),
                _ => unreachable!("{code}"),
            }
        }
    }

    fn of(network: bool, call: libc::c_long, arguments: [u64; 3]) -> u32 {
        answer(network, ARCHITECTURE, number(call), arguments)
    }

    #[test]
    fn each_call_has_its_answer() {
        let none = [0; 3];
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_execve, libc::SYS_futex] {
            assert_eq!(of(false, call, none), ALLOW, "{call}");
        }
        for call in REFUSED {
            assert_eq!(of(true, *call, none), fail(libc::EPERM), "{call}");
        }
        for call in MISSING {
            assert_eq!(of(true, *call, none), fail(libc::ENOSYS), "{call}");
        }
        assert_eq!(of(false, libc::SYS_socket, none), fail(libc::EACCES));
        assert_eq!(of(true, libc::SYS_socket, none), ALLOW);
    }

    #[test]
    fn arguments_decide_where_they_must() {
        let pair = |kind: i32| of(false, libc::SYS_socketpair, [1, kind as u64, 0]);
        assert_eq!(pair(libc::SOCK_STREAM | libc::SOCK_CLOEXEC), ALLOW);
        assert_eq!(pair(libc::SOCK_SEQPACKET), ALLOW);
        assert_eq!(pair(libc::SOCK_DGRAM | libc::SOCK_CLOEXEC), fail(libc::EACCES));
        let clone = |flags: i32| of(false, libc::SYS_clone, [flags as u64, 0, 0]);
        assert_eq!(clone(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD), ALLOW);
        assert_eq!(clone(libc::CLONE_NEWUSER | libc::SIGCHLD), fail(libc::EPERM));
        assert_eq!(clone(libc::CLONE_NEWNET), fail(libc::EPERM));
        let control = |request| of(false, libc::SYS_ioctl, [0, request, 0]);
        assert_eq!(control(0x5401), ALLOW);
        assert_eq!((control(0x5412), control(0x541C)), (fail(libc::EPERM), fail(libc::EPERM)));
    }

    /// The kernel tries a new filter with each number that there is.
    #[test]
    fn a_call_takes_few_steps_and_those_between_are_allowed() {
        let refused: Vec<u32> = REFUSED.iter().chain(MISSING).map(|call| number(*call)).collect();
        let asked = [libc::SYS_clone, libc::SYS_ioctl, libc::SYS_socket, libc::SYS_socketpair];
        let asked = asked.map(number);
        for call in (0..600).filter(|call| !refused.contains(call) && !asked.contains(call)) {
            assert_eq!(answer(false, ARCHITECTURE, call, [0; 3]), ALLOW, "{call}");
        }
        assert!((0..1_000).all(|call| steps(false, ARCHITECTURE, call, [0; 3]).1 <= 14));
    }

    /// The kernel checks and compiles each step.
    #[test]
    fn calls_that_follow_each_other_share_their_steps_and_all_share_the_answers() {
        assert!(filter(false, ARCHITECTURE).len() <= 80, "{}", filter(false, ARCHITECTURE).len());
    }

    /// The calls by their names, with their numbers in the tables of the kernel: those of `x86_64`, and those
    /// that 64-bit Arm shares with all newer processors.
    const NUMBERS: &[(libc::c_long, u32, u32)] = &[
        (libc::SYS_acct, 163, 89),
        (libc::SYS_add_key, 248, 217),
        (libc::SYS_bpf, 321, 280),
        (libc::SYS_delete_module, 176, 106),
        (libc::SYS_finit_module, 313, 273),
        (libc::SYS_fsconfig, 431, 431),
        (libc::SYS_fsmount, 432, 432),
        (libc::SYS_fsopen, 430, 430),
        (libc::SYS_fspick, 433, 433),
        (libc::SYS_init_module, 175, 105),
        (libc::SYS_kcmp, 312, 272),
        (libc::SYS_kexec_load, 246, 104),
        (libc::SYS_keyctl, 250, 219),
        (libc::SYS_mount, 165, 40),
        (libc::SYS_mount_setattr, 442, 442),
        (libc::SYS_move_mount, 429, 429),
        (libc::SYS_name_to_handle_at, 303, 264),
        (libc::SYS_open_by_handle_at, 304, 265),
        (libc::SYS_open_tree, 428, 428),
        (libc::SYS_perf_event_open, 298, 241),
        (libc::SYS_pidfd_getfd, 438, 438),
        (libc::SYS_pivot_root, 155, 41),
        (libc::SYS_process_vm_readv, 310, 270),
        (libc::SYS_process_vm_writev, 311, 271),
        (libc::SYS_ptrace, 101, 117),
        (libc::SYS_quotactl, 179, 60),
        (libc::SYS_reboot, 169, 142),
        (libc::SYS_request_key, 249, 218),
        (libc::SYS_setns, 308, 268),
        (libc::SYS_swapoff, 168, 225),
        (libc::SYS_swapon, 167, 224),
        (libc::SYS_syslog, 103, 116),
        (libc::SYS_umount2, 166, 39),
        (libc::SYS_unshare, 272, 97),
        (libc::SYS_userfaultfd, 323, 282),
        (libc::SYS_clone3, 435, 435),
        (libc::SYS_io_uring_enter, 426, 426),
        (libc::SYS_io_uring_register, 427, 427),
        (libc::SYS_io_uring_setup, 425, 425),
        (libc::SYS_clone, 56, 220),
        (libc::SYS_ioctl, 16, 29),
        (libc::SYS_socket, 41, 198),
        (libc::SYS_socketpair, 53, 199),
        (libc::SYS_seccomp, 317, 277),
        (libc::SYS_capset, 126, 91),
        (libc::SYS_landlock_create_ruleset, 444, 444),
        (libc::SYS_landlock_add_rule, 445, 445),
        (libc::SYS_landlock_restrict_self, 446, 446),
        (libc::SYS_close_range, 436, 436),
    ];

    #[test]
    fn calls_have_the_numbers_that_the_kernel_knows_them_by() {
        let is_arm = cfg!(target_arch = "aarch64");
        for (call, on_x86_64, on_arm) in NUMBERS {
            assert_eq!(number(*call), if is_arm { *on_arm } else { *on_x86_64 }, "{on_x86_64}");
        }
        for call in REFUSED.iter().chain(MISSING) {
            assert!(NUMBERS.iter().any(|(known, ..)| known == call), "{call} has no row");
        }
        let machine = if is_arm { libc::EM_AARCH64 } else { libc::EM_X86_64 };
        // 64 bits, the lower half first.
        assert_eq!(super::ARCHITECTURE, Some(0xC000_0000 | u32::from(machine)));
        let controls = [libc::TIOCSTI, libc::TIOCLINUX].map(|it| it as u32);
        assert_eq!(TYPE_INTO_TERMINAL, controls);
    }

    #[test]
    fn numbers_of_other_processors_are_refused() {
        assert_eq!(answer(true, ARCHITECTURE + 1, 0, [0; 3]), fail(libc::EPERM));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(answer(true, ARCHITECTURE, SHORT_POINTERS, [0; 3]), fail(libc::EPERM));
    }
}
