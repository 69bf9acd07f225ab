//! Whether the suite of the base runs the repository's tests and reports their failures. Asked where a model says how
//! the suite is run: tests that must fail are added to many test files at once, and most must be reported.

use crate::domain::{Change, ChangedContent, FileMode, RepoPath, ReportFormat, TestRun};
use crate::testing::{CanaryTests, SuiteError, canary, run_suite_as_far_as_possible};

use super::super::verifier::Verifier;
use super::canary::token;

/// Test files of the base that are considered.
const FILES_MAX: usize = 20_000;
/// Test files that get failing tests.
const PLANTED_MAX: usize = 40;
/// Test files that are tried alone.
const ALONE_MAX: usize = 3;
/// Largest test file that is used.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Files that are named.
const NAMED_MAX: usize = 10;

/// A test file with tests that must fail.
struct FailingFile {
    path: RepoPath,
    mode: FileMode,
    canary: CanaryTests,
}

impl FailingFile {
    fn is_reported(&self, run: &TestRun) -> bool {
        let is_of = |case: &crate::domain::TestCase| {
            self.canary.names.iter().any(|name| self.canary.is_named(&case.name, name, &self.path))
        };
        run.report.red().any(is_of)
    }
}

impl Verifier<'_> {
    /// Whether the suite of the base reports tests that must fail, in most test files, and fails with them. `Err`: why it
    /// is not believed. Where it is not known how the repository's tests are written, nothing is asked.
    ///
    /// # Errors
    /// A sandbox or the workspace failed.
    pub async fn base_reports_failures(&self) -> Result<Result<(), String>, SuiteError> {
        let files = self.failing_files().await?;
        if files.is_empty() {
            return Ok(Ok(()));
        }
        let run = match self.run_with(&files).await? {
            Ok(run) => run,
            Err(why) => return Ok(Err(why)),
        };
        if run.exited_successfully() {
            return Ok(Err(format!(
                "Tests that must fail were added to {}, and the command exits as if all passed.",
                in_words(files.iter())
            )));
        }
        let (reported, missing): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.is_reported(&run));
        if reported.len() > missing.len() {
            if !missing.is_empty() {
                self.environment.remark(&format!(
                    "Failing tests were added to {} test files of the base, and the suite reported those of {}. The setup \
                     agent found the test command, so it may leave out tests in: {}.",
                    files.len(),
                    reported.len(),
                    in_words(missing.into_iter())
                ));
            }
            return Ok(Ok(()));
        }
        // One file that does not compile with them can keep all others from running.
        if reported.is_empty() && run.report.cases.iter().all(|case| case.stands_for_tests) {
            for file in files.iter().take(ALONE_MAX) {
                let alone = self.run_with(std::slice::from_ref(file)).await?;
                if alone.is_ok_and(|alone| file.is_reported(&alone) && !alone.exited_successfully()) {
                    return Ok(Ok(()));
                }
            }
        }
        Ok(Err(format!(
            "Tests that must fail were added to {} test files, and the command reports those of {}. It does not report those \
             in {}: it runs other tests, or reports something else. Run the whole suite. The run's output ends with:\n{}",
            files.len(),
            reported.len(),
            in_words(missing.into_iter()),
            tail(&run)
        )))
    }

    /// The suite at the base with failing tests in these files.
    async fn run_with(&self, files: &[FailingFile]) -> Result<Result<TestRun, String>, SuiteError> {
        let change = |file: &FailingFile| Change {
            path: file.path.clone(),
            content: ChangedContent::File {
                mode: file.mode,
                bytes: file.canary.content.clone().into_bytes(),
            },
        };
        let proposed = self.environment.workspace().propose(files.iter().map(change).collect()).await?;
        let toolbox = match self.environment.fresh_with_base_setup(&proposed.tree, "canary").await? {
            Ok(toolbox) => toolbox,
            Err(failure) => return Ok(Err(failure.describe())),
        };
        let run = run_suite_as_far_as_possible(&toolbox, self.environment.settings()).await;
        self.environment.note_egress("canary", &toolbox);
        toolbox.shut_down().await;
        Ok(Ok(run?))
    }

    /// Test files of the base, spread over all of them, with tests that must fail.
    async fn failing_files(&self) -> Result<Vec<FailingFile>, SuiteError> {
        let (workspace, settings) = (self.environment.workspace(), self.environment.settings());
        let base = workspace.base_tree().await?;
        let formats = self.baseline.report.formats.clone();
        let (wanted, known) = (formats.clone(), self.baseline.report.is_known());
        let found = workspace
            .find_files_by_name(&base, FILES_MAX, move |path| known && is_test_file(path, &wanted))
            .await?;
        let mut paths: Vec<RepoPath> =
            found.unwrap_or_default().into_iter().filter_map(|(path, _)| path.parse().ok()).collect();
        paths.sort();
        let package_json = match "package.json".parse() {
            Ok(path) => workspace.content(&base, &path).await?.map(|(_, bytes)| bytes),
            Err(_) => None,
        };
        let step = paths.len().div_ceil(PLANTED_MAX).max(1);
        let mut files = Vec::new();
        for path in paths.into_iter().step_by(step) {
            let Some((mode, bytes)) = workspace.content(&base, &path).await? else { continue };
            let content = String::from_utf8(bytes).ok().filter(|text| text.len() <= FILE_BYTES_MAX);
            let Some(content) = content.filter(|content| has_tests(path.as_str(), content)) else { continue };
            if let Some(canary) =
                canary(settings, package_json.as_deref(), &formats, &path, &content, &token())
            {
                files.push(FailingFile { path, mode, canary });
            }
        }
        Ok(files)
    }
}

