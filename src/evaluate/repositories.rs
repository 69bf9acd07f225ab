//! Finds the repository of an instance: on this machine, or cloned once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use url::Url;

use super::Instance;
use crate::workspace::LocalRepository;

/// Where to look for repositories.
#[derive(Debug, Clone)]
pub struct RepositorySources {
    /// A directory with repositories by name: `owner/name`, `owner__name` or `name`, each also with
    /// `.git`.
    pub directory: Option<PathBuf>,
    /// The prefix of `owner/name` in a clone URL.
    pub clone_from: Option<Url>,
    /// The directory of clones.
    pub clones: PathBuf,
}

impl RepositorySources {
    /// Finds the repository of each instance, cloned if necessary, and checks that it has the base commit.
    ///
    /// # Errors
    /// A message for each instance whose repository or commit is not available.
    pub async fn find(
        &self,
        instances: &[Instance],
    ) -> Result<HashMap<String, LocalRepository>, Vec<String>> {
        let mut found: HashMap<String, Result<LocalRepository, String>> = HashMap::new();
        let mut mistakes = Vec::new();
        for instance in instances {
            if !found.contains_key(&instance.repo) {
                let (places, repo) = (self.clone(), instance.repo.clone());
                let opened = tokio::task::spawn_blocking(move || places.open(&repo)).await;
                let opened = opened.unwrap_or_else(|error| Err(error.to_string()));
                found.insert(instance.repo.clone(), opened);
            }
            let id = &instance.instance_id;
            match &found[&instance.repo] {
                Err(why) => mistakes.push(format!("{id}: repo: {why}")),
                Ok(repository) => match repository.has_commit(&instance.base_commit) {
                    Ok(true) => {}
                    Ok(false) => mistakes.push(format!(
                        "{id}: base_commit: {} is not in {}",
                        instance.base_commit,
                        repository.git_dir.display()
                    )),
                    Err(error) => mistakes.push(format!("{id}: repo: {error}")),
                },
            }
        }
        match mistakes.is_empty() {
            true => Ok(found.into_iter().filter_map(|(name, opened)| Some((name, opened.ok()?))).collect()),
            false => Err(mistakes),
        }
    }

    fn open(&self, repo: &str) -> Result<LocalRepository, String> {
        let failed = |error: crate::workspace::WorkspaceError| error.to_string();
        if let Some(path) = self.on_this_machine(repo) {
            return LocalRepository::open(&std::path::absolute(path).map_err(|error| error.to_string())?)
                .map_err(failed);
        }
        let url = self.address(repo)?;
        let kept: String =
            url.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let into = self.clones.join(format!("{kept}.git"));
        if into.join("complete").is_file() {
            return LocalRepository::open(&into).map_err(failed);
        }
        // Left by a process that was killed.
        if into.exists() {
            std::fs::remove_dir_all(&into).map_err(|error| format!("{}: {error}", into.display()))?;
        }
        let cloned = LocalRepository::clone_bare(&url, &into).map_err(failed)?;
        std::fs::write(into.join("complete"), "").map_err(|error| format!("{}: {error}", into.display()))?;
        Ok(cloned)
    }

    fn on_this_machine(&self, repo: &str) -> Option<PathBuf> {
        let is_address = repo.contains("://");
        let by_name = self.directory.iter().flat_map(|directory| {
            let last = repo.rsplit('/').next().unwrap_or(repo);
            let names = [repo.to_owned(), repo.replace('/', "__"), last.to_owned()];
            names.into_iter().flat_map(|name| [directory.join(&name), directory.join(format!("{name}.git"))])
        });
        let is_path = repo.starts_with('/') || repo.starts_with("./") || repo.starts_with("../");
        let by_path = is_path.then(|| Path::new(repo).to_owned());
        by_name.chain(by_path).find(|path| !is_address && path.is_dir())
    }

    fn address(&self, repo: &str) -> Result<Url, String> {
        if repo.contains("://") {
            return repo.parse().map_err(|error| format!("{repo:?} is no address: {error}"));
        }
        let Some(base) = &self.clone_from else {
            return Err(format!(
                "{repo:?} is not on this machine: name the directory that has it with --repos, or where to clone it \
                 from with --clone-from"
            ));
        };
        format!("{}/{repo}.git", base.as_str().trim_end_matches('/'))
            .parse()
            .map_err(|error| format!("{repo:?} makes no address: {error}"))
    }
}
