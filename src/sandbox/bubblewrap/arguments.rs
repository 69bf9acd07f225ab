//! What a sandbox looks like from inside, as arguments to `bwrap`: namespaces, environment, root
//! file system. Decides everything that is visible in there; starts nothing.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::stage::Stage;
use crate::sandbox::egress::PROXY_PORT;
use crate::sandbox::seccomp;
use crate::sandbox::{TOOLBOX_PATH, UnpackedImage, environment};

mod file_system;

/// Inside a user namespace.
const USER_IN_NAMESPACE: u32 = 1000;
/// A toolchain may not be one of these, or it would show what the sandbox hides.
const NEVER_TOOLCHAINS: [&str; 13] =
    ["/", "/root", "/home", "/etc", "/var", "/run", "/proc", "/sys", "/dev", "/tmp", "/srv", "/boot", "/mnt"];

/// How privileges are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privileges {
    /// As root, without a user namespace: the toolbox becomes an unprivileged user at once.
    DroppedTo {
        /// That user's number.
        user: u32,
    },
    /// As the root of a user namespace of ours, in which this process' user is that root, and the
    /// toolbox becomes one of the users that are subordinate to it.
    MappedTo {
        /// That user's number in the namespace.
        user: u32,
    },
    /// In a user namespace, which is all that an ordinary user can have by itself.
    UserNamespace,
}

impl Privileges {
    /// The user of all that runs inside, as it is numbered there.
    pub(super) fn user(self) -> u32 {
        match self {
            Self::DroppedTo { user } | Self::MappedTo { user } => user,
            Self::UserNamespace => USER_IN_NAMESPACE,
        }
    }
}

