//! Setup: it runs once, its result is in every later sandbox, and no sandbox can change it. The operator's list
//! decides which network requests of a setup are allowed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mendwright::domain::{
    AllowedHost, Change, ChangedContent, EngineConfig, ExitStatus, FileMode, JobSettings, RepositoryId,
    SandboxKind, Sha, TranscriptEvent,
};
use mendwright::sandbox::{
    CommandSpec, Limits, Root, Sandbox, SandboxError, SandboxOptions, SandboxSpec, Toolbox, connect,
};
use mendwright::setup::{Environment, SetupFailure, SetupLocks, SetupPolicy};
use mendwright::testing::SuiteError;
use mendwright::workspace::{LocalRepository, Mirrors, Workspace};

use crate::backends::root;

mod builds;
mod keeping;
mod kept_build_service;
mod plans;
mod service;
mod setup_agent;

const DEADLINE: Duration = Duration::from_secs(60);

/// A setup command with a different result each time, in both directories that are stored.
const CREATES_AN_ID: &str = "mkdir -p vendor && cat /proc/sys/kernel/random/uuid > vendor/id && cp vendor/id $HOME/id && \
     mkdir -p $HOME/.private && chmod 700 $HOME/.private && echo x > $HOME/.private/x";

fn backend(kind: SandboxKind, state: &Path) -> Arc<dyn Sandbox> {
    let options = SandboxOptions {
        kind,
        state_dir: state.join("state"),
        owner: state.display().to_string(),
        engine: EngineConfig::default(),
    };
    connect(&options).unwrap()
}

fn spec(kind: SandboxKind, label: &str) -> SandboxSpec {
    SandboxSpec { root: root(kind), ..SandboxSpec::named(format!("{label}-{}", std::process::id())) }
}

async fn ok(toolbox: &Toolbox, command: &str) -> String {
    let result = toolbox.run(&CommandSpec::shell(command, DEADLINE)).await.unwrap();
    assert_eq!(result.ending, ExitStatus::Exited { code: 0 }, "{command}: {}", result.output.to_text());
    result.output.to_text()
}

/// A repository whose setup creates what its tests need.
struct Fixture {
    directory: tempfile::TempDir,
    sandbox: Arc<dyn Sandbox>,
    kind: SandboxKind,
    policy: SetupPolicy,
    locks: SetupLocks,
    commands: Vec<String>,
    files: Vec<String>,
    limits: Limits,
    test: &'static str,
    proof_required: bool,
    /// In place of the backend's usual root.
    root: Option<Root>,
}

impl Fixture {
    fn new(kind: SandboxKind, commands: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = backend(kind, directory.path());
        let fixture = Self {
            directory,
            sandbox,
            kind,
            policy: SetupPolicy::default(),
            locks: SetupLocks::default(),
            commands: commands.iter().map(|command| (*command).to_owned()).collect(),
            files: Vec::new(),
            limits: Limits::default(),
            test: "cat vendor/id",
            proof_required: false,
            root: None,
        };
        fixture.commit(&[("deps.lock.txt", "x"), ("requirements.txt", "one"), ("src/main.py", "base")]);
        fixture
    }

    fn commit(&self, files: &[(&str, &str)]) {
        let path = self.directory.path().join("repository");
        let repository = git2::Repository::init(&path).unwrap();
        for (name, text) in files {
            let at = path.join(name);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(&at, text).unwrap();
            if text.starts_with("#!") {
                std::fs::set_permissions(&at, PermissionsExt::from_mode(0o755)).unwrap();
            }
        }
        let mut index = repository.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.write().unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        let by = git2::Signature::now("a", "a@example").unwrap();
        let parent = repository.head().ok().and_then(|head| head.peel_to_commit().ok());
        let parents: Vec<_> = parent.iter().collect();
        repository.commit(Some("HEAD"), &by, &by, "x", &tree, &parents).unwrap();
    }

    /// The environment of a job at the repository's current head.
    async fn job(&self) -> Environment {
        self.job_named("site").await
    }

