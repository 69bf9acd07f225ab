//! Images: found or pulled by reference, named by digest, and once for each with the toolbox put
//! into it, through the engine's API alone: no path of ours has to exist where the engine runs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerConfig, ImageInspect};
use bollard::query_parameters::{
    CommitContainerOptions, CreateContainerOptions, CreateImageOptions, DownloadFromContainerOptions,
    UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout};

use super::archive::{self, LIST_BYTES_MAX, toolbox_digest};
use super::container::{Label, mould};
use super::engine::{Engine, failed, is_absent, is_conflict, words};
use super::running::remove;
use super::unavailable;
use crate::sandbox::SandboxError;

/// For an image to come from its registry.
const PULL_MAX: Duration = Duration::from_secs(20 * 60);
/// For another process to put the toolbox into an image; past it, it is taken to have died.
const OTHER_MAKER_MAX: Duration = Duration::from_secs(120);
/// Between two looks at whether it has.
const OTHER_MAKER_STEP: Duration = Duration::from_millis(50);
/// Longest reference to an image.
const REFERENCE_BYTES_MAX: usize = 512;
/// Most volumes that an image may declare.
const VOLUMES_MAX: usize = 32;
/// Changes when what is put into an image does, beside the toolbox itself.
const LAYOUT: u32 = 1;
/// Where images of ours are named. No registry has that name.
const DERIVED: &str = "localhost/mendwright-sandbox";

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// The engine's own name for it.
    pub id: String,
    /// A reference that leads to exactly this one, on other machines too where it can.
    pub exact: String,
    /// `sha256:…`
    pub digest: String,
    /// It says itself where its programs are.
    pub has_path: bool,
    /// Where it wants volumes.
    pub volumes: Vec<String>,
    /// What is written on it.
    pub labels: HashMap<String, String>,
}

impl Image {
    fn of(inspected: ImageInspect, reference: &str) -> Result<Self, SandboxError> {
        let id = inspected.id.unwrap_or_default();
        let refuse = |missing: String| unavailable(missing, "choose another image");
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
        if let Some(strange) = volumes.iter().find(|volume| !is_plain_directory(volume)) {
            return Err(refuse(format!("the image {reference} declares a volume at {strange:?}")));
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
            has_path: config.env.iter().flatten().any(|variable| variable.starts_with("PATH=")),
            volumes,
            labels: config.labels.unwrap_or_default(),
            id,
        })
    }

    pub(super) fn label(&self, label: Label) -> Option<&str> {
        self.labels.get(label.name()).map(String::as_str)
    }
}

fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        Some(_) | None => name,
    }
}

fn is_plain_directory(path: &str) -> bool {
    let is_ours = ["/", "/.mendwright", "/proc", "/sys", "/dev"].contains(&path.trim_end_matches('/'));
    let is_plain = path.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
    path.starts_with('/') && is_plain && !is_ours && !path.contains([',', ':'])
}

/// References become part of a request's address, so they may say nothing but a name.
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
    Err(unavailable(
        format!("an image's name; {reference:?} is none"),
        "write it as NAME:TAG, NAME@sha256:… or an image's id",
    ))
}

/// The image that the engine has under a reference.
pub(super) async fn find(engine: &Engine, reference: &str) -> Result<Option<Image>, SandboxError> {
    checked(reference)?;
    match engine.api.inspect_image(reference).await {
        Ok(inspected) => Image::of(inspected, reference).map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(failed(&format!("look at the image {reference}"), &error)),
    }
}

/// The image under a reference, pulled where the engine does not have it.
pub(super) async fn find_or_pull(engine: &Engine, reference: &str) -> Result<Image, SandboxError> {
    if let Some(image) = find(engine, reference).await? {
        return Ok(image);
    }
    let absent = |why: &str, remedy: String| {
        Err(unavailable(format!("the engine has no image {reference}, and {why}"), &remedy))
    };
    let remedy = format!("get it by hand (docker pull {reference}), or name another image");
    let is_hex = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if reference.strip_prefix("sha256:").is_some_and(is_hex) {
        return absent("an id cannot be pulled", "name the image by NAME:TAG or NAME@sha256:…".to_owned());
    }
    tracing::info!(image = reference, "pulling an image");
    match timeout(PULL_MAX, pull(engine, reference)).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => return absent(&format!("it cannot be pulled ({why})"), remedy),
        Err(_) => return absent(&format!("it did not come within {} s", PULL_MAX.as_secs()), remedy),
    }
    match find(engine, reference).await? {
        Some(image) => Ok(image),
        None => absent("what was pulled is not it", remedy),
    }
}

async fn pull(engine: &Engine, reference: &str) -> Result<(), String> {
    let (name, tag) = match reference.split_once('@') {
        Some((name, digest)) => (name, digest),
        // Without one, every tag that there is would be pulled.
        None => match reference[repository(reference).len()..].strip_prefix(':') {
            Some(tag) => (repository(reference), tag),
            None => (reference, "latest"),
        },
    };
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: Some(tag.to_owned()),
        ..CreateImageOptions::default()
    };
    let mut progress = std::pin::pin!(engine.api.create_image(Some(options), None, None));
    while let Some(step) = progress.next().await {
        let step = step.map_err(|error| words(&error))?;
        if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
            return Err(error);
        }
    }
    Ok(())
}

