//! What a sandbox looks like from inside, as arguments to `bwrap`: namespaces, root file system,
//! environment. Decides everything that is visible in there; starts nothing.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::seccomp;
use crate::sandbox::egress::PROXY_PORT;
use crate::sandbox::protocol::PREPARED;
use crate::sandbox::{HOME, TOOLBOX_PATH, environment};

/// Inside a user namespace.
const USER_IN_NAMESPACE: u32 = 1000;
/// Read-only from the host where they exist: for the dynamic linker, TLS and names of services.
const ETC_FROM_HOST: [&str; 11] = [
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/localtime",
    "/etc/services",
    "/etc/protocols",
];
/// Beside `/usr`, as on the host: symlinks into it, or directories.
const ROOT_DIRECTORIES: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// Files of `/proc` that tell about the host, covered where they exist (as container engines do).
const PROC_COVERED: [&str; 6] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/cmdline",
];
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
    /// In a user namespace, which is all that an ordinary user can have.
    UserNamespace,
}

/// What is asked of one sandbox.
pub(super) struct Inside<'a> {
    pub privileges: Privileges,
    /// Host directories to show read-only, at the same path.
    pub toolchains: &'a [PathBuf],
    /// Bytes of all writable file systems together; none where `bwrap` cannot bound them.
    pub disk_bytes_max: Option<u64>,
    /// Whether the toolbox lends a proxy.
    pub proxy: bool,
    /// Open files of one process.
    pub open_files_max: Option<u64>,
    /// Resource limits to be taken by the toolbox, for want of a cgroup.
    pub processes_max: Option<u32>,
    pub data_bytes_max: Option<u64>,
    /// Where it sees what a set-up made.
    pub prepared: Option<&'a ShownPrepared>,
}

/// A host directory shown at [`PREPARED`].
pub(super) enum ShownPrepared {
    /// To begin with.
    ReadOnly(PathBuf),
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
        arguments.namespaces(inside.privileges);
        arguments.environment(inside);
        arguments.root_file_system(inside, toolbox).map_err(|e| format!("a file for the sandbox: {e}"))?;
        for filter in seccomp::filters()? {
            let file = arguments.pass("filter", &seccomp::to_bytes(&filter));
            let file = file.map_err(|e| format!("a file for the system call filter: {e}"))?;
            arguments.add(["--add-seccomp-fd", &file.to_string()]);
        }
        arguments.add(["--", TOOLBOX_PATH, command]);
        if let Privileges::DroppedTo { user } = inside.privileges {
            arguments.add(["--user", &user.to_string()]);
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
        if let Some(ShownPrepared::ReadOnly(_)) = inside.prepared {
            arguments.add(["--prepared"]);
        }
        Ok(arguments)
    }

