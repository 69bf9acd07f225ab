//! Makes instances from a repository's history: fixes that brought tests. The tests run without and with the
//! fix, and only fixes whose tests show the bug are used.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use regex::Regex;

use super::Instance;
use super::outcome::passed;
use crate::domain::{RepositoryId, Sha, TestOutcome, TestRun};
use crate::verdict::TestPaths;
use crate::worker::local::TestBench;
use crate::worker::{SettingsError, rerun, resolve_settings, usable_plan, with_local_submodules};
use crate::workspace::{HistoryCommit, LocalRepository, Mirrors};

/// Most commits that are scanned.
const COMMITS_SCANNED_MAX: usize = 5_000;
/// A commit that changes more files is not a fix.
const PATHS_MAX: usize = 30;

/// A past fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    past: HistoryCommit,
}

/// A past fix and the result of its tests.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The commit.
    pub commit: Sha,
    /// The first line of its message.
    pub subject: String,
    /// The instance, or why there is none.
    pub instance: Result<Instance, String>,
    /// Time until a sandbox was ready, setup included.
    pub set_up_seconds: Option<f64>,
    /// Duration of the suite with the fix.
    pub suite_seconds: Option<f64>,
}

/// The past fixes in a repository's history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryCheck {
    /// Commits that were scanned.
    pub scanned: usize,
    /// The fixes among them, newest first.
    pub candidates: Vec<Candidate>,
}

/// Tries the last `count` fixes of the repository, `jobs` at a time. `scratch` is for git objects.
///
/// # Errors
/// The history cannot be read.
pub async fn check_history(
    repository: &LocalRepository,
    count: usize,
    bench: &TestBench,
    jobs: usize,
    scratch: &Path,
    mut on_result: impl FnMut(&Candidate),
) -> anyhow::Result<HistoryCheck> {
    let reading = repository.clone();
    let past =
        tokio::task::spawn_blocking(move || reading.commit_history(COMMITS_SCANNED_MAX, PATHS_MAX)).await??;
    let mut scanned = 0;
    let mut fixes = Vec::new();
    for commit in past {
        if fixes.len() == count {
            break;
        }
        scanned += 1;
        if is_fix_with_tests(&commit) {
            fixes.push(Fix { past: commit });
        }
    }
    let mirrors = Mirrors::new(scratch);
    let try_fix = fixes.into_iter().map(|fix| try_fix(fix, repository, &mirrors, bench));
    let mut try_fix = stream::iter(try_fix).buffered(jobs.max(1));
    let mut candidates = Vec::new();
    while let Some(candidate) = try_fix.next().await {
        on_result(&candidate);
        candidates.push(candidate);
    }
    Ok(HistoryCheck { scanned, candidates })
}

/// Whether a commit's message mentions a bug, and the commit changes both tests and source.
fn is_fix_with_tests(commit: &HistoryCommit) -> bool {
    static BUG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?i)\b(fix(e[sd]|ing)?|bugs?|bugfix|regressions?|crash(es|ed)?|panics?|incorrect(ly)?|wrong(ly)?|broken|fails?|failures?|repairs?|mends?|corrects?|handles?|resolves?[d]?|closes?[d]?)\b|#\d+|gh-\d+",
        )
        .expect("a pattern of ours")
    });
    let tests = TestPaths::with(&[]);
    let is_test = |path: &&String| path.parse().is_ok_and(|path| tests.contains(&path));
    let is_source = |path: &&String| !is_test(path) && !is_prose(path);
    BUG.is_match(&commit.message)
        && commit.paths.iter().any(|path| is_test(&path))
        && commit.paths.iter().any(|path| is_source(&path))
}

/// Whether a file is documentation or configuration, which no test covers.
fn is_prose(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let ends =
        [".md", ".rst", ".txt", ".adoc", ".lock", ".yml", ".yaml", ".toml", ".cfg", ".ini", ".sum", ".mod"];
    path.starts_with('.')
        || ends.iter().any(|end| name.ends_with(end))
        || name.starts_with("changelog")
        || name.starts_with("changes")
}

async fn try_fix(fix: Fix, repository: &LocalRepository, mirrors: &Mirrors, bench: &TestBench) -> Candidate {
    let mut candidate = Candidate {
        commit: fix.past.commit.clone(),
        subject: fix.past.message.lines().next().unwrap_or_default().to_owned(),
        instance: Err(String::new()),
        set_up_seconds: None,
        suite_seconds: None,
    };
    candidate.instance = match instance(&fix.past, repository, mirrors, bench, &mut candidate).await {
        Ok(instance) => instance,
        Err(error) => Err(format!("{error:#}")),
    };
    candidate
}

