//! The memory of the map's process. A parser that takes too much is stopped in time; past the bound
//! an allocation fails, and the process ends.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of this process, its threads and syntax trees included.
const BYTES_MAX: u64 = 300 << 20;
/// From here on no parser is given more.
const SHORT_BYTES: u64 = 230 << 20;

/// Sets the bound.
pub fn hold() -> io::Result<()> {
    let hard = getrlimit(Resource::Data).maximum;
    let most = Some(hard.map_or(BYTES_MAX, |hard| hard.min(BYTES_MAX)));
    Ok(setrlimit(Resource::Data, Rlimit { current: most, maximum: most })?)
}

/// Whether there is little left. Where the kernel does not say, the bound has to do.
pub fn is_short() -> bool {
    let Ok(statm) = std::fs::read_to_string("/proc/self/statm") else { return false };
    let data_pages = statm.split_ascii_whitespace().nth(5).and_then(|pages| pages.parse::<u64>().ok());
    data_pages.is_some_and(|pages| pages * rustix::param::page_size() as u64 > SHORT_BYTES)
}

/// What was freed goes back to the system, as far as the allocator can.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
