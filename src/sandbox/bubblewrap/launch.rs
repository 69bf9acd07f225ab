//! Starts one sandbox: as which user, on which root file system, with which mounts. Tests beforehand which
//! of these this machine allows.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use mendwright_protocol::{SNAPSHOT_HOME, SNAPSHOT_WORKSPACE};

use super::arguments::{
    Arguments, Privileges, ROOT_MOUNT, RootView, SandboxView, SnapshotView, checked_toolchains,
};
use super::cgroup::Cgroup;
use super::diagnostics::remedy;
use super::idmap::OwnerMap;
use super::mounts::{MountNamespace, MountPlan};
use super::process;
use super::report::AppliedLimits;
use super::subuid::SubordinateUsers;
use crate::domain::Guarantee;
use crate::sandbox::{
    Egress, ImageStore, Limits, Root, SandboxError, SandboxSpec, Toolbox, UnpackedImage, toolbox_file,
};

/// User ids that no distribution assigns, and that fit the seven octal digits of a tar header.
const FIRST_USER: u32 = 1_900_000;
const USERS: u32 = 100_000;
/// In a namespace with subordinate users, ids below this belong to the system.
const FIRST_SUBORDINATE: u32 = 1_000;
/// The owner of snapshots that root stores: also the owner of unpacked images, so that one sandbox can
/// have both.
const SNAPSHOT_OWNER: u32 = FIRST_USER - 1;
/// The disk of a probe.
const PROBE_DISK_BYTES: u64 = 64 << 20;

/// What this machine allows in addition to what every `bwrap` can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct HostFeatures {
    /// Mounting file systems before `bwrap` starts.
    pub mount_plan: bool,
    /// Mounting an overlay in them.
    pub overlay: bool,
    /// Showing the files below an overlay as those of another user.
    pub maps_owners: bool,
    /// Forbidding more user namespaces by a limit, in addition to the seccomp filter.
    pub disables_user_namespaces: bool,
}

/// Tested in this order.
const FEATURE_SETS: [HostFeatures; 4] = [
    HostFeatures { mount_plan: true, overlay: true, maps_owners: false, disables_user_namespaces: true },
    HostFeatures { mount_plan: true, overlay: true, maps_owners: false, disables_user_namespaces: false },
    HostFeatures { mount_plan: true, overlay: false, maps_owners: false, disables_user_namespaces: false },
    HostFeatures { mount_plan: false, overlay: false, maps_owners: false, disables_user_namespaces: false },
];

/// `bwrap`, and how it can be used on this machine.
#[derive(Debug)]
pub(super) struct Launcher {
    program: PathBuf,
    version: String,
    as_root: bool,
    limits_disk: bool,
    features: HostFeatures,
    subordinates: Option<SubordinateUsers>,
    /// Whether a file system turned out not to support other owners.
    mapping_failed: AtomicBool,
    pub images: ImageStore,
}

/// Why a sandbox was not launched.
enum LaunchError {
    /// The machine could not start it in this way.
    NotStarted(SandboxError),
    /// Another way would fail as well.
    Final(SandboxError),
}

impl LaunchError {
    fn into_inner(self) -> SandboxError {
        match self {
            Self::NotStarted(error) | Self::Final(error) => error,
        }
    }
}

impl From<SandboxError> for LaunchError {
    fn from(error: SandboxError) -> Self {
        Self::Final(error)
    }
}

/// What to launch.
struct LaunchRequest<'a> {
    spec: &'a SandboxSpec,
    image: Option<&'a UnpackedImage>,
    snapshot: Option<&'a SnapshotView>,
}

impl LaunchRequest<'_> {
    /// The owner of the files that the sandbox changes in its own layer; 0 if there are none.
    fn owner(&self) -> Result<u32, SandboxError> {
        match (self.image, self.snapshot) {
            (Some(image), _) => owner_of(&image.root),
            (None, Some(SnapshotView::ReadOnly(files) | SnapshotView::Below(files))) => owner_of(files),
            (None, Some(SnapshotView::Writable(_))) => Ok(SNAPSHOT_OWNER),
            (None, None) => Ok(0),
        }
    }
}

/// How a sandbox's file systems are mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mode {
    /// With a writable layer over the image.
    overlaid: bool,
    /// With the files of image and snapshot shown as those of the sandbox's own user.
    maps_owners: bool,
}

