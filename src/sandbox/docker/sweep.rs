//! Removes what earlier processes left at an engine: containers of the same data directory that another
//! process created, and images that nothing needs any more. Touches nothing that is not ours.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions};

use super::archive::toolbox_digest;
use super::container::remove;
use super::engine::{Engine, failed, is_not_found};
use super::labels::Label;
use crate::sandbox::{STANDALONE_OWNER, SandboxError};

/// A container that does not run is a leftover after this time. Before that, it may be about to start.
const START_MAX: Duration = Duration::from_secs(10 * 60);

/// Removes leftovers. Returns how many containers and images were removed.
pub(super) async fn sweep(
    engine: &Engine,
    owner: &str,
    instance: &str,
    now: SystemTime,
) -> Result<u32, SandboxError> {
    let label = format!("{}={owner}", Label::Owner.name());
    let filters: HashMap<_, _> = [("label".to_owned(), vec![label])].into();
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters.clone()),
        ..ListContainersOptions::default()
    };
    let containers = engine.api.list_containers(Some(options)).await;
    let containers = containers.map_err(|error| failed("list containers", &error))?;
    let mut removed = 0;
    for container in containers.iter().filter(|container| is_leftover(container, owner, instance, now)) {
        let Some(id) = &container.id else { continue };
        if remove(engine, id).await {
            tracing::info!(container = id, job = job_of(container), "removed a leftover container");
            removed += 1;
        }
    }
    Ok(removed + sweep_images(engine, filters).await?)
}

fn job_of(container: &ContainerSummary) -> &str {
    let labels = container.labels.as_ref();
    labels.and_then(|labels| labels.get(Label::Job.name())).map_or("", String::as_str)
}

fn is_leftover(container: &ContainerSummary, owner: &str, instance: &str, now: SystemTime) -> bool {
    let labels = container.labels.as_ref();
    let by = labels.and_then(|labels| labels.get(Label::Instance.name())).map(String::as_str);
    let made = container.created.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(made);
    let is_old = now.duration_since(made).is_ok_and(|age| age > START_MAX);
    let runs = container.state == Some(ContainerSummaryStateEnum::RUNNING);
    // Several processes may share this owner, so none may remove another's containers.
    let may_be_anothers = owner == STANDALONE_OWNER && by != Some(instance);
    match (by == Some(instance), may_be_anothers) {
        // Another process of this data directory created it, and that process has ended.
        (false, false) => true,
        (_, _) => !runs && is_old,
    }
}

/// Removes images with another toolbox than ours, and those created from an image that has no name any
/// more.
async fn sweep_images(engine: &Engine, filters: HashMap<String, Vec<String>>) -> Result<u32, SandboxError> {
    let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
    let images = engine.api.list_images(Some(options)).await;
    let images = images.map_err(|error| failed("list images", &error))?;
    let mut removed = 0;
    for image in images.iter().filter(|image| !image.labels.contains_key(Label::Setup.name())) {
        let Some(base) = image.labels.get(Label::Base.name()) else { continue };
        let is_current =
            image.labels.get(Label::Toolbox.name()).map(String::as_str) == Some(toolbox_digest());
        if is_current && has_name(engine, base).await {
            continue;
        }
        // The engine refuses this if a container or a snapshot still needs the image.
        if engine.api.remove_image(&image.id, None::<RemoveImageOptions>, None).await.is_ok() {
            tracing::info!(image = image.id, "removed an unused image");
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether an image still has a name. In doubt it has.
async fn has_name(engine: &Engine, id: &str) -> bool {
    match engine.api.inspect_image(id).await {
        Ok(image) => {
            image.repo_tags.is_some_and(|tags| !tags.is_empty())
                || image.repo_digests.is_some_and(|digests| !digests.is_empty())
        }
        Err(error) => !is_not_found(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_that_another_process_may_use_is_not_a_leftover() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
        let leftover = |owner: &str, instance: &str, runs: bool, age: i64| {
            let container = ContainerSummary {
                labels: Some([("mendwright.instance".to_owned(), instance.to_owned())].into()),
                created: Some(10_000 - age),
                state: Some(match runs {
                    true => ContainerSummaryStateEnum::RUNNING,
                    false => ContainerSummaryStateEnum::CREATED,
                }),
                ..ContainerSummary::default()
            };
            is_leftover(&container, owner, "ours", now)
        };
        assert!(leftover("directory", "before", true, 5) && leftover("directory", "before", false, 5));
        assert!(!leftover("directory", "ours", true, 5_000) && !leftover("directory", "ours", false, 5));
        assert!(leftover("directory", "ours", false, 5_000));
        assert!(!leftover("by-hand", "before", true, 5_000) && !leftover("by-hand", "before", false, 5));
        assert!(leftover("by-hand", "before", false, 5_000));
    }
}
