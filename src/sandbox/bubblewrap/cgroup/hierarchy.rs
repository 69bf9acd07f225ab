//! Where this machine allows us to create cgroups: for each controller its version 1 hierarchy if it is
//! mounted, otherwise version 2, from our own group upwards. If our own group contains only this process,
//! the process moves to a child group, so that the group can have other children.

use std::fs;
use std::path::{Path, PathBuf};

/// The child group for this process, so that our own group may have children with controllers: version 2
/// allows them only in groups without processes.
const OWN_LEAF: &str = "mendwright-itself";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A group in which we may create groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CgroupParent {
    pub directory: PathBuf,
    pub version: Version,
}

/// The cgroup mounts, and our own groups.
pub(super) struct Hierarchies {
    mounts: String,
    own_groups: String,
}

impl Hierarchies {
    pub(super) fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { mounts: read("/proc/self/mountinfo"), own_groups: read("/proc/self/cgroup") }
    }

    /// The groups in which groups with this controller may be created, best first.
    pub(super) fn parents(&self, controller: &str) -> Vec<CgroupParent> {
        if let Some(parent) = self.version_1_parent(controller) {
            return vec![parent];
        }
        let mut parents = self.version_2_parents();
        if let Some(nearest) = parents.first().filter(|parent| !enables(&parent.directory, controller)) {
            move_to_leaf(&nearest.directory, std::process::id());
        }
        parents.retain(|parent| enables(&parent.directory, controller));
        parents
    }

    pub(super) fn version_1_parent(&self, controller: &str) -> Option<CgroupParent> {
        let has = |list: &str| list.split(',').any(|option| option == controller);
        let mount = self.mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let is_ours = after.next() == Some("cgroup") && has(after.nth(1)?);
            is_ours.then(|| before.split(' ').nth(4))?
        })?;
        let path = self.own_groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            has(fields.next()?).then(|| fields.next())?
        });
        Some(CgroupParent { directory: below(Path::new(mount), path.unwrap_or("/")), version: Version::One })
    }

    /// Our own group, then those above it, to the root.
    pub(super) fn version_2_parents(&self) -> Vec<CgroupParent> {
        let mount = self.mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4))?
        });
        let Some(mount) = mount.map(Path::new) else { return Vec::new() };
        let path = self.own_groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let start = below(mount, path.trim_end_matches(&format!("/{OWN_LEAF}")));
        let above = start.ancestors().take_while(|directory| directory.starts_with(mount));
        above
            .map(|directory| CgroupParent { directory: directory.to_owned(), version: Version::Two })
            .collect()
    }
}

/// In a container, the path may be visible only on the host.
fn below(mount: &Path, path: &str) -> PathBuf {
    let inside = mount.join(path.trim_start_matches('/'));
    if inside.is_dir() { inside } else { mount.to_owned() }
}

/// Whether children of this version 2 group have the controller. Enables it if we may.
pub(super) fn enables(directory: &Path, controller: &str) -> bool {
    let file = directory.join("cgroup.subtree_control");
    let enabled =
        || fs::read_to_string(&file).is_ok_and(|text| text.split_whitespace().any(|name| name == controller));
    // The kernel refuses this while the group has processes of its own. Then a group above it is used.
    enabled() || (fs::write(&file, format!("+{controller}")).is_ok() && enabled())
}

/// Moves `process` to a child group if it is the only process of this group, as a service to which the
/// group is delegated. Never moves other processes.
pub(super) fn move_to_leaf(directory: &Path, process: u32) -> bool {
    let process = process.to_string();
    let alone = fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|list| list.trim() == process);
    let leaf = directory.join(OWN_LEAF);
    if !alone || fs::create_dir(&leaf).is_err_and(|error| error.kind() != std::io::ErrorKind::AlreadyExists) {
        return false;
    }
    let moved = fs::write(leaf.join("cgroup.procs"), process).is_ok();
    if !moved {
        // If another process of ours is in it, it stays.
        let _ = fs::remove_dir(&leaf);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controller_of_version_1_is_found_at_its_mount() {
        let mounts = "29 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      30 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      31 29 0:28 / /nowhere/memory rw shared:10 - cgroup cgroup rw,memory\n\
                      32 29 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let hierarchies =
            Hierarchies { mounts: mounts.to_owned(), own_groups: "4:memory:/user/x\n0::/\n".to_owned() };
        let parent = hierarchies.version_1_parent("memory").unwrap();
        assert_eq!(parent, CgroupParent { directory: "/nowhere/memory".into(), version: Version::One });
        assert_eq!(hierarchies.version_1_parent("pids"), None);
    }

    #[test]
    fn parents_in_version_2_go_from_our_own_group_upwards() {
        let root = tempfile::tempdir().unwrap();
        let ours = root.path().join("user.slice/app.slice");
        fs::create_dir_all(&ours).unwrap();
        for path in ["/user.slice/app.slice", "/user.slice/app.slice/mendwright-itself"] {
            let hierarchies = Hierarchies {
                mounts: format!("32 29 0:29 / {} rw - cgroup2 cgroup2 rw\n", root.path().display()),
                own_groups: format!("0::{path}\n"),
            };
            let directories: Vec<PathBuf> =
                hierarchies.version_2_parents().into_iter().map(|parent| parent.directory).collect();
            assert_eq!(directories, [ours.clone(), root.path().join("user.slice"), root.path().to_owned()]);
        }
        fs::write(ours.join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        assert!(enables(&ours, "memory"));
        assert!(!enables(&root.path().join("absent"), "memory"));
    }

    #[test]
    fn process_moves_to_the_leaf_only_if_it_is_alone() {
        let group = tempfile::tempdir().unwrap();
        fs::write(group.path().join("cgroup.procs"), "7\n8\n").unwrap();
        assert!(!move_to_leaf(group.path(), 7) && !group.path().join(OWN_LEAF).exists());
        fs::write(group.path().join("cgroup.procs"), "7\n").unwrap();
        assert!(move_to_leaf(group.path(), 7));
        assert_eq!(fs::read_to_string(group.path().join(OWN_LEAF).join("cgroup.procs")).unwrap(), "7");
    }
}
