//! What manifests, indexes and configurations say, checked. Pure: fetches nothing.
//!
//! <https://github.com/opencontainers/image-spec>: manifest.md, image-index.md, config.md.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Bounds;
use super::digest::digest_of;
use super::fault::{Fault, shown};
use super::reference::checked_digest;

/// What we ask a registry for.
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
/// How an index of a local layout names its images, and how two engines do.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];
/// Most names in an error.
const LISTED_MAX: usize = 20;

/// A thing by its digest.
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

/// Either of the two things that a reference can lead to.
#[derive(Debug)]
pub(super) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

/// What of an image's configuration matters to us.
#[derive(Debug)]
pub(super) struct Config {
    /// Of the uncompressed layers, in their order.
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
    pub(super) fn parse(bytes: &[u8], bounds: &Bounds) -> Result<Self, Fault> {
        let raw: RawDocument =
            serde_json::from_slice(bytes).map_err(|e| Fault::malformed("its manifest", e))?;
        if raw.schema_version != Some(2) {
            let version = raw.schema_version.map_or("none".to_owned(), |version| version.to_string());
            return Err(Fault::NotAnImage(format!("its manifest has the schema version {version}, not 2")));
        }
        let is = |kinds: &[&str]| raw.media_type.as_deref().is_none_or(|kind| kinds.contains(&kind));
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) if is(&INDEXES) => {
                manifests.iter().try_for_each(Descriptor::check)?;
                Ok(Self::Index(manifests))
            }
            (None, Some(config), Some(layers)) if is(&MANIFESTS) => {
                Ok(Self::Manifest(Manifest::checked(config, layers, bounds)?))
            }
            _ => match raw.media_type {
                Some(found) if !is_known(&found) => {
                    Err(Fault::MediaType { what: "its manifest".to_owned(), found: shown(&found) })
                }
                Some(_) | None => {
                    Err(Fault::NotAnImage("what it leads to is neither a manifest nor an index".to_owned()))
                }
            },
        }
    }
}

fn is_known(media_type: &str) -> bool {
    INDEXES.contains(&media_type) || MANIFESTS.contains(&media_type)
}

impl Manifest {
    fn checked(config: Descriptor, layers: Vec<Descriptor>, bounds: &Bounds) -> Result<Self, Fault> {
        if !CONFIGS.contains(&config.media_type.as_str()) {
            let found = shown(&config.media_type);
            return Err(Fault::NotAnImage(format!("its configuration is of the media type {found}")));
        }
        config.check()?;
        if layers.len() > bounds.layers_max {
            return Err(Fault::over("its number of layers", bounds.layers_max));
        }
        let compressed = layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.size));
        if compressed.is_none_or(|bytes| bytes > bounds.compressed_bytes_max) {
            return Err(Fault::over(
                "the size of its layers",
                format!("{} bytes", bounds.compressed_bytes_max),
            ));
        }
        let layers = layers.into_iter().map(Layer::checked).collect::<Result<_, _>>()?;
        Ok(Self { config, layers })
    }
}

impl Layer {
    fn checked(descriptor: Descriptor) -> Result<Self, Fault> {
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
            other => return Err(Fault::MediaType { what: "a layer".to_owned(), found: shown(other) }),
        };
        Ok(Self { descriptor, compression })
    }
}

impl Descriptor {
    /// Its digest becomes part of paths.
    fn check(&self) -> Result<(), Fault> {
        checked_digest(&self.digest).map(drop).map_err(|error| Fault::malformed("a descriptor", error))
    }

    /// That `bytes` are what it stands for.
    pub(super) fn verify(&self, what: &str, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() as u64 != self.size {
            let (what, actual) = (what.to_owned(), bytes.len().to_string());
            return Err(Fault::Size { what, expected: self.size, actual });
        }
        verify_digest(what, &self.digest, &digest_of(bytes))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let annotations = self.annotations.as_ref();
        NAMES.iter().filter_map(move |key| Some(annotations?.get(*key)?.as_str()))
    }
}

pub(super) fn verify_digest(what: &str, expected: &str, actual: &str) -> Result<(), Fault> {
    if expected == actual {
        return Ok(());
    }
    Err(Fault::Digest { what: what.to_owned(), expected: shown(expected), actual: actual.to_owned() })
}

/// This machine's architecture, as images name it (Go's `GOARCH`).
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        // The others have one name.
        other => other,
    }
}

/// The one for Linux on this machine's architecture.
pub(super) fn pick_platform(manifests: &[Descriptor]) -> Result<&Descriptor, Fault> {
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
    let there = manifests.iter().map(|entry| match &entry.platform {
        Some(platform) => shown(&format!("{}/{}", platform.os, platform.architecture)),
        None => "an unnamed platform".to_owned(),
    });
    Err(Fault::Platform { wanted: wanted_platform(), there: listed(there) })
}

fn wanted_platform() -> String {
    format!("linux/{}", architecture())
}

/// The images of a local index that `tag` means: all of the same name.
pub(super) fn pick_named(manifests: Vec<Descriptor>, tag: Option<&str>) -> Result<Vec<Descriptor>, Fault> {
    let names = listed(manifests.iter().flat_map(Descriptor::names).map(shown));
    let Some(tag) = tag else {
        let distinct: std::collections::BTreeSet<_> =
            manifests.iter().map(|entry| entry.names().next().map(str::to_owned)).collect();
        if distinct.len() > 1 {
            return Err(Fault::Reference(format!("there is more than one image; say which: {names}")));
        }
        return Ok(manifests);
    };
    let is_meant = |name: &str| name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag);
    let meant: Vec<_> = manifests.into_iter().filter(|entry| entry.names().any(is_meant)).collect();
    if meant.is_empty() {
        return Err(Fault::NotFound { place: format!("the local index (which names {names})") });
    }
    Ok(meant)
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.take(LISTED_MAX).collect();
    names.dedup();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

impl Config {
    /// The configuration of an image with that many layers.
    pub(super) fn parse(bytes: &[u8], layers: usize) -> Result<Self, Fault> {
        const WHAT: &str = "its configuration";
        let raw: RawConfig = serde_json::from_slice(bytes).map_err(|error| Fault::malformed(WHAT, error))?;
        let is_ours = |found: &str, ours: &str| found.is_empty() || found == ours;
        if !is_ours(&raw.os, "linux") || !is_ours(&raw.architecture, architecture()) {
            let there = shown(&format!("{}/{}", raw.os, raw.architecture));
            return Err(Fault::Platform { wanted: wanted_platform(), there });
        }
        if raw.rootfs.diff_ids.len() != layers {
            let why = format!("it names {} layers, the manifest {layers}", raw.rootfs.diff_ids.len());
            return Err(Fault::malformed(WHAT, why));
        }
        for diff_id in &raw.rootfs.diff_ids {
            checked_digest(diff_id).map_err(|error| Fault::malformed(WHAT, error))?;
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
