//! Starting one sandbox: as whom, on which root file system, with which mounts; and trying out
//! which of these ways this machine allows.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::applied::Applied;
use super::arguments::{
    Arguments, Inside, Privileges, ROOT_ON_STAGE, ShownPrepared, ShownRoot, checked_toolchains,
};
use super::cgroup::Cgroup;
use super::remedy::remedy;
use super::stage::{Privilege, Stage};
use super::subordinate::Subordinates;
use super::{Bubblewrap, KIND, guard, is_label};
use crate::sandbox::container::Container;
use crate::sandbox::egress::Egress;
use crate::sandbox::protocol::{SNAPSHOT_HOME, SNAPSHOT_WORKSPACE};
use crate::sandbox::{Guarantee, Limits, Root, SandboxError, SandboxSpec, TOOLBOX, Toolbox, UnpackedImage};

/// Numbers that no distribution gives to a user, and that still fit a tar header's seven digits.
const FIRST_USER: u32 = 1_900_000;
const USERS: u32 = 100_000;
/// In a namespace with subordinate users, those below are the system's.
const FIRST_SUBORDINATE: u32 = 1_000;
/// Who owns what set-ups made, where root keeps it: the owner of unpacked images, so that a sandbox
/// can have both.
const KEEPER: u32 = FIRST_USER - 1;
/// Of a sandbox that is only tried out.
const PROBE_DISK_BYTES: u64 = 64 << 20;

/// What this machine allows beside what every `bwrap` can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Mounting a stage before `bwrap` starts.
    pub stage: bool,
    /// Mounting an overlay on it.
    pub overlay: bool,
    /// Forbidding further user namespaces by their number, beside the system call filter.
    pub disables_user_namespaces: bool,
}

/// Tried in this order.
const ABILITIES: [Abilities; 4] = [
    Abilities { stage: true, overlay: true, disables_user_namespaces: true },
    Abilities { stage: true, overlay: true, disables_user_namespaces: false },
    Abilities { stage: true, overlay: false, disables_user_namespaces: false },
    Abilities { stage: false, overlay: false, disables_user_namespaces: false },
];

/// A sandbox that is wanted.
struct Wanted<'a> {
    spec: &'a SandboxSpec,
    image: Option<&'a UnpackedImage>,
    snapshot: Option<&'a ShownPrepared>,
}

impl Bubblewrap {
    /// Finds out which way works here. The error is why none does.
    pub(super) fn find_a_way(&mut self) -> Result<(), String> {
        if self.as_root {
            let Err(_) = self.find_abilities(Privileges::DroppedTo { user: FIRST_USER }) else {
                return Ok(());
            };
            // Root without CAP_SYS_ADMIN, as in a container, may still have user namespaces.
            self.as_root = false;
        }
        self.find_abilities(Privileges::UserNamespace)?;
        if self.abilities.stage {
            // Without them it is as safe as it was, and the description says so.
            self.subordinates = Subordinates::make().unwrap_or_else(|why| {
                tracing::warn!("subordinate users cannot be used: {why}");
                None
            });
            if self.subordinates.is_some() {
                let user = FIRST_SUBORDINATE;
                if let Err(why) = self.probe(Privileges::MappedTo { user }, self.abilities) {
                    tracing::warn!("subordinate users cannot be used: {why}");
                    self.subordinates = None;
                }
            }
        }
        Ok(())
    }

