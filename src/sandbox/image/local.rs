//! Images in a directory or a tar file that the operator names: an OCI image layout, or an archive of
//! `docker save`. Only reads; the content is verified like that of a registry.

use std::collections::BTreeMap;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::digest::digest_of;
use super::error::{ImageError, shown};
use super::limits::ImageLimits;
use super::manifest::{
    Compression, Config, Descriptor, Document, Layer, Manifest, ResolvedImage, pick_named, pick_platform,
    verify_digest,
};

/// An archive has some files for each layer.
const ARCHIVE_ENTRIES_MAX: usize = 10_000;
const CHUNK_BYTES: usize = 128 * 1024;
const INDEX: &str = "index.json";
/// The file that `docker save` writes in addition to the index, or instead of it.
const SAVED_MANIFEST: &str = "manifest.json";

/// A directory or archive with images.
pub(super) struct Local {
    path: PathBuf,
    /// For an archive: its files.
    files: Option<BTreeMap<String, OutputPart>>,
    /// For an archive of `docker save`: the names of blobs that are not named by their digest.
    names: BTreeMap<String, String>,
}

/// Where a file is in an archive.
#[derive(Debug, Clone, Copy)]
struct OutputPart {
    offset: u64,
    bytes: u64,
}

/// A blob that is being read.
pub(super) struct LocalBlob {
    file: tokio::io::Take<tokio::fs::File>,
    place: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Local {
    pub(super) fn layout(path: &Path) -> Result<Self, ImageError> {
        if !path.join(INDEX).is_file() {
            let why = format!("there is no {INDEX} in {}, so it is not an OCI image layout", path.display());
            return Err(ImageError::NotAnImage(why));
        }
        Ok(Self { path: path.to_owned(), files: None, names: BTreeMap::new() })
    }

    pub(super) async fn archive(path: &Path, limits: &ImageLimits) -> Result<Self, ImageError> {
        let (place, bytes_max) = (path.to_owned(), limits.compressed_bytes_max);
        let listed = tokio::task::spawn_blocking(move || list(&place, bytes_max)).await;
        let files = listed.map_err(|error| ImageError::malformed("the archive", error))??;
        if !files.contains_key(INDEX) && !files.contains_key(SAVED_MANIFEST) {
            let why = format!("there is neither {INDEX} nor {SAVED_MANIFEST} in {}", path.display());
            return Err(ImageError::NotAnImage(why));
        }
        Ok(Self { path: path.to_owned(), files: Some(files), names: BTreeMap::new() })
    }

    /// The manifest or index with that tag or digest in an image layout.
    pub(super) async fn named(
        &self,
        tag: Option<&str>,
        digest: Option<&str>,
        limits: &ImageLimits,
    ) -> Result<Vec<u8>, ImageError> {
        let bytes_max = limits.manifest_bytes_max;
        if let Some(digest) = digest {
            return self.bytes(digest, bytes_max, "the manifest").await;
        }
        let index = self.whole(INDEX, bytes_max, "the index").await?;
        let Document::Index(manifests) = Document::parse(&index, limits)? else {
            return Err(ImageError::NotAnImage(format!("{INDEX} is no index")));
        };
        let meant = pick_named(manifests, tag)?;
        let picked = match meant.as_slice() {
            [only] => only,
            several => pick_platform(several)?,
        };
        let bytes = self.bytes(&picked.digest, bytes_max, "the manifest").await?;
        picked.verify("the manifest", &bytes)?;
        Ok(bytes)
    }

    /// The image with that tag or digest in an archive of `docker save` without an image layout.
    pub(super) async fn saved(
        &mut self,
        tag: Option<&str>,
        digest: Option<&str>,
        limits: &ImageLimits,
    ) -> Result<Option<ResolvedImage>, ImageError> {
        let Some(files) = &self.files else { return Ok(None) };
        if files.contains_key(INDEX) {
            return Ok(None);
        }
        let list = self.whole(SAVED_MANIFEST, limits.manifest_bytes_max, SAVED_MANIFEST).await?;
        let images: Vec<SavedImage> =
            serde_json::from_slice(&list).map_err(|error| ImageError::malformed(SAVED_MANIFEST, error))?;
        let mut names = Vec::new();
        for image in images {
            let config = self.whole(&image.config, limits.config_bytes_max, "the configuration").await?;
            let config_digest = digest_of(&config);
            let tags = image.repo_tags.clone().unwrap_or_default();
            let is_meant = match (digest, tag) {
                (Some(digest), _) => digest == config_digest,
                (None, Some(tag)) => {
                    tags.iter().any(|name| name == tag || name.ends_with(&format!(":{tag}")))
                }
                (None, None) => true,
            };
            names.extend(tags);
            if is_meant {
                return self.saved_image(&image, &config, config_digest, limits).map(Some);
            }
        }
        let names = shown(&names.join(", "));
        Err(ImageError::NotFound { place: format!("the archive (which names {names})") })
    }

    /// Its layers are uncompressed, so that the configuration's digests are theirs, too.
    fn saved_image(
        &mut self,
        image: &SavedImage,
        config: &[u8],
        digest: String,
        limits: &ImageLimits,
    ) -> Result<ResolvedImage, ImageError> {
        if image.layers.len() > limits.layers_max {
            return Err(ImageError::over("its number of layers", limits.layers_max));
        }
        let parsed = Config::parse(config, image.layers.len())?;
        let descriptor = |digest: &str, size| Descriptor {
            media_type: String::new(),
            digest: digest.to_owned(),
            size,
            platform: None,
            annotations: None,
        };
        let mut layers = Vec::new();
        for (name, diff_id) in image.layers.iter().zip(&parsed.diff_ids) {
            let part = self.part(name)?;
            self.names.insert(diff_id.clone(), name.clone());
            layers
                .push(Layer { descriptor: descriptor(diff_id, part.bytes), compression: Compression::None });
        }
        self.names.insert(digest.clone(), image.config.clone());
        let config = descriptor(&digest, config.len() as u64);
        Ok(ResolvedImage { digest, manifest: Manifest { config, layers } })
    }

    /// A small blob, by its digest.
    pub(super) async fn bytes(
        &self,
        digest: &str,
        bytes_max: u64,
        what: &str,
    ) -> Result<Vec<u8>, ImageError> {
        let bytes = self.whole(&self.name(digest), bytes_max, what).await?;
        verify_digest(what, digest, &digest_of(&bytes))?;
        Ok(bytes)
    }

    /// A blob, by its digest.
    pub(super) async fn blob(&self, digest: &str) -> Result<LocalBlob, ImageError> {
        self.open(&self.name(digest)).await
    }

    fn name(&self, digest: &str) -> String {
        let kept = || format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
        self.names.get(digest).cloned().unwrap_or_else(kept)
    }

    async fn whole(&self, name: &str, bytes_max: u64, what: &str) -> Result<Vec<u8>, ImageError> {
        let mut blob = self.open(name).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > bytes_max {
                return Err(ImageError::over(what, format!("{bytes_max} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    async fn open(&self, name: &str) -> Result<LocalBlob, ImageError> {
        let (path, part) = match &self.files {
            None => (self.path.join(name), None),
            Some(_) => (self.path.clone(), Some(self.part(name)?)),
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => ImageError::NotFound { place: path.display().to_string() },
            _ => ImageError::disk("reading", &path, error),
        };
        // Opening a pipe would wait for a writer.
        if !tokio::fs::metadata(&path).await.map_err(failed)?.is_file() {
            return Err(ImageError::NotAnImage(format!("{} is not a file", path.display())));
        }
        let mut file = tokio::fs::File::open(&path).await.map_err(failed)?;
        let bytes = match part {
            None => u64::MAX,
            Some(part) => {
                file.seek(SeekFrom::Start(part.offset)).await.map_err(failed)?;
                part.bytes
            }
        };
        Ok(LocalBlob { file: file.take(bytes), place: path.display().to_string() })
    }

    fn part(&self, name: &str) -> Result<OutputPart, ImageError> {
        let found = self.files.as_ref().and_then(|files| files.get(&normal(name)?));
        found.copied().ok_or_else(|| {
            let why = format!("it has no '{}'", shown(name));
            ImageError::malformed(format!("the archive {}", self.path.display()), why)
        })
    }
}

impl LocalBlob {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ImageError> {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        let read = self.file.read_buf(&mut chunk).await;
        let read = read.map_err(|error| ImageError::disk("reading", Path::new(&self.place), error))?;
        Ok((read > 0).then(|| chunk.freeze()))
    }
}

/// What is in an archive, and where. Older Dockers write a symlink for a layer that is there twice.
fn list(path: &Path, bytes_max: u64) -> Result<BTreeMap<String, OutputPart>, ImageError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ImageError::NotFound { place: path.display().to_string() },
        _ => ImageError::disk("reading", path, error),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(ImageError::NotAnImage(format!("{} is not a file", path.display())));
    }
    if metadata.len() > bytes_max {
        return Err(ImageError::over("the archive", format!("{bytes_max} bytes")));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let no_tar = |error: io::Error| {
        ImageError::NotAnImage(format!(
            "{} is not an uncompressed tar ({})",
            path.display(),
            shown(&error.to_string())
        ))
    };
    let mut archive = tar::Archive::new(file);
    let mut files = BTreeMap::new();
    let mut links = Vec::new();
    for (count, entry) in archive.entries_with_seek().map_err(no_tar)?.enumerate() {
        if count >= ARCHIVE_ENTRIES_MAX {
            return Err(ImageError::over("the number of files in the archive", ARCHIVE_ENTRIES_MAX));
        }
        let entry = entry.map_err(no_tar)?;
        let Some(name) = std::str::from_utf8(&entry.path_bytes()).ok().and_then(normal) else { continue };
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                files.insert(name, OutputPart { offset: entry.raw_file_position(), bytes: entry.size() });
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let is_symlink = entry.header().entry_type() == tar::EntryType::Symlink;
                let target =
                    entry.link_name_bytes().and_then(|target| String::from_utf8(target.into_owned()).ok());
                let Some(target) = target else { continue };
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                let full = if is_symlink { format!("{directory}/{target}") } else { target };
                links.extend(normal(&full).map(|target| (name, target)));
            }
            _ => {}
        }
    }
    for (name, target) in links {
        if let Some(part) = files.get(&target).copied() {
            files.insert(name, part);
        }
    }
    Ok(files)
}

/// A name within an archive without `.` and `..`; none where it leads out of it.
fn normal(name: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