/// Makes the instance of a fix; the inner `Err` says why there is none.
async fn instance(
    past: &HistoryCommit,
    repository: &LocalRepository,
    mirrors: &Mirrors,
    bench: &TestBench,
    candidate: &mut Candidate,
) -> anyhow::Result<Result<Instance, String>> {
    let left_out = |why: &str| Ok(Err(why.to_owned()));
    let workspace = mirrors.fetch(RepositoryId::LOCAL, &repository.access()?, past.parent.as_str()).await?;
    let workspace = with_local_submodules(mirrors, RepositoryId::LOCAL, workspace, repository).await?;
    let plans = match resolve_settings(&bench.policy, &workspace).await {
        Ok(plans) => plans,
        Err(SettingsError::Invalid(why)) => return Ok(Err(why)),
        Err(error @ SettingsError::Workspace(_)) => return Err(error.into()),
    };
    let settings = match usable_plan(bench, &workspace, plans, |_| {}).await? {
        Ok(usable) => usable.settings,
        Err(why) => return Ok(Err(why)),
    };
    let fixed = workspace.find_commit(&past.commit).await?.context("the commit is gone")?.tree;
    let tests = TestPaths::with(&settings.test_paths);
    let mut changes = workspace.changes_in(&fixed).await?;
    changes.retain(|change| tests.contains(&change.path));
    let only_tests = workspace.propose(changes).await?.tree;
    let test_patch = workspace.full_patch(&only_tests).await?;
    let before = rerun(bench, workspace.clone(), &settings, &only_tests).await?;
    candidate.set_up_seconds = Some(before.setup.as_secs_f64());
    if before.run.is_green() {
        return left_out("its tests pass without the fix, too");
    }
    let after = rerun(bench, workspace, &settings, &fixed).await?.run;
    candidate.suite_seconds = Some(after.result.duration.as_secs_f64());
    let is_fixed = |name: &String| passed(&after, name) && !passed(&before.run, name);
    let failed: Vec<String> = before.run.failed().into_iter().map(|test| test.0).collect();
    let mut fail_to_pass: Vec<String> = failed.iter().filter(|name| is_fixed(name)).cloned().collect();
    if fail_to_pass.is_empty() {
        // A suite that does not build without the fix names none of its tests; with the fix it does.
        fail_to_pass = passing(&after).filter(is_fixed).collect();
    }
    if fail_to_pass.is_empty() {
        return match failed.is_empty() {
            true => Ok(Err(format!(
                "with its tests and without the fix no test is named as failing ({})",
                before.run.result.ending.describe()
            ))),
            false => left_out("no test that fails without the fix passes with it"),
        };
    }
    let pass_to_pass: Vec<String> = passing(&after).filter(|name| passed(&before.run, name)).collect();
    let name = repository.git_dir.display().to_string();
    Ok(Ok(Instance {
        instance_id: format!("history-{}", past.commit.short()),
        repo: name,
        base_commit: past.parent.clone(),
        problem_statement: statement(&past.message),
        test_patch,
        fail_to_pass,
        pass_to_pass,
    }))
}

/// The tests that a run names as passed.
fn passing(run: &TestRun) -> impl Iterator<Item = String> {
    let passed = run.report.cases.iter().filter(|case| case.outcome == TestOutcome::Passed);
    passed.map(|case| case.name.clone())
}

/// A commit's message as an issue, without trailers.
fn statement(message: &str) -> String {
    let is_trailer = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_lowercase();
        line.contains(": ") && (name.ends_with("-by") || name == "change-id" || name == "cc")
    };
    let lines: Vec<&str> = message.lines().filter(|line| !is_trailer(line)).collect();
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(message: &str, paths: &[&str]) -> HistoryCommit {
        HistoryCommit {
            commit: "a".repeat(40).parse().unwrap(),
            parent: "b".repeat(40).parse().unwrap(),
            message: message.into(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }
    }

    #[test]
    fn fix_mentions_a_bug_and_changes_tests_and_source() {
        let both = ["src/a.py", "tests/test_a.py"];
        for message in ["Fix the sum", "Do not crash on empty input", "Sum all items (#12)", "Closes GH-3"] {
            assert!(is_fix_with_tests(&commit(message, &both)), "{message}");
        }
        assert!(!is_fix_with_tests(&commit("Add a prefix option", &both)));
        for paths in [
            &["src/a.py"][..],
            &["tests/test_a.py"],
            &["tests/test_a.py", "docs/a.md", "CHANGES.rst", ".github/ci.yml", "tox.ini"],
        ] {
            assert!(!is_fix_with_tests(&commit("Fix the sum", paths)), "{paths:?}");
        }
    }

    #[test]
    fn commit_message_becomes_an_issue_without_trailers() {
        let message =
            "Fix: the sum\n\nIt forgot: the last item.\n\nSigned-off-by: A <a@x>\nCo-authored-by: B <b@x>\n";
        assert_eq!(statement(message), "Fix: the sum\n\nIt forgot: the last item.");
    }
}
