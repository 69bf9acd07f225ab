//! The names of Python's test files.

/// Whether the file is a Python test in one of the usual directories.
pub(super) fn is_test_path(path: &str) -> bool {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let usual = ["", "tests", "test"].contains(&directory)
        || directory.ends_with("/tests")
        || directory.ends_with("/test");
    usual && is_test_name(name)
}

/// Whether a file has the name of a test, or of pytest's own `conftest.py`.
fn is_test_name(name: &str) -> bool {
    let stem = name.strip_suffix(".py");
    stem.is_some_and(|stem| {
        stem.starts_with("test_") || stem.ends_with("_test") || ["test", "tests", "conftest"].contains(&stem)
    })
}
