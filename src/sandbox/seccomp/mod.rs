//! The seccomp filters: which system calls processes inside may make. A call that [`allowed`] does not list
//! does not exist (ENOSYS), so that libraries fall back to others. A call that is dangerous by name or by
//! argument is refused (EPERM). A program for another processor (i386 on x86-64) is killed at its first
//! call.
//!
//! There are two filters. The kernel uses the stricter result, and of two errors that of the filter that
//! was installed last.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

mod allowed;

use self::allowed::{ALLOWED, ALLOWED_HERE};

/// Refused with EPERM, regardless of the arguments: the program learns that the call is forbidden, and not
/// that it does not exist.
const FORBIDDEN: &[i64] = &[
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Placement of memory, which engines also refuse without CAP_SYS_NICE.
    libc::SYS_mbind,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    SYS_SET_MEMPOLICY_HOME_NODE,
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
    SYS_STATMOUNT,
    SYS_LISTMOUNT,
    SYS_OPEN_TREE_ATTR,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Parts of the kernel outside of this sandbox.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_lookup_dcookie,
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
    libc::SYS_nfsservctl,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
];

/// Not in the headers of every libc yet. These numbers are the same on all architectures.
const SYS_QUOTACTL_FD: i64 = 443;
const SYS_SET_MEMPOLICY_HOME_NODE: i64 = 450;
const SYS_STATMOUNT: i64 = 457;
const SYS_LISTMOUNT: i64 = 458;
const SYS_OPEN_TREE_ATTR: i64 = 467;
const SYS_KEXEC_FILE_LOAD: i64 = if cfg!(target_arch = "x86_64") { 320 } else { 294 };

#[cfg(target_arch = "x86_64")]
const FORBIDDEN_HERE: &[i64] = &[
    SYS_KEXEC_FILE_LOAD,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
];
#[cfg(not(target_arch = "x86_64"))]
const FORBIDDEN_HERE: &[i64] = &[SYS_KEXEC_FILE_LOAD];

/// `CLONE_NEW…`: each of them creates a namespace. `clone3`, which takes them in memory, does not exist
/// inside, and every libc falls back to `clone`.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Terminal requests that insert input, take over the machine's console, or make the kernel load a line
/// discipline (CVE-2023-6546 was in one).
const IOCTLS: [u64; 4] = [
    0x5412, /* TIOCSTI */
    0x541C, /* TIOCLINUX */
    0x541D, /* TIOCCONS */
    0x5423, /* TIOCSETD */
];
/// Socket families that a test suite may use inside its own network namespace.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Protocols of the internet families: the default, and those that test suites name. For others (SCTP, DCCP,
/// L2TP) the kernel would load a module on request.
const INTERNET_PROTOCOLS: [i32; 7] = [
    0,
    libc::IPPROTO_ICMP,
    libc::IPPROTO_TCP,
    libc::IPPROTO_UDP,
    libc::IPPROTO_ICMPV6,
    libc::IPPROTO_RAW,
    libc::IPPROTO_MPTCP,
];
/// Linux personalities that do not change the address layout: the default, with the version number of Linux
/// 2.6, as 32 bits (which changes only what `uname` reports), and the query.
const PERSONALITIES: [u32; 5] = [0, 0x0002_0000, 0x8, 0x0002_0008, u32::MAX];

/// The filters as bytes, for a backend whose toolbox installs them from inside.
pub(super) fn filters_as_bytes() -> Result<Vec<Vec<u8>>, String> {
    Ok(filters()?.iter().map(to_bytes).collect())
}

