//! The embedded backend: the system's `bwrap` with the toolbox as its first process. No daemon: the
//! host's `/usr` read-only and everything else empty, or an unpacked image with a layer over it.
//!
//! As root the inside runs as a user that owns nothing on the host, without any capability; as an
//! ordinary user it runs in a user namespace, as a subordinate user where there are any. What the machine cannot give is said in the
//! sandbox's description, or, where the job would not be contained, is an error.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use async_trait::async_trait;
use jiff::Timestamp;

use self::arguments::ShownPrepared;
pub(super) use self::guard::Guarded;
use self::kept::Kept;
pub(super) use self::kept::Lease;
use self::launch::Abilities;
use self::subordinate::Subordinates;
use super::protocol::SnapshotContents;
use super::{
    CacheLimits, CallError, ImageStore, Limits, ResolvedRoot, Root, Sandbox, SandboxError, SandboxOptions,
    SandboxSpec, SetupKey, SetupSnapshot, Toolbox,
};

mod applied;
mod arguments;
mod cgroup;
mod guard;
mod host;
mod kept;
mod launch;
mod remedy;
mod stage;
mod subordinate;

const KIND: &str = "bubblewrap";
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
    abilities: Abilities,
    subordinates: Option<Subordinates>,
    kept: Kept,
    images: ImageStore,
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
        let state_dir = SandboxOptions::by_hand(KIND).state_dir;
        let mut bubblewrap = Self {
            program,
            version,
            as_root: nix::unistd::geteuid().is_root(),
            bounds_disk,
            abilities: Abilities::default(),
            subordinates: None,
            kept: Kept::below(&state_dir),
            images: ImageStore::new(state_dir),
        };
        match bubblewrap.find_a_way() {
            Ok(()) => Ok(bubblewrap),
            Err(why) => Err(SandboxError::Unavailable {
                kind: KIND,
                missing: format!("bwrap cannot set a sandbox up here ({why})"),
                remedy: remedy::remedy(),
            }),
        }
    }

    /// The same, keeping images and what set-ups made in a directory of the operator's choice.
    pub fn keeping_in(self, state_dir: &Path) -> Self {
        Self { kept: Kept::below(state_dir), images: ImageStore::new(state_dir.to_owned()), ..self }
    }

    /// Pours what a set-up made into a sandbox that runs nothing and has `files` to write to.
    async fn pour(
        &self,
        toolbox: &Toolbox,
        files: PathBuf,
        bytes_max: u64,
    ) -> Result<SnapshotContents, SandboxError> {
        let limits = Limits { memory_bytes_max: KEEPER_MEMORY_BYTES, ..Limits::default() };
        let spec = SandboxSpec { limits, ..SandboxSpec::named("keeper") };
        let keeper = self.launch(&spec, Some(ShownPrepared::Writable(files))).await?;
        let poured = toolbox.pour_into(&keeper, bytes_max).await;
        keeper.shut_down().await;
        poured.map_err(|error| match error {
            CallError::RespondToModel(why) => SandboxError::SnapshotFailed(why),
            CallError::Fatal(lost) => lost,
        })
    }
}

#[async_trait]
impl Sandbox for Bubblewrap {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn start(&self, spec: &SandboxSpec) -> Result<Toolbox, SandboxError> {
        let Some(snapshot) = &spec.snapshot else { return self.launch(spec, None).await };
        let (files, lease) = self.kept.lease(&snapshot.key).map_err(SandboxError::Gone)?;
        let toolbox = self.launch(spec, Some(ShownPrepared::ReadOnly(files))).await?;
        Ok(toolbox.holding(lease))
    }

    async fn resolve(&self, root: &Root) -> Result<ResolvedRoot, SandboxError> {
        match root {
            Root::Host { toolchains } => {
                let (toolchains, root) = (toolchains.clone(), root.clone());
                let digest = on_thread(move || Ok(host::digest(&toolchains))).await?;
                Ok(ResolvedRoot { digest, description: "the host's /usr".to_owned(), root })
            }
            Root::Image(reference) => {
                let image = Box::pin(self.images.resolve(reference)).await?;
                let description = format!("the image {}", image.reference);
                Ok(ResolvedRoot {
                    digest: image.digest.clone(),
                    description,
                    root: Root::Image(image.reference.clone()),
                })
            }
        }
    }

    async fn keep(
        &self,
        toolbox: Toolbox,
        key: &SetupKey,
        bytes_max: u64,
    ) -> Result<SetupSnapshot, SandboxError> {
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

    async fn kept(&self, key: &SetupKey) -> Result<Option<SetupSnapshot>, SandboxError> {
        Ok(self.kept.get(key))
    }

    async fn evict(&self, bounds: &CacheLimits) -> Result<Vec<SetupKey>, SandboxError> {
        let (kept, bounds, now) = (self.kept.clone(), *bounds, SystemTime::now());
        let evicted = on_thread(move || kept.evict(&bounds, now)).await?;
        // Images are had again from where they came.
        let images = self.images.evict(&bounds, now).await?;
        if !images.is_empty() {
            tracing::info!(count = images.len(), "evicted images that were not used for longest");
        }
        Ok(evicted)
    }

    async fn sweep(&self) -> Result<u32, SandboxError> {
        let sandboxes = cgroup::sweep();
        let kept = self.kept.clone();
        let setups = on_thread(move || kept.sweep()).await?;
        Ok(sandboxes + setups + self.images.sweep().await?)
    }
}

/// Work on many files, where it holds nobody up.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, SandboxError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|broken| Err(broken.to_string())).map_err(SandboxError::SnapshotFailed)
}

/// The filters of system calls, as the kernel takes them, for backends that put them on from inside.
pub(super) fn system_call_filters() -> Result<Vec<Vec<u8>>, String> {
    Ok(crate::sandbox::seccomp::filters()?.iter().map(crate::sandbox::seccomp::to_bytes).collect())
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