    async fn job_named(&self, label: &str) -> Environment {
        let path = self.directory.path().join("repository");
        let access = LocalRepository::open(&path).unwrap().access().unwrap();
        let mirrors = Mirrors::new(self.directory.path().join("mirrors"));
        let workspace = mirrors.fetch(RepositoryId(1), &access, "HEAD").await.unwrap();
        let settings = JobSettings {
            setup_commands: self.commands.clone(),
            setup_files: self.files.clone(),
            setup_source: "the story".into(),
            test_timeout: DEADLINE,
            proof_required: self.proof_required,
            ..JobSettings::of_test_command(self.test)
        };
        let usual = spec(self.kind, label);
        let root = self.root.clone().unwrap_or_else(|| usual.root.clone());
        let environment = Environment::of(
            self.sandbox.clone(),
            SandboxSpec { limits: self.limits, root, ..usual },
            workspace,
            settings,
            self.policy.clone(),
            RepositoryId(1),
            self.locks.clone(),
        );
        environment.await.unwrap()
    }
}

async fn base(job: &Environment) -> Sha {
    job.workspace().base_tree().await.unwrap()
}

/// The id that a sandbox with `tree` finds in both directories.
async fn id_in(job: &Environment, tree: &Sha, purpose: &str) -> String {
    let toolbox = job.fresh(tree, purpose).await.unwrap().unwrap();
    let id = ok(&toolbox, "cmp vendor/id $HOME/id && stat -c %a $HOME/.private && cat vendor/id").await;
    toolbox.shut_down().await;
    id.strip_prefix("700\n").unwrap().to_owned()
}

async fn propose(workspace: &Workspace, path: &str, text: &str) -> Sha {
    let content = ChangedContent::File { mode: FileMode::Regular, bytes: text.into() };
    workspace.propose(vec![Change { path: path.parse().unwrap(), content }]).await.unwrap().tree
}

/// For each reported setup: how many commands ran, whether it was stored, and whether it was reused.
fn reported_setups(events: &[TranscriptEvent]) -> Vec<(usize, bool, bool)> {
    let report = |event: &TranscriptEvent| match event {
        TranscriptEvent::SetUp { commands, kept, reused, .. } => Some((commands.len(), *kept, *reused)),
        _ => None,
    };
    events.iter().filter_map(report).collect()
}

on_every_backend! {
    setup_runs_once_for_all_jobs_on_the_same_commit,
    setup_of_another_commit_is_not_used_if_the_setup_could_read_what_differs,
    setup_that_names_its_files_runs_once_for_all_commits_in_which_they_are_the_same,
    changes_of_a_sandbox_to_its_snapshot_end_with_it,
    changed_lock_file_on_the_base_runs_another_setup,
    setup_of_a_proposal_is_never_used_by_a_later_job,
    jobs_with_the_same_setup_wait_for_the_one_that_runs_it,
    setup_that_is_too_large_runs_in_each_sandbox,
    sparse_file_cannot_take_more_of_the_host_than_the_sandbox_may_use,
}

async fn setup_runs_once_for_all_jobs_on_the_same_commit(kind: SandboxKind) {
    let fixture = Fixture::new(kind, &[CREATES_AN_ID]);
    let first = fixture.job().await;
    let tree = base(&first).await;
    let id = id_in(&first, &tree, "work").await;
    assert_eq!(id_in(&first, &tree, "verdict").await, id);
    assert_eq!(reported_setups(&first.take_events()), [(1, true, false)]);
    // A proposal that changes only sources is run with it, too.
    let proposed = propose(first.workspace(), "src/main.py", "proposed").await;
    assert_eq!(id_in(&first, &proposed, "verdict").await, id);
    assert_eq!(first.own_setup_paths(&proposed).await.unwrap(), Vec::<String>::new());
    let second = fixture.job().await;
    assert_eq!(id_in(&second, &tree, "work").await, id);
    assert_eq!(reported_setups(&second.take_events()), [(0, true, true)]);
    // Another commit with the same files: git tells a setup which it is.
    fixture.commit(&[]);
    let third = fixture.job().await;
    assert_eq!(base(&third).await, tree);
    assert_ne!(id_in(&third, &tree, "work").await, id);
}

