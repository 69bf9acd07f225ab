//! Parses and validates manifests, indexes and configurations. Pure: fetches nothing.
//!
//! <https://github.com/opencontainers/image-spec>: manifest.md, image-index.md, config.md. The types are not those
//! of `oci_spec::image`, which demand fields that registries leave out (`mediaType`) and read all that is unused.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::digest::digest_of;
use super::error::{ImageError, shown};
use super::limits::ImageLimits;
use super::reference::checked_digest;

/// The media types that are requested from a registry.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// The annotations with which a local layout and two engines name their images.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];
/// Most names in an error.
const LISTED_MAX: usize = 20;

/// A reference to content by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub variant: Option<String>,
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Layer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub descriptor: Descriptor,
    pub compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// An image that exists for this machine.
#[derive(Debug)]
pub(super) struct ResolvedImage {
    /// The digest of the manifest or, if there is none (in an archive of `docker save`), of the configuration.
    pub digest: String,
    pub manifest: Manifest,
}

/// A reference leads to one of these.
#[derive(Debug)]
pub(super) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

/// The relevant part of an image's configuration.
#[derive(Debug)]
pub(super) struct Config {
    /// The digests of the uncompressed layers, in their order.
    pub diff_ids: Vec<String>,
    pub env: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    rootfs: RawRootFs,
    config: Option<RawRun>,
}

#[derive(Deserialize)]
struct RawRootFs {
    diff_ids: Vec<String>,
}

#[derive(Deserialize)]
struct RawRun {
    #[serde(rename = "Env")]
    env: Option<Vec<String>>,
}

impl Document {
    pub(super) fn parse(bytes: &[u8], limits: &ImageLimits) -> Result<Self, ImageError> {
        let raw: RawDocument =
            serde_json::from_slice(bytes).map_err(|e| ImageError::malformed("its manifest", e))?;
        if raw.schema_version != Some(2) {
            let version = raw.schema_version.map_or("none".to_owned(), |version| version.to_string());
            return Err(ImageError::NotAnImage(format!(
                "its manifest has the schema version {version}, not 2"
            )));
        }
        let is = |kinds: &[&str]| raw.media_type.as_deref().is_none_or(|kind| kinds.contains(&kind));
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) if is(&INDEXES) => {
                manifests.iter().try_for_each(Descriptor::check)?;
                Ok(Self::Index(manifests))
            }
            (None, Some(config), Some(layers)) if is(&MANIFESTS) => {
                Ok(Self::Manifest(Manifest::checked(config, layers, limits)?))
            }
            _ => match raw.media_type {
                Some(found) if !is_known(&found) => {
                    Err(ImageError::MediaType { what: "its manifest".to_owned(), found: shown(&found) })
                }
                Some(_) | None => Err(ImageError::NotAnImage(
                    "the reference leads to neither a manifest nor an index".to_owned(),
                )),
            },
        }
    }
}

fn is_known(media_type: &str) -> bool {
    INDEXES.contains(&media_type) || MANIFESTS.contains(&media_type)
}

impl Manifest {
    fn checked(
        config: Descriptor,
        layers: Vec<Descriptor>,
        limits: &ImageLimits,
    ) -> Result<Self, ImageError> {
        if !CONFIGS.contains(&config.media_type.as_str()) {
            let found = shown(&config.media_type);
            return Err(ImageError::NotAnImage(format!("its configuration is of the media type {found}")));
        }
        config.check()?;
        if layers.len() > limits.layers_max {
            return Err(ImageError::over("its number of layers", limits.layers_max));
        }
        let compressed = layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.size));
        if compressed.is_none_or(|bytes| bytes > limits.compressed_bytes_max) {
            return Err(ImageError::over(
                "the size of its layers",
                format!("{} bytes", limits.compressed_bytes_max),
            ));
        }
        let layers = layers.into_iter().map(Layer::checked).collect::<Result<_, _>>()?;
        Ok(Self { config, layers })
    }
}

impl Layer {
    fn checked(descriptor: Descriptor) -> Result<Self, ImageError> {
        descriptor.check()?;
        let compression = match descriptor.media_type.as_str() {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar" => Compression::None,
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Compression::Gzip,
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Compression::Zstd,
            other => return Err(ImageError::MediaType { what: "a layer".to_owned(), found: shown(other) }),
        };
        Ok(Self { descriptor, compression })
    }
}

impl Descriptor {
    /// Checks the digest, which becomes part of paths.
    fn check(&self) -> Result<(), ImageError> {
        checked_digest(&self.digest).map(drop).map_err(|error| ImageError::malformed("a descriptor", error))
    }

