//! The set-up phase: what it makes is there in every sandbox that follows, made once, changed by
//! nobody; and what a set-up asks of the network is answered by the operator's list.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mendwright::config::AllowedHost;
use mendwright::domain::{
    Change, ChangedContent, ExitStatus, FileMode, JobSettings, RepositoryId, Sha, TranscriptEvent,
};
use mendwright::sandbox::{
    CommandSpec, DockerOptions, Limits, Root, Sandbox, SandboxError, SandboxOptions, SandboxSpec, Toolbox,
    connect,
};
use mendwright::setup::{Environment, SetupFailure, SetupLocks, SetupPolicy};
use mendwright::testing::SuiteError;
use mendwright::workspace::{LocalRepository, Mirrors, Workspace};

mod keeping;
mod service;

const DEADLINE: Duration = Duration::from_secs(60);

/// A set-up whose result differs each time it runs, in both places that are kept.
const MAKES_AN_ID: &str = "mkdir -p vendor && cat /proc/sys/kernel/random/uuid > vendor/id && cp vendor/id $HOME/id && \
     mkdir -p $HOME/.private && chmod 700 $HOME/.private && echo x > $HOME/.private/x";

fn backend(kind: &str, state: &Path) -> Arc<dyn Sandbox> {
    let options = SandboxOptions {
        kind: kind.to_owned(),
        state_dir: state.join("state"),
        owner: state.display().to_string(),
        docker: DockerOptions::default(),
    };
    connect(&options).unwrap()
}

fn spec(kind: &str, label: &str) -> SandboxSpec {
    let root = match kind {
        "docker" => Root::Image("mendwright-test:1".to_owned()),
        _ => Root::Host { toolchains: Vec::new() },
    };
    SandboxSpec { root, ..SandboxSpec::named(format!("{label}-{}", std::process::id())) }
}

async fn ok(toolbox: &Toolbox, command: &str) -> String {
    let result = toolbox.run(&CommandSpec::shell(command, DEADLINE)).await.unwrap();
    assert_eq!(result.ending, ExitStatus::Exited { code: 0 }, "{command}: {}", result.output.to_text());
    result.output.to_text()
}

/// A repository whose set-up makes what its tests need.
struct Site {
    directory: tempfile::TempDir,
    sandbox: Arc<dyn Sandbox>,
    kind: &'static str,
    policy: SetupPolicy,
    locks: SetupLocks,
    commands: Vec<String>,
    limits: Limits,
}

impl Site {
    fn new(kind: &'static str, commands: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = backend(kind, directory.path());
        let site = Self {
            directory,
            sandbox,
            kind,
            policy: SetupPolicy::default(),
            locks: SetupLocks::default(),
            commands: commands.iter().map(|command| (*command).to_owned()).collect(),
            limits: Limits::default(),
        };
        site.commit(&[("deps.lock.txt", "x"), ("requirements.txt", "one"), ("src/main.py", "base")]);
        site
    }

