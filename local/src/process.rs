//! The process that a hub runs in: its threads, and how much freed memory it keeps.

use tokio::runtime::{Builder, Runtime};

/// Threads for work that blocks: files, hashing, compression. Few, for whole requests pass through them.
const BLOCKING_THREADS: usize = 4;
/// Bytes of the stack of a thread. Without optimisation the frames of a request, through our code and the AWS SDK, come near to the two mebibytes that
/// a thread has by itself. What is not used takes no memory.
const STACK: usize = 8 << 20;
/// Arenas of memory that threads share.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 2;
/// Bytes of a buffer that is mapped by itself, and so given back as soon as it is freed.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 256 << 10;

/// What runs everything in the process. It is called first of all.
///
/// # Errors
/// When no threads can be started.
pub fn runtime() -> std::io::Result<Runtime> {
    keep_little();
    let mut threads = Builder::new_multi_thread();
    threads.enable_all().max_blocking_threads(BLOCKING_THREADS).thread_stack_size(STACK).build()
}

/// Has the C library keep little of what is freed.
///
/// By itself glibc gives each thread an arena, and learns from large buffers that were freed to keep even larger ones
/// there. Bodies and packs pass through all threads, so each arena grew to 64 MiB and stayed: a hub of six threads had 416 MiB
/// where 150 do. <https://man7.org/linux/man-pages/man3/mallopt.3.html>
fn keep_little() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "no crate and no part of the standard library offers this")]
    // SAFETY: mallopt takes two numbers, and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
    }
}
