//! The embedded backend: the system's `bwrap` with the toolbox as its first process. No daemon, no
//! image: the host's `/usr` read-only, and everything else empty.
//!
//! As root the inside runs as a user that owns nothing on the host, without any capability; as an
//! ordinary user it runs in a user namespace. What the machine cannot give is said in the
//! sandbox's description, or, where the job would not be contained, is an error.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use jiff::Timestamp;

use self::applied::Applied;
use self::arguments::{Arguments, Inside, Privileges, ShownPrepared, checked_toolchains};
use self::cgroup::Cgroup;
pub(super) use self::guard::Guarded;
use self::kept::Kept;
pub(super) use self::kept::Lease;
use super::container::Container;
use super::egress::Egress;
use super::protocol::Selected;
use super::{
    CallError, KeptBounds, Limits, Prepared, ResolvedRoot, Root, Sandbox, SandboxError, SandboxOptions,
    SandboxSpec, SetupKey, TOOLBOX, Toolbox,
};

mod applied;
mod arguments;
mod cgroup;
mod guard;
mod kept;
mod seccomp;

const KIND: &str = "bubblewrap";
/// Numbers that no distribution gives to a user, and that still fit a tar header's seven digits.
const FIRST_USER: u32 = 1_900_000;
const USERS: u32 = 100_000;
/// Of a sandbox that only takes in what another one made.
const KEEPER_MEMORY_BYTES: u64 = 512 << 20;
/// Longest label.
const LABEL_BYTES_MAX: usize = 60;

/// Starts sandboxes with `bwrap`.
#[derive(Debug)]
pub struct Bubblewrap {
    program: PathBuf,
    version: String,
    as_root: bool,
    bounds_disk: bool,
    kept: Kept,
}

impl Bubblewrap {
    /// Finds `bwrap` on the `PATH`, and tries out what this machine allows.
    ///
    /// # Errors
    /// `bwrap` is missing (the error names the package), or the kernel allows us no namespaces.
    pub fn new() -> Result<Self, SandboxError> {
        Self::with_program(on_the_path("bwrap"))
    }

    /// As [`Bubblewrap::new`], with a `bwrap` of the operator's choice.
    pub fn with_program(program: PathBuf) -> Result<Self, SandboxError> {
        cgroup::sweep();
        let ask = |option: &str| {
            Command::new(&program).arg(option).env_clear().stdin(Stdio::null()).stderr(Stdio::null()).output()
        };
        let version = ask("--version").map_err(|error| SandboxError::Unavailable {
            kind: KIND,
            missing: format!("the program '{}' cannot be started ({error})", program.display()),
            remedy: "install the package bubblewrap (Debian, Ubuntu: apt-get install bubblewrap)".to_owned(),
        })?;
        let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
        // `--size` came with 0.8; without it the rest still holds.
        let bounds_disk =
            ask("--help").is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--size"));
        let kept = Kept::below(&SandboxOptions::by_hand(KIND).state_dir);
        let as_root = nix::unistd::geteuid().is_root();
        let mut bubblewrap = Self { program, version, as_root, bounds_disk, kept };
        let Err(why) = bubblewrap.probe() else { return Ok(bubblewrap) };
        if bubblewrap.as_root {
            // Root without CAP_SYS_ADMIN, as in a container, may still have user namespaces.
            bubblewrap.as_root = false;
            if bubblewrap.probe().is_ok() {
                return Ok(bubblewrap);
            }
        }
        Err(SandboxError::Unavailable {
            kind: KIND,
            missing: format!("bwrap cannot set a sandbox up here ({why})"),
            remedy: remedy(),
        })
    }

    /// The same, keeping what set-ups made in a directory of the operator's choice.
    pub fn keeping_in(self, state_dir: &Path) -> Self {
        Self { kept: Kept::below(state_dir), ..self }
    }

    /// Sets a sandbox up exactly as a real one, with a toolbox that ends at once.
    fn probe(&self) -> Result<(), String> {
        let inside = Inside {
            privileges: self.privileges(),
            toolchains: &[],
            disk_bytes_max: self.bounds_disk.then_some(64 << 20),
            proxy: false,
            open_files_max: None,
            processes_max: None,
            data_bytes_max: None,
            prepared: None,
        };
        let arguments = Arguments::build(&inside, TOOLBOX, "probe")?;
        guard::try_out(&self.program, arguments)
    }

