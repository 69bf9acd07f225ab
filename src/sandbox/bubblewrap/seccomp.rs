//! The system calls that nothing inside needs: those that reach into other processes, change
//! mounts, namespaces or the kernel, or open parts of it with a long record of holes.
//!
//! An allow-list would break test suites at the next kernel; a deny-list on top of namespaces and
//! no capabilities takes away what remains dangerous without privileges.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// Refused with EPERM, whatever the arguments.
const FORBIDDEN: &[i64] = &[
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    SYS_OPEN_TREE_ATTR,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Parts of the kernel that are not of this sandbox.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    libc::SYS_syslog,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    SYS_QUOTACTL_FD,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

/// Not in every libc's headers yet; the number is the same on all architectures.
const SYS_OPEN_TREE_ATTR: i64 = 467;
const SYS_QUOTACTL_FD: i64 = 443;
const SYS_KEXEC_FILE_LOAD: i64 = if cfg!(target_arch = "x86_64") { 320 } else { 294 };

#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[i64] =
    &[SYS_KEXEC_FILE_LOAD, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_HERE: &[i64] = &[SYS_KEXEC_FILE_LOAD];

/// Answered with ENOSYS, so that libraries fall back to what can be filtered: `clone3` hides its
/// flags in memory, and `io_uring` does system calls behind the filter's back.
const UNKNOWN: &[i64] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// `CLONE_NEW…`: any of them makes a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Terminal requests that type for somebody else.
const IOCTLS: [u64; 2] = [0x5412 /* TIOCSTI */, 0x541C /* TIOCLINUX */];
/// Families a test suite may use inside its own network namespace.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The filters, to be installed one after the other.
pub(super) fn filters() -> Result<Vec<BpfProgram>, String> {
    let architecture = if cfg!(target_arch = "x86_64") {
        TargetArch::x86_64
    } else if cfg!(target_arch = "aarch64") {
        TargetArch::aarch64
    } else {
        return Err(
            "there is no system call filter for this processor yet, only for x86-64 and aarch64".to_owned()
        );
    };
    let words = |e: seccompiler::BackendError| format!("the system call filter cannot be made: {e}");
    let mut forbidden: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().chain(FORBIDDEN_HERE).map(|number| (*number, Vec::new())).collect();
    forbidden.extend(rules_by_argument().map_err(words)?);
    let unknown = UNKNOWN.iter().map(|number| (*number, Vec::new())).collect();
    let compile = |rules, error: i32| -> Result<BpfProgram, seccompiler::BackendError> {
        let refuse = SeccompAction::Errno(error as u32);
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?.try_into()
    };
    Ok(vec![
        compile(forbidden, libc::EPERM).map_err(words)?,
        without_x32(compile(unknown, libc::ENOSYS).map_err(words)?),
    ])
}

fn rules_by_argument() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    let condition = SeccompCondition::new;
    let mut clone = Vec::new();
    for namespace in NAMESPACES {
        let bit = u64::from(namespace as u32);
        clone.push(SeccompRule::new(vec![condition(0, Qword, SeccompCmpOp::MaskedEq(bit), bit)?])?);
    }
    let mut ioctl = Vec::new();
    for request in IOCTLS {
        ioctl.push(SeccompRule::new(vec![condition(1, Dword, SeccompCmpOp::Eq, request)?])?);
    }
    let family = |op, family: i32| condition(0, Dword, op, family as u64);
    let other_families =
        FAMILIES.iter().map(|known| family(SeccompCmpOp::Ne, *known)).collect::<Result<Vec<_>, _>>()?;
    // Of netlink only routing (protocol 0), which libraries ask for the interfaces there are.
    let other_netlink =
        vec![family(SeccompCmpOp::Eq, libc::AF_NETLINK)?, condition(2, Dword, SeccompCmpOp::Ne, 0)?];
    // With another's number, prlimit is a weapon: a limit of no processor time kills.
    let of_another = vec![condition(0, Dword, SeccompCmpOp::Ne, 0)?];
    let other_pairs =
        FAMILIES.iter().map(|known| family(SeccompCmpOp::Ne, *known)).collect::<Result<Vec<_>, _>>()?;
    Ok(BTreeMap::from([
        (libc::SYS_prlimit64, vec![SeccompRule::new(of_another)?]),
        (libc::SYS_socketpair, vec![SeccompRule::new(other_pairs)?]),
        (libc::SYS_clone, clone),
        (libc::SYS_ioctl, ioctl),
        (libc::SYS_socket, vec![SeccompRule::new(other_families)?, SeccompRule::new(other_netlink)?]),
    ]))
}

/// x86-64 has a second set of numbers (x32), by which every call above could be made unseen.
fn without_x32(filter: BpfProgram) -> BpfProgram {
    if !cfg!(target_arch = "x86_64") {
        return filter;
    }
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32_BIT: u32 = 0x4000_0000;
    const RETURN_ERRNO: u32 = 0x0005_0000;
    let step = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    let mut guarded = vec![
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_IF_AT_LEAST, 0, 1, X32_BIT),
        step(RETURN, 0, 0, RETURN_ERRNO | libc::ENOSYS as u32),
    ];
    guarded.extend(filter);
    guarded
}

/// As the kernel (and `bwrap --add-seccomp-fd`) reads it.
pub(super) fn to_bytes(filter: &BpfProgram) -> Vec<u8> {
    filter
        .iter()
        .flat_map(|step| {
            let [code_low, code_high] = step.code.to_ne_bytes();
            let [a, b, c, d] = step.k.to_ne_bytes();
            [code_low, code_high, step.jt, step.jf, a, b, c, d]
        })
        .collect()
}
