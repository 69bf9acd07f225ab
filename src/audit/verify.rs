//! Verifies a manifest against a repository, a transcript and a new run.

use std::path::Path;
use std::sync::Arc;

use super::verdict_check::{check_suite, check_verdict};
use super::verification::{CheckOutcome, Verification};
use crate::domain::{FOUND_BY_SETUP_AGENT, JobSettings, RepositoryId, commands_in_words};
use crate::provenance::{
    DsseEnvelope, InvalidManifest, Manifest, ManifestPublicKey, ProposedCommit, STATEMENT_PAYLOAD_TYPE,
    Sealed, Suite, build_manifest, check_manifest_signature, in_file, manifest_in, read_manifest,
};
use crate::recording::Recording;
use crate::sandbox::{Sandbox, toolbox_sha256};
use crate::worker::{JobPolicy, resolve_settings, reverify, with_local_submodules};
use crate::workspace::{LocalRepository, Mirrors, Workspace};

/// Most differences that are listed.
const DIFFERENCES_MAX: usize = 20;

/// What to verify, and against what.
pub struct VerificationRequest<'a> {
    /// The manifest's file: the manifest, or a signed envelope with it.
    pub manifest: &'a Path,
    /// The expected digest: the one in the pull request.
    pub digest: Option<&'a str>,
    /// The signature that the pull request shows, in base64.
    pub signature: Option<&'a str>,
    /// The service's public keys, from a source that the caller trusts; empty: no signature is checked.
    pub public_keys: &'a [ManifestPublicKey],
    /// The transcript's file, if there is one.
    pub transcript: Option<&'a Path>,
    /// The repository.
    pub repository: &'a Path,
}

/// Verifies a manifest. What is expected of a proposal comes from the base commit, never from the manifest.
/// Slow checks come last, and only run if nothing differs until then.
pub async fn verify(
    wanted: &VerificationRequest<'_>,
    sandbox: Arc<dyn Sandbox>,
    policy: &JobPolicy,
) -> Verification {
    let mut verification = Verification::default();
    let loaded = match load(wanted.manifest) {
        Ok(loaded) => loaded,
        Err(error @ InvalidManifest::Changed { .. }) => {
            verification.add("manifest", CheckOutcome::Differs, error.to_string());
            return verification;
        }
        Err(error @ InvalidManifest::Unreadable { .. }) => {
            verification.add("manifest", CheckOutcome::Unchecked, error.to_string());
            return verification;
        }
    };
    check_origin(&mut verification, wanted, &loaded);
    let manifest = &loaded.sealed.manifest;
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
    if verification.differs() {
        return verification;
    }
    let is_given = policy.settings_override.as_ref().is_some_and(|given| given.test_command.is_some());
    if manifest.suite.test_command_source == FOUND_BY_SETUP_AGENT && !is_given {
        let words = format!(
            "nothing in the repository says the commands: the setup agent found them. Read them, and if you agree, give \
             them with --test and --setup: {}",
            commands_in_words(&manifest.suite.setup_commands, &manifest.suite.test_command)
        );
        verification.add("suite", CheckOutcome::Unchecked, words);
        return verification;
    }
    let settings = match resolve_settings(policy, &workspace).await {
        Ok(plans) => plan_of(&manifest.suite, plans),
        Err(error) => {
            let words = format!("the base's own configuration gives no settings: {error}");
            verification.add("suite", CheckOutcome::Unchecked, words);
            return verification;
        }
    };
    let image_given = policy.settings_override.as_ref().is_some_and(|given| given.image_given);
    check_suite(&mut verification, &manifest.suite, &settings, image_given);
    if verification.differs() {
        return verification;
    }
    match reverify(sandbox, policy, workspace, &settings, &manifest.head.tree).await {
        Ok(reverification) => check_verdict(&mut verification, manifest, reverification),
        Err(error) => verification.add("verdict", CheckOutcome::Unchecked, format!("{error:#}")),
    }
    verification
}

/// The base's plan that the manifest names; the first one if it names none of them.
fn plan_of(suite: &Suite, mut plans: Vec<JobSettings>) -> JobSettings {
    let is_named = |plan: &JobSettings| {
        plan.test_command == suite.test_command && plan.setup_commands == suite.setup_commands
    };
    let named = plans.iter().position(is_named).unwrap_or(0);
    plans.swap_remove(named)
}

/// A manifest as it was read.
struct LoadedManifest {
    sealed: Sealed,
    /// Its text, with fields that this version does not know.
    text: String,
    /// The envelope that it was in.
    envelope: Option<DsseEnvelope>,
}

fn load(path: &Path) -> Result<LoadedManifest, InvalidManifest> {
    let text = read_manifest(path)?;
    let (text, envelope) = match serde_json::from_str::<DsseEnvelope>(&text) {
        Ok(envelope) => {
            let inner = manifest_in(&envelope).map_err(|problem| InvalidManifest::Unreadable {
                path: path.display().to_string(),
                why: problem.to_string(),
            })?;
            (inner, Some(envelope))
        }
        Err(_) => (text, None),
    };
    let sealed = Sealed::parse(&text).map_err(|error| in_file(path, error))?;
    Ok(LoadedManifest { sealed, text, envelope })
}

/// Checks that the manifest is the service's: it has the pull request's digest, or is signed with one of the
/// service's keys. Anybody can make up a manifest that agrees with itself.
fn check_origin(verification: &mut Verification, wanted: &VerificationRequest<'_>, loaded: &LoadedManifest) {
    let sealed = &loaded.sealed;
    if let Some(digest) = wanted.digest {
        verification.add_equal("digest", &digest.to_lowercase(), &sealed.sha256);
    }
    let keys = wanted.public_keys;
    let is_signed = wanted.signature.is_some() || loaded.envelope.is_some();
    let checked = match (wanted.signature, &loaded.envelope) {
        (_, _) if keys.is_empty() => None,
        (Some(signature), _) => Some(check_manifest_signature(keys, &loaded.text, signature)),
        (None, Some(envelope)) => Some(envelope.check(keys, STATEMENT_PAYLOAD_TYPE)),
        (None, None) => None,
    };
    match checked {
        Some(Ok(key)) => verification.add("signature", CheckOutcome::Holds, format!("by the key {key}")),
        Some(Err(problem)) => verification.add("signature", CheckOutcome::Differs, problem.to_string()),
        None if !keys.is_empty() => verification.add(
            "signature",
            CheckOutcome::Unchecked,
            "a public key was given, and no signature: name the pull request's with --signature",
        ),
        None if is_signed => {
            let outcome = if wanted.digest.is_some() { CheckOutcome::Noted } else { CheckOutcome::Unchecked };
            verification.add("signature", outcome, "not checked: no public key was named (--public-key)");
        }
        None => {}
    }
    let is_known = wanted.digest.is_some() || !keys.is_empty();
    if !is_known {
        let words = format!(
            "it is {}, and nothing shows that the manifest is the service's: name the pull request's digest \
             (--digest), or the service's public key (--public-key)",
            sealed.sha256
        );
        verification.add("digest", CheckOutcome::Unchecked, words);
    }
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
    let mirrors = Mirrors::new(scratch);
    let workspace = mirrors.fetch(RepositoryId::LOCAL, &access, base.commit.as_str()).await;
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
    with_local_submodules(&mirrors, RepositoryId::LOCAL, workspace, &local)
        .await
        .map_err(|error| error.to_string())
}
