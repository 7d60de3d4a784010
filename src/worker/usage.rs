//! What a process uses, read from the kernel's files.
