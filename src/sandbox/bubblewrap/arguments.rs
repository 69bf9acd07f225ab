//! The view from inside a sandbox, as arguments to `bwrap`: namespaces, environment, root file system.
//! Decides everything that is visible inside; starts nothing.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::mounts::MountPlan;
use crate::sandbox::{PROXY_PORT, TOOLBOX_PATH, UnpackedImage, environment, seccomp};

mod file_system;

/// The user inside a user namespace.
const NAMESPACE_USER: u32 = 1000;
/// Directories that may not be toolchains, because the sandbox hides them.
const NEVER_TOOLCHAINS: [&str; 13] =
    ["/", "/root", "/home", "/etc", "/var", "/run", "/proc", "/sys", "/dev", "/tmp", "/srv", "/boot", "/mnt"];

/// How the toolbox drops its privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privileges {
    /// As root, without a user namespace: the toolbox becomes an unprivileged user first of all.
    DroppedTo {
        /// The user's id.
        user: u32,
    },
    /// As the root of our user namespace, which is the user of this process. The toolbox becomes one of
    /// the subordinate users.
    MappedTo {
        /// The user's id in the namespace.
        user: u32,
    },
    /// In a user namespace, which is all that an ordinary user may create.
    UserNamespace,
}

impl Privileges {
    /// The id of the user of everything inside, as seen from inside.
    pub(super) fn user(self) -> u32 {
        match self {
            Self::DroppedTo { user } | Self::MappedTo { user } => user,
            Self::UserNamespace => NAMESPACE_USER,
        }
    }
}

/// The root file system that a sandbox sees.
pub(super) enum RootView<'a> {
    /// This machine's `/usr`, and these directories at the same path.
    Host(&'a [PathBuf]),
    /// An image with a writable layer over it, at [`ROOT_MOUNT`] of the mount plan.
    Overlaid(&'a UnpackedImage),
    /// An image, read-only.
    ReadOnly(&'a UnpackedImage),
}

/// The directory of the mount plan for an image with a writable layer.
pub(super) const ROOT_MOUNT: &str = "root";

/// What one sandbox sees.
pub(super) struct SandboxView<'a> {
    pub privileges: Privileges,
    pub root: RootView<'a>,
    /// What is mounted before `bwrap` starts.
    pub mounts: Option<&'a MountPlan>,
    /// Whether this `bwrap` can forbid more user namespaces.
    pub disables_user_namespaces: bool,
    /// Bytes of all writable file systems together, if there is no mount plan to limit them; `None` if
    /// `bwrap` cannot limit them either.
    pub disk_bytes_max: Option<u64>,
    /// Whether the toolbox provides a proxy.
    pub proxy: bool,
    /// Open files of one process.
    pub open_files_max: Option<u64>,
    /// Resource limits that the toolbox sets because there is no cgroup.
    pub processes_max: Option<u32>,
    pub data_bytes_max: Option<u64>,
    /// How it sees a setup snapshot.
    pub snapshot: Option<&'a SnapshotView>,
}

/// A host directory with a snapshot, mounted at [`SNAPSHOT`](mendwright_protocol::SNAPSHOT).
pub(super) enum SnapshotView {
    /// The sandbox starts with a copy of it.
    ReadOnly(PathBuf),
    /// The same, but the mount plan has layers over its parts already.
    Below(PathBuf),
    /// A toolbox that runs no commands writes it.
    Writable(PathBuf),
}

/// Arguments, and the files that they name by descriptor. The files must stay open until `bwrap` runs.
pub(super) struct Arguments {
    pub words: Vec<OsString>,
    pub files: Vec<OwnedFd>,
}

impl Arguments {
    /// For a sandbox whose toolbox is read from `toolbox` and started as `command`: `init` or `probe`.
    pub(super) fn build(view: &SandboxView<'_>, toolbox: OwnedFd, command: &str) -> Result<Self, String> {
        let mut arguments = Self { words: Vec::new(), files: Vec::new() };
        arguments.namespaces(view);
        arguments.environment(view);
        arguments.root_file_system(view, toolbox).map_err(|e| format!("a file for the sandbox: {e}"))?;
        for filter in seccomp::filters()? {
            let file = arguments.pass("filter", &seccomp::to_bytes(&filter));
            let file = file.map_err(|e| format!("a file for the seccomp filter: {e}"))?;
            arguments.add(["--add-seccomp-fd", &file.to_string()]);
        }
        arguments.add(["--", TOOLBOX_PATH, command]);
        match view.privileges {
            Privileges::DroppedTo { user } | Privileges::MappedTo { user } => {
                arguments.add(["--user", &user.to_string()]);
            }
            Privileges::UserNamespace => {}
        }
        let limits = [
            ("--open-files", view.open_files_max),
            ("--processes", view.processes_max.map(u64::from)),
            ("--data-bytes", view.data_bytes_max),
        ];
        for (option, most) in limits {
            if let Some(most) = most {
                arguments.add([option, &most.to_string()]);
            }
        }
        if view.proxy {
            arguments.add(["--proxy-port", &PROXY_PORT.to_string()]);
        }
        match view.snapshot {
            Some(SnapshotView::ReadOnly(_)) => arguments.add(["--prepared"]),
            Some(SnapshotView::Below(_)) => arguments.add(["--prepared-below"]),
            Some(SnapshotView::Writable(_)) | None => {}
        }
        Ok(arguments)
    }

    fn namespaces(&mut self, view: &SandboxView<'_>) {
        self.add([
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ]);
        self.add(["--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox"]);
        self.add(["--cap-drop", "ALL"]);
        match view.privileges {
            Privileges::UserNamespace => {
                let user = NAMESPACE_USER.to_string();
                self.add(["--unshare-user", "--uid", &user, "--gid", &user]);
                if view.disables_user_namespaces {
                    self.add(["--disable-userns"]);
                }
            }
            Privileges::DroppedTo { .. } | Privileges::MappedTo { .. } => {
                // The toolbox needs these to become that user, and drops them immediately.
                for capability in ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN"] {
                    self.add(["--cap-add", capability]);
                }
            }
        }
    }

    fn environment(&mut self, view: &SandboxView<'_>) {
        self.add(["--clearenv"]);
        let mut path = OsString::new();
        match &view.root {
            RootView::Host(toolchains) => {
                for bin in toolchains.iter().map(|toolchain| toolchain.join("bin")).filter(|bin| bin.is_dir())
                {
                    path.push(bin);
                    path.push(":");
                }
                path.push(environment::search_path(None));
            }
            RootView::Overlaid(image) | RootView::ReadOnly(image) => {
                for (name, value) in &image.env {
                    self.add(["--setenv", name, value]);
                }
                path.push(environment::search_path(image.path.as_deref()));
            }
        }
        self.add(["--setenv", "PATH"]);
        self.words.push(path);
        for (name, value) in environment::variables(view.proxy) {
            self.add(["--setenv", name, &value]);
        }
        if view.proxy {
            let root = match &view.root {
                RootView::Host(_) => Path::new("/"),
                RootView::Overlaid(image) | RootView::ReadOnly(image) => &image.root,
            };
            for (name, value) in environment::certificate_variables(root) {
                self.add(["--setenv", name, &value]);
            }
        }
    }

    /// Puts content into a file that `bwrap` can read by its descriptor.
    fn pass(&mut self, name: &str, content: &[u8]) -> io::Result<RawFd> {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut file = fs::File::from(memfd_create(name.as_str(), MFdFlags::MFD_CLOEXEC)?);
        file.write_all(content)?;
        file.rewind()?;
        Ok(self.pass_file(file.into()))
    }

    /// Lets `bwrap` read a file by its descriptor.
    fn pass_file(&mut self, file: OwnedFd) -> RawFd {
        let number = file.as_raw_fd();
        self.files.push(file);
        number
    }

    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.words.extend(words.map(OsString::from));
    }
}

