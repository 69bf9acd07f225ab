//! How the repository is set up, if the setup agent found it, as the file that says the same.

use super::Evidence;
use super::escape::fenced;
use crate::config::REPOSITORY_FILE;
use crate::domain::SetupRecipe;

/// The commands that the setup agent found, and how to keep them.
pub(super) fn found_setup(evidence: &Evidence) -> Option<String> {
    let recipe = evidence.settings.as_ref().and_then(SetupRecipe::of_plan)?;
    Some(format!(
        "<details><summary>How the repository is set up (found by the setup agent)</summary>\n\nNo way \
         that the repository's own files name reached passing tests here. To keep these commands, or better ones, commit them as \
         `{REPOSITORY_FILE}`:\n\n{}\n\n</details>",
        fenced(&recipe.as_repository_file(), "yaml").trim_end()
    ))
}
