//! Suggestions if nothing was detected: projects in a subdirectory. People see them; no job uses them.

use super::shell_quoting::quoted;
use super::{RootListing, UntestedProject};

/// The most suggestions.
const HINTS_MAX: usize = 5;

/// Manifests, their kind of project, and its usual test command.
const MANIFESTS: [(&str, &str, &str); 11] = [
    ("Cargo.toml", "Rust", "cargo test --no-fail-fast"),
    ("go.mod", "Go", "go test ./..."),
    ("pom.xml", "Java", "mvn -B test"),
    ("build.gradle", "Java", "gradle test"),
    ("build.gradle.kts", "Java", "gradle test"),
    ("composer.json", "PHP", "vendor/bin/phpunit"),
    ("Gemfile", "Ruby", "bundle exec rake test"),
    ("pyproject.toml", "Python", "python3 -m pytest"),
    ("setup.py", "Python", "python3 -m pytest"),
    ("package.json", "JavaScript", "npm test"),
    ("CMakeLists.txt", "C or C++", "cmake -S . -B build && cmake --build build && ctest --test-dir build"),
];

/// Suggestions besides the kinds of project that are `recognised` at the root.
pub(super) fn hints(root: &RootListing, recognised: &[UntestedProject]) -> Vec<UntestedProject> {
    let below = root.files().filter_map(|path| {
        let (directory, name) = path.split_once('/')?;
        let (_, language, command) = MANIFESTS.iter().find(|(manifest, _, _)| *manifest == name)?;
        let is_at_root = recognised.iter().any(|untested| untested.language == *language);
        (!is_at_root).then(|| UntestedProject {
            language,
            sign: path.to_owned(),
            why:
                "it is in a subdirectory, and not the only one with tests, or without a known way to test it"
                    .to_owned(),
            example: format!("cd {} && {command}", quoted(directory)),
        })
    });
    below.take(HINTS_MAX).collect()
}