impl Launcher {
    /// Checks that `program` is a `bwrap`, and tests what this machine allows.
    pub(super) fn new(program: PathBuf, images: ImageStore) -> Result<Self, SandboxError> {
        let run = |option: &str| {
            Command::new(&program).arg(option).env_clear().stdin(Stdio::null()).stderr(Stdio::null()).output()
        };
        let version = run("--version").map_err(|error| {
            SandboxError::unavailable(
                format!("the program '{}' cannot be started ({error})", program.display()),
                "install the package bubblewrap (Debian, Ubuntu: apt-get install bubblewrap)",
            )
        })?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        // Version 0.8 introduced `--size`. Without it, the other limits still hold.
        let limits_disk =
            run("--help").is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--size"));
        let mut launcher = Self {
            program,
            version,
            as_root: nix::unistd::geteuid().is_root(),
            limits_disk,
            features: HostFeatures::default(),
            subordinates: None,
            mapping_failed: AtomicBool::new(false),
            images,
        };
        match launcher.detect_features() {
            Ok(()) => Ok(launcher),
            Err(why) => {
                Err(SandboxError::unavailable(format!("bwrap cannot start a sandbox here ({why})"), remedy()))
            }
        }
    }

    /// Tests which features this machine has. The error says why no sandbox can be started.
    pub(super) fn detect_features(&mut self) -> Result<(), String> {
        if self.as_root {
            let privileges = Privileges::DroppedTo { user: FIRST_USER };
            let Err(_) = self.find_features(privileges) else {
                let mapped = HostFeatures { maps_owners: true, ..self.features };
                // Without it, sandboxes with a snapshot or an image share a user.
                match self.probe(privileges, mapped) {
                    Ok(()) => self.features = mapped,
                    Err(why) => tracing::debug!(why, "owners of files cannot be mapped"),
                }
                return Ok(());
            };
            // Root without CAP_SYS_ADMIN, as in a container, may still create user namespaces.
            self.as_root = false;
        }
        self.find_features(Privileges::UserNamespace)?;
        if self.features.mount_plan {
            // Without them, sandboxes are less separated, and the description says so.
            self.subordinates = SubordinateUsers::create().unwrap_or_else(|why| {
                tracing::warn!(error = why, "subordinate users are not available");
                None
            });
            if self.subordinates.is_some() {
                let user = FIRST_SUBORDINATE;
                if let Err(why) = self.probe(Privileges::MappedTo { user }, self.features) {
                    tracing::warn!(error = why, "subordinate users are not available");
                    self.subordinates = None;
                }
            }
        }
        Ok(())
    }

    fn find_features(&mut self, privileges: Privileges) -> Result<(), String> {
        let mut last_error = String::new();
        for features in FEATURE_SETS {
            match self.probe(privileges, features) {
                Ok(()) => {
                    self.features = features;
                    return Ok(());
                }
                Err(why) => last_error = why,
            }
        }
        Err(last_error)
    }

    /// Starts a sandbox exactly like a real one, with a toolbox that exits immediately.
    fn probe(&self, privileges: Privileges, features: HostFeatures) -> Result<(), String> {
        let mut mounts = self.mount_plan(privileges, features, PROBE_DISK_BYTES, None);
        if let (Some(mounts), true) = (&mut mounts, features.overlay) {
            let owners = match (features.maps_owners, privileges) {
                (true, Privileges::DroppedTo { user }) => {
                    Some(OwnerMap::new(0, user).map_err(|e| e.to_string())?)
                }
                (_, _) => None,
            };
            mounts.overlay(ROOT_MOUNT, "/usr".as_ref(), None, owners.as_ref())?;
        }
        let view = SandboxView {
            privileges,
            root: RootView::Host(&[]),
            mounts: mounts.as_ref(),
            disables_user_namespaces: features.disables_user_namespaces,
            disk_bytes_max: self.limits_disk.then_some(PROBE_DISK_BYTES),
            proxy: false,
            open_files_max: None,
            processes_max: None,
            data_bytes_max: None,
            snapshot: None,
        };
        let arguments = Arguments::build(&view, toolbox_file().map_err(|error| error.to_string())?, "probe")?;
        process::probe(&self.program, arguments, mounts)
    }

    fn mount_plan(
        &self,
        privileges: Privileges,
        features: HostFeatures,
        bytes_max: u64,
        memory_bytes_max: Option<u64>,
    ) -> Option<MountPlan> {
        let namespace = match (privileges, &self.subordinates) {
            (Privileges::DroppedTo { .. }, _) => MountNamespace::Root,
            (Privileges::MappedTo { .. }, Some(users)) => {
                MountNamespace::Joined(Arc::clone(&users.namespace))
            }
            (Privileges::MappedTo { .. }, None) | (Privileges::UserNamespace, _) => MountNamespace::Own,
        };
        features.mount_plan.then(|| MountPlan::new(namespace, bytes_max, memory_bytes_max)).flatten()
    }

