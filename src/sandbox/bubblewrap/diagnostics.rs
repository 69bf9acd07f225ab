//! Diagnoses why namespaces are refused, and says what a person can do. Reads the kernel's settings;
//! changes nothing.

use std::fs;
use std::path::Path;

/// What is known about the machine.
#[derive(Debug, Default)]
struct Symptoms {
    /// Values of the kernel's settings, if they exist.
    unprivileged_clone: Option<String>,
    namespaces_max: Option<String>,
    apparmor: Option<String>,
    in_container: bool,
    in_chroot: bool,
    masked_proc: bool,
}

/// What to do, as text.
pub(super) fn remedy() -> String {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|value| value.trim().to_owned());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let symptoms = Symptoms {
        unprivileged_clone: setting("/proc/sys/kernel/unprivileged_userns_clone"),
        namespaces_max: setting("/proc/sys/user/max_user_namespaces"),
        apparmor: setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        in_container: ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists())
            || crate::config::environment().any(|(name, _)| name == "container"),
        in_chroot: !has_mount_at(&mounts, "/"),
        masked_proc: mounts.lines().filter_map(mount_point).any(|point| point.starts_with("/proc/")),
    };
    advise(&symptoms)
}

fn mount_point(line: &str) -> Option<&str> {
    line.split(' ').nth(4)
}

fn has_mount_at(mounts: &str, path: &str) -> bool {
    mounts.is_empty() || mounts.lines().filter_map(mount_point).any(|point| point == path)
}

fn advise(symptoms: &Symptoms) -> String {
    let mut advice = Vec::new();
    if symptoms.unprivileged_clone.as_deref() == Some("0") {
        advice.push("sysctl kernel.unprivileged_userns_clone=1");
    }
    if symptoms.namespaces_max.as_deref() == Some("0") {
        advice.push("sysctl user.max_user_namespaces=10000");
    }
    if symptoms.apparmor.as_deref() == Some("1") {
        advice.push(
            "install an AppArmor profile that lets bwrap make user namespaces (package apparmor-profiles)",
        );
    }
    if symptoms.in_chroot {
        advice.push("leave the chroot: the kernel gives no user namespaces in one");
    }
    if symptoms.in_container {
        advice.push(
            "use the docker sandbox with the engine's socket, or run the container with --security-opt \
             seccomp=unconfined --security-opt apparmor=unconfined",
        );
    }
    if symptoms.in_container && symptoms.masked_proc {
        advice.push("unmask /proc (--security-opt systempaths=unconfined), or no new one can be mounted");
    }
    if advice.is_empty() {
        advice.push("run where bwrap may make namespaces: not in a container without them, or as root");
    }
    advice.join("; or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_symptom_has_its_own_advice() {
        let on = |value: &str| Some(value.to_owned());
        let all = [
            Symptoms::default(),
            Symptoms { unprivileged_clone: on("0"), namespaces_max: on("0"), ..Symptoms::default() },
            Symptoms { apparmor: on("1"), in_chroot: true, ..Symptoms::default() },
            Symptoms {
                in_container: true,
                masked_proc: true,
                namespaces_max: on("5"),
                ..Symptoms::default()
            },
        ];
        insta::assert_snapshot!(all.iter().map(advise).collect::<Vec<_>>().join("\n"), @r"
        run where bwrap may make namespaces: not in a container without them, or as root
        sysctl kernel.unprivileged_userns_clone=1; or sysctl user.max_user_namespaces=10000
        install an AppArmor profile that lets bwrap make user namespaces (package apparmor-profiles); or leave the chroot: the kernel gives no user namespaces in one
        use the docker sandbox with the engine's socket, or run the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined; or unmask /proc (--security-opt systempaths=unconfined), or no new one can be mounted
        ");
    }

    #[test]
    fn root_that_is_not_a_mount_is_a_chroot() {
        assert!(has_mount_at("1 0 0:1 / / rw - ext4 x rw\n", "/"));
        assert!(!has_mount_at("1 0 0:1 / /mnt/jail/proc rw - proc proc rw\n", "/"));
    }
}
