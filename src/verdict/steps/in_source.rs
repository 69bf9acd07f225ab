//! Tests that stand in source files: a change of the source can change them without touching a test's file.
//! The parser in a sandbox takes them out of the one version and puts them into the other, for the run with
//! the base's own tests and for the proof.

use crate::domain::{Change, ChangedContent, FileMode, RepoPath};
use crate::sandbox::protocol::TestItems;
use crate::sandbox::{CallError, Toolbox};
use crate::testing::SuiteError;

use super::super::verifier::Verifier;
use super::candidate::JudgedProposal;

/// Most source files of a proposal that are taken apart.
const FILES_MAX: usize = 200;
/// Largest file that is taken apart.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The tests in the source files of a proposal, as far as it adds or changes any.
#[derive(Debug, Default)]
pub(in super::super) struct InSource {
    files: Vec<SourceTests>,
}

/// A source file with other tests than the base has in it.
#[derive(Debug)]
struct SourceTests {
    path: RepoPath,
    mode: FileMode,
    /// The proposal's source with the base's tests. `None`: the base's tests are all unchanged.
    with_base_tests: Option<Vec<u8>>,
    /// The base's source with the proposal's tests. `None`: it brings none, or they cannot be put there.
    brought: Option<Vec<u8>>,
    /// The base's tests that cannot be put into the proposal's source.
    lost: Vec<String>,
}

impl InSource {
    /// The change with the base's tests in place of its own. `None`: it changes no test of the base.
    pub(in super::super) fn with_base_tests(&self, change: &Change) -> Option<Change> {
        let file = self.files.iter().find(|file| file.path == change.path)?;
        let bytes = file.with_base_tests.clone()?;
        Some(Change { path: change.path.clone(), content: ChangedContent::File { mode: file.mode, bytes } })
    }

    /// The proposal's tests in source files, each put into the base's source.
    pub(in super::super) fn brought(&self) -> impl Iterator<Item = Change> {
        self.files.iter().filter_map(|file| {
            let content = ChangedContent::File { mode: file.mode, bytes: file.brought.clone()? };
            Some(Change { path: file.path.clone(), content })
        })
    }

    /// The base's tests that cannot be run on the proposal's source.
    pub(in super::super) fn lost(&self) -> impl Iterator<Item = String> {
        self.files.iter().flat_map(|file| file.lost.iter().map(|name| format!("{}: {name}", file.path)))
    }
}

impl Verifier<'_> {
    /// Finds the tests in the source files that a proposal changes.
    pub(in super::super) async fn tests_in_source(
        &self,
        candidate: &JudgedProposal<'_>,
    ) -> Result<InSource, SuiteError> {
        let mut versions = Vec::new();
        for file in &candidate.files {
            let (path, before, after) = (file.path(), &file.before, file.after());
            let ChangedContent::File { mode, .. } = file.change.content else { continue };
            let is_source = file.exists && !candidate.places.contains(path);
            let holds_tests = may_hold_tests(path.as_str(), before) || may_hold_tests(path.as_str(), after);
            if is_source && holds_tests && versions.len() < FILES_MAX {
                versions.push((path.clone(), mode, before.clone(), after.to_vec()));
            }
        }
        if versions.is_empty() || !self.defences.tests_in_source {
            return Ok(InSource::default());
        }
        let toolbox = self.environment.empty("parser").await?;
        let mut files = Vec::new();
        for (path, mode, before, after) in versions {
            files.extend(compared(&toolbox, path, mode, before, after).await?);
        }
        toolbox.shut_down().await;
        Ok(InSource { files })
    }
}

/// Compares the tests in two versions of a source file.
async fn compared(
    toolbox: &Toolbox,
    path: RepoPath,
    mode: FileMode,
    before: Vec<u8>,
    after: Vec<u8>,
) -> Result<Option<SourceTests>, SuiteError> {
    let lost = |path, why: &str| {
        Ok(Some(SourceTests { path, mode, with_base_tests: None, brought: None, lost: vec![why.to_owned()] }))
    };
    if before.len().max(after.len()) > FILE_BYTES_MAX {
        return lost(path, "the file is too large to be parsed");
    }
    let (Ok(before), Ok(after)) = (String::from_utf8(before), String::from_utf8(after)) else {
        return lost(path, "the file is not UTF-8");
    };
    let strict = TestItems { path: path.to_string(), source: after.clone(), tests: before.clone() };
    let strict = match toolbox.move_test_items(&strict).await {
        Ok(moved) => moved,
        Err(CallError::RespondToModel(why)) => return lost(path, &why),
        Err(CallError::Fatal(error)) => return Err(error.into()),
    };
    if strict.changed.is_empty() && strict.added.is_empty() && strict.lost.is_empty() {
        return Ok(None);
    }
    let brought = TestItems { path: path.to_string(), source: before, tests: after };
    let brought = match toolbox.move_test_items(&brought).await {
        Ok(moved) => (!moved.changed.is_empty()).then_some(moved.content),
        Err(CallError::RespondToModel(_)) => None,
        Err(CallError::Fatal(error)) => return Err(error.into()),
    };
    Ok(Some(SourceTests {
        path,
        mode,
        with_base_tests: (!strict.changed.is_empty()).then(|| strict.content.into_bytes()),
        brought: brought.map(String::into_bytes),
        lost: strict.lost,
    }))
}

/// Whether a source file can hold tests, by its language and by words that each of them has.
fn may_hold_tests(path: &str, content: &[u8]) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let words: &[&str] = match extension {
        "rs" => &["test]", "test(", "(test", "```", "~~~", "//!     ", "///     ", "bench]"],
        "py" | "pyi" => &[">>>", "TestCase", "def test"],
        "go" => &["func Test", "func Example", "func Benchmark", "func Fuzz"],
        "js" | "jsx" | "ts" | "tsx" | "mjs" | "cjs" | "mts" | "cts" => &["import.meta.vitest"],
        _ => return false,
    };
    let text = String::from_utf8_lossy(content);
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_words_of_tests_is_not_parsed() {
        for (path, content) in [
            ("src/lib.rs", "#[cfg(test)]\nmod tests {}"),
            ("src/lib.rs", "#[rstest]\nfn a() {}"),
            ("src/lib.rs", "/// ```\n/// a();\n/// ```"),
            ("a.py", "'''\n>>> 1\n1\n'''"),
            ("a.ts", "if (import.meta.vitest) {}"),
            ("a.go", "func ExampleA() {}"),
        ] {
            assert!(may_hold_tests(path, content.as_bytes()), "{path}: {content}");
        }
        assert!(!may_hold_tests("src/lib.rs", b"fn a() {}"));
        assert!(!may_hold_tests("a.txt", b"#[test]"));
    }
}