/// The filters, to be installed one after the other.
pub(super) fn filters() -> Result<Vec<BpfProgram>, String> {
    let architecture = if cfg!(target_arch = "x86_64") {
        TargetArch::x86_64
    } else if cfg!(target_arch = "aarch64") {
        TargetArch::aarch64
    } else {
        return Err(
            "there is no seccomp filter for this processor yet, only for x86-64 and aarch64".to_owned()
        );
    };
    let describe = |e: BackendError| format!("the seccomp filter cannot be created: {e}");
    let error = |number: i32| SeccompAction::Errno(number as u32);
    let compile = |rules, otherwise, on_match| -> Result<BpfProgram, BackendError> {
        SeccompFilter::new(rules, otherwise, on_match, architecture)?.try_into()
    };
    let allowed = by_number(ALLOWED, ALLOWED_HERE);
    let mut forbidden = by_number(FORBIDDEN, FORBIDDEN_HERE);
    forbidden.extend(rules_by_argument().map_err(describe)?);
    Ok(vec![
        // The list also excludes the numbers of x32, a second set for the same processor.
        compile(allowed, error(libc::ENOSYS), SeccompAction::Allow).map_err(describe)?,
        compile(forbidden, SeccompAction::Allow, error(libc::EPERM)).map_err(describe)?,
    ])
}

fn by_number(everywhere: &[i64], here: &[i64]) -> BTreeMap<i64, Vec<SeccompRule>> {
    everywhere.iter().chain(here).map(|number| (*number, Vec::new())).collect()
}

/// The forbidden arguments of calls that are allowed.
fn rules_by_argument() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
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
        || FAMILIES.iter().map(|known| family(SeccompCmpOp::Ne, *known)).collect::<Result<Vec<_>, _>>();
    // Of netlink only routing (protocol 0), with which libraries list the interfaces.
    let other_netlink =
        vec![family(SeccompCmpOp::Eq, libc::AF_NETLINK)?, condition(2, Dword, SeccompCmpOp::Ne, 0)?];
    let other_protocols = |of: i32| {
        let known = INTERNET_PROTOCOLS.iter();
        let others = known.map(|known| condition(2, Dword, SeccompCmpOp::Ne, *known as u64));
        std::iter::once(family(SeccompCmpOp::Eq, of)).chain(others).collect::<Result<Vec<_>, _>>()
    };
    let socket =
        [other_families()?, other_netlink, other_protocols(libc::AF_INET)?, other_protocols(libc::AF_INET6)?];
    // With the id of another process, prlimit could kill it with a limit of no processor time.
    let of_another = vec![condition(0, Dword, SeccompCmpOp::Ne, 0)?];
    let other_personality = PERSONALITIES
        .iter()
        .map(|known| condition(0, Dword, SeccompCmpOp::Ne, u64::from(*known)))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(BTreeMap::from([
        (libc::SYS_prlimit64, vec![SeccompRule::new(of_another)?]),
        (libc::SYS_socketpair, vec![SeccompRule::new(other_families()?)?]),
        (libc::SYS_clone, clone),
        (libc::SYS_ioctl, ioctl),
        (libc::SYS_personality, vec![SeccompRule::new(other_personality)?]),
        (libc::SYS_socket, socket.map(SeccompRule::new).into_iter().collect::<Result<_, _>>()?),
    ]))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_forbidden() {
        let allowed = by_number(ALLOWED, ALLOWED_HERE);
        assert_eq!(allowed.len(), ALLOWED.len() + ALLOWED_HERE.len(), "one is listed twice");
        let forbidden = by_number(FORBIDDEN, FORBIDDEN_HERE);
        assert_eq!(forbidden.len(), FORBIDDEN.len() + FORBIDDEN_HERE.len(), "one is listed twice");
        for number in forbidden.keys() {
            assert!(!allowed.contains_key(number), "{number} is both");
        }
        for number in rules_by_argument().unwrap().keys() {
            assert!(allowed.contains_key(number), "{number} has arguments to check, and is not allowed");
        }
    }

    /// The old AIO requests are limited for the whole machine: a sandbox that takes all of them leaves none
    /// for other sandboxes or for the host's databases.
    #[test]
    fn calls_with_a_machine_wide_limit_do_not_exist() {
        let known = by_number(ALLOWED, ALLOWED_HERE);
        assert!(!known.contains_key(&libc::SYS_io_setup) && !FORBIDDEN.contains(&libc::SYS_io_setup));
    }

    #[test]
    fn calls_with_arguments_in_memory_do_not_exist() {
        let known = by_number(ALLOWED, ALLOWED_HERE);
        let io_uring = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
        for number in io_uring.into_iter().chain([libc::SYS_clone3]) {
            assert!(!known.contains_key(&number) && !FORBIDDEN.contains(&number), "{number}");
        }
    }
}
