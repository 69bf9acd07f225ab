//! Images: finds or pulls them by reference, resolves their digests, and adds the toolbox to each of them once.
//! Only through the engine's API, so that no path of this machine has to exist where the engine runs.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerConfig, ContainerCreateBody, ImageInspect};
use bollard::query_parameters::{
    CommitContainerOptions, CreateContainerOptions, CreateImageOptions, DownloadFromContainerOptions,
    UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout};

use super::archive::{self, LIST_BYTES_MAX, toolbox_digest};
use super::container::remove;
use super::engine::{Engine, failed, is_conflict, is_not_found, message};
use super::labels::{Label, instance};
use crate::domain::parse_image_reference;
use crate::sandbox::{SandboxError, TOOLBOX_PATH};

/// For pulling an image from its registry.
const PULL_MAX: Duration = Duration::from_secs(20 * 60);
/// For another process to add the toolbox to an image. After this time it is considered dead.
const OTHER_BUILDER_MAX: Duration = Duration::from_secs(120);
/// Between two checks whether it is done.
const OTHER_BUILDER_STEP: Duration = Duration::from_millis(50);
/// The longest reference to an image.
const REFERENCE_BYTES_MAX: usize = 512;
/// Most volumes that an image may declare.
const VOLUMES_MAX: usize = 32;
/// Changes when the files that are added to an image change, apart from the toolbox itself.
const LAYOUT: u32 = 1;
/// The repository of our images. No registry has that name.
const DERIVED: &str = "localhost/mendwright-sandbox";

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// The engine's id for it.
    pub id: String,
    /// A reference to exactly this image, on other machines too if possible.
    pub exact: String,
    /// `sha256:…`
    pub digest: String,
    /// Its `PATH`, if it sets one.
    pub path: Option<String>,
    /// The paths of its volumes.
    pub volumes: Vec<String>,
    /// Its labels.
    pub labels: HashMap<String, String>,
}

impl Image {
    fn from_inspection(inspected: ImageInspect, reference: &str) -> Result<Self, SandboxError> {
        let id = inspected.id.unwrap_or_default();
        let refuse = |missing: String| SandboxError::unavailable(missing, "choose another image");
        let here = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let (os, architecture) = (inspected.os.as_deref(), inspected.architecture.as_deref());
        if os.is_some_and(|os| os != "linux") || architecture.is_some_and(|theirs| theirs != here) {
            let (os, architecture) = (os.unwrap_or_default(), architecture.unwrap_or_default());
            return Err(refuse(format!(
                "the image {reference} is for {os}/{architecture}, and this is linux/{here}"
            )));
        }
        let config = inspected.config.unwrap_or_default();
        let volumes = config.volumes.unwrap_or_default();
        if let Some(invalid) = volumes.iter().find(|volume| !is_plain_directory(volume)) {
            return Err(refuse(format!("the image {reference} declares a volume at {invalid:?}")));
        }
        if volumes.len() > VOLUMES_MAX {
            return Err(refuse(format!("the image {reference} declares more than {VOLUMES_MAX} volumes")));
        }
        let digests = inspected.repo_digests.unwrap_or_default();
        let named = digests.iter().find(|digest| repository(digest) == repository(reference));
        let exact = named.or(digests.first()).unwrap_or(&id).clone();
        let digest = exact.rsplit_once('@').map_or(exact.as_str(), |(_, digest)| digest);
        let digest =
            if digest.starts_with("sha256:") { digest.to_owned() } else { format!("sha256:{digest}") };
        Ok(Self {
            exact,
            digest,
            path: config
                .env
                .iter()
                .flatten()
                .find_map(|variable| variable.strip_prefix("PATH=").map(str::to_owned)),
            volumes,
            labels: config.labels.unwrap_or_default(),
            id,
        })
    }

    pub(super) fn label(&self, label: Label) -> Option<&str> {
        self.labels.get(label.name()).map(String::as_str)
    }
}

/// The registry and repository of a reference; `None` if it is not one.
fn repository(reference: &str) -> Option<(String, String)> {
    let reference = parse_image_reference(reference).ok()?;
    Some((reference.registry().to_owned(), reference.repository().to_owned()))
}

/// The name and the tag (or digest) for a pull. Without a tag, an engine would pull all of them.
fn pull_parts(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        return (name, digest);
    }
    let parsed = parse_image_reference(reference).ok();
    let tag = parsed.as_ref().and_then(|parsed| parsed.tag()).unwrap_or("latest");
    match reference.strip_suffix(tag).and_then(|name| name.strip_suffix(':')) {
        Some(name) => (name, &reference[name.len() + 1..]),
        None => (reference, "latest"),
    }
}

fn is_plain_directory(path: &str) -> bool {
    let is_ours = ["/", "/.mendwright", "/proc", "/sys", "/dev"].contains(&path.trim_end_matches('/'));
    let is_plain = path.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
    path.starts_with('/') && is_plain && !is_ours && !path.contains([',', ':'])
}

