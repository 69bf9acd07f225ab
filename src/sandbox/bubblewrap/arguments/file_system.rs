//! The arguments for the root file system: what is shown of the host or of an image, what is writable,
//! and what is our own in `/proc`, `/dev` and `/etc`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use mendwright_protocol::SNAPSHOT;
use nix::libc;

use super::{Arguments, ROOT_MOUNT, RootView, SandboxView, SnapshotView};
use crate::sandbox::{HOME, TOOLBOX_PATH, WORKSPACE};

/// Shown read-only from the host if they exist: for the dynamic linker, TLS and names of services, and what Debian's
/// Maven does not start without. Maven's `settings.xml`, which can hold passwords, is not shown.
const ETC_FROM_HOST: [&str; 13] = [
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
    "/etc/maven/m2.conf",
    "/etc/maven/logging",
];
/// A distribution's Java does not start without directories with this prefix.
const JAVA: &str = "/etc/java-";
/// Besides `/usr`, as on the host: symlinks into it, or directories.
const ROOT_DIRECTORIES: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// Files of `/proc` that reveal something about the host or act on it. They are covered if they exist, as
/// container engines do. `bwrap` itself makes those parts of `/proc/sys`, `irq` and `bus` read-only that
/// root could write.
const PROC_FILES_COVERED: [&str; 9] = [
    "/proc/kcore",
    "/proc/keys",
    "/proc/key-users",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/cmdline",
    "/proc/interrupts",
    "/proc/sysrq-trigger",
];
/// Directories that are covered for the same reason.
const PROC_DIRECTORIES_COVERED: [&str; 4] = ["/proc/acpi", "/proc/asound", "/proc/scsi", "/proc/fs"];
/// The longest list of users or groups of an image.
const NAMES_BYTES_MAX: u64 = 1 << 20;

/// Whether a path is shown on every host.
#[cfg(test)]
pub(super) fn is_system_path(path: &str) -> bool {
    ETC_FROM_HOST.contains(&path) || ROOT_DIRECTORIES.contains(&path) || path.starts_with(JAVA)
}

impl Arguments {
    pub(super) fn root_file_system(&mut self, view: &SandboxView<'_>, toolbox: OwnedFd) -> io::Result<()> {
        match (&view.root, view.mounts) {
            (RootView::Overlaid(_), Some(mounts)) => {
                self.add(["--bind"]);
                self.words.extend([mounts.path(ROOT_MOUNT).into(), "/".into()]);
            }
            (RootView::Overlaid(image) | RootView::ReadOnly(image), _) => {
                self.add(["--ro-bind"]);
                self.words.extend([image.root.clone().into(), "/".into()]);
            }
            (RootView::Host(_), _) => self.host_system(),
        }
        self.proc();
        self.add(["--dev", "/dev"]);
        let part = |share: u64| view.disk_bytes_max.map(|bytes| bytes / 8 * share);
        self.writable(view, "shm", "/dev/shm", "1777", part(1));
        self.add(["--remount-ro", "/dev"]);
        self.writable(view, "tmp", "/tmp", "1777", part(1));
        if let RootView::Host(_) = view.root {
            self.add(["--perms", "0755", "--dir", "/home"]);
        }
        self.writable(view, "home", HOME, "0755", part(2));
        self.writable(view, "workspace", WORKSPACE, "0755", part(4));
        match &view.root {
            RootView::Host(toolchains) => {
                self.host_etc(view.privileges.user())?;
                for toolchain in toolchains.iter().filter(|toolchain| !toolchain.starts_with("/usr")) {
                    self.parents_of(toolchain);
                    self.add(["--ro-bind"]);
                    self.words.extend([toolchain.into(), toolchain.into()]);
                }
            }
            RootView::Overlaid(image) | RootView::ReadOnly(image) => {
                // The image's own directory, which shows no machine.
                self.add(["--perms", "0555", "--tmpfs", "/sys", "--remount-ro", "/sys"]);
                self.image_etc(&image.root, view.privileges.user())?;
            }
        }
        self.sandbox_files(view, toolbox);
        if let RootView::Host(_) = view.root {
            self.add(["--remount-ro", "/"]);
        }
        self.add(["--chdir", WORKSPACE]);
        Ok(())
    }

    fn host_system(&mut self) {
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
    }

    fn proc(&mut self) {
        self.add(["--proc", "/proc"]);
        for covered in PROC_FILES_COVERED.into_iter().filter(|file| Path::new(file).exists()) {
            self.add(["--ro-bind", "/dev/null", covered]);
        }
        for covered in PROC_DIRECTORIES_COVERED.into_iter().filter(|path| Path::new(path).is_dir()) {
            self.add(["--perms", "0555", "--tmpfs", covered, "--remount-ro", covered]);
        }
    }

