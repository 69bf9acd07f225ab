//! Bounds on the references that pin objects in a mirror.

use git2::{Error, Reference, Repository};

/// Deletes the references below `prefix` beyond the `kept_max` with the largest `age`.
pub(super) fn delete_oldest<K: Ord>(
    repository: &Repository,
    prefix: &str,
    kept_max: usize,
    age: impl Fn(&Reference<'_>) -> K,
) -> Result<(), Error> {
    let references = repository.references_glob(&format!("{prefix}*"))?;
    let mut references = references.collect::<Result<Vec<_>, _>>()?;
    references.sort_by_cached_key(age);
    let excess = references.len().saturating_sub(kept_max);
    references.into_iter().take(excess).try_for_each(|mut reference| reference.delete())
}