/// References become part of a request's URL, so they may contain nothing but a name.
fn checked(reference: &str) -> Result<(), SandboxError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/:@-".contains(c);
    let begins = reference.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins
        && reference.len() <= REFERENCE_BYTES_MAX
        && reference.chars().all(is_plain)
        && !reference.contains("..")
    {
        return Ok(());
    }
    Err(SandboxError::unavailable(
        format!("a valid image name; {reference:?} is not one"),
        "write it as NAME:TAG, NAME@sha256:… or an image id",
    ))
}

/// The engine's image with that reference.
pub(super) async fn find(engine: &Engine, reference: &str) -> Result<Option<Image>, SandboxError> {
    checked(reference)?;
    match engine.api.inspect_image(reference).await {
        Ok(inspected) => Image::from_inspection(inspected, reference).map(Some),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(failed(&format!("inspect the image {reference}"), &error)),
    }
}

/// The image with that reference, pulled if the engine does not have it.
pub(super) async fn find_or_pull(engine: &Engine, reference: &str) -> Result<Image, SandboxError> {
    if let Some(image) = find(engine, reference).await? {
        return Ok(image);
    }
    let absent = |why: &str, remedy: String| {
        Err(SandboxError::unavailable(format!("the engine has no image {reference}, and {why}"), &remedy))
    };
    let remedy = format!("pull it manually (docker pull {reference}), or name another image");
    let is_hex = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if reference.strip_prefix("sha256:").is_some_and(is_hex) {
        return absent("an id cannot be pulled", "name the image by NAME:TAG or NAME@sha256:…".to_owned());
    }
    tracing::info!(image = reference, "image pull started");
    match timeout(PULL_MAX, pull(engine, reference)).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => return absent(&format!("it cannot be pulled ({why})"), remedy),
        Err(_) => return absent(&format!("the pull took longer than {} s", PULL_MAX.as_secs()), remedy),
    }
    match find(engine, reference).await? {
        Some(image) => Ok(image),
        None => absent("the pull did not provide it", remedy),
    }
}

async fn pull(engine: &Engine, reference: &str) -> Result<(), String> {
    let (name, tag) = pull_parts(reference);
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: Some(tag.to_owned()),
        ..CreateImageOptions::default()
    };
    let mut progress = std::pin::pin!(engine.api.create_image(Some(options), None, None));
    while let Some(step) = progress.next().await {
        let step = step.map_err(|error| message(&error))?;
        if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
            return Err(error);
        }
    }
    Ok(())
}

/// The images with the toolbox in them that this process knows, by the id of the image that they were
/// created from.
#[derive(Debug, Default)]
pub(super) struct DerivedImages {
    known: Mutex<HashMap<String, String>>,
}

impl DerivedImages {
    /// The id of `base` with the toolbox in it, created if it is missing. Concurrent callers, in this
    /// process or another, do not create it twice.
    pub(super) async fn find_or_create(
        &self,
        engine: &Engine,
        base: &Image,
        owner: &str,
    ) -> Result<String, SandboxError> {
        let known = self.known.lock().get(&base.id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let id = find_or_create(engine, base, owner).await?;
        self.known.lock().insert(base.id.clone(), id.clone());
        Ok(id)
    }

    /// The engine reported that the image is gone.
    pub(super) fn forget(&self, base: &Image) {
        self.known.lock().remove(&base.id);
    }
}

async fn find_or_create(engine: &Engine, base: &Image, owner: &str) -> Result<String, SandboxError> {
    let name = hex::encode(Sha256::digest(format!("{LAYOUT} {} {}", base.id, toolbox_digest())));
    let tag = &name[..32];
    let reference = format!("{DERIVED}:{tag}");
    let existing = async || {
        let image = find(engine, &reference).await?;
        // Another image could have the same name.
        let is_ours = |image: &Image| {
            image.label(Label::Base) == Some(&base.id)
                && image.label(Label::Toolbox) == Some(toolbox_digest())
        };
        Ok(image.filter(is_ours).map(|image| image.id))
    };
    let builder = format!("mendwright-making-{tag}");
    let mut until = Instant::now() + OTHER_BUILDER_MAX;
    loop {
        if let Some(id) = existing().await? {
            return Ok(id);
        }
        let labels = [
            (Label::Owner, owner.to_owned()),
            (Label::Instance, instance().to_owned()),
            (Label::Base, base.id.clone()),
            (Label::Toolbox, toolbox_digest().to_owned()),
        ];
        let options =
            CreateContainerOptions { name: Some(builder.clone()), ..CreateContainerOptions::default() };
        // Only one container can have that name, so it is the lock.
        match engine.api.create_container(Some(options), image_builder(&base.id, labels)).await {
            Ok(created) => {
                // Another process may have finished in the meantime.
                let created_image = match existing().await {
                    Ok(None) => create(engine, &created.id, DERIVED, tag).await.map(Some),
                    found => found,
                };
                remove(engine, &created.id).await;
                if let Some(id) = created_image? {
                    return Ok(id);
                }
            }
            // Podman responds 500 if a name is taken.
            Err(error) if is_conflict(&error) || message(&error).contains("already in use") => {
                if Instant::now() > until {
                    remove(engine, &builder).await;
                    until = Instant::now() + OTHER_BUILDER_MAX;
                }
                sleep(OTHER_BUILDER_STEP).await;
            }
            Err(error) => return Err(failed(&format!("create a container from {}", base.exact), &error)),
        }
    }
}

/// A container that is never started: files are copied into it, and an image is created from it.
pub(super) fn image_builder(
    image: &str,
    labels: impl IntoIterator<Item = (Label, String)>,
) -> ContainerCreateBody {
    let labels = labels.into_iter().map(|(label, value)| (label.name().to_owned(), value));
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec![TOOLBOX_PATH.to_owned()]),
        cmd: Some(vec!["init".to_owned()]),
        labels: Some(labels.collect()),
        network_disabled: Some(true),
        ..ContainerCreateBody::default()
    }
}

