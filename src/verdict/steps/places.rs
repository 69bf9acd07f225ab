//! Where no proposal may write: what the repository ignores, and what its setup makes.

use std::collections::BTreeSet;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::super::verifier::Verifier;
use super::candidate::{JudgedProposal, Rejection, StepError};
use crate::domain::RepoPath;
use crate::sandbox::CommandSpec;
use crate::testing::SuiteError;

impl Verifier<'_> {
    /// Refuses new files in places that the base's `.gitignore` files name or that the setup makes: what lies there
    /// is installed, built or left behind, and no reviewer looks at it.
    pub(in super::super) async fn check_places(
        &self,
        candidate: &JudgedProposal<'_>,
    ) -> Result<(), StepError> {
        if !self.defences.places {
            return Ok(());
        }
        let new: Vec<&RepoPath> =
            candidate.files.iter().filter(|file| !file.exists).map(|file| file.path()).collect();
        for path in &new {
            if let Some(place) = self.ignored(path).await? {
                return Err(Rejection::by_rule(format!(
                    "The proposal adds `{path}`, and `{place}` is ignored by the repository's `.gitignore`: it is not \
                     part of the repository. Undo that change and solve the issue without it."
                ))
                .into());
            }
        }
        if let Some(path) = self.made_by_setup(&new).await? {
            return Err(Rejection::by_rule(format!(
                "The proposal adds a file below `{path}`, which the repository's setup makes: it would replace what is \
                 installed. Undo that change and solve the issue without it."
            ))
            .into());
        }
        Ok(())
    }

    /// The ignored place that a new path lies in. A directory that the base has in spite of its rules is none.
    pub(super) async fn ignored(&self, path: &RepoPath) -> Result<Option<String>, SuiteError> {
        let workspace = self.environment.workspace();
        let parts: Vec<&str> = path.as_str().split('/').collect();
        let mut rules: Vec<Gitignore> = Vec::new();
        for depth in 0..parts.len() {
            let directory = parts[..depth].join("/");
            let file = if depth == 0 { ".gitignore".to_owned() } else { format!("{directory}/.gitignore") };
            if let Some(text) = workspace.base_file(&file).await? {
                rules.push(parse(&directory, &String::from_utf8_lossy(&text)));
            }
            let place = parts[..=depth].join("/");
            let is_directory = depth + 1 < parts.len();
            let found =
                rules.iter().rev().map(|rules| rules.matched(&place, is_directory)).find(|m| !m.is_none());
            let is_ignored = found.is_some_and(|found| found.is_ignore());
            if is_ignored && !(is_directory && self.base_has(&place).await?) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    pub(super) async fn base_has(&self, path: &str) -> Result<bool, SuiteError> {
        match path.parse::<RepoPath>() {
            Ok(path) => Ok(self.environment.workspace().base_contains(&path).await?),
            Err(_) => Ok(false),
        }
    }

    /// The first place that the base does not have, that the setup makes, and that one of the paths lies in.
    async fn made_by_setup(&self, new: &[&RepoPath]) -> Result<Option<String>, StepError> {
        if self.environment.settings().setup_commands.is_empty() {
            return Ok(None);
        }
        let mut places = BTreeSet::new();
        for path in new {
            let parts: Vec<&str> = path.as_str().split('/').collect();
            for depth in 1..=parts.len() {
                let place = parts[..depth].join("/");
                if !self.base_has(&place).await? {
                    places.insert(place);
                    break;
                }
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let Ok(toolbox) = self.environment.with_setup_only("places").await? else { return Ok(None) };
        let mut spec = CommandSpec::shell("", self.environment.settings().test_timeout);
        let script = "for place; do if [ -e \"$place\" ] || [ -L \"$place\" ]; then printf '%s\\n' \"$place\"; fi; done";
        spec.argv = ["/bin/sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        const PLACES_MAX: usize = 1_000;
        spec.argv.extend(places.iter().take(PLACES_MAX).cloned());
        let result = toolbox.run(&spec).await.map_err(SuiteError::from);
        toolbox.shut_down().await;
        let text = result?.output.to_text();
        Ok(text.lines().find(|line| places.contains(*line)).map(str::to_owned))
    }
}

/// The rules of one `.gitignore` file. Lines that git does not understand either are left out.
fn parse(directory: &str, text: &str) -> Gitignore {
    let mut builder = GitignoreBuilder::new(directory);
    for line in text.lines() {
        let _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}