    /// Checks that `bytes` are the described content.
    pub(super) fn verify(&self, what: &str, bytes: &[u8]) -> Result<(), ImageError> {
        if bytes.len() as u64 != self.size {
            let (what, actual) = (what.to_owned(), bytes.len().to_string());
            return Err(ImageError::Size { what, expected: self.size, actual });
        }
        verify_digest(what, &self.digest, &digest_of(bytes))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let annotations = self.annotations.as_ref();
        NAMES.iter().filter_map(move |key| Some(annotations?.get(*key)?.as_str()))
    }
}

pub(super) fn verify_digest(what: &str, expected: &str, actual: &str) -> Result<(), ImageError> {
    if expected == actual {
        return Ok(());
    }
    Err(ImageError::Digest { what: what.to_owned(), expected: shown(expected), actual: actual.to_owned() })
}

/// This machine's architecture, as images name it (Go's `GOARCH`).
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        // The other names are the same.
        other => other,
    }
}

/// The manifest for Linux on this machine's architecture.
pub(super) fn pick_platform(manifests: &[Descriptor]) -> Result<&Descriptor, ImageError> {
    // Entries without a platform, or with an unknown one, are attestations and the like.
    let fits = |entry: &&Descriptor| {
        entry.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == architecture())
    };
    let plain = |entry: &&Descriptor| {
        let variant = entry.platform.as_ref().and_then(|platform| platform.variant.as_deref());
        matches!(variant, None | Some("" | "v8" | "v1"))
    };
    let fitting = || manifests.iter().filter(fits);
    if let Some(found) = fitting().find(plain).or_else(|| fitting().next()) {
        return Ok(found);
    }
    if let [only] = manifests
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let available = manifests.iter().map(|entry| match &entry.platform {
        Some(platform) => shown(&format!("{}/{}", platform.os, platform.architecture)),
        None => "an unnamed platform".to_owned(),
    });
    Err(ImageError::Platform { wanted: wanted_platform(), there: listed(available) })
}

fn wanted_platform() -> String {
    format!("linux/{}", architecture())
}

/// The images of a local index with that tag.
pub(super) fn pick_named(
    manifests: Vec<Descriptor>,
    tag: Option<&str>,
) -> Result<Vec<Descriptor>, ImageError> {
    let names = listed(manifests.iter().flat_map(Descriptor::names).map(shown));
    let Some(tag) = tag else {
        let distinct: std::collections::BTreeSet<_> =
            manifests.iter().map(|entry| entry.names().next().map(str::to_owned)).collect();
        if distinct.len() > 1 {
            return Err(ImageError::Reference(format!("there is more than one image; name one of: {names}")));
        }
        return Ok(manifests);
    };
    let is_meant = |name: &str| name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag);
    let meant: Vec<_> = manifests.into_iter().filter(|entry| entry.names().any(is_meant)).collect();
    if meant.is_empty() {
        return Err(ImageError::NotFound { place: format!("the local index (which names {names})") });
    }
    Ok(meant)
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.take(LISTED_MAX).collect();
    names.dedup();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

impl Config {
    /// Parses the configuration of an image with so many layers.
    pub(super) fn parse(bytes: &[u8], layers: usize) -> Result<Self, ImageError> {
        const WHAT: &str = "its configuration";
        let raw: RawConfig =
            serde_json::from_slice(bytes).map_err(|error| ImageError::malformed(WHAT, error))?;
        let is_ours = |found: &str, ours: &str| found.is_empty() || found == ours;
        if !is_ours(&raw.os, "linux") || !is_ours(&raw.architecture, architecture()) {
            let there = shown(&format!("{}/{}", raw.os, raw.architecture));
            return Err(ImageError::Platform { wanted: wanted_platform(), there });
        }
        if raw.rootfs.diff_ids.len() != layers {
            let why = format!("it names {} layers, the manifest {layers}", raw.rootfs.diff_ids.len());
            return Err(ImageError::malformed(WHAT, why));
        }
        for diff_id in &raw.rootfs.diff_ids {
            checked_digest(diff_id).map_err(|error| ImageError::malformed(WHAT, error))?;
        }
        let variables = raw.config.and_then(|run| run.env).unwrap_or_default();
        let env = variables.iter().filter_map(|variable| {
            let (name, value) = variable.split_once('=')?;
            let fits = !name.is_empty() && !variable.contains('\0');
            fits.then(|| (name.to_owned(), value.to_owned()))
        });
        Ok(Self { env: env.collect(), diff_ids: raw.rootfs.diff_ids })
    }
}

#[cfg(test)]
mod tests;