/// One commit's script could otherwise prepare the sandboxes of another commit.
async fn setup_of_another_commit_is_not_used_if_the_setup_could_read_what_differs(kind: SandboxKind) {
    let fixture = Fixture::new(kind, &["sh $(ls *.sh)"]);
    let script = |text: &str| {
        format!(
            "mkdir -p vendor && echo {text} > vendor/id && cp vendor/id $HOME/id && mkdir -m 700 $HOME/.private"
        )
    };
    fixture.commit(&[("deps.sh", &script("hostile"))]);
    let hostile = fixture.job().await;
    assert_eq!(id_in(&hostile, &base(&hostile).await, "work").await, "hostile\n");
    fixture.commit(&[("deps.sh", &script("honest"))]);
    let honest = fixture.job().await;
    assert_eq!(id_in(&honest, &base(&honest).await, "work").await, "honest\n");
    assert_eq!(reported_setups(&honest.take_events()), [(1, true, false)]);
}

async fn setup_that_names_its_files_runs_once_for_all_commits_in_which_they_are_the_same(kind: SandboxKind) {
    let mut fixture =
        Fixture::new(kind, &[CREATES_AN_ID, "ls -A > $HOME/seen; test ! -e src; test -x tool.sh"]);
    fixture.files = vec!["*.txt".to_owned(), "*.sh".to_owned()];
    fixture.commit(&[("tool.sh", "#!/bin/sh\n")]);
    let first = fixture.job().await;
    let id = id_in(&first, &base(&first).await, "work").await;
    fixture.commit(&[("src/main.py", "later")]);
    let second = fixture.job().await;
    let later = base(&second).await;
    assert_ne!(later, base(&first).await);
    let toolbox = second.fresh(&later, "source").await.unwrap().unwrap();
    let seen = ok(&toolbox, "cat src/main.py && cat $HOME/seen && cat vendor/id").await;
    assert_eq!(seen, format!("laterdeps.lock.txt\nrequirements.txt\ntool.sh\nvendor\n{id}"));
    toolbox.shut_down().await;
    assert_eq!(reported_setups(&second.take_events()), [(0, true, true)]);
    // A named file decides, whatever it is called.
    let proposed = propose(second.workspace(), "tool.sh", "#!/bin/sh\ntrue\n").await;
    assert_eq!(second.own_setup_paths(&proposed).await.unwrap(), ["tool.sh"]);
    assert_ne!(id_in(&second, &proposed, "verdict").await, id);
}

async fn changes_of_a_sandbox_to_its_snapshot_end_with_it(kind: SandboxKind) {
    let fixture = Fixture::new(kind, &[CREATES_AN_ID, "echo tampered > src/main.py"]);
    let job = fixture.job().await;
    let tree = base(&job).await;
    let toolbox = job.fresh(&tree, "work").await.unwrap().unwrap();
    assert_eq!(ok(&toolbox, "cat src/main.py").await, "base", "a setup changes no tracked file");
    let id = ok(&toolbox, "cat vendor/id").await;
    // As hostile as the agent's code may be.
    ok(
        &toolbox,
        "echo evil > vendor/id; echo evil > $HOME/id; echo evil > vendor/more; \
         { echo evil > /.mendwright/prepared/workspace/vendor/id; } 2>/dev/null; \
         rm -rf /.mendwright/prepared/home 2>/dev/null; true",
    )
    .await;
    toolbox.shut_down().await;
    let verdict = job.fresh(&tree, "verdict").await.unwrap().unwrap();
    assert_eq!(ok(&verdict, "cat vendor/id; cmp vendor/id $HOME/id; ls vendor").await, format!("{id}id\n"));
    verdict.shut_down().await;
}

