//! Verifies a manifest against a repository, a transcript and a new run.

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

/// Most differences that are listed.
const DIFFERENCES_MAX: usize = 20;

/// What to verify, and against what.
pub struct VerificationRequest<'a> {
    /// The manifest's file.
    pub manifest: &'a Path,
    /// The expected digest: the one in the pull request.
    pub digest: Option<&'a str>,
    /// The transcript's file, if there is one.
    pub transcript: Option<&'a Path>,
    /// The repository.
    pub repository: &'a Path,
}

/// The outcome of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It agrees with the manifest.
    Holds,
    /// It differs from the manifest.
    Differs,
    /// It could not be checked; this says nothing about the manifest.
    Unchecked,
    /// It differs here, and may.
    Noted,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The subject.
    pub what: &'static str,
    /// The outcome.
    pub outcome: CheckOutcome,
    /// The details.
    pub words: String,
}

/// All checks, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// The checks.
    pub checks: Vec<Check>,
}

impl Verification {
    /// 0: the verdict holds. 3: something differs from the manifest. 1: it could not be checked.
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

    fn add_equal(&mut self, what: &'static str, expected: &str, found: &str) {
        match expected == found {
            true => self.add(what, CheckOutcome::Holds, expected),
            false => self.add(
                what,
                CheckOutcome::Differs,
                format!("the manifest says {expected}, and it is {found}"),
            ),
        }
    }
}

/// Verifies a manifest. Slow checks come last, and only run if all others hold.
pub async fn verify(
    wanted: &VerificationRequest<'_>,
    sandbox: Arc<dyn Sandbox>,
    policy: &JobPolicy,
) -> Verification {
    let mut verification = Verification::default();
    let sealed = match Sealed::load(wanted.manifest) {
        Ok(sealed) => sealed,
        Err(error @ InvalidManifest::Changed { .. }) => {
            verification.add("manifest", CheckOutcome::Differs, error.to_string());
            return verification;
        }
        Err(error @ InvalidManifest::Unreadable { .. }) => {
            verification.add("manifest", CheckOutcome::Unchecked, error.to_string());
            return verification;
        }
    };
    let manifest = &sealed.manifest;
    match wanted.digest {
        Some(digest) => verification.add_equal("digest", &digest.to_lowercase(), &sealed.sha256),
        None => verification.add(
            "digest",
            CheckOutcome::Holds,
            format!("{} (compare it with the pull request's)", sealed.sha256),
        ),
    }
    match wanted.transcript {
        Some(path) => transcript(&mut verification, manifest, path),
        None => verification.add(
            "transcript",
            CheckOutcome::Noted,
            "not looked at: no file was named (--transcript)",
        ),
    }
    if manifest.toolbox_sha256 != toolbox_sha256() {
        verification.add("toolbox", CheckOutcome::Noted, "another build of Mendwright made the proposal");
    }
    let Ok(directory) = tempfile::Builder::new().prefix("mendwright-verify-").tempdir() else {
        verification.add("repository", CheckOutcome::Unchecked, "no temporary directory can be made");
        return verification;
    };
    let workspace = match commits(&mut verification, manifest, wanted.repository, directory.path()).await {
        Ok(workspace) => workspace,
        Err(why) => {
            verification.add("repository", CheckOutcome::Unchecked, why);
            return verification;
        }
    };
    if verification.exit_code() == 0 {
        let settings = settings(manifest);
        let reverification = reverify(sandbox, policy, workspace, &settings, &manifest.head.tree).await;
        match reverification {
            Ok(reverification) => verdict(&mut verification, manifest, reverification),
            Err(error) => verification.add("verdict", CheckOutcome::Unchecked, format!("{error:#}")),
        }
    }
    verification
}

/// Checks that the transcript is the manifest's, and that it contains what the manifest says.
fn transcript(verification: &mut Verification, manifest: &Manifest, path: &Path) {
    let recording = match Recording::load(path) {
        Ok(recording) => recording,
        Err(error) => return verification.add("transcript", CheckOutcome::Unchecked, error.to_string()),
    };
    let expected = &manifest.transcript;
    let Some(found) = recording.digest(expected.events) else {
        let words = format!(
            "it has {} events, and the manifest is made of {}",
            recording.events.len(),
            expected.events
        );
        return verification.add("transcript", CheckOutcome::Differs, words);
    };
    verification.add_equal("transcript", &expected.sha256, &found);
    let events = &recording.events[..usize::try_from(expected.events).unwrap_or(usize::MAX)];
    let proposed = ProposedCommit {
        base_tree: manifest.base.tree.clone(),
        branch: manifest.head.branch.clone(),
        head: manifest.head.commit.clone(),
    };
    let Some(from_transcript) = build_manifest(&recording.job(), events, &proposed) else {
        return verification.add("transcript", CheckOutcome::Differs, "it tells of no verified proposal");
    };
    // Not in a transcript, but known to the program that made the manifest.
    let from_transcript = Manifest {
        mendwright: manifest.mendwright.clone(),
        toolbox_sha256: manifest.toolbox_sha256.clone(),
        ..from_transcript
    };
    let differences = differences(manifest, &from_transcript);
    if !differences.is_empty() {
        verification.add("contents", CheckOutcome::Differs, differences.join("; "));
    }
}

