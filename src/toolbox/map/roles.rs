//! The role of a file, by its path: source code, or tests, tools, documentation and generated files.

/// The role of a file, in the order in which files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Source,
    /// Scripts, benchmarks, build files.
    Aside,
    /// Examples and documentation.
    Prose,
    Test,
    /// Generated or vendored files.
    Generated,
}

impl Role {
    /// The factor for its rank.
    pub fn weight(self) -> f64 {
        match self {
            Self::Source => 1.0,
            Self::Aside => 0.4,
            Self::Prose => 0.15,
            Self::Test => 0.2,
            Self::Generated => 0.1,
        }
    }
}

/// Words that do not occur in paths of source code.
const TEST_WORDS: &[&str] = &["test", "tests", "testing", "conftest", "testutil", "testutils", "testhelpers"];
const TESTS: &[&str] = &[
    "spec",
    "specs",
    "__tests__",
    "__mocks__",
    "testdata",
    "fixtures",
    "fixture",
    "e2e",
    "testcases",
    "test-data",
    "snapshots",
    "__snapshots__",
    "unittests",
    "testsuite",
];
const GENERATED: &[&str] = &[
    "vendor",
    "third_party",
    "thirdparty",
    "third-party",
    "node_modules",
    "bower_components",
    "dist",
    "external",
    "generated",
    "site-packages",
    "_vendor",
    "vendored",
];
const PROSE: &[&str] =
    &["doc", "docs", "documentation", "example", "examples", "samples", "demo", "demos", "website"];
const ASIDE: &[&str] =
    &["bench", "benches", "benchmark", "benchmarks", "scripts", "tools", "ci", ".github", "contrib", "hack"];
const PROSE_ENDINGS: &[&str] = &["md", "rst", "txt", "adoc", "html", "ipynb", "po", "svg", "css", "scss"];
const ASIDE_ENDINGS: &[&str] = &["json", "yml", "yaml", "toml", "lock", "cfg", "ini", "sum", "mod", "xml"];

/// The role of the file at `path`.
pub fn role_of_path(path: &str) -> Role {
    let lower = path.to_ascii_lowercase();
    let (directories, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    let within = |names: &[&str]| directories.split('/').any(|directory| names.contains(&directory));
    let last_ending = ending.rsplit('.').next().unwrap_or_default();
    if within(GENERATED) || ending.starts_with("min.") || stem.ends_with("_pb2") || ending.starts_with("pb.")
    {
        return Role::Generated;
    }
    let original_stem = path.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default();
    let words = || lower.split(|c: char| !c.is_ascii_alphanumeric());
    let is_test = words().any(|word| TEST_WORDS.contains(&word))
        || stem.ends_with("_spec")
        || ending.starts_with("spec.")
        || original_stem.ends_with("Test")
        || original_stem.ends_with("Tests");
    if is_test || within(TESTS) {
        return Role::Test;
    }
    if within(PROSE)
        || PROSE_ENDINGS.contains(&last_ending)
        || ["changelog", "changes", "readme"].contains(&stem)
    {
        return Role::Prose;
    }
    if within(ASIDE) || ending == "d.ts" || ASIDE_ENDINGS.contains(&last_ending) {
        return Role::Aside;
    }
    Role::Source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_what_a_file_is_for() {
        for (path, role) in [
            ("src/app.py", Role::Source),
            ("src/latest.py", Role::Source),
            ("tests/test_app.py", Role::Test),
            ("pkg/server_test.go", Role::Test),
            ("packages/a/__tests__/b.ts", Role::Test),
            ("src/b.spec.ts", Role::Test),
            ("packages/dts-test/a.ts", Role::Test),
            ("src/main/java/FooTest.java", Role::Test),
            ("vendor/x/y.go", Role::Generated),
            ("static/jquery.min.js", Role::Generated),
            ("docs/conf.py", Role::Prose),
            ("CHANGELOG.md", Role::Prose),
            ("scripts/release.py", Role::Aside),
        ] {
            assert_eq!(role_of_path(path), role, "{path}");
        }
    }
}
