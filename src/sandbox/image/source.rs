//! The source of an image, a registry or a file, and what both have in common: resolves a reference to the
//! manifest for this machine, and verifies each blob against its digest.

use std::path::Path;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::digest::{Hasher, digest_of};
use super::error::ImageError;
use super::limits::ImageLimits;
use super::local::{Local, LocalBlob};
use super::manifest::{Descriptor, Document, ResolvedImage, pick_platform, verify_digest};
use super::pull::{Download, Registry};
use super::reference::{ImageLocation, ImageReference};

/// An index may contain an index. Deeper nesting is unknown.
const INDEXES_MAX: usize = 3;
/// How often a layer is requested if its connection is cut.
const ATTEMPTS_MAX: usize = 3;

/// The source of an image.
pub(super) enum Source {
    Registry(Registry),
    Local(Local),
}

/// A blob that is being read.
pub(super) enum Blob {
    Download(Download),
    Local(LocalBlob),
}

impl Source {
    pub(super) async fn open(reference: &ImageReference, limits: &ImageLimits) -> Result<Self, ImageError> {
        Ok(match &reference.location {
            ImageLocation::Registry { host, address, repository } => {
                Self::Registry(Registry::new(host, address, repository)?)
            }
            ImageLocation::Layout(path) => Self::Local(Local::layout(path)?),
            ImageLocation::Archive(path) => Self::Local(Local::archive(path, limits).await?),
        })
    }

    /// The image that `reference` names.
    pub(super) async fn find(
        &mut self,
        reference: &ImageReference,
        limits: &ImageLimits,
    ) -> Result<ResolvedImage, ImageError> {
        let (tag, digest) = (reference.tag.as_deref(), reference.digest.as_deref());
        let mut bytes = match self {
            Self::Registry(registry) => {
                let name = digest.or(tag).unwrap_or("latest");
                registry.manifest(name, limits.manifest_bytes_max).await?
            }
            Self::Local(local) => {
                if let Some(found) = local.saved(tag, digest, limits).await? {
                    return Ok(found);
                }
                local.named(tag, digest, limits).await?
            }
        };
        if let Some(expected) = digest {
            verify_digest("the manifest", expected, &digest_of(&bytes))?;
        }
        for _ in 0..INDEXES_MAX {
            match Document::parse(&bytes, limits)? {
                Document::Manifest(manifest) => {
                    return Ok(ResolvedImage { digest: digest_of(&bytes), manifest });
                }
                Document::Index(manifests) => {
                    let picked = pick_platform(&manifests)?;
                    bytes = self.manifest(picked, limits).await?;
                }
            }
        }
        Err(ImageError::over("the depth of its indexes", INDEXES_MAX))
    }

    async fn manifest(
        &mut self,
        descriptor: &Descriptor,
        limits: &ImageLimits,
    ) -> Result<Vec<u8>, ImageError> {
        const WHAT: &str = "the manifest";
        if descriptor.size > limits.manifest_bytes_max {
            return Err(ImageError::over(WHAT, format!("{} bytes", limits.manifest_bytes_max)));
        }
        let bytes = match self {
            Self::Registry(registry) => {
                registry.manifest(&descriptor.digest, limits.manifest_bytes_max).await?
            }
            Self::Local(local) => local.bytes(&descriptor.digest, limits.manifest_bytes_max, WHAT).await?,
        };
        descriptor.verify(WHAT, &bytes)?;
        Ok(bytes)
    }

    /// Reads and verifies a small blob.
    pub(super) async fn small_blob(
        &mut self,
        descriptor: &Descriptor,
        what: &'static str,
        bytes_max: u64,
    ) -> Result<Vec<u8>, ImageError> {
        if descriptor.size > bytes_max {
            return Err(ImageError::over(what, format!("{bytes_max} bytes")));
        }
        let mut blob = self.blob(&descriptor.digest).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > descriptor.size {
                let (what, actual) = (what.to_owned(), "more".to_owned());
                return Err(ImageError::Size { what, expected: descriptor.size, actual });
            }
            bytes.extend_from_slice(&chunk);
        }
        descriptor.verify(what, &bytes)?;
        Ok(bytes)
    }

    /// Streams a layer to a new file at `path`, and verifies it. Tries again if the connection is cut.
    pub(super) async fn layer(&mut self, descriptor: &Descriptor, path: &Path) -> Result<(), ImageError> {
        let mut attempt = 1;
        loop {
            match self.layer_once(descriptor, path).await {
                Err(ImageError::Cut { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn layer_once(&mut self, descriptor: &Descriptor, path: &Path) -> Result<(), ImageError> {
        const WHAT: &str = "a layer";
        let failed = |error| ImageError::disk("writing", path, error);
        let mut blob = self.blob(&descriptor.digest).await?;
        let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
        let (mut hash, mut bytes) = (Hasher::new(), 0_u64);
        let wrong_size =
            |actual: String| ImageError::Size { what: WHAT.to_owned(), expected: descriptor.size, actual };
        while let Some(chunk) = blob.chunk().await? {
            bytes += chunk.len() as u64;
            if bytes > descriptor.size {
                return Err(wrong_size("more".to_owned()));
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        if bytes != descriptor.size {
            return Err(wrong_size(bytes.to_string()));
        }
        verify_digest(WHAT, &descriptor.digest, &hash.finish())
    }

    async fn blob(&mut self, digest: &str) -> Result<Blob, ImageError> {
        Ok(match self {
            Self::Registry(registry) => Blob::Download(registry.blob(digest).await?),
            Self::Local(local) => Blob::Local(local.blob(digest).await?),
        })
    }
}

impl Blob {
    async fn chunk(&mut self) -> Result<Option<Bytes>, ImageError> {
        match self {
            Self::Download(download) => download.chunk().await,
            Self::Local(blob) => blob.chunk().await,
        }
    }
}