    fn find_abilities(&mut self, privileges: Privileges) -> Result<(), String> {
        let mut refused = String::new();
        for abilities in ABILITIES {
            match self.probe(privileges, abilities) {
                Ok(()) => {
                    self.abilities = abilities;
                    return Ok(());
                }
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    /// Sets a sandbox up exactly as a real one, with a toolbox that ends at once.
    fn probe(&self, privileges: Privileges, abilities: Abilities) -> Result<(), String> {
        let mut stage = self.stage(privileges, abilities, PROBE_DISK_BYTES, None);
        if let (Some(stage), true) = (&mut stage, abilities.overlay) {
            stage.overlay(ROOT_ON_STAGE, "/usr".as_ref(), None)?;
        }
        let inside = Inside {
            privileges,
            root: ShownRoot::Host(&[]),
            stage: stage.as_ref(),
            disables_user_namespaces: abilities.disables_user_namespaces,
            disk_bytes_max: self.bounds_disk.then_some(PROBE_DISK_BYTES),
            proxy: false,
            open_files_max: None,
            processes_max: None,
            data_bytes_max: None,
            snapshot: None,
        };
        let arguments = Arguments::build(&inside, TOOLBOX, "probe")?;
        guard::try_out(&self.program, arguments, stage)
    }

    fn stage(
        &self,
        privileges: Privileges,
        abilities: Abilities,
        bytes_max: u64,
        memory_bytes_max: Option<u64>,
    ) -> Option<Stage> {
        let privilege = match (privileges, &self.subordinates) {
            (Privileges::DroppedTo { .. }, _) => Privilege::Root,
            (Privileges::MappedTo { .. }, Some(users)) => Privilege::Joined(Arc::clone(&users.namespace)),
            (Privileges::MappedTo { .. }, None) | (Privileges::UserNamespace, _) => Privilege::Own,
        };
        abilities.stage.then(|| Stage::new(privilege, bytes_max, memory_bytes_max)).flatten()
    }

    /// As whom it runs. Neighbours on the host's own system are other users, whose bounds the kernel
    /// counts apart. In an image, or with what a set-up made, it is the user that owns those files:
    /// it changes them in a layer of its own, as root would in a container; such neighbours are kept
    /// apart by their namespaces alone.
    fn privileges(&self, wanted: &Wanted<'_>) -> Result<Privileges, SandboxError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        if self.as_root {
            let owner = match (wanted.image, wanted.snapshot) {
                (Some(image), _) => owner_of(&image.root)?,
                (None, Some(ShownPrepared::ReadOnly(files) | ShownPrepared::Below(files))) => {
                    owner_of(files)?
                }
                (None, Some(ShownPrepared::Writable(_))) => KEEPER,
                (None, None) => 0,
            };
            let user = if owner == 0 { FIRST_USER + number % USERS } else { owner };
            return Ok(Privileges::DroppedTo { user });
        }
        // Our own files, which an image and what a set-up made are, are not a subordinate's.
        let is_owner_needed =
            wanted.image.is_some() || matches!(wanted.snapshot, Some(ShownPrepared::Writable(_)));
        let must_be_other = wanted.spec.required.contains(&Guarantee::OtherUser);
        Ok(match &self.subordinates {
            Some(users) if must_be_other || !is_owner_needed => {
                let user = FIRST_SUBORDINATE + number % (users.users - FIRST_SUBORDINATE);
                Privileges::MappedTo { user }
            }
            Some(_) | None => Privileges::UserNamespace,
        })
    }

    /// Whether the inside owns such files, so that they can be below a layer of its own instead of
    /// being copied.
    fn can_change(&self, privileges: Privileges, files: &Path) -> Result<bool, SandboxError> {
        let owner = owner_of(files)?;
        Ok(self.abilities.overlay
            && match privileges {
                Privileges::DroppedTo { user } => user == owner,
                Privileges::MappedTo { .. } => false,
                Privileges::UserNamespace => owner == nix::unistd::geteuid().as_raw(),
            })
    }

    /// Starts a sandbox that sees `snapshot`.
    pub(super) async fn launch(
        &self,
        spec: &SandboxSpec,
        snapshot: Option<ShownPrepared>,
    ) -> Result<Toolbox, SandboxError> {
        if !is_label(&spec.label) {
            let missing = format!("a label that is a name; {:?} is none", spec.label);
            return Err(refuse(missing, "use at most 60 of a-z, 0-9 and '-'"));
        }
        let image = match &spec.root {
            Root::Host { .. } => None,
            Root::Image(reference) => Some(Box::pin(self.images.resolve(reference)).await?),
        };
        let wanted = Wanted { spec, image: image.as_ref(), snapshot: snapshot.as_ref() };
        if image.is_some() && self.abilities.overlay {
            match self.launch_on(&wanted, true).await {
                Err(SandboxError::Unavailable { missing, .. }) if !missing.contains("required") => {
                    // The file system on which images lie cannot be below an overlay.
                    tracing::warn!(missing, "no writable layer over the image");
                }
                outcome => return outcome,
            }
        }
        self.launch_on(&wanted, false).await
    }

    async fn launch_on(&self, wanted: &Wanted<'_>, overlaid: bool) -> Result<Toolbox, SandboxError> {
        let spec = wanted.spec;
        let toolchains = match &spec.root {
            Root::Host { toolchains } => checked_toolchains(toolchains).map_err(|why| {
                refuse(why, "correct the list of toolchain directories in the configuration")
            })?,
            Root::Image(_) => Vec::new(),
        };
        let privileges = self.privileges(wanted)?;
        if let (Some(ShownPrepared::Writable(files)), Privileges::DroppedTo { user }) =
            (wanted.snapshot, privileges)
        {
            let given = std::os::unix::fs::chown(files, Some(user), Some(user));
            given.map_err(|e| SandboxError::SnapshotFailed(format!("{}: {e}", files.display())))?;
        }
        let root = match wanted.image {
            None => ShownRoot::Host(&toolchains),
            Some(image) if overlaid => ShownRoot::Overlaid(image),
            Some(image) => ShownRoot::ReadOnly(image),
        };
        let broken = |why: String| refuse(format!("the sandbox could not be started ({why})"), &remedy());
        let cgroup = Arc::new(Cgroup::create(&spec.label, &spec.limits));
        let writable_bytes = writable_bytes(&spec.limits, cgroup.bounds_memory());
        let memory_bytes_max = cgroup.bounds_memory().then_some(spec.limits.memory_bytes_max);
        let mut stage = self.stage(privileges, self.abilities, writable_bytes, memory_bytes_max);
        if let (Some(stage), ShownRoot::Overlaid(image)) = (&mut stage, &root) {
            let owner = match privileges {
                Privileges::DroppedTo { user } => Some(user),
                Privileges::MappedTo { .. } | Privileges::UserNamespace => None,
            };
            stage.overlay(ROOT_ON_STAGE, &image.root, owner).map_err(broken)?;
        }
        let below = match (&mut stage, wanted.snapshot) {
            (Some(stage), Some(ShownPrepared::ReadOnly(files))) if self.can_change(privileges, files)? => {
                for (place, name) in [("workspace", SNAPSHOT_WORKSPACE), ("home", SNAPSHOT_HOME)] {
                    stage.overlay(place, &files.join(name), None).map_err(broken)?;
                }
                Some(ShownPrepared::Below(files.clone()))
            }
            (_, _) => None,
        };
        let applied = Applied {
            spec,
            version: &self.version,
            privileges,
            cgroup: &cgroup,
            root: &root,
            writable_bytes,
            shares_disk: stage.is_some(),
            bounds_disk: self.bounds_disk || stage.is_some(),
        };
        applied.check_required()?;
        let description = applied.describe();
        let inside = Inside {
            privileges,
            root,
            stage: stage.as_ref(),
            disables_user_namespaces: self.abilities.disables_user_namespaces,
            open_files_max: Some(spec.limits.open_files_max),
            disk_bytes_max: self.bounds_disk.then_some(writable_bytes),
            proxy: !spec.allowed_hosts.is_empty(),
            processes_max: (!cgroup.bounds_processes()).then_some(spec.limits.pids_max),
            data_bytes_max: (!cgroup.bounds_memory()).then_some(spec.limits.memory_bytes_max),
            snapshot: below.as_ref().or(wanted.snapshot),
        };
        let arguments = Arguments::build(&inside, TOOLBOX, "init").map_err(broken)?;
        let launch = guard::Launch {
            program: self.program.clone(),
            arguments,
            stage,
            cgroup: Arc::clone(&cgroup),
            label: spec.label.clone(),
            image: wanted.image.cloned(),
        };
        let started = guard::start(launch).await.map_err(broken)?;
        let no_pipe = |e: std::io::Error| broken(format!("its pipe: {e}"));
        let reader = tokio::process::ChildStdout::from_std(started.from_toolbox).map_err(no_pipe)?;
        let writer = tokio::process::ChildStdin::from_std(started.to_toolbox).map_err(no_pipe)?;
        let container = Container::Bubblewrap(started.guarded);
        let egress = Egress::of(spec);
        Toolbox::connect(tokio::io::join(reader, writer), container, description, egress).await
    }
}

/// What may be written is in memory, and counted as such where that is bounded: a disk that could
/// take all of it would never be full, but end whatever runs.
fn writable_bytes(limits: &Limits, memory_is_bounded: bool) -> u64 {
    let share = limits.memory_bytes_max / 4 * 3;
    if memory_is_bounded { limits.disk_bytes_max.min(share) } else { limits.disk_bytes_max }
}

fn owner_of(place: &Path) -> Result<u32, SandboxError> {
    let gone = |e| SandboxError::Gone(format!("{} is not there any more: {e}", place.display()));
    Ok(std::fs::metadata(place).map_err(gone)?.uid())
}

fn refuse(missing: String, remedy: &str) -> SandboxError {
    SandboxError::Unavailable { kind: KIND, missing, remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests;
