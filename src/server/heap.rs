//! How much of the memory that is free again the server keeps.
//!
//! glibc gives freed memory back to the system where it is at the end of the heap or was larger than a
//! limit, and the kernel clears each page of it before it can be used again. For bodies of a megabyte
//! that costs more than to copy them.

/// The server keeps up to this many free bytes at the end of the heap.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 16 << 20;
/// Pieces of at least this many bytes come from the system, and go back to it.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 16 << 20;

/// Keeps what was freed for the next bodies. Who sets limits in `GLIBC_TUNABLES` is overruled.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "no safe call sets the limits of the allocator")]
pub(super) fn keep_freed() {
    for (limit, bytes) in [(libc::M_TRIM_THRESHOLD, KEPT), (libc::M_MMAP_THRESHOLD, LARGE)] {
        // SAFETY: both limits may be set at any time.
        if unsafe { libc::mallopt(limit, bytes) } == 0 {
            tracing::debug!(limit, "the allocator keeps its limit");
        }
    }
}

/// Other allocators are left as they are.
#[cfg(not(target_env = "gnu"))]
pub(super) fn keep_freed() {}
