//! Whether the setup, and not the repository, decides what the tests show. Asked where a model says how the repository is
//! set up.

use super::super::rules::{TestPaths, is_harness};
use super::super::verifier::Verifier;
use crate::domain::RepoPath;
use crate::sandbox::CommandSpec;
use crate::testing::SuiteError;

/// Directories of what tools install: they have tests and their configuration, too.
const INSTALLED: &[&str] = &[".tox", ".venv", "node_modules", "site-packages", "venv", "vendor"];
/// Further names of files that decide how tests are run, if they are new.
const ALSO_HARNESS: &[&str] = &[
    ".npmrc",
    ".pytest.ini",
    ".rspec-local",
    "maven.config",
    "pyproject.toml",
    "vite.config.js",
    "vite.config.ts",
];
/// Bytes of a listing, and files in it that the setup made.
const LISTING_BYTES_MAX: usize = 8 << 20;
const MADE_MAX: usize = 20_000;
/// Files that are named.
const NAMED_MAX: usize = 10;

impl Verifier<'_> {
    /// Why the setup may decide what the tests show: it makes one of `files`, which the test command names, or files that
    /// are tests or decide how tests are run. `None`: it does not.
    ///
    /// # Errors
    /// A sandbox or the workspace failed.
    pub async fn why_setup_decides(&self, files: &[RepoPath]) -> Result<Option<String>, SuiteError> {
        let Some(made) = self.made_by_base_setup().await? else {
            return Ok(Some(format!(
                "the setup leaves more than {MADE_MAX} files outside the directories of installed packages, so nobody can \
                 see what it makes."
            )));
        };
        if let Some(path) = files.iter().find(|path| made.contains(path)) {
            return Ok(Some(format!(
                "the setup makes `{path}`, which the test command names: that would be a suite of your own. Let the test \
                 command make what it needs."
            )));
        }
        let places = TestPaths::new(self.environment.settings());
        let mut deciding = Vec::new();
        for path in made.iter().filter(|path| decides_how_tests_run(path, &places)) {
            if self.ignored(path).await?.is_none() {
                deciding.push(format!("`{path}`"));
            }
        }
        deciding.truncate(NAMED_MAX);
        Ok((!deciding.is_empty()).then(|| {
            format!(
                "the setup makes files that are tests or decide how tests are run, which the repository does not have: {}. If \
                 a build makes them, let the test command build.",
                deciding.join(", ")
            )
        }))
    }

    /// The files that the base's setup makes and the base does not have, also those that are ignored; those in
    /// directories of installed packages are left out. `None`: they are too many.
    async fn made_by_base_setup(&self) -> Result<Option<Vec<RepoPath>>, SuiteError> {
        if self.environment.settings().setup_commands.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let Ok(toolbox) = self.environment.with_setup_only("places").await? else { return Ok(None) };
        let list = "/usr/bin/find . -type d \\( -path ./.git -o -name node_modules -o -name site-packages \\) -prune -o ! -type d \
                    -print";
        let spec = CommandSpec {
            output_bytes_max: LISTING_BYTES_MAX,
            ..CommandSpec::shell(list, self.environment.settings().test_timeout)
        };
        let result = toolbox.run(&spec).await.map_err(SuiteError::from);
        toolbox.shut_down().await;
        let output = result?.output;
        if output.is_truncated() {
            return Ok(None);
        }
        let text = output.to_text();
        let mut made = Vec::new();
        for path in text.lines().filter_map(|line| line.strip_prefix("./")?.parse::<RepoPath>().ok()) {
            if !self.base_has(path.as_str()).await? {
                made.push(path);
                if made.len() > MADE_MAX {
                    return Ok(None);
                }
            }
        }
        Ok(Some(made))
    }
}

/// Whether a file is a test or decides how tests are run, outside the directories of installed packages.
fn decides_how_tests_run(path: &RepoPath, places: &TestPaths) -> bool {
    let name = path.as_str().rsplit('/').next().unwrap_or_default();
    let is_installed = path.parts().any(|part| INSTALLED.contains(&part));
    !is_installed && (is_harness(path) || places.contains(path) || ALSO_HARNESS.contains(&name))
}