/// A root file system, as a sandbox is given it.
pub(super) enum ShownRoot<'a> {
    /// This machine's `/usr`, and these directories at the same path.
    Host(&'a [PathBuf]),
    /// An image, with a layer of the stage over it, at [`ROOT_ON_STAGE`].
    Overlaid(&'a UnpackedImage),
    /// An image as it is, read-only.
    ReadOnly(&'a UnpackedImage),
}

/// Where on the stage an image has a writable layer over it.
pub(super) const ROOT_ON_STAGE: &str = "root";

/// What is asked of one sandbox.
pub(super) struct Inside<'a> {
    pub privileges: Privileges,
    pub root: ShownRoot<'a>,
    /// What is mounted before `bwrap` starts.
    pub stage: Option<&'a Stage>,
    /// Whether this `bwrap` can forbid further user namespaces.
    pub disables_user_namespaces: bool,
    /// Bytes of all writable file systems together, where there is no stage to bound them; none where
    /// `bwrap` cannot either.
    pub disk_bytes_max: Option<u64>,
    /// Whether the toolbox lends a proxy.
    pub proxy: bool,
    /// Open files of one process.
    pub open_files_max: Option<u64>,
    /// Resource limits to be taken by the toolbox, for want of a cgroup.
    pub processes_max: Option<u32>,
    pub data_bytes_max: Option<u64>,
    /// Where it sees what a set-up made.
    pub snapshot: Option<&'a ShownPrepared>,
}

/// A host directory shown at `/.mendwright/snapshot`.
pub(super) enum ShownPrepared {
    /// To begin with.
    ReadOnly(PathBuf),
    /// The same, where its parts are already below layers of the stage.
    Below(PathBuf),
    /// To be filled, by a toolbox that runs no command.
    Writable(PathBuf),
}

/// Arguments, and the files that they name by number; these must stay open until `bwrap` runs.
pub(super) struct Arguments {
    pub words: Vec<OsString>,
    pub files: Vec<OwnedFd>,
}

impl Arguments {
    /// For a sandbox whose toolbox is started as `command`: `init` or `probe`.
    pub(super) fn build(inside: &Inside<'_>, toolbox: &[u8], command: &str) -> Result<Self, String> {
        let mut arguments = Self { words: Vec::new(), files: Vec::new() };
        arguments.namespaces(inside);
        arguments.environment(inside);
        arguments.root_file_system(inside, toolbox).map_err(|e| format!("a file for the sandbox: {e}"))?;
        for filter in seccomp::filters()? {
            let file = arguments.pass("filter", &seccomp::to_bytes(&filter));
            let file = file.map_err(|e| format!("a file for the system call filter: {e}"))?;
            arguments.add(["--add-seccomp-fd", &file.to_string()]);
        }
        arguments.add(["--", TOOLBOX_PATH, command]);
        match inside.privileges {
            Privileges::DroppedTo { user } | Privileges::MappedTo { user } => {
                arguments.add(["--user", &user.to_string()]);
            }
            Privileges::UserNamespace => {}
        }
        let limits = [
            ("--open-files", inside.open_files_max),
            ("--processes", inside.processes_max.map(u64::from)),
            ("--data-bytes", inside.data_bytes_max),
        ];
        for (option, most) in limits {
            if let Some(most) = most {
                arguments.add([option, &most.to_string()]);
            }
        }
        if inside.proxy {
            arguments.add(["--proxy-port", &PROXY_PORT.to_string()]);
        }
        match inside.snapshot {
            Some(ShownPrepared::ReadOnly(_)) => arguments.add(["--prepared"]),
            Some(ShownPrepared::Below(_)) => arguments.add(["--prepared-below"]),
            Some(ShownPrepared::Writable(_)) | None => {}
        }
        Ok(arguments)
    }

    fn namespaces(&mut self, inside: &Inside<'_>) {
        self.add([
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ]);
        self.add(["--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox"]);
        self.add(["--cap-drop", "ALL"]);
        match inside.privileges {
            Privileges::UserNamespace => {
                let user = USER_IN_NAMESPACE.to_string();
                self.add(["--unshare-user", "--uid", &user, "--gid", &user]);
                if inside.disables_user_namespaces {
                    self.add(["--disable-userns"]);
                }
            }
            Privileges::DroppedTo { .. } | Privileges::MappedTo { .. } => {
                // For the toolbox to become that user; it gives them up in the same breath.
                for capability in ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN"] {
                    self.add(["--cap-add", capability]);
                }
            }
        }
    }

    fn environment(&mut self, inside: &Inside<'_>) {
        self.add(["--clearenv"]);
        let mut path = OsString::new();
        match &inside.root {
            ShownRoot::Host(toolchains) => {
                for bin in toolchains.iter().map(|toolchain| toolchain.join("bin")).filter(|bin| bin.is_dir())
                {
                    path.push(bin);
                    path.push(":");
                }
                path.push(environment::SYSTEM_PATH);
            }
            ShownRoot::Overlaid(image) | ShownRoot::ReadOnly(image) => {
                for (name, value) in &image.env {
                    self.add(["--setenv", name, value]);
                }
                path.push(image.path.as_deref().unwrap_or(environment::SYSTEM_PATH));
            }
        }
        self.add(["--setenv", "PATH"]);
        self.words.push(path);
        for (name, value) in environment::variables(inside.proxy) {
            self.add(["--setenv", name, &value]);
        }
    }

    /// Puts content where `bwrap` can read it by a descriptor's number.
    fn pass(&mut self, name: &str, content: &[u8]) -> io::Result<RawFd> {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut file = fs::File::from(memfd_create(name.as_str(), MFdFlags::MFD_CLOEXEC)?);
        file.write_all(content)?;
        file.rewind()?;
        let number = file.as_raw_fd();
        self.files.push(file.into());
        Ok(number)
    }

    fn add<const N: usize>(&mut self, words: [&str; N]) {
        self.words.extend(words.map(OsString::from));
    }
}

/// The directories as they really are, or why one may not be shown.
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
                refuse("holds more than a toolchain")
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
    fn a_toolchain_that_would_show_the_host_is_refused() {
        for never in ["/", "/root", "/home", "/etc", "relative", "/nowhere/at/all", "/etc/passwd"] {
            assert!(checked_toolchains(&[never.into()]).is_err(), "{never} was accepted");
        }
        assert_eq!(checked_toolchains(&["/usr".into()]).unwrap(), [PathBuf::from("/usr")]);
    }

    #[test]
    fn no_network_and_no_host_directory_unless_asked_for() {
        let inside = Inside {
            privileges: Privileges::UserNamespace,
            root: ShownRoot::Host(&[]),
            stage: None,
            disables_user_namespaces: true,
            disk_bytes_max: Some(8 << 20),
            proxy: false,
            open_files_max: None,
            processes_max: None,
            data_bytes_max: None,
            snapshot: None,
        };
        let arguments = Arguments::build(&inside, b"", "init").unwrap();
        let words: Vec<_> = arguments.words.iter().map(|word| word.to_str().unwrap()).collect();
        assert!(words.contains(&"--unshare-net") && words.contains(&"--unshare-user"));
        assert!(!words.iter().any(|word| word.contains("proxy") || *word == "--share-net"));
        for pair in words.windows(2).filter(|pair| pair[0].contains("bind")) {
            let shown = ["/usr", "/dev/null"].contains(&pair[1]) || file_system::is_of_the_system(pair[1]);
            assert!(shown, "{} is shown", pair[1]);
        }
    }
}