async fn create(engine: &Engine, container: &str, name: &str, tag: &str) -> Result<String, SandboxError> {
    let users = read_text(engine, container, archive::USERS).await;
    let groups = read_text(engine, container, archive::GROUPS).await;
    let files = archive::sandbox_files(users.as_deref(), groups.as_deref());
    let files =
        files.map_err(|error| SandboxError::Gone(format!("the toolbox cannot be packed: {error}")))?;
    upload(engine, container, files).await?;
    commit(engine, container, name, tag, &[]).await
}

/// Unpacks an archive into a container, at its root.
pub(super) async fn upload(engine: &Engine, container: &str, archive: Vec<u8>) -> Result<(), SandboxError> {
    let options = UploadToContainerOptions { path: "/".to_owned(), ..UploadToContainerOptions::default() };
    let body = bollard::body_full(Bytes::from(archive));
    let uploaded = engine.with_long_timeout().upload_to_container(container, Some(options), body).await;
    uploaded.map_err(|error| failed("copy files into a container", &error))
}

/// Creates an image from a container, with labels in addition to the container's own.
pub(super) async fn commit(
    engine: &Engine,
    container: &str,
    name: &str,
    tag: &str,
    labels: &[(Label, String)],
) -> Result<String, SandboxError> {
    let changes: Vec<String> =
        labels.iter().map(|(label, value)| format!("LABEL {}={value}", label.name())).collect();
    let options = CommitContainerOptions {
        container: Some(container.to_owned()),
        repo: Some(name.to_owned()),
        tag: Some(tag.to_owned()),
        changes: (!changes.is_empty()).then(|| changes.join("\n")),
        ..CommitContainerOptions::default()
    };
    let committed = engine.with_long_timeout().commit_container(options, ContainerConfig::default()).await;
    let id = committed.map_err(|error| failed("create an image from a container", &error))?.id;
    // Podman omits the prefix only here.
    Ok(if id.starts_with("sha256:") { id } else { format!("sha256:{id}") })
}

/// A text file of a container: empty if there is none, `None` if it cannot be read.
async fn read_text(engine: &Engine, container: &str, path: &str) -> Option<String> {
    let options = DownloadFromContainerOptions { path: path.to_owned() };
    let mut pieces = std::pin::pin!(engine.api.download_from_container(container, Some(options)));
    let mut archive = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => archive.extend_from_slice(&piece),
            Err(error) if is_not_found(&error) => return Some(String::new()),
            Err(_) => return None,
        }
        if archive.len() > 2 * LIST_BYTES_MAX {
            return None;
        }
    }
    archive::text_in(&archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_that_could_change_the_request_is_refused() {
        for reference in ["debian", "debian:12", "localhost:5000/a/b:1", "a@sha256:0123", "sha256:0123"] {
            assert!(checked(reference).is_ok(), "{reference} was refused");
        }
        for reference in
            ["", "a?b", "../info", "a/../../containers", "a b", "/x", "a#b", "a%2fb", &"a".repeat(513)]
        {
            assert!(checked(reference).is_err(), "{reference} was accepted");
        }
    }

    #[test]
    fn repository_keeps_the_registrys_port() {
        assert_eq!(repository("localhost:5000/a"), repository("localhost:5000/a:1"));
        assert_eq!(repository("debian:12"), repository("docker.io/library/debian"));
        assert_ne!(repository("debian:12"), repository("localhost:5000/debian"));
        assert_eq!(pull_parts("localhost:5000/a"), ("localhost:5000/a", "latest"));
        assert_eq!(pull_parts("localhost:5000/a:1"), ("localhost:5000/a", "1"));
        assert_eq!(pull_parts("debian"), ("debian", "latest"));
        assert_eq!(pull_parts("a/b@sha256:12"), ("a/b", "sha256:12"));
    }

    #[test]
    fn volume_that_would_hide_our_files_is_refused() {
        for path in ["/data", "/home/gradle/.gradle"] {
            assert!(is_plain_directory(path), "{path} was refused");
        }
        for path in ["/", "/.mendwright", "/proc", "data", "/a/../b", "/a,b", "/a:b", "//", "/sys/"] {
            assert!(!is_plain_directory(path), "{path} was accepted");
        }
    }
}
