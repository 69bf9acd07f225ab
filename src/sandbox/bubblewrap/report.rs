//! What this machine applied of a specification: a description for people, and an error if something
//! that is required is missing. Decides nothing itself.

use super::arguments::{Privileges, RootView};
use super::cgroup::Cgroup;
use crate::domain::Guarantee;
use crate::sandbox::{SandboxError, SandboxSpec};

/// What was applied for one sandbox.
pub(super) struct AppliedLimits<'a> {
    pub spec: &'a SandboxSpec,
    /// As `bwrap` prints it.
    pub version: &'a str,
    pub privileges: Privileges,
    pub cgroup: &'a Cgroup,
    pub root: &'a RootView<'a>,
    /// How many bytes may be written.
    pub writable_bytes: u64,
    /// Whether all writable file systems share one limit.
    pub shares_disk: bool,
    pub bounds_disk: bool,
}

impl AppliedLimits<'_> {
    fn has(&self, guarantee: Guarantee) -> bool {
        match guarantee {
            Guarantee::Memory => self.cgroup.bounds_memory(),
            // By the cgroup, or by RLIMIT_NPROC.
            Guarantee::Processes => true,
            Guarantee::Processor => self.cgroup.bounds_processor(),
            Guarantee::Disk => self.bounds_disk,
            Guarantee::OtherUser => match self.privileges {
                Privileges::DroppedTo { .. } | Privileges::MappedTo { .. } => true,
                Privileges::UserNamespace => false,
            },
        }
    }

    /// An error if something required is not applied.
    pub(super) fn check_required(&self) -> Result<(), SandboxError> {
        match self.spec.required.iter().find(|required| !self.has(**required)) {
            None => Ok(()),
            Some(missing) => {
                let (what, remedy) = self.missing_guarantee(*missing);
                let name = missing.name();
                Err(SandboxError::unavailable(
                    format!("{what} cannot be enforced here, and '{name}' is required"),
                    format!("{remedy}, or stop requiring '{name}' (sandbox.require)"),
                ))
            }
        }
    }

    fn missing_guarantee(&self, guarantee: Guarantee) -> (&'static str, &'static str) {
        const CGROUPS: &str =
            "run as root, or as a service to which cgroups are delegated (systemd: Delegate=yes)";
        match guarantee {
            Guarantee::Memory => ("a limit on the memory of all processes together", CGROUPS),
            Guarantee::Processes => ("a limit on the number of processes", CGROUPS),
            Guarantee::Processor if self.spec.limits.cpu_millis_max.is_none() => (
                "a limit on processor time that is not configured",
                "set the number of processors (sandbox.cpus)",
            ),
            Guarantee::Processor => ("a limit on processor time", CGROUPS),
            Guarantee::Disk => {
                ("a limit on the bytes written", "install bubblewrap 0.8 or later, which supports --size")
            }
            Guarantee::OtherUser => (
                "running as another user than this process",
                "run as root, or give this account subordinate ids (/etc/subuid, /etc/subgid) and install newuidmap \
                 (package uidmap)",
            ),
        }
    }

    /// The root file system, the user view, and the limits: which are applied, and which are not.
    pub(super) fn describe(&self) -> String {
        let user = match self.privileges {
            Privileges::DroppedTo { user } => format!("as user {user} without capabilities"),
            Privileges::MappedTo { user } => {
                format!("as subordinate user {user} of a user namespace, without capabilities")
            }
            Privileges::UserNamespace => {
                "in a user namespace without capabilities (on the host it is the user of this process)"
                    .to_owned()
            }
        };
        let network = match self.spec.allowed_hosts.as_slice() {
            [] => "no network".to_owned(),
            hosts => {
                let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                format!("network through a proxy to {} only", hosts.join(", "))
            }
        };
        let parts = [
            format!("{}, {user}", self.version),
            self.root(),
            network,
            self.memory(),
            self.processes(),
            self.processor(),
            self.disk(),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }

    fn root(&self) -> String {
        match self.root {
            RootView::Host(toolchains) => {
                let shown: Vec<_> = toolchains.iter().map(|path| path.display().to_string()).collect();
                let shown =
                    if shown.is_empty() { String::new() } else { format!(" and {}", shown.join(", ")) };
                format!("the host's /usr{shown} read-only")
            }
            RootView::Overlaid(image) => {
                format!("the image {}, changes in a separate layer", image.reference)
            }
            RootView::ReadOnly(image) => {
                format!("the image {}, read-only (no overlay can be mounted here)", image.reference)
            }
        }
    }

    fn memory(&self) -> String {
        let mebibytes = self.spec.limits.memory_bytes_max >> 20;
        if self.cgroup.bounds_memory() {
            return format!("{mebibytes} MiB of memory (cgroup)");
        }
        format!(
            "{mebibytes} MiB of memory for each process (no cgroup may be made here, so their sum is not limited \
             and running out of it is not detected)"
        )
    }

    fn processes(&self) -> String {
        let means = if self.cgroup.bounds_processes() { "cgroup" } else { "RLIMIT_NPROC" };
        format!("{} processes ({means})", self.spec.limits.pids_max)
    }

    fn processor(&self) -> String {
        let Some(millis) = self.spec.limits.cpu_millis_max else { return String::new() };
        let count = f64::from(millis) / 1000.0;
        if self.cgroup.bounds_processor() {
            format!("{count} processors (cgroup)")
        } else {
            format!("processor time not limited to {count} processors (no cgroup for it may be made here)")
        }
    }

    fn disk(&self) -> String {
        let mebibytes = self.writable_bytes >> 20;
        if self.shares_disk {
            return format!("{mebibytes} MiB of writable space, in memory");
        }
        if self.bounds_disk {
            return format!("{mebibytes} MiB of writable space, in memory and in fixed shares");
        }
        "writable space in memory, limited only by it (this bwrap does not support --size)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(required: Guarantee, privileges: Privileges) -> String {
        let mut spec = SandboxSpec::named("job");
        spec.required = vec![required];
        let cgroup = Cgroup::default();
        let applied = AppliedLimits {
            spec: &spec,
            version: "bubblewrap 0",
            privileges,
            cgroup: &cgroup,
            root: &RootView::Host(&[]),
            writable_bytes: 1 << 30,
            shares_disk: false,
            bounds_disk: false,
        };
        applied.check_required().err().map_or_else(|| "applied".to_owned(), |error| error.to_string())
    }

    #[test]
    fn missing_guarantee_is_named_with_a_remedy() {
        let checked: Vec<String> =
            Guarantee::ALL.iter().map(|required| check(*required, Privileges::UserNamespace)).collect();
        insta::assert_snapshot!(checked.join("\n"), @r"
        the sandbox cannot be used: a limit on the memory of all processes together cannot be enforced here, and 'memory' is required; run as root, or as a service to which cgroups are delegated (systemd: Delegate=yes), or stop requiring 'memory' (sandbox.require)
        applied
        the sandbox cannot be used: a limit on processor time that is not configured cannot be enforced here, and 'processor' is required; set the number of processors (sandbox.cpus), or stop requiring 'processor' (sandbox.require)
        the sandbox cannot be used: a limit on the bytes written cannot be enforced here, and 'disk' is required; install bubblewrap 0.8 or later, which supports --size, or stop requiring 'disk' (sandbox.require)
        the sandbox cannot be used: running as another user than this process cannot be enforced here, and 'other_user' is required; run as root, or give this account subordinate ids (/etc/subuid, /etc/subgid) and install newuidmap (package uidmap), or stop requiring 'other_user' (sandbox.require)
        ");
    }

    #[test]
    fn description_names_limits_that_are_not_applied() {
        let mut spec = SandboxSpec::named("job");
        spec.limits.cpu_millis_max = Some(1_500);
        let applied = AppliedLimits {
            spec: &spec,
            version: "bubblewrap 0",
            privileges: Privileges::UserNamespace,
            cgroup: &Cgroup::default(),
            root: &RootView::Host(&[]),
            writable_bytes: 1 << 30,
            shares_disk: false,
            bounds_disk: false,
        };
        insta::assert_snapshot!(applied.describe(), @"bubblewrap 0, in a user namespace without capabilities (on the host it is the user of this process); the host's /usr read-only; no network; 4096 MiB of memory for each process (no cgroup may be made here, so their sum is not limited and running out of it is not detected); 1024 processes (RLIMIT_NPROC); processor time not limited to 1.5 processors (no cgroup for it may be made here); writable space in memory, limited only by it (this bwrap does not support --size)");
    }
}
