//! What one thread does, read from the line that the kernel shows of it in
//! `/proc/PID/task/TID/syscall`.
//!
//! A line comes in and a fact comes out; of `libc` only the numbers of calls are used. `proc(5)`
//! describes the format: the number of the system call and its six arguments in hexadecimal, or
//! `running`, or `-1` for a thread that is blocked outside of any call.

/// What one thread does at the moment of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It runs, or is about to.
    Runs,
    /// It is blocked reading this descriptor.
    Reads(i32),
    /// It waits until one of several descriptors can be read.
    Polls {
        /// Where the descriptors are listed.
        set: PollSet,
        /// A clock ends the wait too.
        is_timed: bool,
    },
    /// It waits without a time limit for another thread, for a child or for a signal.
    Parked,
    /// It waits without a time limit for a lock at this address, which other processes may share.
    Locked(u64),
    /// It is blocked in some other way: a clock, a device or another machine will wake it.
    Sleeps,
}

/// Where the descriptors are listed that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollSet {
    /// In the kernel, behind this epoll descriptor.
    Epoll(i32),
    /// In an array of `struct pollfd` in the memory of the process.
    Poll {
        /// The address of the first.
        address: u64,
        /// How many there are.
        count: u64,
    },
    /// In a bit set in the memory of the process.
    Select {
        /// The address of the set of descriptors to be read; 0 if there is none.
        address: u64,
        /// One more than the highest descriptor.
        count: u64,
    },
    /// In an `io_uring`, where they cannot be seen.
    Ring,
}

/// Reads one line of a `syscall` file.
pub(super) fn doing(line: &str) -> Doing {
    let mut words = line.split_ascii_whitespace();
    let Some(number) = words.next().and_then(|number| number.parse::<i64>().ok()) else {
        return Doing::Runs;
    };
    let mut arguments = [0; 6];
    for (argument, word) in arguments.iter_mut().zip(words) {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        *argument = u64::from_str_radix(digits, 16).unwrap_or(0);
    }
    match number {
        // A thread without a stack has ended and was not reaped yet.
        ..0 if arguments[0] == 0 => Doing::Parked,
        // A thread blocked outside of a call, as by a page fault, goes on by itself.
        ..0 => Doing::Runs,
        _ => in_call(number, arguments),
    }
}

