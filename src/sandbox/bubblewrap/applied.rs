//! What of a specification this machine applied: in words for people, and as a refusal where
//! something is missing that was required. Decides nothing itself.

use super::arguments::{Privileges, ShownRoot};
use super::cgroup::Cgroup;
use super::{KIND, SandboxError, SandboxSpec};
use crate::sandbox::Guarantee;

/// What was applied for one sandbox.
pub(super) struct Applied<'a> {
    pub spec: &'a SandboxSpec,
    /// As `bwrap` calls itself.
    pub version: &'a str,
    pub privileges: Privileges,
    pub cgroup: &'a Cgroup,
    pub root: &'a ShownRoot<'a>,
    /// How much may be written.
    pub writable_bytes: u64,
    /// Whether all places that may be written to share one bound.
    pub shares_disk: bool,
    pub bounds_disk: bool,
}

impl Applied<'_> {
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

    /// Refuses where something required is not applied.
    pub(super) fn check_required(&self) -> Result<(), SandboxError> {
        match self.spec.required.iter().find(|required| !self.has(**required)) {
            None => Ok(()),
            Some(missing) => {
                let (what, remedy) = self.lack_of(*missing);
                let name = missing.name();
                Err(SandboxError::Unavailable {
                    kind: KIND,
                    missing: format!("{what} cannot be applied here, and '{name}' is required"),
                    remedy: format!("{remedy}, or no longer require '{name}' (sandbox.require)"),
                })
            }
        }
    }

    fn lack_of(&self, guarantee: Guarantee) -> (&'static str, &'static str) {
        const CGROUPS: &str =
            "run as root, or as a service to which cgroups are delegated (systemd: Delegate=yes)";
        match guarantee {
            Guarantee::Memory => ("a bound on the memory of all processes together", CGROUPS),
            Guarantee::Processes => ("a bound on the number of processes", CGROUPS),
            Guarantee::Processor if self.spec.limits.cpu_millis_max.is_none() => {
                ("a bound on processor time that nobody has given", "say how many processors (sandbox.cpus)")
            }
            Guarantee::Processor => ("a bound on processor time", CGROUPS),
            Guarantee::Disk => {
                ("a bound on the bytes written", "install bubblewrap 0.8 or later, which knows --size")
            }
            Guarantee::OtherUser => (
                "another user than this process has",
                "run as root, or give this account subordinate ids (/etc/subuid, /etc/subgid) and install newuidmap \
                 (package uidmap)",
            ),
        }
    }

    /// The root file system, who runs in it, and the limits: applied, and not applied.
    pub(super) fn describe(&self) -> String {
        let who = match self.privileges {
            Privileges::DroppedTo { user } => format!("as user {user} without capabilities"),
            Privileges::MappedTo { user } => {
                format!("as subordinate user {user} of a user namespace, without capabilities")
            }
            Privileges::UserNamespace => {
                "in a user namespace without capabilities (on the host it is the same user as this process)"
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
            format!("{}, {who}", self.version),
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
            ShownRoot::Host(toolchains) => {
                let shown: Vec<_> = toolchains.iter().map(|path| path.display().to_string()).collect();
                let shown =
                    if shown.is_empty() { String::new() } else { format!(" and {}", shown.join(", ")) };
                format!("the host's /usr{shown} read-only")
            }
            ShownRoot::Overlaid(image) => {
                format!("the image {}, changes in a layer of its own", image.reference)
            }
            ShownRoot::ReadOnly(image) => {
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
            "{mebibytes} MiB of memory for each process (no cgroup may be made here, so their sum is not bounded \
             and running out of it is not told apart)"
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
            format!("processor time not bounded to {count} processors (no cgroup for it may be made here)")
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
        "writable space in memory, bounded by it alone (this bwrap knows no --size)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(required: Guarantee, privileges: Privileges) -> String {
        let mut spec = SandboxSpec::named("job");
        spec.required = vec![required];
        let cgroup = Cgroup::default();
        let applied = Applied {
            spec: &spec,
            version: "bubblewrap 0",
            privileges,
            cgroup: &cgroup,
            root: &ShownRoot::Host(&[]),
            writable_bytes: 1 << 30,
            shares_disk: false,
            bounds_disk: false,
        };
        applied.check_required().err().map_or_else(|| "applied".to_owned(), |error| error.to_string())
    }

    #[test]
    fn what_is_required_and_missing_is_named_with_what_to_do() {
        let told: Vec<String> =
            Guarantee::ALL.iter().map(|required| told(*required, Privileges::UserNamespace)).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        the bubblewrap sandbox cannot be used: a bound on the memory of all processes together cannot be applied here, and 'memory' is required; run as root, or as a service to which cgroups are delegated (systemd: Delegate=yes), or no longer require 'memory' (sandbox.require)
        applied
        the bubblewrap sandbox cannot be used: a bound on processor time that nobody has given cannot be applied here, and 'processor' is required; say how many processors (sandbox.cpus), or no longer require 'processor' (sandbox.require)
        the bubblewrap sandbox cannot be used: a bound on the bytes written cannot be applied here, and 'disk' is required; install bubblewrap 0.8 or later, which knows --size, or no longer require 'disk' (sandbox.require)
        the bubblewrap sandbox cannot be used: another user than this process has cannot be applied here, and 'other_user' is required; run as root, or give this account subordinate ids (/etc/subuid, /etc/subgid) and install newuidmap (package uidmap), or no longer require 'other_user' (sandbox.require)
        ");
    }

    #[test]
    fn the_description_says_what_is_not_applied() {
        let mut spec = SandboxSpec::named("job");
        spec.limits.cpu_millis_max = Some(1_500);
        let applied = Applied {
            spec: &spec,
            version: "bubblewrap 0",
            privileges: Privileges::UserNamespace,
            cgroup: &Cgroup::default(),
            root: &ShownRoot::Host(&[]),
            writable_bytes: 1 << 30,
            shares_disk: false,
            bounds_disk: false,
        };
        insta::assert_snapshot!(applied.describe(), @"bubblewrap 0, in a user namespace without capabilities (on the host it is the same user as this process); the host's /usr read-only; no network; 4096 MiB of memory for each process (no cgroup may be made here, so their sum is not bounded and running out of it is not told apart); 1024 processes (RLIMIT_NPROC); processor time not bounded to 1.5 processors (no cgroup for it may be made here); writable space in memory, bounded by it alone (this bwrap knows no --size)");
    }
}