/// Images with the toolbox in them, as far as this process knows: by the id of what they were made
/// of.
#[derive(Debug, Default)]
pub(super) struct Derived {
    known: Mutex<HashMap<String, String>>,
}

impl Derived {
    /// The id of `base` with the toolbox in it; made where it is not there. Concurrent makers, of
    /// this process or another, do not make it twice.
    pub(super) async fn of(
        &self,
        engine: &Engine,
        base: &Image,
        owner: &str,
    ) -> Result<String, SandboxError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&base.id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let id = find_or_make(engine, base, owner).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(base.id.clone(), id.clone());
        Ok(id)
    }

    /// The engine says that it is gone.
    pub(super) fn forget(&self, base: &Image) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&base.id);
    }
}

async fn find_or_make(engine: &Engine, base: &Image, owner: &str) -> Result<String, SandboxError> {
    let name = hex::encode(Sha256::digest(format!("{LAYOUT} {} {}", base.id, toolbox_digest())));
    let tag = &name[..32];
    let reference = format!("{DERIVED}:{tag}");
    let existing = async || {
        let image = find(engine, &reference).await?;
        // The name alone could be anybody's.
        let is_ours = |image: &Image| {
            image.label(Label::Base) == Some(&base.id)
                && image.label(Label::Toolbox) == Some(toolbox_digest())
        };
        Ok(image.filter(is_ours).map(|image| image.id))
    };
    let maker = format!("mendwright-making-{tag}");
    let mut until = Instant::now() + OTHER_MAKER_MAX;
    loop {
        if let Some(id) = existing().await? {
            return Ok(id);
        }
        let labels = [
            (Label::Owner, owner.to_owned()),
            (Label::Instance, super::instance().to_owned()),
            (Label::Base, base.id.clone()),
            (Label::Toolbox, toolbox_digest().to_owned()),
        ];
        let options =
            CreateContainerOptions { name: Some(maker.clone()), ..CreateContainerOptions::default() };
        // The engine lets one container have that name, which makes it the lock.
        match engine.api.create_container(Some(options), mould(&base.id, labels)).await {
            Ok(created) => {
                // Somebody may have finished between our look and our turn.
                let made = match existing().await {
                    Ok(None) => make(engine, &created.id, DERIVED, tag).await.map(Some),
                    found => found,
                };
                remove(engine, &created.id).await;
                if let Some(id) = made? {
                    return Ok(id);
                }
            }
            // Podman says 500 where a name is taken.
            Err(error) if is_conflict(&error) || words(&error).contains("already in use") => {
                if Instant::now() > until {
                    remove(engine, &maker).await;
                    until = Instant::now() + OTHER_MAKER_MAX;
                }
                sleep(OTHER_MAKER_STEP).await;
            }
            Err(error) => return Err(failed(&format!("make a container of {}", base.exact), &error)),
        }
    }
}

async fn make(engine: &Engine, container: &str, name: &str, tag: &str) -> Result<String, SandboxError> {
    let users = read_text(engine, container, archive::USERS).await;
    let groups = read_text(engine, container, archive::GROUPS).await;
    let files = archive::of_sandbox(users.as_deref(), groups.as_deref());
    let files =
        files.map_err(|error| SandboxError::Gone(format!("the toolbox cannot be packed: {error}")))?;
    upload(engine, container, files).await?;
    commit(engine, container, name, tag, &[]).await
}

/// Unpacks an archive into a container, at its root.
pub(super) async fn upload(engine: &Engine, container: &str, archive: Vec<u8>) -> Result<(), SandboxError> {
    let options = UploadToContainerOptions { path: "/".to_owned(), ..UploadToContainerOptions::default() };
    let body = bollard::body_full(Bytes::from(archive));
    let uploaded = engine.patient().upload_to_container(container, Some(options), body).await;
    uploaded.map_err(|error| failed("take files into a container", &error))
}

/// Makes an image of a container, with more labels than the container's own.
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
    let committed = engine.patient().commit_container(options, ContainerConfig::default()).await;
    let id = committed.map_err(|error| failed("make an image of a container", &error))?.id;
    // Podman leaves away what it says everywhere else.
    Ok(if id.starts_with("sha256:") { id } else { format!("sha256:{id}") })
}

/// A text file of a container: empty where there is none, nothing where it cannot be read.
async fn read_text(engine: &Engine, container: &str, path: &str) -> Option<String> {
    let options = DownloadFromContainerOptions { path: path.to_owned() };
    let mut pieces = std::pin::pin!(engine.api.download_from_container(container, Some(options)));
    let mut archive = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => archive.extend_from_slice(&piece),
            Err(error) if is_absent(&error) => return Some(String::new()),
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
    fn a_reference_is_a_name_and_no_part_of_an_address() {
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
    fn a_ports_colon_begins_no_tag() {
        assert_eq!(repository("localhost:5000/a"), "localhost:5000/a");
        assert_eq!(repository("localhost:5000/a:1"), "localhost:5000/a");
        assert_eq!(repository("a/b@sha256:12"), "a/b");
    }

    #[test]
    fn a_volume_is_covered_only_where_that_hides_nothing_of_ours() {
        for path in ["/data", "/home/gradle/.gradle"] {
            assert!(is_plain_directory(path), "{path} was refused");
        }
        for path in ["/", "/.mendwright", "/proc", "data", "/a/../b", "/a,b", "/a:b", "//", "/sys/"] {
            assert!(!is_plain_directory(path), "{path} was accepted");
        }
    }
}
