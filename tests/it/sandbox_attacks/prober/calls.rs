//! System calls by name, by number, and by ways round the usual one. The only unsafe code of the
//! prober, beside the memory that it takes.

use std::ffi::{CString, c_long};
use std::fmt;
use std::fs::File;
use std::os::fd::AsRawFd;

use super::Outcome;

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// An error of the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

const NAMES: &[(i32, &str)] = &[
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (4, "EINTR"),
    (5, "EIO"),
    (6, "ENXIO"),
    (9, "EBADF"),
    (10, "ECHILD"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (19, "ENODEV"),
    (20, "ENOTDIR"),
    (21, "EISDIR"),
    (22, "EINVAL"),
    (24, "EMFILE"),
    (25, "ENOTTY"),
    (26, "ETXTBSY"),
    (27, "EFBIG"),
    (28, "ENOSPC"),
    (30, "EROFS"),
    (32, "EPIPE"),
    (36, "ENAMETOOLONG"),
    (38, "ENOSYS"),
    (40, "ELOOP"),
    (42, "ENOMSG"),
    (93, "EPROTONOSUPPORT"),
    (94, "ESOCKTNOSUPPORT"),
    (95, "EOPNOTSUPP"),
    (97, "EAFNOSUPPORT"),
    (98, "EADDRINUSE"),
    (99, "EADDRNOTAVAIL"),
    (100, "ENETDOWN"),
    (101, "ENETUNREACH"),
    (104, "ECONNRESET"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
    (122, "EDQUOT"),
];

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno-{}", self.0),
        }
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(5))
    }
}

/// Name, number on x86-64, number on aarch64; -1 where there is none.
const CALLS: &[(&str, i64, i64)] = &[
    ("accept4", 288, 242),
    ("acct", 163, 89),
    ("add_key", 248, 217),
    ("adjtimex", 159, 171),
    ("bpf", 321, 280),
    ("capset", 126, 91),
    ("chroot", 161, 51),
    ("clock_adjtime", 305, 266),
    ("clock_settime", 227, 112),
    ("clone", 56, 220),
    ("clone3", 435, 435),
    ("connect", 42, 203),
    ("delete_module", 176, 106),
    ("dup", 32, 23),
    ("exit_group", 231, 94),
    ("fanotify_init", 300, 262),
    ("fchmodat", 268, 53),
    ("fchownat", 260, 54),
    ("finit_module", 313, 273),
    ("fsconfig", 431, 431),
    ("fsmount", 432, 432),
    ("fsopen", 430, 430),
    ("fspick", 433, 433),
    ("getpid", 39, 172),
    ("init_module", 175, 105),
    ("io_setup", 206, 0),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    ("io_uring_setup", 425, 425),
    ("ioctl", 16, 29),
    ("ioperm", 173, -1),
    ("iopl", 172, -1),
    ("ioprio_set", 251, 30),
    ("kcmp", 312, 272),
    ("kexec_file_load", 320, 294),
    ("kexec_load", 246, 104),
    ("keyctl", 250, 219),
    ("kill", 62, 129),
    ("lookup_dcookie", 212, 18),
    ("memfd_create", 319, 279),
    ("mknodat", 259, 33),
    ("modify_ldt", 154, -1),
    ("mount", 165, 40),
    ("mount_setattr", 442, 442),
    ("move_mount", 429, 429),
    ("mq_open", 240, 180),
    ("mq_unlink", 241, 181),
    ("msgget", 68, 186),
    ("msgctl", 71, 187),
    ("name_to_handle_at", 303, 264),
    ("open_by_handle_at", 304, 265),
    ("open_tree", 428, 428),
    ("open_tree_attr", 467, 467),
    ("perf_event_open", 298, 241),
    ("personality", 135, 92),
    ("pidfd_getfd", 438, 438),
    ("pidfd_open", 434, 434),
    ("pipe2", 293, 59),
    ("pivot_root", 155, 41),
    ("prctl", 157, 167),
    ("prlimit64", 302, 261),
    ("process_madvise", 440, 440),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("ptrace", 101, 117),
    ("quotactl", 179, 60),
    ("quotactl_fd", 443, 443),
    ("reboot", 169, 142),
    ("recvfrom", 45, 207),
    ("request_key", 249, 218),
    ("sched_setscheduler", 144, 119),
    ("seccomp", 317, 277),
    ("semctl", 66, 191),
    ("semget", 64, 190),
    ("sendto", 44, 206),
    ("setdomainname", 171, 162),
    ("setgroups", 116, 159),
    ("sethostname", 170, 161),
    ("setns", 308, 268),
    ("setpriority", 141, 140),
    ("setresgid", 119, 149),
    ("setresuid", 117, 147),
    ("settimeofday", 164, 170),
    ("shmat", 30, 196),
    ("shmctl", 31, 195),
    ("shmget", 29, 194),
    ("socket", 41, 198),
    ("socketpair", 53, 199),
    ("swapoff", 168, 225),
    ("swapon", 167, 224),
    ("syslog", 103, 116),
    ("umount2", 166, 39),
    ("unshare", 272, 97),
    ("uselib", 134, -1),
    ("userfaultfd", 323, 282),
    ("vhangup", 153, 58),
];