fn in_call(number: i64, arguments: [u64; 6]) -> Doing {
    let [first, second, third, fourth, fifth, _] = arguments;
    match number {
        libc::SYS_read | libc::SYS_readv | libc::SYS_preadv2 | libc::SYS_splice | libc::SYS_tee => {
            Doing::Reads(descriptor(first))
        }
        libc::SYS_io_uring_enter => Doing::Polls { set: PollSet::Ring, is_timed: false },
        libc::SYS_futex => lock(first, second, fourth != 0),
        libc::SYS_futex_waitv => parked_unless(fourth != 0),
        libc::SYS_rt_sigtimedwait => parked_unless(third != 0),
        libc::SYS_wait4 | libc::SYS_waitid | libc::SYS_rt_sigsuspend => Doing::Parked,
        libc::SYS_epoll_pwait => epoll(first, !is_forever(fourth)),
        libc::SYS_epoll_pwait2 => epoll(first, fourth != 0),
        libc::SYS_ppoll => poll(first, second, third != 0),
        libc::SYS_pselect6 => select(second, first, fifth != 0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_pause => Doing::Parked,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => epoll(first, !is_forever(fourth)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => poll(first, second, !is_forever(third)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => select(second, first, fifth != 0),
        _ => Doing::Sleeps,
    }
}

fn lock(address: u64, operation: u64, is_timed: bool) -> Doing {
    let is_private = descriptor(operation) & libc::FUTEX_PRIVATE_FLAG != 0;
    if is_timed || is_private { parked_unless(is_timed) } else { Doing::Locked(address) }
}

fn parked_unless(is_timed: bool) -> Doing {
    if is_timed { Doing::Sleeps } else { Doing::Parked }
}

fn epoll(epoll: u64, is_timed: bool) -> Doing {
    Doing::Polls { set: PollSet::Epoll(descriptor(epoll)), is_timed }
}

fn poll(address: u64, count: u64, is_timed: bool) -> Doing {
    Doing::Polls { set: PollSet::Poll { address, count }, is_timed }
}

fn select(address: u64, count: u64, is_timed: bool) -> Doing {
    Doing::Polls { set: PollSet::Select { address, count }, is_timed }
}

/// Reads an argument that is a C int: its low 32 bits. The higher ones have no meaning.
#[expect(clippy::cast_possible_wrap, reason = "a descriptor is a C int")]
fn descriptor(argument: u64) -> i32 {
    argument as u32 as i32
}

/// Returns true if this timeout in milliseconds is negative, which means that there is none.
fn is_forever(timeout: u64) -> bool {
    descriptor(timeout) < 0
}

/// Returns the descriptors in an array of `struct pollfd`, given as bytes.
pub(super) fn polled(memory: &[u8]) -> Vec<i32> {
    let entries = memory.chunks_exact(8);
    let descriptors =
        entries.map(|entry| i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]));
    // The kernel ignores negative descriptors, too.
    descriptors.filter(|descriptor| *descriptor >= 0).collect()
}

/// Returns the descriptors in a bit set of `select`, given as bytes.
pub(super) fn selected(memory: &[u8], count: u64) -> Vec<i32> {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let is_set = |bit: &i32| {
        let bit = usize::try_from(*bit).unwrap_or_default();
        memory.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
    };
    (0..count.min(8 * i32::try_from(memory.len()).unwrap_or(0))).filter(is_set).collect()
}

/// Returns the descriptors that an epoll watches, from the text of its `/proc/PID/fdinfo` file.
pub(super) fn watched(fdinfo: &str) -> Vec<i32> {
    let targets = fdinfo.lines().filter_map(|line| line.strip_prefix("tfd:"));
    targets.filter_map(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: i64, arguments: &str) -> Doing {
        doing(&format!("{number} {arguments} 0x7ffc724ba5c8 0x7fac5cb162ad\n"))
    }

    #[test]
    fn a_thread_that_is_in_no_call_runs() {
        assert_eq!(doing("running\n"), Doing::Runs);
        assert_eq!(doing("-1 0x7ffc724ba5c8 0x7fac5cb162ad\n"), Doing::Runs);
        assert_eq!(doing(""), Doing::Runs);
        assert_eq!(doing("-1 0x0 0x0\n"), Doing::Parked, "it has ended");
    }

    #[test]
    fn a_blocked_read_names_its_descriptor() {
        assert_eq!(call(libc::SYS_read, "0x0 0x55 0x2000 0x0 0x0 0x0"), Doing::Reads(0));
        assert_eq!(call(libc::SYS_readv, "0x7 0x55 0x1 0x0 0x0 0x0"), Doing::Reads(7));
        assert_eq!(call(libc::SYS_preadv2, "0x0 0x55 0x1 0xffffffff 0x0 0x0"), Doing::Reads(0));
        assert_eq!(call(libc::SYS_tee, "0x0 0x8 0x10000 0x0 0x0 0x0"), Doing::Reads(0));
    }

    #[test]
    fn locks_are_waited_for_without_end_or_by_a_clock() {
        assert_eq!(call(libc::SYS_futex, "0x55 0x189 0x0 0x0 0x0 0x0"), Doing::Parked);
        assert_eq!(call(libc::SYS_futex, "0x55 0x189 0x0 0x7ffd 0x0 0x0"), Doing::Sleeps);
        assert_eq!(call(libc::SYS_futex, "0x55 0x109 0x0 0x0 0x0 0x0"), Doing::Locked(0x55));
        assert_eq!(call(libc::SYS_futex, "0x55 0x109 0x0 0x7ffd 0x0 0x0"), Doing::Sleeps);
        assert_eq!(call(libc::SYS_wait4, "0xffffffff 0x7f 0x0 0x0 0x0 0x0"), Doing::Parked);
        assert_eq!(call(libc::SYS_clock_nanosleep, "0x1 0x1 0x7f 0x0 0x0 0x0"), Doing::Sleeps);
        assert_eq!(call(libc::SYS_recvfrom, "0x4 0x7f 0x8 0x0 0x0 0x0"), Doing::Sleeps);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_timeout_below_zero_is_none() {
        let forever = call(libc::SYS_epoll_wait, "0x5 0x7f 0x400 0xffffffff 0x0 0x0");
        assert_eq!(forever, Doing::Polls { set: PollSet::Epoll(5), is_timed: false });
        let timed = call(libc::SYS_epoll_wait, "0x5 0x7f 0x400 0x1f4 0x0 0x0");
        assert_eq!(timed, Doing::Polls { set: PollSet::Epoll(5), is_timed: true });
        let set = PollSet::Poll { address: 0x5500, count: 2 };
        let forever = call(libc::SYS_poll, "0x5500 0x2 0xffffffffffffffff 0x0 0x0 0x0");
        assert_eq!(forever, Doing::Polls { set, is_timed: false });
        let set = PollSet::Select { address: 0x7ff0, count: 1 };
        let forever = call(libc::SYS_select, "0x1 0x7ff0 0x0 0x0 0x0 0x0");
        assert_eq!(forever, Doing::Polls { set, is_timed: false });
    }

    #[test]
    fn sets_of_descriptors_are_read_as_the_kernel_reads_them() {
        let entry = |descriptor: i32| [descriptor.to_ne_bytes(), [1, 0, 0, 0]].concat();
        let memory = [entry(0), entry(-1), entry(9)].concat();
        assert_eq!(polled(&memory), [0, 9]);
        assert_eq!(selected(&[0b0000_0101, 0b1, 0xff], 9), [0, 2, 8]);
        assert!(selected(&[], 1000).is_empty());
        let fdinfo = "pos:\t0\nflags:\t02\ntfd:        0 events:       19 data: 0\ntfd:       10 events: 1\n";
        assert_eq!(watched(fdinfo), [0, 10]);
    }
}