async fn changed_lock_file_on_the_base_runs_another_setup(kind: SandboxKind) {
    let mut fixture = Fixture::new(kind, &[CREATES_AN_ID]);
    fixture.files = vec!["requirements.txt".to_owned()];
    let first = fixture.job().await;
    let id = id_in(&first, &base(&first).await, "work").await;
    fixture.commit(&[("requirements.txt", "two")]);
    let second = fixture.job().await;
    assert_ne!(id_in(&second, &base(&second).await, "work").await, id);
    fixture.commit(&[("requirements.txt", "one")]);
    let third = fixture.job().await;
    assert_eq!(id_in(&third, &base(&third).await, "work").await, id, "the first snapshot still exists");
}

async fn setup_of_a_proposal_is_never_used_by_a_later_job(kind: SandboxKind) {
    let mut fixture = Fixture::new(kind, &[CREATES_AN_ID]);
    let job = fixture.job().await;
    let id = id_in(&job, &base(&job).await, "work").await;
    let proposed = propose(job.workspace(), "requirements.txt", "two").await;
    let own_id = id_in(&job, &proposed, "verdict").await;
    assert_ne!(own_id, id, "without network, the proposal's own setup runs");
    assert_eq!(id_in(&job, &base(&job).await, "proof").await, id);
    assert_eq!(job.own_setup_paths(&proposed).await.unwrap(), ["requirements.txt"]);
    let toolbox = job.fresh_with_base_setup(&proposed, "base-setup").await.unwrap().unwrap();
    assert_eq!(ok(&toolbox, "cat requirements.txt vendor/id").await, format!("two{id}"));
    toolbox.shut_down().await;
    let other = fixture.job_named("other").await;
    assert_ne!(id_in(&other, &proposed, "verdict").await, own_id, "another job used it");
    fixture.commit(&[("requirements.txt", "two")]);
    let later = fixture.job().await;
    let later_id = id_in(&later, &base(&later).await, "work").await;
    assert_ne!(later_id, own_id, "a job on the base used the setup of a proposal");
    // With network, it does not run unless the operator allows it.
    fixture.policy.allowed_hosts = vec![AllowedHost::public("registry.example")];
    let online = fixture.job().await;
    let id = id_in(&online, &base(&online).await, "work").await;
    let proposed = propose(online.workspace(), "requirements.txt", "three").await;
    assert_eq!(id_in(&online, &proposed, "verdict").await, id);
    fixture.policy.network_for_proposals = true;
    let trusting = fixture.job().await;
    assert_ne!(id_in(&trusting, &proposed, "verdict").await, id);
}

async fn jobs_with_the_same_setup_wait_for_the_one_that_runs_it(kind: SandboxKind) {
    let fixture = Fixture::new(kind, &[CREATES_AN_ID]);
    let (one, other) = (fixture.job().await, fixture.job().await);
    let tree = base(&one).await;
    let (id, same) = tokio::join!(id_in(&one, &tree, "one"), id_in(&other, &tree, "other"));
    assert_eq!(id, same);
    let mut setups = [reported_setups(&one.take_events()), reported_setups(&other.take_events())].concat();
    setups.sort();
    assert_eq!(setups, [(0, true, true), (1, true, false)]);
}

async fn setup_that_is_too_large_runs_in_each_sandbox(kind: SandboxKind) {
    let mut fixture = Fixture::new(kind, &[CREATES_AN_ID, "head -c 100000 /dev/zero > vendor/big"]);
    fixture.policy.kept.bytes_max = 50_000;
    let job = fixture.job().await;
    let tree = base(&job).await;
    let id = id_in(&job, &tree, "work").await;
    assert_ne!(id_in(&job, &tree, "verdict").await, id);
    let events = job.take_events();
    assert_eq!(reported_setups(&events), [(2, false, false)]);
    let noted = events.iter().any(|event| match event {
        TranscriptEvent::Note { text } => {
            text.contains("larger than") && text.contains("runs the setup itself, without network")
        }
        _ => false,
    });
    assert!(noted, "{events:?}");
}

