//! What the toolbox does to itself before it serves: gives up every privilege, takes the limits
//! that commands will inherit, and puts the pipe where no command can reach it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use crate::failure::Failure;
use crate::filters;
use crate::prepared::{Roots, copy, restore};
use crate::tree::WORKSPACE;

/// Open files of one process, where nothing else is asked for.
const OPEN_FILES_MAX: u64 = 65_536;
/// Bytes that may be kept from being swapped, bytes in message queues, and waiting signals: what a
/// Linux gives to a user by itself, whatever the service that started us was given.
const LOCKED_BYTES_MAX: u64 = 8 << 20;
const MESSAGE_QUEUE_BYTES_MAX: u64 = 819_200;
const PENDING_SIGNALS_MAX: u64 = 65_536;
/// Of the pipe to the host: what Linux lets anybody ask for.
const PIPE_BYTES: usize = 1 << 20;
/// Linux has 41 capabilities; the kernel says which numbers it does not know.
const CAPABILITIES_MAX: u32 = 64;

/// What the toolbox serves: the host's two ends, as descriptors that no command inherits, and the
/// port of the proxy that it is to lend.
pub struct Settled {
    /// What the host says.
    pub from_host: OwnedFd,
    /// What we say.
    pub to_host: OwnedFd,
    /// On the loopback interface; none for no proxy.
    pub proxy_port: Option<u16>,
    /// The bound on processes that was taken as a resource limit.
    pub processes_max: Option<u64>,
}

#[derive(Default)]
struct Options {
    user: Option<u32>,
    processes_max: Option<u64>,
    data_bytes_max: Option<u64>,
    proxy_port: Option<u16>,
    open_files_max: Option<u64>,
    prepared: bool,
    prepared_below: bool,
    filters: bool,
}

/// From here on memory is had from the kernel by the piece, and given back when it is freed.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES_MIN: i32 = 256 << 10;

/// Settles the process in. Options: `--user N` (become that user and group; only as root),
/// `--processes N` and `--data-bytes N` (resource limits, where no cgroup holds them),
/// `--open-files N` (of one process), `--proxy-port N`, `--prepared` (begin with a copy of what a set-up made), `--prepared-below`
/// (it is in its places already),
/// `--filters` (put on the filters of system calls that lie beside the toolbox).
pub fn settle(options: &[&str]) -> Result<Settled, Failure> {
    let options = parse(options)?;
    give_memory_back();
    hear_no_faults();
    close_inherited_files();
    // That of whoever started the sandbox is no business of the commands inside.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    set_limits(&options).map_err(|e| format!("the resource limits cannot be set: {e}"))?;
    if let Some(user) = options.user {
        become_user(user).map_err(|e| format!("cannot become user {user}: {e}"))?;
    }
    hide_from_commands().map_err(|e| format!("cannot be made unreadable for commands: {e}"))?;
    if options.prepared {
        let roots = Roots::of_this_sandbox()?;
        let copied = copy::copy_prepared(&roots);
        copied.map_err(|e| e.during("the setup snapshot cannot be copied"))?;
    }
    if options.filters {
        filters::put_on().map_err(|e| format!("the filters of system calls cannot be put on: {e}"))?;
    }
    if options.prepared_below {
        let roots = Roots::of_this_sandbox()?;
        restore::restore_modes(&roots).map_err(|e| format!("the setup snapshot is not complete: {e}"))?;
    }
    std::env::set_current_dir(WORKSPACE).map_err(|e| format!("{WORKSPACE}: {e}"))?;
    let (from_host, to_host) =
        take_pipe().map_err(|e| format!("the pipe to the host cannot be taken: {e}"))?;
    Ok(Settled { from_host, to_host, proxy_port: options.proxy_port, processes_max: options.processes_max })
}

/// What was needed for one large answer is not kept for ever: the sandbox's memory is the job's.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN), (libc::M_ARENA_MAX, 2)] {
        // SAFETY: sets a number in the allocator; no other thread runs yet. Refused, it changes
        // nothing.
        unsafe { libc::mallopt(parameter, value) };
    }
}

fn parse(words: &[&str]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut words = words.iter();
    while let Some(name) = words.next() {
        match *name {
            "--prepared" => {
                options.prepared = true;
                continue;
            }
            "--filters" => {
                options.filters = true;
                continue;
            }
            _ => {}
        }
        if *name == "--prepared-below" {
            options.prepared_below = true;
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

/// The standard library listens to these two, to report a stack that overflowed. The first process of
/// a namespace is safe from what commands send it only where it does not listen; a fault of our own
/// ends us all the same.
fn hear_no_faults() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the default disposition is no handler of anybody's.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Whatever else the host (or the program that started us) left open is not for us.
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
    // Nobody inside goes before the others of this machine.
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

/// From root, without a user namespace around us, to a user that owns nothing on the host.
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
    // Another user means that the kernel has forgotten this wish of the program that started us.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Commands run as the same user: without this they could open our memory and our descriptors
/// below `/proc`, and speak to the host in our name.
pub fn hide_from_commands() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

fn take_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let from_host = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let to_host = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    for end in [&from_host, &to_host] {
        let flags = rustix::fs::fcntl_getfl(end)?;
        rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK)?;
        // Sixteen times fewer turns for either side; where it is refused, or no pipe, it stays as it is.
        let _ = rustix::pipe::fcntl_setpipe_size(end, PIPE_BYTES);
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok((from_host, to_host))
}
