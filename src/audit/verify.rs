//! Whether a manifest says the truth, as far as a repository, a transcript and a new run can tell.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{JobSettings, RepositoryId};
use crate::provenance::{InvalidManifest, Manifest, ProposedCommit, Sealed, build_manifest};
use crate::recording::Recording;
use crate::sandbox::{Sandbox, toolbox_sha256};
use crate::verdict::Verdict;
use crate::worker::{JobPolicy, Reverification, reverify};
use crate::workspace::{LocalRepository, Mirrors, Workspace};

/// Differences that are told; more are counted.
const DIFFERENCES_MAX: usize = 20;

/// What is to be checked, against what.
pub struct VerificationRequest<'a> {
    /// The manifest's file.
    pub manifest: &'a Path,
    /// The digest that the manifest must have: the pull request's.
    pub digest: Option<&'a str>,
    /// The transcript's file, where there is one.
    pub transcript: Option<&'a Path>,
    /// The repository.
    pub repository: &'a Path,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It is as the manifest says.
    Holds,
    /// It is not.
    Differs,
    /// It could not be checked, and nothing follows for the manifest.
    Unchecked,
    /// It is otherwise here, and need not be the same.
    Noted,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// What came of it.
    pub outcome: CheckOutcome,
    /// In words.
    pub words: String,
}

/// All checks, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Verification {
    /// 0: the verdict holds. 3: something is not as the manifest says. 1: it could not be checked.
    pub fn exit_code(&self) -> i32 {
        let any = |outcome: &CheckOutcome| self.checks.iter().any(|check| check.outcome == *outcome);
        match (any(&CheckOutcome::Differs), any(&CheckOutcome::Unchecked)) {
            (true, _) => 3,
            (false, true) => 1,
            (false, false) => 0,
        }
    }

    fn add(&mut self, what: &'static str, outcome: CheckOutcome, words: impl Into<String>) {
        self.checks.push(Check { what, outcome, words: words.into() });
    }

    fn add_equal(&mut self, what: &'static str, said: &str, found: &str) {
        match said == found {
            true => self.add(what, CheckOutcome::Holds, said),
            false => {
                self.add(what, CheckOutcome::Differs, format!("the manifest says {said}, and it is {found}"))
            }
        }
    }
}

/// Checks a manifest. What takes long comes last, and only where everything before it holds.
pub async fn verify(
    wanted: &VerificationRequest<'_>,
    sandbox: Arc<dyn Sandbox>,
    policy: &JobPolicy,
) -> Verification {
    let mut done = Verification::default();
    let sealed = match Sealed::load(wanted.manifest) {
        Ok(sealed) => sealed,
        Err(error @ InvalidManifest::Changed { .. }) => {
            done.add("manifest", CheckOutcome::Differs, error.to_string());
            return done;
        }
        Err(error @ InvalidManifest::Unreadable { .. }) => {
            done.add("manifest", CheckOutcome::Unchecked, error.to_string());
            return done;
        }
    };
    let manifest = &sealed.manifest;
    match wanted.digest {
        Some(digest) => done.add_equal("digest", &digest.to_lowercase(), &sealed.sha256),
        None => done.add(
            "digest",
            CheckOutcome::Holds,
            format!("{} (compare it with the pull request's)", sealed.sha256),
        ),
    }
    match wanted.transcript {
        Some(path) => transcript(&mut done, manifest, path),
        None => {
            done.add("transcript", CheckOutcome::Noted, "not looked at: no file was named (--transcript)")
        }
    }
    if manifest.toolbox_sha256 != toolbox_sha256() {
        done.add("toolbox", CheckOutcome::Noted, "another build of Mendwright made the proposal");
    }
    let Ok(directory) = tempfile::Builder::new().prefix("mendwright-verify-").tempdir() else {
        done.add("repository", CheckOutcome::Unchecked, "no temporary directory can be made");
        return done;
    };
    let workspace = match commits(&mut done, manifest, wanted.repository, directory.path()).await {
        Ok(workspace) => workspace,
        Err(why) => {
            done.add("repository", CheckOutcome::Unchecked, why);
            return done;
        }
    };
    if done.exit_code() == 0 {
        let settings = settings(manifest);
        let again = reverify(sandbox, policy, workspace, &settings, &manifest.head.tree).await;
        match again {
            Ok(again) => verdict(&mut done, manifest, again),
            Err(error) => done.add("verdict", CheckOutcome::Unchecked, format!("{error:#}")),
        }
    }
    done
}

/// Whether the transcript is the one that the manifest was made of, and says what the manifest says.
fn transcript(done: &mut Verification, manifest: &Manifest, path: &Path) {
    let recording = match Recording::load(path) {
        Ok(recording) => recording,
        Err(error) => return done.add("transcript", CheckOutcome::Unchecked, error.to_string()),
    };
    let said = &manifest.transcript;
    let Some(found) = recording.digest(said.events) else {
        let words =
            format!("it has {} events, and the manifest is made of {}", recording.events.len(), said.events);
        return done.add("transcript", CheckOutcome::Differs, words);
    };
    done.add_equal("transcript", &said.sha256, &found);
    let events = &recording.events[..usize::try_from(said.events).unwrap_or(usize::MAX)];
    let proposed = ProposedCommit {
        base_tree: manifest.base.tree.clone(),
        branch: manifest.head.branch.clone(),
        head: manifest.head.commit.clone(),
    };
    let Some(told) = build_manifest(&recording.job(), events, &proposed) else {
        return done.add("transcript", CheckOutcome::Differs, "it tells of no verified proposal");
    };
    // Not told by a transcript, but by who made the manifest.
    let told = Manifest {
        mendwright: manifest.mendwright.clone(),
        toolbox_sha256: manifest.toolbox_sha256.clone(),
        ..told
    };
    let differences = differences(manifest, &told);
    if !differences.is_empty() {
        done.add("contents", CheckOutcome::Differs, differences.join("; "));
    }
}