    /// What belongs to the sandbox and not to the job: the toolbox, and a snapshot. The toolbox is
    /// executable but not readable: then the kernel protects the process' memory and descriptors from
    /// other processes of the same user, from its first instruction.
    fn sandbox_files(&mut self, view: &SandboxView<'_>, toolbox: OwnedFd) {
        let shown = match view.snapshot {
            Some(SnapshotView::ReadOnly(files) | SnapshotView::Below(files)) => Some(("--ro-bind", files)),
            Some(SnapshotView::Writable(files)) => Some(("--bind", files)),
            None => None,
        };
        self.add(["--perms", "0755", "--tmpfs", "/.mendwright"]);
        let toolbox = self.pass_file(toolbox).to_string();
        self.add(["--perms", "0111", "--file", &toolbox, TOOLBOX_PATH]);
        self.add(["--perms", "0755", "--dir", SNAPSHOT, "--remount-ro", "/.mendwright"]);
        if let Some((bind, files)) = shown {
            self.add([bind]);
            self.words.push(files.into());
            self.add([SNAPSHOT]);
        }
    }

    fn host_etc(&mut self, user: u32) -> io::Result<()> {
        self.add(["--perms", "0755", "--dir", "/etc"]);
        let passwd = format!(
            "root:x:0:0:root:/:/usr/sbin/nologin\n{}nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
            passwd_line(user)
        );
        let group = format!("root:x:0:\n{}nogroup:x:65534:\n", group_line(user));
        for (path, content) in [
            ("/etc/passwd", passwd.as_str()),
            ("/etc/group", &group),
            ("/etc/hosts", HOSTS),
            ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
            ("/etc/resolv.conf", ""),
        ] {
            self.file(path, "0444", content.as_bytes())?;
        }
        for path in ETC_FROM_HOST.into_iter().filter(|path| Path::new(path).exists()) {
            self.parents_of(Path::new(path));
            self.add(["--ro-bind", path, path]);
        }
        for entry in fs::read_dir("/etc").into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.to_str().is_some_and(|path| path.starts_with(JAVA)) {
                self.add(["--ro-bind"]);
                self.words.extend([path.clone().into(), path.into()]);
            }
        }
        Ok(())
    }

    /// Replaces files that every unpacked image has: with its own names, and ours.
    fn image_etc(&mut self, root: &Path, user: u32) -> io::Result<()> {
        let with = |file: &str, line: String| -> io::Result<String> {
            let mut names = read_names(&root.join(file))?;
            if !names.is_empty() && !names.ends_with('\n') {
                names.push('\n');
            }
            Ok(names + &line)
        };
        for (path, content) in [
            ("/etc/passwd", with("etc/passwd", passwd_line(user))?),
            ("/etc/group", with("etc/group", group_line(user))?),
            ("/etc/hosts", HOSTS.to_owned()),
            ("/etc/hostname", "sandbox\n".to_owned()),
            ("/etc/resolv.conf", String::new()),
        ] {
            let file = self.pass(path, content.as_bytes())?;
            self.add(["--perms", "0444", "--ro-bind-data", &file.to_string(), path]);
        }
        Ok(())
    }

    /// Creates the directories above a path: `bwrap` would create them readable only for itself.
    fn parents_of(&mut self, path: &Path) {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents.into_iter().skip(1) {
            self.add(["--perms", "0755", "--dir"]);
            self.words.push(parent.into());
        }
    }

    /// A writable directory: of the mount plan, which limits all of them together, or a separate file
    /// system with its own limit.
    fn writable(
        &mut self,
        view: &SandboxView<'_>,
        name: &str,
        path: &str,
        mode: &str,
        bytes_max: Option<u64>,
    ) {
        if let Some(mounts) = view.mounts {
            self.add(["--bind"]);
            self.words.extend([mounts.path(name).into(), path.into()]);
            return;
        }
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
}

const HOSTS: &str = "127.0.0.1 localhost sandbox\n::1 localhost\n";

fn passwd_line(user: u32) -> String {
    format!("agent:x:{user}:{user}:agent:{HOME}:/bin/sh\n")
}

fn group_line(user: u32) -> String {
    format!("agent:x:{user}:\n")
}

/// Reads a file of an unpacked image, which is not trusted: not through a symlink, and only a limited
/// size.
fn read_names(path: &Path) -> io::Result<String> {
    let file: File =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let mut names = Vec::new();
    file.take(NAMES_BYTES_MAX).read_to_end(&mut names)?;
    Ok(String::from_utf8_lossy(&names).into_owned())
}