    fn commit(&self, files: &[(&str, &str)]) {
        let path = self.directory.path().join("repository");
        let repository = git2::Repository::init(&path).unwrap();
        for (name, text) in files {
            let at = path.join(name);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, text).unwrap();
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

    /// A job's environment at the repository's present head.
    async fn job(&self) -> Environment {
        let path = self.directory.path().join("repository");
        let access = LocalRepository::open(&path).unwrap().access().unwrap();
        let mirrors = Mirrors::new(self.directory.path().join("mirrors"));
        let workspace = mirrors.fetch(RepositoryId(1), &access, "HEAD").await.unwrap();
        let settings = JobSettings {
            setup_commands: self.commands.clone(),
            setup_source: "the story".into(),
            test_timeout: DEADLINE,
            proof_required: false,
            ..JobSettings::of_test_command("cat vendor/id")
        };
        let environment = Environment::of(
            self.sandbox.clone(),
            SandboxSpec { limits: self.limits, ..spec(self.kind, "site") },
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

/// The id that a sandbox with `tree` finds in both places.
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

/// Of each set-up told of: how many commands ran, whether it was kept, whether it was reused.
fn set_ups(events: &[TranscriptEvent]) -> Vec<(usize, bool, bool)> {
    let told = |event: &TranscriptEvent| match event {
        TranscriptEvent::SetUp { commands, kept, reused, .. } => Some((commands.len(), *kept, *reused)),
        _ => None,
    };
    events.iter().filter_map(told).collect()
}

macro_rules! of_every_backend {
    ($($story:ident),* $(,)?) => {
        mod bubblewrap {
            $(#[tokio::test]
            async fn $story() {
                super::$story("bubblewrap").await;
            })*
        }
        mod docker {
            $(#[tokio::test]
            #[ignore = "needs Docker"]
            async fn $story() {
                super::$story("docker").await;
            })*
        }
    };
}
use of_every_backend;

of_every_backend! {
    a_set_up_runs_once_for_all_sandboxes_of_all_jobs,
    what_a_sandbox_does_to_what_was_prepared_is_gone_with_it,
    another_lock_file_on_the_base_is_another_set_up,
    a_proposal_with_other_lock_files_never_feeds_a_later_job,
    jobs_that_want_the_same_set_up_wait_for_the_one_that_makes_it,
    what_cannot_be_kept_is_made_in_each_sandbox,
    a_file_with_holes_takes_no_more_of_the_host_than_the_sandbox_might,
}

async fn a_set_up_runs_once_for_all_sandboxes_of_all_jobs(kind: &'static str) {
    let site = Site::new(kind, &[MAKES_AN_ID]);
    let first = site.job().await;
    let tree = base(&first).await;
    let id = id_in(&first, &tree, "work").await;
    assert_eq!(id_in(&first, &tree, "verdict").await, id);
    assert_eq!(set_ups(&first.take_events()), [(1, true, false)]);
    // The source has changed; what the set-up depends on has not.
    site.commit(&[("src/main.py", "later")]);
    let second = site.job().await;
    let later = base(&second).await;
    assert_ne!(later, tree);
    assert_eq!(id_in(&second, &later, "work").await, id);
    assert_eq!(set_ups(&second.take_events()), [(0, true, true)]);
    let toolbox = second.fresh(&later, "source").await.unwrap().unwrap();
    assert_eq!(ok(&toolbox, "cat src/main.py").await, "later");
    toolbox.shut_down().await;
}

async fn what_a_sandbox_does_to_what_was_prepared_is_gone_with_it(kind: &'static str) {
    let site = Site::new(kind, &[MAKES_AN_ID, "echo tampered > src/main.py"]);
    let job = site.job().await;
    let tree = base(&job).await;
    let toolbox = job.fresh(&tree, "work").await.unwrap().unwrap();
    assert_eq!(ok(&toolbox, "cat src/main.py").await, "base", "a set-up changes no tracked file");
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

async fn another_lock_file_on_the_base_is_another_set_up(kind: &'static str) {
    let site = Site::new(kind, &[MAKES_AN_ID]);
    let first = site.job().await;
    let id = id_in(&first, &base(&first).await, "work").await;
    site.commit(&[("requirements.txt", "two")]);
    let second = site.job().await;
    assert_ne!(id_in(&second, &base(&second).await, "work").await, id);
    site.commit(&[("requirements.txt", "one")]);
    let third = site.job().await;
    assert_eq!(id_in(&third, &base(&third).await, "work").await, id, "the first one is still there");
}

async fn a_proposal_with_other_lock_files_never_feeds_a_later_job(kind: &'static str) {
    let mut site = Site::new(kind, &[MAKES_AN_ID]);
    let job = site.job().await;
    let id = id_in(&job, &base(&job).await, "work").await;
    let proposed = propose(job.workspace(), "requirements.txt", "two").await;
    let its_own = id_in(&job, &proposed, "verdict").await;
    assert_ne!(its_own, id, "without network it has a set-up of its own");
    assert_eq!(id_in(&job, &base(&job).await, "proof").await, id);
    site.commit(&[("requirements.txt", "two")]);
    let later = site.job().await;
    let of_later = id_in(&later, &base(&later).await, "work").await;
    assert_ne!(of_later, its_own, "what a proposal's set-up made was found by a job on the base");
    // With network it has none, unless the operator says so.
    site.policy.allowed_hosts = vec![AllowedHost::public("registry.example")];
    let online = site.job().await;
    let id = id_in(&online, &base(&online).await, "work").await;
    let proposed = propose(online.workspace(), "requirements.txt", "three").await;
    assert_eq!(id_in(&online, &proposed, "verdict").await, id);
    site.policy.network_for_proposals = true;
    let trusting = site.job().await;
    assert_ne!(id_in(&trusting, &proposed, "verdict").await, id);
}

async fn jobs_that_want_the_same_set_up_wait_for_the_one_that_makes_it(kind: &'static str) {
    let site = Site::new(kind, &[MAKES_AN_ID]);
    let (one, other) = (site.job().await, site.job().await);
    let tree = base(&one).await;
    let (id, same) = tokio::join!(id_in(&one, &tree, "one"), id_in(&other, &tree, "other"));
    assert_eq!(id, same);
    let mut told = [set_ups(&one.take_events()), set_ups(&other.take_events())].concat();
    told.sort();
    assert_eq!(told, [(0, true, true), (1, true, false)]);
}

async fn what_cannot_be_kept_is_made_in_each_sandbox(kind: &'static str) {
    let mut site = Site::new(kind, &[MAKES_AN_ID, "head -c 100000 /dev/zero > vendor/big"]);
    site.policy.kept.bytes_max = 50_000;
    let job = site.job().await;
    let tree = base(&job).await;
    let id = id_in(&job, &tree, "work").await;
    assert_ne!(id_in(&job, &tree, "verdict").await, id);
    let events = job.take_events();
    assert_eq!(set_ups(&events), [(2, false, false)]);
    let noted = events.iter().any(|event| match event {
        TranscriptEvent::Note { text } => {
            text.contains("larger than") && text.contains("runs the set-up itself, without network")
        }
        _ => false,
    });
    assert!(noted, "{events:?}");
}

/// Holes cost nothing inside, and would be whole where they are kept: at the cost of everybody else's.
async fn a_file_with_holes_takes_no_more_of_the_host_than_the_sandbox_might(kind: &'static str) {
    let mut site = Site::new(kind, &[MAKES_AN_ID, "truncate -s 300M $HOME/holes"]);
    site.limits.disk_bytes_max = 128 << 20;
    let job = site.job().await;
    job.fresh(&base(&job).await, "work").await.unwrap().unwrap().shut_down().await;
    let events = job.take_events();
    assert_eq!(set_ups(&events), [(2, false, false)]);
    let notes = events.iter().filter_map(|event| match event {
        TranscriptEvent::Note { text } => Some(text.as_str()),
        _ => None,
    });
    assert!(notes.collect::<String>().contains("larger than the 128 MiB that may be kept"), "{events:?}");
}

#[tokio::test]
#[ignore = "needs Docker"]
async fn what_a_set_up_made_and_does_not_fit_is_told_as_a_full_disk() {
    let mut site = Site::new("docker", &["head -c 90000000 /dev/zero > $HOME/large"]);
    // A quarter of it is for the home directory.
    site.limits.disk_bytes_max = 256 << 20;
    let job = site.job().await;
    match job.fresh(&base(&job).await, "work").await {
        Err(SuiteError::Sandbox(SandboxError::DiskFull(why))) => {
            assert!(why.starts_with("what the set-up made cannot be copied: "), "{why}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it fitted"),
    }
}

#[tokio::test]
async fn a_set_up_sees_the_operators_variables_and_nobody_else_does() {
    let mut site = Site::new("bubblewrap", &["mkdir vendor && echo ${PIP_INDEX_URL-none} > vendor/id"]);
    let plain = site.job().await;
    let toolbox = plain.fresh(&base(&plain).await, "work").await.unwrap().unwrap();
    assert_eq!(ok(&toolbox, "cat vendor/id").await, "none\n");
    toolbox.shut_down().await;
    site.policy.variables = vec![("PIP_INDEX_URL".to_owned(), "http://mirror.example/simple".to_owned())];
    let job = site.job().await;
    let toolbox = job.fresh(&base(&job).await, "work").await.unwrap().ok().unwrap();
    assert_eq!(
        ok(&toolbox, "cat vendor/id; echo ${PIP_INDEX_URL-none}").await,
        "http://mirror.example/simple\nnone\n"
    );
    toolbox.shut_down().await;
}

#[tokio::test]
async fn a_set_up_that_fails_says_what_it_was_refused() {
    let asks = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128; printf \"CONNECT packages.example:443 HTTP/1.1\\r\\n\\r\\n\" >&3; \
                head -n 1 <&3; echo it ended; exit 7'";
    let mut site = Site::new("bubblewrap", &["echo fine", asks, "echo never"]);
    site.policy.allowed_hosts = vec![AllowedHost::public("registry.example")];
    let job = site.job().await;
    let failure: SetupFailure = match job.fresh(&base(&job).await, "work").await.unwrap() {
        Err(failure) => failure,
        Ok(_) => panic!("the set-up did not fail"),
    };
    let words = failure.describe().replace(asks, "ASKS");
    insta::assert_snapshot!(words, @r"
    the set-up command `ASKS` fails: exit code 7.
    HTTP/1.1 403 Forbidden
    it ended
    It asked for packages.example, which is not allowed: add it to `sandbox.allowed_hosts` in the operator's configuration if it should be.
    ");
    let events = job.take_events();
    assert_eq!(set_ups(&events), [(2, false, false)]);
    let Some(TranscriptEvent::Egress { purpose, report }) = events.first() else { panic!("{events:?}") };
    assert_eq!((purpose.as_str(), report.decisions[0].host.as_str()), ("set-up", "packages.example"));
    // And where no host is allowed there is nothing that listens.
    site.policy.allowed_hosts = Vec::new();
    let job = site.job().await;
    let Err(failure) = job.fresh(&base(&job).await, "work").await.unwrap() else { panic!("it did not fail") };
    assert!(failure.describe().contains("Connection refused"), "{}", failure.describe());
}
