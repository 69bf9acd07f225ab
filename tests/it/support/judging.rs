//! The verdict alone: a repository of files, changes to it, and the verifier with a real sandbox and git.

use std::path::Path;

use mendwright::domain::{
    AllowedHost, Change, ChangedContent, FileMode, JobSettings, RepositoryId, SandboxKind,
};
use mendwright::sandbox::{Root, SandboxSpec, connect_default, detect_toolchains};
use mendwright::setup::{Environment, SetupLocks, SetupPolicy};
use mendwright::testing::run_suite_of_tree;
use mendwright::verdict::{Defences, Verdict, Verifier};
use mendwright::workspace::{LocalRepository, Mirrors};

/// A file that a proposal writes.
pub fn written(path: &str, text: &str) -> Change {
    let content = ChangedContent::File { mode: FileMode::Regular, bytes: text.as_bytes().to_vec() };
    Change { path: path.parse().unwrap(), content }
}

/// Makes a repository of these files, with one commit of all of them.
pub fn commit_files<'f>(path: &Path, files: impl IntoIterator<Item = (&'f str, &'f str)>) {
    let repository = git2::Repository::init(path).unwrap();
    for (name, text) in files {
        let at = path.join(name);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, text).unwrap();
    }
    let mut index = repository.index().unwrap();
    // Files that the repository ignores, too.
    index.add_all(["*"], git2::IndexAddOption::FORCE, None).unwrap();
    index.write().unwrap();
    let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
    let by = git2::Signature::new("a", "a@example.org", &git2::Time::new(1_700_000_000, 0)).unwrap();
    repository.commit(Some("HEAD"), &by, &by, "first", &tree, &[]).unwrap();
}

/// Runs the suite of the repository's last commit, and judges `changes` to it.
pub async fn judge(
    repository: &Path,
    settings: &JobSettings,
    changes: &[Change],
    defences: Defences,
) -> Verdict {
    let directory = tempfile::tempdir().unwrap();
    let environment = environment_of(repository, directory.path(), settings).await;
    let base = environment.workspace().base_tree().await.unwrap();
    let toolbox = environment.fresh(&base, "work").await.unwrap().unwrap();
    let baseline = defences.seen(run_suite_of_tree(&toolbox, settings).await.unwrap());
    toolbox.shut_down().await;
    let verifier = Verifier { defences, ..Verifier::new(&environment, &baseline) };
    verifier.judge(changes, None).await.unwrap()
}

/// The environment of a job on the repository's last commit, over bubblewrap. Its own files go to `directory`.
pub async fn environment_of(repository: &Path, directory: &Path, settings: &JobSettings) -> Environment {
    environment_with(repository, directory, settings, Vec::new()).await
}

/// The same, with hosts that the agent and the tests may reach.
pub async fn environment_with(
    repository: &Path,
    directory: &Path,
    settings: &JobSettings,
    allowed_hosts: Vec<AllowedHost>,
) -> Environment {
    let access = LocalRepository::open(repository).unwrap().access().unwrap();
    let mirrors = Mirrors::new(directory.join("mirrors"));
    let workspace = mirrors.fetch(RepositoryId(1), &access, "HEAD").await.unwrap();
    let spec = SandboxSpec {
        root: Root::Host { toolchains: detect_toolchains() },
        allowed_hosts,
        ..SandboxSpec::named(format!("judging-{}", std::process::id()))
    };
    let environment = Environment::of(
        connect_default(SandboxKind::Bubblewrap).unwrap(),
        spec,
        workspace,
        settings.clone(),
        SetupPolicy::default(),
        RepositoryId(1),
        SetupLocks::default(),
    );
    environment.await.unwrap()
}