/// Holes take no space inside, but would take space where the snapshot is stored.
async fn sparse_file_cannot_take_more_of_the_host_than_the_sandbox_may_use(kind: SandboxKind) {
    let mut fixture = Fixture::new(kind, &[CREATES_AN_ID, "truncate -s 300M $HOME/holes"]);
    fixture.limits.disk_bytes_max = 128 << 20;
    let job = fixture.job().await;
    job.fresh(&base(&job).await, "work").await.unwrap().unwrap().shut_down().await;
    let events = job.take_events();
    assert_eq!(reported_setups(&events), [(2, false, false)]);
    let notes = events.iter().filter_map(|event| match event {
        TranscriptEvent::Note { text } => Some(text.as_str()),
        _ => None,
    });
    assert!(notes.collect::<String>().contains("larger than the 128 MiB that are allowed"), "{events:?}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn snapshot_that_does_not_fit_is_reported_as_a_full_disk() {
    let mut fixture = Fixture::new(SandboxKind::Docker, &["head -c 90000000 /dev/zero > $HOME/large"]);
    // The home directory gets a quarter of it.
    fixture.limits.disk_bytes_max = 256 << 20;
    let job = fixture.job().await;
    match job.fresh(&base(&job).await, "work").await {
        Err(SuiteError::Sandbox(SandboxError::DiskFull(why))) => {
            assert!(why.contains("the setup snapshot cannot be copied: "), "{why}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the snapshot fits"),
    }
}

#[tokio::test]
async fn only_the_setup_sees_the_operators_variables() {
    let mut fixture =
        Fixture::new(SandboxKind::Bubblewrap, &["mkdir vendor && echo ${PIP_INDEX_URL-none} > vendor/id"]);
    let plain = fixture.job().await;
    let toolbox = plain.fresh(&base(&plain).await, "work").await.unwrap().unwrap();
    assert_eq!(ok(&toolbox, "cat vendor/id").await, "none\n");
    toolbox.shut_down().await;
    fixture.policy.variables = vec![("PIP_INDEX_URL".to_owned(), "http://mirror.example/simple".to_owned())];
    let job = fixture.job().await;
    let toolbox = job.fresh(&base(&job).await, "work").await.unwrap().ok().unwrap();
    assert_eq!(
        ok(&toolbox, "cat vendor/id; echo ${PIP_INDEX_URL-none}").await,
        "http://mirror.example/simple\nnone\n"
    );
    toolbox.shut_down().await;
}

#[tokio::test]
async fn failed_setup_reports_its_refused_requests() {
    let asks = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128; printf \"CONNECT packages.example:443 HTTP/1.1\\r\\n\\r\\n\" >&3; \
                head -n 1 <&3; echo it ended; exit 7'";
    let mut fixture = Fixture::new(SandboxKind::Bubblewrap, &["echo fine", asks, "echo never"]);
    fixture.policy.allowed_hosts = vec![AllowedHost::public("registry.example")];
    let job = fixture.job().await;
    let failure: SetupFailure = match job.fresh(&base(&job).await, "work").await.unwrap() {
        Err(failure) => failure,
        Ok(_) => panic!("the setup did not fail"),
    };
    let words = failure.describe().replace(asks, "ASKS");
    insta::assert_snapshot!(words, @r"
    the setup command `ASKS` fails: exit code 7.
    HTTP/1.1 403 Forbidden
    it ended
    It asked for packages.example, which is not allowed.
    ");
    let note = failure.operator_note().unwrap();
    assert_eq!(note.line().unwrap(), r#"allowed_hosts = ["registry.example", "packages.example"]"#);
    let events = job.take_events();
    assert_eq!(reported_setups(&events), [(2, false, false)]);
    let Some(TranscriptEvent::Egress { purpose, report }) = events.first() else { panic!("{events:?}") };
    assert_eq!((purpose.as_str(), report.decisions[0].host.as_str()), ("set-up", "packages.example"));
    // If no host is allowed, nothing listens.
    fixture.policy.allowed_hosts = Vec::new();
    let job = fixture.job().await;
    let Err(failure) = job.fresh(&base(&job).await, "work").await.unwrap() else { panic!("it did not fail") };
    assert!(failure.describe().contains("Connection refused"), "{}", failure.describe());
}