    fn namespaces(&mut self, privileges: Privileges) {
        self.add([
            "--unshare-pid",
            "--unshare-net",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
        ]);
        self.add(["--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox"]);
        self.add(["--cap-drop", "ALL"]);
        match privileges {
            Privileges::UserNamespace => {
                let user = USER_IN_NAMESPACE.to_string();
                self.add(["--unshare-user", "--uid", &user, "--gid", &user]);
            }
            Privileges::DroppedTo { .. } => {
                // For the toolbox to become that user; it gives them up in the same breath.
                for capability in ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN"] {
                    self.add(["--cap-add", capability]);
                }
            }
        }
    }

    fn environment(&mut self, inside: &Inside<'_>) {
        self.add(["--clearenv"]);
        let bins = inside.toolchains.iter().map(|toolchain| toolchain.join("bin")).filter(|bin| bin.is_dir());
        let mut path = OsString::new();
        for bin in bins {
            path.push(bin);
            path.push(":");
        }
        path.push(environment::SYSTEM_PATH);
        self.add(["--setenv", "PATH"]);
        self.words.push(path);
        for (name, value) in environment::variables(inside.proxy) {
            self.add(["--setenv", name, &value]);
        }
    }

    fn root_file_system(&mut self, inside: &Inside<'_>, toolbox: &[u8]) -> io::Result<()> {
        self.add(["--ro-bind", "/usr", "/usr"]);
        for directory in ROOT_DIRECTORIES {
            match fs::read_link(directory) {
                Ok(target) => {
                    self.add(["--symlink"]);
                    self.words.push(target.into());
                    self.add([directory]);
                }
                Err(_) if Path::new(directory).is_dir() => self.add(["--ro-bind", directory, directory]),
                Err(_) => {}
            }
        }
        self.add(["--proc", "/proc"]);
        for covered in PROC_COVERED.into_iter().filter(|file| Path::new(file).exists()) {
            self.add(["--ro-bind", "/dev/null", covered]);
        }
        self.add(["--dev", "/dev"]);
        let part = |share: u64| inside.disk_bytes_max.map(|bytes| bytes / 8 * share);
        self.writable("/dev/shm", "1777", part(1));
        self.add(["--remount-ro", "/dev"]);
        self.writable("/tmp", "1777", part(1));
        self.add(["--perms", "0755", "--dir", "/home"]);
        self.writable(HOME, "0755", part(2));
        self.writable(crate::sandbox::WORKSPACE, "0755", part(4));
        self.etc(inside.privileges)?;
        for toolchain in inside.toolchains.iter().filter(|toolchain| !toolchain.starts_with("/usr")) {
            self.parents_of(toolchain);
            self.add(["--ro-bind"]);
            self.words.extend([toolchain.into(), toolchain.into()]);
        }
        // Executable and not readable: the kernel then keeps the process' memory and descriptors
        // from others of the same user, from its very first instruction.
        self.add(["--perms", "0755", "--dir", "/.mendwright"]);
        self.file(TOOLBOX_PATH, "0111", toolbox)?;
        let shown = match inside.prepared {
            Some(ShownPrepared::ReadOnly(files)) => Some(("--ro-bind", files)),
            Some(ShownPrepared::Writable(files)) => Some(("--bind", files)),
            None => None,
        };
        if let Some((bind, files)) = shown {
            self.add(["--perms", "0755", "--dir", PREPARED, bind]);
            self.words.push(files.into());
            self.add([PREPARED]);
        }
        self.add(["--remount-ro", "/", "--chdir", crate::sandbox::WORKSPACE]);
        Ok(())
    }

    fn etc(&mut self, privileges: Privileges) -> io::Result<()> {
        let user = match privileges {
            Privileges::DroppedTo { user } => user,
            Privileges::UserNamespace => USER_IN_NAMESPACE,
        };
        self.add(["--perms", "0755", "--dir", "/etc"]);
        let passwd = format!(
            "root:x:0:0:root:/:/usr/sbin/nologin\nagent:x:{user}:{user}:agent:{HOME}:/bin/sh\n\
             nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
        );
        let group = format!("root:x:0:\nagent:x:{user}:\nnogroup:x:65534:\n");
        for (path, content) in [
            ("/etc/passwd", passwd.as_str()),
            ("/etc/group", &group),
            ("/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
            ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
            ("/etc/resolv.conf", ""),
        ] {
            self.file(path, "0444", content.as_bytes())?;
        }
        for path in ETC_FROM_HOST.into_iter().filter(|path| Path::new(path).exists()) {
            self.parents_of(Path::new(path));
            self.add(["--ro-bind", path, path]);
        }
        // A distribution's Java does not start without these.
        for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b"java-") && entry.path().is_dir() {
                self.add(["--ro-bind"]);
                self.words.extend([entry.path().into(), entry.path().into()]);
            }
        }
        Ok(())
    }

    /// Makes the directories above a path: `bwrap` would make them for its own eyes only.
    fn parents_of(&mut self, path: &Path) {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents.into_iter().skip(1) {
            self.add(["--perms", "0755", "--dir"]);
            self.words.push(parent.into());
        }
    }

    fn writable(&mut self, path: &str, mode: &str, bytes_max: Option<u64>) {
        self.add(["--perms", mode]);
        if let Some(bytes_max) = bytes_max {
            self.add(["--size", &bytes_max.to_string()]);
        }
        self.add(["--tmpfs", path]);
    }

    fn file(&mut self, path: &str, mode: &str, content: &[u8]) -> io::Result<()> {
        let file = self.pass(path, content)?;
        self.add(["--perms", mode, "--file", &file.to_string(), path]);
        Ok(())
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
            toolchains: &[],
            disk_bytes_max: Some(8 << 20),
            proxy: false,
            open_files_max: None,
            processes_max: None,
            data_bytes_max: None,
            prepared: None,
        };
        let arguments = Arguments::build(&inside, b"", "init").unwrap();
        let words: Vec<_> = arguments.words.iter().map(|word| word.to_str().unwrap()).collect();
        assert!(words.contains(&"--unshare-net") && words.contains(&"--unshare-user"));
        assert!(!words.iter().any(|word| word.contains("proxy") || *word == "--share-net"));
        for pair in words.windows(2).filter(|pair| pair[0].contains("bind")) {
            let shown = ["/usr", "/dev/null"].contains(&pair[1])
                || ETC_FROM_HOST.contains(&pair[1])
                || ROOT_DIRECTORIES.contains(&pair[1])
                || pair[1].starts_with("/etc/java-");
            assert!(shown, "{} is shown", pair[1]);
        }
    }
}
