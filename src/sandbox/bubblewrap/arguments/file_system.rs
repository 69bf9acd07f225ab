//! The root file system's part of the arguments: what is shown of the host or of an image, what is
//! writable, and what of `/proc`, `/dev` and `/etc` is our own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

use super::{Arguments, Inside, ROOT_ON_STAGE, ShownPrepared, ShownRoot};
use crate::sandbox::protocol::SNAPSHOT;
use crate::sandbox::{HOME, TOOLBOX_PATH, WORKSPACE};

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
/// A distribution's Java does not start without directories of this name.
const JAVA: &str = "/etc/java-";
/// Beside `/usr`, as on the host: symlinks into it, or directories.
const ROOT_DIRECTORIES: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// Files of `/proc` that tell about the host or act on it, covered where they exist (as container
/// engines do). What it has of `/proc/sys`, `irq` and `bus` that root could write, `bwrap` makes
/// read-only by itself.
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
/// Directories of the same kind.
const PROC_DIRECTORIES_COVERED: [&str; 4] = ["/proc/acpi", "/proc/asound", "/proc/scsi", "/proc/fs"];
/// Of an image's lists of users and groups.
const NAMES_BYTES_MAX: u64 = 1 << 20;

/// Whether a path is one that is shown of every host.
#[cfg(test)]
pub(super) fn is_of_the_system(path: &str) -> bool {
    ETC_FROM_HOST.contains(&path) || ROOT_DIRECTORIES.contains(&path) || path.starts_with(JAVA)
}

impl Arguments {
    pub(super) fn root_file_system(&mut self, inside: &Inside<'_>, toolbox: &[u8]) -> io::Result<()> {
        match (&inside.root, inside.stage) {
            (ShownRoot::Overlaid(_), Some(stage)) => {
                self.add(["--bind"]);
                self.words.extend([stage.path(ROOT_ON_STAGE).into(), "/".into()]);
            }
            (ShownRoot::Overlaid(image) | ShownRoot::ReadOnly(image), _) => {
                self.add(["--ro-bind"]);
                self.words.extend([image.root.clone().into(), "/".into()]);
            }
            (ShownRoot::Host(_), _) => self.host_system(),
        }
        self.proc();
        self.add(["--dev", "/dev"]);
        let part = |share: u64| inside.disk_bytes_max.map(|bytes| bytes / 8 * share);
        self.writable(inside, "shm", "/dev/shm", "1777", part(1));
        self.add(["--remount-ro", "/dev"]);
        self.writable(inside, "tmp", "/tmp", "1777", part(1));
        if let ShownRoot::Host(_) = inside.root {
            self.add(["--perms", "0755", "--dir", "/home"]);
        }
        self.writable(inside, "home", HOME, "0755", part(2));
        self.writable(inside, "workspace", WORKSPACE, "0755", part(4));
        match &inside.root {
            ShownRoot::Host(toolchains) => {
                self.host_etc(inside.privileges.user())?;
                for toolchain in toolchains.iter().filter(|toolchain| !toolchain.starts_with("/usr")) {
                    self.parents_of(toolchain);
                    self.add(["--ro-bind"]);
                    self.words.extend([toolchain.into(), toolchain.into()]);
                }
            }
            ShownRoot::Overlaid(image) | ShownRoot::ReadOnly(image) => {
                // The image's own is no view of a machine.
                self.add(["--perms", "0555", "--tmpfs", "/sys", "--remount-ro", "/sys"]);
                self.image_etc(&image.root, inside.privileges.user())?;
            }
        }
        self.own(inside, toolbox)?;
        if let ShownRoot::Host(_) = inside.root {
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

    /// What is the sandbox's and not the job's: the toolbox, and what a set-up made. Executable and
    /// not readable: the kernel then keeps the process' memory and descriptors from others of the
    /// same user, from its very first instruction.
    fn own(&mut self, inside: &Inside<'_>, toolbox: &[u8]) -> io::Result<()> {
        let shown = match inside.snapshot {
            Some(ShownPrepared::ReadOnly(files) | ShownPrepared::Below(files)) => Some(("--ro-bind", files)),
            Some(ShownPrepared::Writable(files)) => Some(("--bind", files)),
            None => None,
        };
        self.add(["--perms", "0755", "--tmpfs", "/.mendwright"]);
        self.file(TOOLBOX_PATH, "0111", toolbox)?;
        self.add(["--perms", "0755", "--dir", SNAPSHOT, "--remount-ro", "/.mendwright"]);
        if let Some((bind, files)) = shown {
            self.add([bind]);
            self.words.push(files.into());
            self.add([SNAPSHOT]);
        }
        Ok(())
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

    /// Over files that every unpacked image has: its own names, and ours.
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

    /// Makes the directories above a path: `bwrap` would make them for its own eyes only.
    fn parents_of(&mut self, path: &Path) {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents.into_iter().skip(1) {
            self.add(["--perms", "0755", "--dir"]);
            self.words.push(parent.into());
        }
    }

    /// A place to write to: of the stage, which bounds all of them together, or a file system of
    /// its own with a bound of its own.
    fn writable(&mut self, inside: &Inside<'_>, name: &str, path: &str, mode: &str, bytes_max: Option<u64>) {
        if let Some(stage) = inside.stage {
            self.add(["--bind"]);
            self.words.extend([stage.path(name).into(), path.into()]);
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

/// A file of an unpacked image, which is a stranger's: not through a symlink, and not without end.
fn read_names(path: &Path) -> io::Result<String> {
    let file: File =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let mut names = Vec::new();
    file.take(NAMES_BYTES_MAX).read_to_end(&mut names)?;
    Ok(String::from_utf8_lossy(&names).into_owned())
}