    /// The user that a sandbox runs as. As root, each sandbox runs as another user, whose limits the kernel counts
    /// separately. In an image or with a snapshot the files must be that user's, so that it can change them in its own
    /// layer, as root would in a container: they are shown so, or else it runs as their owner, and such sandboxes are
    /// separated only by their namespaces.
    fn privileges(&self, request: &LaunchRequest<'_>, mode: Mode) -> Result<Privileges, SandboxError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        if self.as_root {
            let owner = request.owner()?;
            let is_shared = owner != 0 && !mode.maps_owners;
            let user = if is_shared { owner } else { FIRST_USER + number % USERS };
            return Ok(Privileges::DroppedTo { user });
        }
        // Images and snapshots belong to us, and not to a subordinate user.
        let needs_owner =
            request.image.is_some() || matches!(request.snapshot, Some(SnapshotView::Writable(_)));
        let needs_other_user = request.spec.required.contains(&Guarantee::OtherUser);
        Ok(match &self.subordinates {
            Some(users) if needs_other_user || !needs_owner => {
                let user = FIRST_SUBORDINATE + number % (users.users - FIRST_SUBORDINATE);
                Privileges::MappedTo { user }
            }
            Some(_) | None => Privileges::UserNamespace,
        })
    }

    /// Whether the user inside owns the files, so that a layer can be mounted over them and they need not
    /// be copied.
    fn can_overlay(
        &self,
        privileges: Privileges,
        files: &Path,
        owners: Option<&OwnerMap>,
    ) -> Result<bool, SandboxError> {
        let owner = owner_of(files)?;
        Ok(self.features.overlay
            && match privileges {
                Privileges::DroppedTo { user } => user == owner || owners.is_some(),
                Privileges::MappedTo { .. } => false,
                Privileges::UserNamespace => owner == nix::unistd::geteuid().as_raw(),
            })
    }

    /// Starts a sandbox that sees `snapshot`.
    pub(super) async fn launch(
        &self,
        spec: &SandboxSpec,
        snapshot: Option<SnapshotView>,
    ) -> Result<Toolbox, SandboxError> {
        if !spec.has_valid_label() {
            let missing = format!("a valid label; {:?} is not one", spec.label);
            return Err(SandboxError::unavailable(missing, "use at most 60 of a-z, 0-9 and '-'"));
        }
        let image = match &spec.root {
            Root::Host { .. } => None,
            Root::Image(reference) => Some(Box::pin(self.images.resolve(reference)).await?),
        };
        let request = LaunchRequest { spec, image: image.as_ref(), snapshot: snapshot.as_ref() };
        let overlaid = image.is_some() && self.features.overlay;
        let maps_owners = self.maps_owners(&request)?;
        let mut modes = Vec::new();
        if maps_owners {
            modes.push(Mode { overlaid, maps_owners });
        }
        if overlaid {
            modes.push(Mode { overlaid, maps_owners: false });
        }
        for mode in modes {
            match self.launch_on(&request, mode).await {
                Err(LaunchError::NotStarted(error)) if mode.maps_owners => {
                    tracing::warn!(%error, "the owners of files cannot be mapped; sandboxes share a user");
                    self.mapping_failed.store(true, Ordering::Relaxed);
                }
                // The file system with the images may not support an overlay.
                Err(LaunchError::NotStarted(error)) => {
                    tracing::warn!(%error, "no writable layer over the image");
                }
                outcome => return outcome.map_err(LaunchError::into_inner),
            }
        }
        self.launch_on(&request, Mode::default()).await.map_err(LaunchError::into_inner)
    }

    /// Whether the files of an image or a snapshot are shown as those of the sandbox's own user.
    fn maps_owners(&self, request: &LaunchRequest<'_>) -> Result<bool, SandboxError> {
        let is_written = matches!(request.snapshot, Some(SnapshotView::Writable(_)));
        let is_possible = self.as_root && self.features.overlay && self.features.maps_owners;
        Ok(is_possible
            && !is_written
            && !self.mapping_failed.load(Ordering::Relaxed)
            && request.owner()? != 0)
    }

    async fn launch_on(&self, request: &LaunchRequest<'_>, mode: Mode) -> Result<Toolbox, LaunchError> {
        let spec = request.spec;
        let toolchains = match &spec.root {
            Root::Host { toolchains } => checked_toolchains(toolchains).map_err(|why| {
                SandboxError::unavailable(
                    why,
                    "correct the list of toolchain directories in the configuration",
                )
            })?,
            Root::Image(_) => Vec::new(),
        };
        let privileges = self.privileges(request, mode)?;
        if let (Some(SnapshotView::Writable(files)), Privileges::DroppedTo { user }) =
            (request.snapshot, privileges)
        {
            let given = std::os::unix::fs::chown(files, Some(user), Some(user));
            given.map_err(|e| SandboxError::SnapshotFailed(format!("{}: {e}", files.display())))?;
        }
        let root = match request.image {
            None => RootView::Host(&toolchains),
            Some(image) if mode.overlaid => RootView::Overlaid(image),
            Some(image) => RootView::ReadOnly(image),
        };
        let not_started = |why: String| {
            LaunchError::NotStarted(SandboxError::unavailable(
                format!("the sandbox could not be started ({why})"),
                remedy(),
            ))
        };
        let owners = match (mode.maps_owners, privileges) {
            (true, Privileges::DroppedTo { user }) => {
                let owners = OwnerMap::new(request.owner()?, user);
                Some(owners.map_err(|e| not_started(format!("its user cannot be mapped: {e}")))?)
            }
            (_, _) => None,
        };
        let cgroup = Arc::new(Cgroup::create(&spec.label, &spec.limits));
        let writable_bytes = writable_bytes(&spec.limits, cgroup.bounds_memory());
        let memory_bytes_max = cgroup.bounds_memory().then_some(spec.limits.memory_bytes_max);
        let mut mounts = self.mount_plan(privileges, self.features, writable_bytes, memory_bytes_max);
        if let (Some(mounts), RootView::Overlaid(image)) = (&mut mounts, &root) {
            let owner = match privileges {
                Privileges::DroppedTo { user } => Some(user),
                Privileges::MappedTo { .. } | Privileges::UserNamespace => None,
            };
            mounts.overlay(ROOT_MOUNT, &image.root, owner, owners.as_ref()).map_err(not_started)?;
        }
        let below = match (&mut mounts, request.snapshot) {
            (Some(mounts), Some(SnapshotView::ReadOnly(files)))
                if self.can_overlay(privileges, files, owners.as_ref())? =>
            {
                for (directory, name) in [("workspace", SNAPSHOT_WORKSPACE), ("home", SNAPSHOT_HOME)] {
                    mounts
                        .overlay(directory, &files.join(name), None, owners.as_ref())
                        .map_err(not_started)?;
                }
                Some(SnapshotView::Below(files.clone()))
            }
            (_, _) => None,
        };
        let applied = AppliedLimits {
            spec,
            version: &self.version,
            privileges,
            cgroup: &cgroup,
            root: &root,
            writable_bytes,
            shares_disk: mounts.is_some(),
            bounds_disk: self.limits_disk || mounts.is_some(),
        };
        applied.check_required()?;
        let description = applied.describe();
        let view = SandboxView {
            privileges,
            root,
            mounts: mounts.as_ref(),
            disables_user_namespaces: self.features.disables_user_namespaces,
            open_files_max: Some(spec.limits.open_files_max),
            disk_bytes_max: self.limits_disk.then_some(writable_bytes),
            proxy: !spec.allowed_hosts.is_empty(),
            processes_max: (!cgroup.bounds_processes()).then_some(spec.limits.pids_max),
            data_bytes_max: (!cgroup.bounds_memory()).then_some(spec.limits.memory_bytes_max),
            snapshot: below.as_ref().or(request.snapshot),
        };
        let arguments =
            Arguments::build(&view, toolbox_file().map_err(|error| not_started(error.to_string()))?, "init")
                .map_err(not_started)?;
        let launch = process::Launch {
            program: self.program.clone(),
            arguments,
            mounts,
            cgroup: Arc::clone(&cgroup),
            label: spec.label.clone(),
            image: request.image.cloned(),
        };
        let started = process::start(launch).await.map_err(not_started)?;
        let no_pipe = |e: std::io::Error| not_started(format!("its pipe: {e}"));
        let reader = tokio::process::ChildStdout::from_std(started.from_toolbox).map_err(no_pipe)?;
        let writer = tokio::process::ChildStdin::from_std(started.to_toolbox).map_err(no_pipe)?;
        let (pipe, egress) = (tokio::io::join(reader, writer), Egress::for_sandbox(spec));
        Ok(Toolbox::connect(pipe, started.process, description, egress).await?)
    }
}

/// Everything that is written is in memory, and counts as memory if that is limited. A disk that could use
/// all of it would never be full; the kernel would kill processes instead.
fn writable_bytes(limits: &Limits, memory_is_bounded: bool) -> u64 {
    let share = limits.memory_bytes_max / 4 * 3;
    if memory_is_bounded { limits.disk_bytes_max.min(share) } else { limits.disk_bytes_max }
}

fn owner_of(path: &Path) -> Result<u32, SandboxError> {
    let gone = |e| SandboxError::Gone(format!("{} no longer exists: {e}", path.display()));
    Ok(std::fs::metadata(path).map_err(gone)?.uid())
}

#[cfg(test)]
mod tests;