    fn privileges(&self) -> Privileges {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !self.as_root {
            return Privileges::UserNamespace;
        }
        // Neighbours count apart what the kernel bounds by user.
        let number = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        Privileges::DroppedTo { user: FIRST_USER + number % USERS }
    }

    /// Starts a sandbox that sees `prepared`.
    async fn launch(
        &self,
        spec: &SandboxSpec,
        prepared: Option<ShownPrepared>,
    ) -> Result<Toolbox, SandboxError> {
        let refuse = |missing: String, remedy: &str| SandboxError::Unavailable {
            kind: KIND,
            missing,
            remedy: remedy.to_owned(),
        };
        if !is_label(&spec.label) {
            let missing = format!("a label that is a name; {:?} is none", spec.label);
            return Err(refuse(missing, "use at most 60 of a-z, 0-9 and '-'"));
        }
        let Root::Host { toolchains } = &spec.root else {
            return Err(refuse("images as a root file system".to_owned(), "use the host's own for now"));
        };
        let toolchains = checked_toolchains(toolchains)
            .map_err(|why| refuse(why, "correct the list of toolchain directories in the configuration"))?;
        let privileges = self.privileges();
        if let (Some(ShownPrepared::Writable(files)), Privileges::DroppedTo { user }) =
            (&prepared, privileges)
        {
            let given = std::os::unix::fs::chown(files, Some(user), Some(user));
            given.map_err(|e| SandboxError::NotKept(format!("{}: {e}", files.display())))?;
        }
        let cgroup = Arc::new(Cgroup::create(&spec.label, &spec.limits));
        let applied = Applied {
            spec,
            version: &self.version,
            privileges,
            cgroup: &cgroup,
            bounds_disk: self.bounds_disk,
        };
        applied.check_required()?;
        let description = applied.describe();
        let inside = Inside {
            privileges,
            toolchains: &toolchains,
            open_files_max: Some(spec.limits.open_files_max),
            disk_bytes_max: self.bounds_disk.then_some(spec.limits.disk_bytes_max),
            proxy: !spec.allowed_hosts.is_empty(),
            processes_max: (!cgroup.bounds_processes()).then_some(spec.limits.pids_max),
            data_bytes_max: (!cgroup.bounds_memory()).then_some(spec.limits.memory_bytes_max),
            prepared: prepared.as_ref(),
        };
        let broken = |why: String| refuse(format!("the sandbox could not be started ({why})"), &remedy());
        let arguments = Arguments::build(&inside, TOOLBOX, "init").map_err(broken)?;
        let launch = guard::Launch {
            program: self.program.clone(),
            arguments,
            cgroup: Arc::clone(&cgroup),
            label: spec.label.clone(),
        };
        let started = guard::start(launch).await.map_err(broken)?;
        let no_pipe = |e: std::io::Error| broken(format!("its pipe: {e}"));
        let reader = tokio::process::ChildStdout::from_std(started.from_toolbox).map_err(no_pipe)?;
        let writer = tokio::process::ChildStdin::from_std(started.to_toolbox).map_err(no_pipe)?;
        let container = Container::Bubblewrap(started.guarded);
        let egress = Egress::of(spec);
        Toolbox::connect(tokio::io::join(reader, writer), container, description, egress).await
    }

    /// Pours what a set-up made into a sandbox that runs nothing and has `files` to write to.
    async fn pour(
        &self,
        toolbox: &Toolbox,
        files: PathBuf,
        bytes_max: u64,
    ) -> Result<Selected, SandboxError> {
        let limits = Limits { memory_bytes_max: KEEPER_MEMORY_BYTES, ..Limits::default() };
        let spec = SandboxSpec { limits, ..SandboxSpec::named("keeper") };
        let keeper = self.launch(&spec, Some(ShownPrepared::Writable(files))).await?;
        let poured = toolbox.pour_into(&keeper, bytes_max).await;
        keeper.shut_down().await;
        poured.map_err(|error| match error {
            CallError::Told(why) => SandboxError::NotKept(why),
            CallError::Lost(lost) => lost,
        })
    }
}

