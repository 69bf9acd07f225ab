//! What the toolbox does before it serves: drops every privilege, sets the limits that commands inherit, and
//! moves the pipe to where no command can reach it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use crate::failure::Failure;
use crate::filters;
use crate::snapshot::{Roots, copy, restore};
use crate::tree::WORKSPACE;

/// Open files of one process, by default.
const OPEN_FILES_MAX: u64 = 65_536;
/// Locked bytes, bytes in message queues, and pending signals: the defaults of Linux for a user, whatever limits
/// the service has that started the sandbox.
const LOCKED_BYTES_MAX: u64 = 8 << 20;
const MESSAGE_QUEUE_BYTES_MAX: u64 = 819_200;
const PENDING_SIGNALS_MAX: u64 = 65_536;
/// Size of the pipe to the host: the largest that Linux allows without privileges.
const PIPE_BYTES: usize = 1 << 20;
/// Linux has 41 capabilities; the kernel rejects unknown numbers.
const CAPABILITIES_MAX: u32 = 64;

/// The initialised process: both ends of the connection to the host, as descriptors that no command inherits,
/// and the port of the proxy.
pub struct Initialized {
    /// Requests from the host.
    pub from_host: OwnedFd,
    /// Responses to the host.
    pub to_host: OwnedFd,
    /// On the loopback interface; `None`: no proxy.
    pub proxy_port: Option<u16>,
    /// The limit on processes that was set as a resource limit.
    pub processes_max: Option<u64>,
}

#[derive(Default)]
struct Options {
    user: Option<u32>,
    processes_max: Option<u64>,
    data_bytes_max: Option<u64>,
    proxy_port: Option<u16>,
    open_files_max: Option<u64>,
    copy_snapshot: bool,
    snapshot_is_below: bool,
    filters: bool,
}

/// An allocation of this size or more is mapped separately, and returned to the kernel when it is freed.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: i32 = 256 << 10;

/// Initialises the process. Options: `--user N` (become that user and group; only as root),
/// `--processes N` and `--data-bytes N` (resource limits, if no cgroup has them),
/// `--open-files N` (of one process), `--proxy-port N`, `--prepared` (copy the setup snapshot), `--prepared-below`
/// (the snapshot is a lower layer of the file system already),
/// `--filters` (apply the system call filters next to the toolbox).
pub fn initialize(options: &[&str]) -> Result<Initialized, Failure> {
    let options = parse(options)?;
    return_freed_memory();
    reset_fault_handlers();
    close_inherited_files();
    // Commands must not inherit the umask of the process that started the sandbox.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    set_limits(&options).map_err(|e| format!("the resource limits cannot be set: {e}"))?;
    if let Some(user) = options.user {
        become_user(user).map_err(|e| format!("cannot become user {user}: {e}"))?;
    }
    hide_from_commands().map_err(|e| format!("cannot be made unreadable for commands: {e}"))?;
    if options.copy_snapshot {
        let roots = Roots::of_this_sandbox()?;
        let copied = copy::copy_snapshot(&roots);
        copied.map_err(|e| e.during("the setup snapshot cannot be copied"))?;
    }
    if options.filters {
        filters::put_on().map_err(|e| format!("the filters of system calls cannot be put on: {e}"))?;
    }
    if options.snapshot_is_below {
        let roots = Roots::of_this_sandbox()?;
        restore::restore_modes(&roots).map_err(|e| format!("the setup snapshot is not complete: {e}"))?;
    }
    std::env::set_current_dir(WORKSPACE).map_err(|e| format!("{WORKSPACE}: {e}"))?;
    let (from_host, to_host) =
        take_pipe().map_err(|e| format!("the pipe to the host cannot be taken: {e}"))?;
    Ok(Initialized {
        from_host,
        to_host,
        proxy_port: options.proxy_port,
        processes_max: options.processes_max,
    })
}

/// Memory for one large answer is returned to the kernel afterwards: the sandbox's memory is for the job.
fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN), (libc::M_ARENA_MAX, 2)] {
        // SAFETY: sets a number in the allocator; no other thread runs yet. If it is refused, nothing
        // changes.
        unsafe { libc::mallopt(parameter, value) };
    }
}