/// Whether a runner with a report in one of the formats looks for tests in a file of this name.
fn is_test_file(path: &str, formats: &[ReportFormat]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let reports = |wanted: &[ReportFormat]| formats.iter().any(|format| wanted.contains(format));
    match extension {
        "py" => {
            let by_name = stem.starts_with("test_") || stem.ends_with("_test");
            by_name && reports(&[ReportFormat::Pytest, ReportFormat::Unittest, ReportFormat::Junit])
        }
        "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" => {
            let of_javascript = [
                ReportFormat::NodeTest,
                ReportFormat::Jest,
                ReportFormat::Mocha,
                ReportFormat::Vitest,
                ReportFormat::Junit,
            ];
            (stem.ends_with(".test") || stem.ends_with(".spec")) && reports(&of_javascript)
        }
        "go" => stem.ends_with("_test") && !path.contains("testdata/") && reports(&[ReportFormat::GoTest]),
        "rs" => {
            let is_data = ["fixtures/", "ui/", "testdata/", "data/"].iter().any(|part| path.contains(part));
            !is_data && reports(&[ReportFormat::CargoTest, ReportFormat::Nextest])
        }
        "rb" => stem.ends_with("_spec") && reports(&[ReportFormat::Rspec]),
        "php" => stem.ends_with("Test") && reports(&[ReportFormat::Phpunit, ReportFormat::Junit]),
        "java" | "kt" => stem.ends_with("Test") && reports(&[ReportFormat::Maven, ReportFormat::Junit]),
        "t" => reports(&[ReportFormat::Prove, ReportFormat::Tap]),
        _ => false,
    }
}

/// Whether the file has tests already, in the usual spelling.
fn has_tests(path: &str, content: &str) -> bool {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("py") => content.contains("def test"),
        // Files that only some builds have do not show anything.
        Some("go") => content.contains("func Test") && !content.contains("//go:build"),
        Some("rs") => content.contains("#[test]") && !content.contains("#![cfg("),
        _ => true,
    }
}

fn in_words<'f>(files: impl ExactSizeIterator<Item = &'f FailingFile>) -> String {
    let more = files.len().saturating_sub(NAMED_MAX);
    let named: Vec<String> = files.take(NAMED_MAX).map(|file| format!("`{}`", file.path)).collect();
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// The end of what a run printed.
fn tail(run: &TestRun) -> String {
    const CHARS_MAX: usize = 2_000;
    let output = run.result.output.to_text();
    let left_out = output.chars().count().saturating_sub(CHARS_MAX);
    output.chars().skip(left_out).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_which_a_runner_looks_for_tests_are_known() {
        for (path, format, is_one) in [
            ("tests/test_a.py", ReportFormat::Pytest, true),
            ("pkg/a_test.py", ReportFormat::Unittest, true),
            ("tests/util.py", ReportFormat::Pytest, false),
            ("tests/mock_server.py", ReportFormat::Tap, false),
            ("tests/test_mock.py", ReportFormat::Tap, false),
            ("src/a.test.ts", ReportFormat::Vitest, true),
            ("src/a.ts", ReportFormat::Vitest, false),
            ("a_test.go", ReportFormat::GoTest, true),
            ("testdata/a_test.go", ReportFormat::GoTest, false),
            ("src/lib.rs", ReportFormat::CargoTest, true),
            ("tests/ui/bad.rs", ReportFormat::CargoTest, false),
            ("spec/a_spec.rb", ReportFormat::Rspec, true),
            ("tests/ATest.php", ReportFormat::Phpunit, true),
            ("t/a.t", ReportFormat::Prove, true),
            ("README.md", ReportFormat::Pytest, false),
        ] {
            assert_eq!(is_test_file(path, &[format]), is_one, "{path}");
        }
    }
}