/// Where two manifests differ, in words.
fn differences(manifest: &Manifest, told: &Manifest) -> Vec<String> {
    let value =
        |manifest: &Manifest| serde_json::to_value(manifest).expect("a manifest has only string keys");
    let (said, told) = (value(manifest), value(told));
    let mut found = Vec::new();
    for (name, said) in said.as_object().into_iter().flatten() {
        if *said != told[name] {
            found.push(format!("{name}: the manifest says {said}, the transcript {}", told[name]));
        }
    }
    found.truncate(DIFFERENCES_MAX);
    found.into_iter().map(|words| crate::publish::escape::cut(&words, 600)).collect()
}

/// Whether base and head are in the repository, and are what the manifest says. `Err`: not there.
async fn commits(
    done: &mut Verification,
    manifest: &Manifest,
    repository: &Path,
    scratch: &Path,
) -> Result<Workspace, String> {
    let local = LocalRepository::open(repository).map_err(|error| error.to_string())?;
    let access = local.access().map_err(|error| error.to_string())?;
    let (base, head) = (&manifest.base, &manifest.head);
    let workspace = Mirrors::new(scratch).fetch(RepositoryId::LOCAL, &access, base.commit.as_str()).await;
    let workspace = workspace.map_err(|error| {
        format!("the base commit {} is not there ({error}); fetch {} first", base.commit, base.branch)
    })?;
    let failed = |error: crate::workspace::WorkspaceError| error.to_string();
    let found = workspace.base_tree().await.map_err(failed)?;
    done.add_equal("base tree", base.tree.as_str(), found.as_str());
    match workspace.find_commit(&head.commit).await.map_err(failed)? {
        Some(found) => {
            done.add_equal("head tree", head.tree.as_str(), found.tree.as_str());
            let parents: Vec<&str> = found.parents.iter().map(crate::domain::Sha::as_str).collect();
            match &manifest.on_top_of {
                None => done.add_equal("head's base", base.commit.as_str(), &parents.join(", ")),
                // A round that had nothing to change.
                Some(before) if *before == head.commit => {}
                Some(before) => done.add_equal("head's parent", before.as_str(), &parents.join(", ")),
            }
            if manifest.on_top_of.is_some() {
                let parted = workspace.merge_base(&base.commit, &head.commit).await.map_err(failed)?;
                let parted = parted.as_ref().map_or("nothing", crate::domain::Sha::as_str);
                done.add_equal("head's base", base.commit.as_str(), parted);
            }
        }
        None if workspace.has_tree(&head.tree).await.map_err(failed)? => {
            done.add("head", CheckOutcome::Noted, "the commit is not there; its tree is");
        }
        None => {
            return Err(format!(
                "neither the proposed commit {} nor its tree is there; fetch {} first",
                head.commit, head.branch
            ));
        }
    }
    Ok(workspace)
}

/// The job's settings, as far as a verdict depends on them.
fn settings(manifest: &Manifest) -> JobSettings {
    let suite = &manifest.suite;
    let source = "the manifest".to_owned();
    JobSettings {
        setup_commands: suite.setup_commands.clone(),
        setup_source: source.clone(),
        image: suite.image.clone(),
        image_source: source,
        agent_hosts: suite.hosts.clone(),
        test_command_source: suite.test_command_source.clone(),
        test_timeout: Duration::from_millis(suite.timeout_milliseconds),
        protected_paths: suite.protected_paths.clone(),
        test_paths: suite.test_paths.clone(),
        proof_required: suite.proof_required,
        ..JobSettings::of_test_command(suite.test_command.clone())
    }
}

fn verdict(done: &mut Verification, manifest: &Manifest, again: Reverification) {
    if manifest.sandbox.root.as_ref().is_some_and(|root| *root != again.root.digest) {
        let words = format!("the verdict was given again in another one: {}", again.root.description);
        done.add("root file system", CheckOutcome::Noted, words);
    }
    for note in again.notes {
        done.add("environment", CheckOutcome::Noted, note);
    }
    let said = &manifest.verdict;
    let verified = match again.verdict {
        Verdict::Verified(verified) => verified,
        Verdict::Rejected(red) => return done.add("verdict", CheckOutcome::Differs, red.explanation),
    };
    done.add_equal("verified tree", manifest.head.tree.as_str(), verified.tree().as_str());
    let proof = verified.proof().map(|tests| tests.iter().map(|test| test.0.clone()).collect::<Vec<_>>());
    let shown = |proof: &Option<Vec<String>>| match proof {
        None => "none asked for".to_owned(),
        Some(tests) if tests.is_empty() => "given, without names".to_owned(),
        Some(tests) => tests.join(", "),
    };
    match (said.proof.is_some(), proof.is_some()) {
        (true, false) => {
            done.add("proof", CheckOutcome::Differs, "the manifest has a proof, and now none is asked for");
        }
        (_, _) if said.proof == proof => done.add("proof", CheckOutcome::Holds, shown(&proof)),
        (_, _) => {
            let words = format!("it was {}, and is {}", shown(&said.proof), shown(&proof));
            done.add("proof", CheckOutcome::Noted, words);
        }
    }
    done.add("verdict", CheckOutcome::Holds, verified.explanation());
}