fn number(name: &str) -> i64 {
    let known = CALLS.iter().find(|(known, ..)| *known == name);
    let (_, x86, arm) = known.unwrap_or_else(|| panic!("the prober knows no system call '{name}'"));
    let number = if cfg!(target_arch = "x86_64") { *x86 } else { *arm };
    assert!(number >= 0, "this processor has no system call '{name}'");
    number
}

/// Makes a system call. Pointers among the arguments must be good for what it does with them.
pub fn call(name: &str, arguments: &[usize]) -> Result<usize, Errno> {
    raw(number(name), arguments)
}

fn raw(number: i64, arguments: &[usize]) -> Result<usize, Errno> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: every argument is an integer, the address of a buffer that outlives the call, or an
    // address at which nothing is, which the kernel answers with an error.
    let result = unsafe { syscall(number, a, b, c, d, e, f) };
    if result < 0 { Err(std::io::Error::last_os_error().into()) } else { Ok(result as usize) }
}

/// Arguments: numbers, `s:TEXT` for the address of a text, `buffer` for that of 4,096 bytes of zero.
fn with_arguments(number: i64, words: &[&str]) -> Outcome {
    let mut texts = Vec::new();
    let mut buffer = vec![0u8; 4096];
    let arguments: Vec<usize> = words
        .iter()
        .map(|word| match word.strip_prefix("s:") {
            Some(text) => {
                texts.push(CString::new(text).expect("no zero in an argument"));
                texts.last().expect("just pushed").as_ptr() as usize
            }
            None if *word == "buffer" => buffer.as_mut_ptr() as usize,
            None => integer(word) as usize,
        })
        .collect();
    raw(number, &arguments).map(|result| format!("ok {result}"))
}

/// A number, in decimal or with `0x`.
pub fn integer(word: &str) -> i64 {
    let parsed = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).map(|number| number as i64),
        None => word.parse(),
    };
    parsed.unwrap_or_else(|error| panic!("'{word}' is no number: {error}"))
}

pub fn by_name(name: &str, words: &[&str]) -> Outcome {
    with_arguments(number(name), words)
}

pub fn by_number(number: &str, words: &[&str]) -> Outcome {
    with_arguments(integer(number), words)
}

/// `clone` with flags; the new process ends at once.
pub fn clone(flags: &str) -> Outcome {
    const CHILD_ENDED: usize = 17;
    let flags = integer(flags) as usize | CHILD_ENDED;
    if call("clone", &[flags])? == 0 {
        std::process::exit(0);
    }
    Ok("ok".to_owned())
}

/// `setns` with a file of `/proc/PID/ns`, one's own namespace by default.
pub fn enter(path: &str) -> Outcome {
    let file = File::open(path)?;
    call("setns", &[file.as_raw_fd() as usize, 0]).map(|_| "ok".to_owned())
}

/// An `ioctl` on a file, with the address of a zero.
pub fn ioctl(path: &str, request: &str) -> Outcome {
    let file = File::open(path)?;
    let zero = [0u8; 64];
    let arguments = [file.as_raw_fd() as usize, integer(request) as usize, zero.as_ptr() as usize];
    call("ioctl", &arguments).map(|_| "ok".to_owned())
}

/// `getpid` by the numbers of the 32-bit processor that a 64-bit one still understands.
#[cfg(target_arch = "x86_64")]
pub fn old_architecture() -> Outcome {
    const GETPID: i32 = 20;
    let mut result = GETPID;
    // SAFETY: interrupt 0x80 with the number of getpid takes no address and changes eax only.
    unsafe {
        std::arch::asm!("int 0x80", inout("eax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    };
    if result < 0 { Err(Errno(-result)) } else { Ok("ok".to_owned()) }
}

/// There is none to try.
#[cfg(not(target_arch = "x86_64"))]
pub fn old_architecture() -> Outcome {
    Err(Errno(38))
}