fn parse(words: &[&str]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(name) = words.next() {
        match *name {
            "--prepared" => {
                options.copy_snapshot = true;
                continue;
            }
            "--filters" => {
                options.filters = true;
                continue;
            }
            _ => {}
        }
        if *name == "--prepared-below" {
            options.snapshot_is_below = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{name} lacks a value"))?;
        let number: u64 = value.parse().map_err(|e| format!("{name} {value}: {e}"))?;
        match *name {
            "--user" => {
                options.user = Some(u32::try_from(number).map_err(|e| format!("{name} {value}: {e}"))?);
            }
            "--processes" => options.processes_max = Some(number),
            "--open-files" => options.open_files_max = Some(number),
            "--data-bytes" => options.data_bytes_max = Some(number),
            "--proxy-port" => {
                options.proxy_port = Some(u16::try_from(number).map_err(|e| format!("{name} {value}: {e}"))?);
            }
            unknown => return Err(format!("unknown option {unknown}")),
        }
    }
    Ok(options)
}

/// The standard library handles these two, to report a stack overflow. A command can send the first process of a
/// namespace only signals that it handles, so these get their default again. A fault still ends the toolbox.
fn reset_fault_handlers() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the default disposition is no handler of anybody's.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Closes whatever else the host, or the program that started this one, left open.
fn close_inherited_files() {
    // SAFETY: we are at the beginning of the program: nothing here owns a descriptor above 2 yet,
    // so none is closed under an owner.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if outcome != 0 {
        // A kernel before 5.9: one by one, as many as a shell would ever have left open.
        for descriptor in 3..1024 {
            // SAFETY: as above.
            unsafe { libc::close(descriptor) };
        }
    }
}

fn set_limits(options: &Options) -> io::Result<()> {
    let hold = |resource, most: u64| {
        let hard = rustix::process::getrlimit(resource).maximum;
        let value = Some(hard.map_or(most, |hard| hard.min(most)));
        rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })
    };
    hold(Resource::Core, 0)?;
    hold(Resource::Nofile, options.open_files_max.unwrap_or(OPEN_FILES_MAX))?;
    hold(Resource::Memlock, LOCKED_BYTES_MAX)?;
    hold(Resource::Msgqueue, MESSAGE_QUEUE_BYTES_MAX)?;
    hold(Resource::Sigpending, PENDING_SIGNALS_MAX)?;
    // No process inside gets priority over others of this machine.
    hold(Resource::Rtprio, 0)?;
    hold(Resource::Nice, 0)?;
    if let Some(processes_max) = options.processes_max {
        hold(Resource::Nproc, processes_max)?;
    }
    if let Some(data_bytes_max) = options.data_bytes_max {
        hold(Resource::Data, data_bytes_max)?;
    }
    Ok(())
}

/// Changes from root, without a user namespace, to a user that owns nothing on the host.
fn become_user(user: u32) -> io::Result<()> {
    let home = std::env::var_os("HOME");
    for directory in [Some(WORKSPACE.into()), home].into_iter().flatten() {
        std::os::unix::fs::chown(directory, Some(user), Some(user))?;
    }
    for number in 0..CAPABILITIES_MAX {
        if let Some(capability) = CapabilitySet::from_bits(1 << number) {
            // A capability that this kernel does not know cannot be had either.
            let _ = rustix::thread::remove_capability_from_bounding_set(capability);
        }
    }
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    // These act on this thread only: we are at the beginning of the program and have no other.
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    // The kernel resets this when the user changes.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Commands run as the same user. Without this they could open the toolbox's memory and descriptors below
/// `/proc`, and send the host messages in its place.
pub fn hide_from_commands() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

fn take_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let from_host = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let to_host = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    for end in [&from_host, &to_host] {
        let flags = rustix::fs::fcntl_getfl(end)?;
        rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK)?;
        // Sixteen times fewer wake-ups for both sides. If it is refused, or is no pipe, nothing changes.
        let _ = rustix::pipe::fcntl_setpipe_size(end, PIPE_BYTES);
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok((from_host, to_host))
}
