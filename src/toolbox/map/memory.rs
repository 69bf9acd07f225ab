//! The memory of the map's process. A parser that uses too much is stopped. Above the limit an allocation
//! fails, and the process ends.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit for this process, with its threads and syntax trees.
const BYTES_MAX: u64 = 300 << 20;
/// Above this, parsers are stopped.
const SHORT_BYTES: u64 = 230 << 20;

/// Sets the limit.
pub fn hold() -> io::Result<()> {
    let hard = getrlimit(Resource::Data).maximum;
    let most = Some(hard.map_or(BYTES_MAX, |hard| hard.min(BYTES_MAX)));
    Ok(setrlimit(Resource::Data, Rlimit { current: most, maximum: most })?)
}

/// Whether little memory is left. If the kernel does not report it, only the limit applies.
pub fn is_short() -> bool {
    let Ok(statm) = std::fs::read_to_string("/proc/self/statm") else { return false };
    let data_pages = statm.split_ascii_whitespace().nth(5).and_then(|pages| pages.parse::<u64>().ok());
    data_pages.is_some_and(|pages| pages * rustix::param::page_size() as u64 > SHORT_BYTES)
}

/// Returns freed memory to the system, as far as the allocator can.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: accesses no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
