//! Where this machine lets us make cgroups: each controller wherever version 1 mounts it, and else
//! in version 2, from our own group upwards. Makes room in our own group where it is ours alone.

use std::fs;
use std::path::{Path, PathBuf};

/// Where we go ourselves, so that our own group may have children with controllers: version 2 lets
/// only groups without processes have them.
const OURSELVES: &str = "mendwright-itself";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Where groups may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub directory: PathBuf,
    pub version: Version,
}

/// What the kernel says about mounts and about our own groups.
pub(super) struct Machine {
    mounts: String,
    ours: String,
}

impl Machine {
    pub(super) fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { mounts: read("/proc/self/mountinfo"), ours: read("/proc/self/cgroup") }
    }

    /// Where groups with this controller may be made, best first.
    pub(super) fn places(&self, controller: &str) -> Vec<Place> {
        if let Some(place) = self.place_in_version_1(controller) {
            return vec![place];
        }
        let mut places = self.places_in_version_2();
        if let Some(nearest) = places.first().filter(|place| !offers(&place.directory, controller)) {
            make_room(&nearest.directory, std::process::id());
        }
        places.retain(|place| offers(&place.directory, controller));
        places
    }

    pub(super) fn place_in_version_1(&self, controller: &str) -> Option<Place> {
        let has = |list: &str| list.split(',').any(|option| option == controller);
        let mount = self.mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let is_ours = after.next() == Some("cgroup") && has(after.nth(1)?);
            is_ours.then(|| before.split(' ').nth(4))?
        })?;
        let path = self.ours.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            has(fields.next()?).then(|| fields.next())?
        });
        Some(Place { directory: below(Path::new(mount), path.unwrap_or("/")), version: Version::One })
    }

    /// Our own group, then those above it, to the root.
    pub(super) fn places_in_version_2(&self) -> Vec<Place> {
        let mount = self.mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4))?
        });
        let Some(mount) = mount.map(Path::new) else { return Vec::new() };
        let path = self.ours.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let start = below(mount, path.trim_end_matches(&format!("/{OURSELVES}")));
        let above = start.ancestors().take_while(|directory| directory.starts_with(mount));
        above.map(|directory| Place { directory: directory.to_owned(), version: Version::Two }).collect()
    }
}

/// In a container the path may be one that only the host can see.
fn below(mount: &Path, path: &str) -> PathBuf {
    let inside = mount.join(path.trim_start_matches('/'));
    if inside.is_dir() { inside } else { mount.to_owned() }
}

/// Whether children of this version 2 group have the controller; asks for it where we may.
pub(super) fn offers(directory: &Path, controller: &str) -> bool {
    let file = directory.join("cgroup.subtree_control");
    let enabled =
        || fs::read_to_string(&file).is_ok_and(|text| text.split_whitespace().any(|name| name == controller));
    // Refused while the group has processes of its own: then a group above it has to do.
    enabled() || (fs::write(&file, format!("+{controller}")).is_ok() && enabled())
}

/// Moves `process` to a group of its own below this one, if it is the only one there: as the
/// service that was delegated the group. Others' processes are never moved.
pub(super) fn make_room(directory: &Path, process: u32) -> bool {
    let process = process.to_string();
    let alone = fs::read_to_string(directory.join("cgroup.procs")).is_ok_and(|list| list.trim() == process);
    let leaf = directory.join(OURSELVES);
    if !alone || fs::create_dir(&leaf).is_err_and(|error| error.kind() != std::io::ErrorKind::AlreadyExists) {
        return false;
    }
    let moved = fs::write(leaf.join("cgroup.procs"), process).is_ok();
    if !moved {
        // Empty, or another process of ours is in it; then it stays.
        let _ = fs::remove_dir(&leaf);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_found_where_version_1_mounts_it() {
        let mounts = "29 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      30 29 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      31 29 0:28 / /nowhere/memory rw shared:10 - cgroup cgroup rw,memory\n\
                      32 29 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let machine = Machine { mounts: mounts.to_owned(), ours: "4:memory:/user/x\n0::/\n".to_owned() };
        let place = machine.place_in_version_1("memory").unwrap();
        assert_eq!(place, Place { directory: "/nowhere/memory".into(), version: Version::One });
        assert_eq!(machine.place_in_version_1("pids"), None);
    }

    #[test]
    fn version_2_is_tried_from_our_own_group_upwards() {
        let root = tempfile::tempdir().unwrap();
        let ours = root.path().join("user.slice/app.slice");
        fs::create_dir_all(&ours).unwrap();
        for path in ["/user.slice/app.slice", "/user.slice/app.slice/mendwright-itself"] {
            let machine = Machine {
                mounts: format!("32 29 0:29 / {} rw - cgroup2 cgroup2 rw\n", root.path().display()),
                ours: format!("0::{path}\n"),
            };
            let directories: Vec<PathBuf> =
                machine.places_in_version_2().into_iter().map(|place| place.directory).collect();
            assert_eq!(directories, [ours.clone(), root.path().join("user.slice"), root.path().to_owned()]);
        }
        fs::write(ours.join("cgroup.subtree_control"), "cpu memory\n").unwrap();
        assert!(offers(&ours, "memory"));
        assert!(!offers(&root.path().join("absent"), "memory"));
    }

    #[test]
    fn room_is_made_only_where_we_are_alone() {
        let group = tempfile::tempdir().unwrap();
        fs::write(group.path().join("cgroup.procs"), "7\n8\n").unwrap();
        assert!(!make_room(group.path(), 7) && !group.path().join(OURSELVES).exists());
        fs::write(group.path().join("cgroup.procs"), "7\n").unwrap();
        assert!(make_room(group.path(), 7));
        assert_eq!(fs::read_to_string(group.path().join(OURSELVES).join("cgroup.procs")).unwrap(), "7");
    }
}
