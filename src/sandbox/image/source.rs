//! Where an image comes from, a registry or a file, and what the two have in common: from a reference
//! to the manifest for this machine, and each blob checked against the digest it is named by.

use std::path::Path;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;

use super::Bounds;
use super::digest::{Hasher, digest_of};
use super::fault::Fault;
use super::local::{Local, LocalBlob};
use super::manifest::{Descriptor, Document, Manifest, pick_platform, verify_digest};
use super::pull::{Download, Registry};
use super::reference::{ImageReference, Place};

/// An index in an index is allowed, and one more is not heard of.
const INDEXES_MAX: usize = 3;
/// How often a layer is asked for whose connection is cut.
const ATTEMPTS_MAX: usize = 3;

/// Where an image comes from.
pub(super) enum Source {
    Registry(Registry),
    Local(Local),
}

/// An image that is there, for this machine.
#[derive(Debug)]
pub(super) struct Found {
    /// Of the manifest; where there is none (what `docker save` writes), of the configuration.
    pub digest: String,
    pub manifest: Manifest,
}

/// A blob on its way.
pub(super) enum Blob {
    Download(Download),
    Local(LocalBlob),
}

impl Source {
    pub(super) async fn open(reference: &ImageReference, bounds: &Bounds) -> Result<Self, Fault> {
        Ok(match &reference.place {
            Place::Registry { host, address, repository } => {
                Self::Registry(Registry::new(host, address, repository)?)
            }
            Place::Layout(path) => Self::Local(Local::layout(path)?),
            Place::Archive(path) => Self::Local(Local::archive(path, bounds).await?),
        })
    }

    /// The image that `reference` means.
    pub(super) async fn find(&mut self, reference: &ImageReference, bounds: &Bounds) -> Result<Found, Fault> {
        let (tag, digest) = (reference.tag.as_deref(), reference.digest.as_deref());
        let mut bytes = match self {
            Self::Registry(registry) => {
                let wanted = digest.or(tag).unwrap_or("latest");
                registry.manifest(wanted, bounds.manifest_bytes_max).await?
            }
            Self::Local(local) => {
                if let Some(found) = local.saved(tag, digest, bounds).await? {
                    return Ok(found);
                }
                local.named(tag, digest, bounds).await?
            }
        };
        if let Some(expected) = digest {
            verify_digest("the manifest", expected, &digest_of(&bytes))?;
        }
        for _ in 0..INDEXES_MAX {
            match Document::parse(&bytes, bounds)? {
                Document::Manifest(manifest) => return Ok(Found { digest: digest_of(&bytes), manifest }),
                Document::Index(manifests) => {
                    let picked = pick_platform(&manifests)?;
                    bytes = self.manifest(picked, bounds).await?;
                }
            }
        }
        Err(Fault::over("the depth of its indexes", INDEXES_MAX))
    }

    async fn manifest(&mut self, descriptor: &Descriptor, bounds: &Bounds) -> Result<Vec<u8>, Fault> {
        const WHAT: &str = "the manifest";
        if descriptor.size > bounds.manifest_bytes_max {
            return Err(Fault::over(WHAT, format!("{} bytes", bounds.manifest_bytes_max)));
        }
        let bytes = match self {
            Self::Registry(registry) => {
                registry.manifest(&descriptor.digest, bounds.manifest_bytes_max).await?
            }
            Self::Local(local) => local.bytes(&descriptor.digest, bounds.manifest_bytes_max, WHAT).await?,
        };
        descriptor.verify(WHAT, &bytes)?;
        Ok(bytes)
    }

    /// A small blob, whole and checked.
    pub(super) async fn small(
        &mut self,
        descriptor: &Descriptor,
        what: &'static str,
        bytes_max: u64,
    ) -> Result<Vec<u8>, Fault> {
        if descriptor.size > bytes_max {
            return Err(Fault::over(what, format!("{bytes_max} bytes")));
        }
        let mut blob = self.blob(&descriptor.digest).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > descriptor.size {
                let (what, actual) = (what.to_owned(), "more".to_owned());
                return Err(Fault::Size { what, expected: descriptor.size, actual });
            }
            bytes.extend_from_slice(&chunk);
        }
        descriptor.verify(what, &bytes)?;
        Ok(bytes)
    }

    /// A layer, streamed to a new file at `path` and checked. Asked for again where it was cut.
    pub(super) async fn layer(&mut self, descriptor: &Descriptor, path: &Path) -> Result<(), Fault> {
        let mut attempt = 1;
        loop {
            match self.layer_once(descriptor, path).await {
                Err(Fault::Cut { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn layer_once(&mut self, descriptor: &Descriptor, path: &Path) -> Result<(), Fault> {
        const WHAT: &str = "a layer";
        let failed = |error| Fault::disk("writing", path, error);
        let mut blob = self.blob(&descriptor.digest).await?;
        let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
        let (mut hash, mut bytes) = (Hasher::new(), 0_u64);
        let wrong_size =
            |actual: String| Fault::Size { what: WHAT.to_owned(), expected: descriptor.size, actual };
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

    async fn blob(&mut self, digest: &str) -> Result<Blob, Fault> {
        Ok(match self {
            Self::Registry(registry) => Blob::Download(registry.blob(digest).await?),
            Self::Local(local) => Blob::Local(local.blob(digest).await?),
        })
    }
}

impl Blob {
    async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Download(download) => download.chunk().await,
            Self::Local(blob) => blob.chunk().await,
        }
    }
}