/// The real paths of the directories, or why one may not be shown.
pub(super) fn checked_toolchains(toolchains: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let check = |toolchain: &PathBuf| {
        let refuse = |why: &str| Err(format!("the toolchain directory {} {why}", toolchain.display()));
        if !toolchain.is_absolute() {
            return refuse("is not an absolute path");
        }
        match fs::canonicalize(toolchain) {
            Ok(real) if real != *toolchain => {
                refuse(&format!("goes through a symlink; name it {}", real.display()))
            }
            Ok(real) if NEVER_TOOLCHAINS.iter().any(|never| real == Path::new(never)) => {
                refuse("contains more than a toolchain")
            }
            Ok(real) if !real.is_dir() => refuse("is not a directory"),
            Ok(real) => Ok(real),
            Err(error) => refuse(&format!("cannot be opened: {error}")),
        }
    };
    toolchains.iter().map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolchain_that_would_show_the_host_is_refused() {
        for never in ["/", "/root", "/home", "/etc", "relative", "/nowhere/at/all", "/etc/passwd"] {
            assert!(checked_toolchains(&[never.into()]).is_err(), "{never} was accepted");
        }
        assert_eq!(checked_toolchains(&["/usr".into()]).unwrap(), [PathBuf::from("/usr")]);
    }

    #[test]
    fn arguments_without_options_show_no_network_and_no_host_directory() {
        let view = SandboxView {
            privileges: Privileges::UserNamespace,
            root: RootView::Host(&[]),
            mounts: None,
            disables_user_namespaces: true,
            disk_bytes_max: Some(8 << 20),
            proxy: false,
            open_files_max: None,
            processes_max: None,
            data_bytes_max: None,
            snapshot: None,
        };
        let arguments = Arguments::build(&view, fs::File::open("/dev/null").unwrap().into(), "init").unwrap();
        let words: Vec<_> = arguments.words.iter().map(|word| word.to_str().unwrap()).collect();
        assert!(words.contains(&"--unshare-net") && words.contains(&"--unshare-user"));
        assert!(!words.iter().any(|word| word.contains("proxy") || *word == "--share-net"));
        for pair in words.windows(2).filter(|pair| pair[0].contains("bind")) {
            let shown = ["/usr", "/dev/null"].contains(&pair[1]) || file_system::is_system_path(pair[1]);
            assert!(shown, "{} is shown", pair[1]);
        }
    }
}