#[async_trait]
impl Sandbox for Bubblewrap {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError> {
        let Some(prepared) = &spec.prepared else { return self.launch(spec, None).await };
        let (files, lease) = self.kept.lease(&prepared.key).map_err(SandboxError::Gone)?;
        let toolbox = self.launch(spec, Some(ShownPrepared::ReadOnly(files))).await?;
        Ok(toolbox.holding(lease))
    }

    async fn resolve(&self, root: &Root) -> Result<ResolvedRoot, SandboxError> {
        let description = "the host's /usr".to_owned();
        Ok(ResolvedRoot { digest: String::new(), description, root: root.clone() })
    }

    async fn keep(&self, toolbox: Toolbox, key: &SetupKey, bytes_max: u64) -> Result<Prepared, SandboxError> {
        let (kept, begun) = (self.kept.clone(), key.clone());
        let partial = on_thread(move || kept.begin(&begun)).await?;
        let poured = self.pour(&toolbox, partial.files(), bytes_max).await;
        toolbox.shut_down().await;
        let kept = self.kept.clone();
        match poured {
            Ok(selected) => on_thread(move || kept.finish(partial, &selected, Timestamp::now())).await,
            Err(error) => {
                let abandoned = on_thread(move || {
                    kept.abandon(partial);
                    Ok(())
                });
                abandoned.await?;
                Err(error)
            }
        }
    }

    async fn kept(&self, key: &SetupKey) -> Result<Option<Prepared>, SandboxError> {
        Ok(self.kept.get(key))
    }

    async fn evict(&self, bounds: &KeptBounds) -> Result<Vec<SetupKey>, SandboxError> {
        let (kept, bounds) = (self.kept.clone(), *bounds);
        on_thread(move || kept.evict(&bounds, SystemTime::now())).await
    }

    async fn sweep(&self) -> Result<u32, SandboxError> {
        let kept = self.kept.clone();
        Ok(cgroup::sweep() + on_thread(move || kept.sweep()).await?)
    }
}

/// Work on many files, where it holds nobody up.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, SandboxError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|broken| Err(broken.to_string())).map_err(SandboxError::NotKept)
}

/// The filters of system calls, as the kernel takes them, for backends that put them on from inside.
pub(super) fn system_call_filters() -> Result<Vec<Vec<u8>>, String> {
    Ok(seccomp::filters()?.iter().map(seccomp::to_bytes).collect())
}

/// Where the operator's `PATH` leads to. `bwrap` is started with an empty environment, in which the
/// system would look in its default places only.
fn on_the_path(program: &str) -> PathBuf {
    let path = crate::config::environment().find(|(name, _)| name == "PATH").map(|(_, value)| value);
    let found = path.iter().flat_map(|path| path.split(':')).map(|place| Path::new(place).join(program));
    found.filter(|file| file.is_absolute()).find(|file| file.is_file()).unwrap_or_else(|| program.into())
}

fn is_label(label: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !label.is_empty() && label.len() <= LABEL_BYTES_MAX && label.chars().all(is_plain)
}

/// What a person can do when namespaces are refused: the kernel's switches that forbid them here.
fn remedy() -> String {
    let switch = |path: &str| std::fs::read_to_string(path).ok().map(|value| value.trim().to_owned());
    let mut advice = Vec::new();
    if switch("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        advice.push("sysctl kernel.unprivileged_userns_clone=1");
    }
    if switch("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        advice.push("sysctl user.max_user_namespaces=10000");
    }
    if switch("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        advice.push(
            "install an AppArmor profile that lets bwrap make user namespaces (package apparmor-profiles)",
        );
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
    fn a_missing_bwrap_is_an_error_that_names_the_package() {
        let error = Bubblewrap::with_program("/nowhere/bwrap".into()).unwrap_err().to_string();
        assert_eq!(
            error,
            "the bubblewrap sandbox cannot be used: the program '/nowhere/bwrap' cannot be started (No such file \
             or directory (os error 2)); install the package bubblewrap (Debian, Ubuntu: apt-get install bubblewrap)"
        );
    }

    #[test]
    fn a_label_is_a_name_and_no_path() {
        assert!(is_label("job-12"));
        for label in ["", "../x", "a/b", "A", "ä", &"a".repeat(61)] {
            assert!(!is_label(label), "{label} was accepted");
        }
    }
}