/// The differences between two manifests.
fn differences(manifest: &Manifest, from_transcript: &Manifest) -> Vec<String> {
    let value =
        |manifest: &Manifest| serde_json::to_value(manifest).expect("a manifest has only string keys");
    let (expected, from_transcript) = (value(manifest), value(from_transcript));
    let mut found = Vec::new();
    for (name, expected) in expected.as_object().into_iter().flatten() {
        if *expected != from_transcript[name] {
            found.push(format!(
                "{name}: the manifest says {expected}, the transcript {}",
                from_transcript[name]
            ));
        }
    }
    found.truncate(DIFFERENCES_MAX);
    found.into_iter().map(|words| crate::publish::escape::cut(&words, 600)).collect()
}

/// Checks that base and head are in the repository, and agree with the manifest. `Err`: they are not there.
async fn commits(
    verification: &mut Verification,
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
    verification.add_equal("base tree", base.tree.as_str(), found.as_str());
    match workspace.find_commit(&head.commit).await.map_err(failed)? {
        Some(found) => {
            verification.add_equal("head tree", head.tree.as_str(), found.tree.as_str());
            let parents: Vec<&str> = found.parents.iter().map(crate::domain::Sha::as_str).collect();
            match &manifest.on_top_of {
                None => verification.add_equal("head's base", base.commit.as_str(), &parents.join(", ")),
                // A round that changed nothing.
                Some(before) if *before == head.commit => {}
                Some(before) => verification.add_equal("head's parent", before.as_str(), &parents.join(", ")),
            }
            if manifest.on_top_of.is_some() {
                let parted = workspace.merge_base(&base.commit, &head.commit).await.map_err(failed)?;
                let parted = parted.as_ref().map_or("nothing", crate::domain::Sha::as_str);
                verification.add_equal("head's base", base.commit.as_str(), parted);
            }
        }
        None if workspace.has_tree(&head.tree).await.map_err(failed)? => {
            verification.add("head", CheckOutcome::Noted, "the commit is not there; its tree is");
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

/// The job's settings that a verdict depends on.
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

fn verdict(verification: &mut Verification, manifest: &Manifest, reverification: Reverification) {
    if manifest.sandbox.root.as_ref().is_some_and(|root| *root != reverification.root.digest) {
        let words =
            format!("the verdict was given again in another one: {}", reverification.root.description);
        verification.add("root file system", CheckOutcome::Noted, words);
    }
    for note in reverification.notes {
        verification.add("environment", CheckOutcome::Noted, note);
    }
    let expected = &manifest.verdict;
    let verified = match reverification.verdict {
        Verdict::Verified(verified) => verified,
        Verdict::Rejected(red) => return verification.add("verdict", CheckOutcome::Differs, red.explanation),
    };
    verification.add_equal("verified tree", manifest.head.tree.as_str(), verified.tree().as_str());
    let proof = verified.proof().map(|tests| tests.iter().map(|test| test.0.clone()).collect::<Vec<_>>());
    let shown = |proof: &Option<Vec<String>>| match proof {
        None => "none asked for".to_owned(),
        Some(tests) if tests.is_empty() => "given, without names".to_owned(),
        Some(tests) => tests.join(", "),
    };
    match (expected.proof.is_some(), proof.is_some()) {
        (true, false) => {
            verification.add(
                "proof",
                CheckOutcome::Differs,
                "the manifest has a proof, and now none is asked for",
            );
        }
        (_, _) if expected.proof == proof => verification.add("proof", CheckOutcome::Holds, shown(&proof)),
        (_, _) => {
            let words = format!("it was {}, and is {}", shown(&expected.proof), shown(&proof));
            verification.add("proof", CheckOutcome::Noted, words);
        }
    }
    verification.add("verdict", CheckOutcome::Holds, verified.explanation());
}
