//! How much of the memory that is free again the server keeps.
//!
//! glibc gives freed memory back to the system where it is at the end of the heap or was larger than a
//! limit, and the kernel clears each page of it before it can be used again. For bodies of a megabyte
//! that costs more than to copy them.

/// Each thread keeps up to this many free bytes at the end of its heap.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 16 << 20;
/// Pieces of at least this many bytes come from the system, and go back to it: the most that glibc takes.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 32 << 20;
/// By which of these an operator sets limits for the allocator; then they hold.
#[cfg(target_env = "gnu")]
const VARIABLES: [&str; 3] = ["GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"];

/// Keeps what was freed for the next bodies, unless the environment has limits for the allocator.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe call sets the limits of the allocator")]
pub(super) fn keep_freed() {
    if VARIABLES.iter().any(|name| std::env::var_os(name).is_some()) {
        return;
    }
    for (limit, bytes) in [(libc::M_TRIM_THRESHOLD, KEPT), (libc::M_MMAP_THRESHOLD, LARGE)] {
        // SAFETY: both limits may be set at any time. An allocator that refuses one keeps its own.
        unsafe { libc::mallopt(limit, bytes) };
    }
}

/// Other allocators are left as they are.
#[cfg(not(target_env = "gnu"))]
pub(super) fn keep_freed() {}
