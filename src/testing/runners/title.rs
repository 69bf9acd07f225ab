//! Titles of tests in JavaScript's reports: `file > suite > test`.

/// The test's own title.
pub(super) fn innermost(name: &str) -> &str {
    name.rsplit(" > ").next().unwrap_or(name)
}
