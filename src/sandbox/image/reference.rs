//! The reference to an image: in a registry, in a local image layout, or in an archive. Opens nothing.

use std::path::PathBuf;

use super::error::{ImageError, shown};
use crate::domain::{is_sha256_digest, parse_image_reference};

const LAYOUT: &str = "oci:";
const ARCHIVE: &str = "oci-archive:";
/// The longest path in a reference to a local image.
const LOCAL_BYTES_MAX: usize = 4096;

/// A parsed reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageReference {
    pub location: ImageLocation,
    /// For a registry, at least one of the two is set. The digest takes precedence.
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageLocation {
    Registry {
        /// As it is written in the reference.
        host: String,
        /// The address of its API: host and port.
        address: String,
        repository: String,
    },
    /// A directory in the OCI image layout.
    Layout(PathBuf),
    /// A tar file of such a directory, or an archive of `docker save`.
    Archive(PathBuf),
}

impl ImageReference {
    pub(super) fn parse(text: &str) -> Result<Self, ImageError> {
        if text.len() > LOCAL_BYTES_MAX || text.chars().any(char::is_control) {
            return refuse("it is not an image reference");
        }
        if let Some(rest) = text.strip_prefix(ARCHIVE) {
            return Self::local(rest, ImageLocation::Archive);
        }
        if let Some(rest) = text.strip_prefix(LAYOUT) {
            return Self::local(rest, ImageLocation::Layout);
        }
        // The library would use a public registry by default.
        let host = text.split_once('/').map_or("", |(first, _)| first);
        if !(host.contains(['.', ':']) || host == "localhost") {
            return refuse("the host of its registry is missing");
        }
        let reference = parse_image_reference(text)
            .map_err(|why| ImageError::Reference(format!("it is not an image reference: {why}")))?;
        Ok(Self {
            location: ImageLocation::Registry {
                host: reference.registry().to_owned(),
                address: reference.resolve_registry().to_owned(),
                repository: reference.repository().to_owned(),
            },
            tag: reference.tag().map(str::to_owned),
            digest: reference.digest().map(str::to_owned),
        })
    }

    fn local(rest: &str, location: impl FnOnce(PathBuf) -> ImageLocation) -> Result<Self, ImageError> {
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((rest, digest)) if digest.starts_with("sha256:") => (rest, Some(checked_digest(digest)?)),
            Some(_) | None => (rest, None),
        };
        // A tag has no '/', so a ':' in the name of a directory does not begin one.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            Some(_) | None => (rest, None),
        };
        if !path.starts_with('/') {
            return refuse("the path is not absolute");
        }
        if tag.as_deref() == Some("") {
            return refuse("the tag after ':' is empty");
        }
        Ok(Self { location: location(path.into()), tag, digest })
    }

    /// A reference to exactly the image with this digest.
    pub(super) fn pinned(&self, digest: &str) -> String {
        match &self.location {
            ImageLocation::Registry { host, repository, .. } => format!("{host}/{repository}@{digest}"),
            ImageLocation::Layout(path) => format!("{LAYOUT}{}@{digest}", path.display()),
            ImageLocation::Archive(path) => format!("{ARCHIVE}{}@{digest}", path.display()),
        }
    }
}

/// Checks a digest, which becomes part of paths.
pub(super) fn checked_digest(digest: &str) -> Result<String, ImageError> {
    if !is_sha256_digest(digest) {
        return refuse(&format!("'{}' is not sha256: and 64 lower-case hexadecimal digits", shown(digest)));
    }
    Ok(digest.to_owned())
}

fn refuse<T>(why: &str) -> Result<T, ImageError> {
    Err(ImageError::Reference(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(text: &str) -> ImageReference {
        ImageReference::parse(text).unwrap()
    }

    #[test]
    fn registry_reference_has_a_host_and_a_tag_or_digest() {
        let named = parse("registry.example:5000/team/tool:1.2");
        let ImageLocation::Registry { host, repository, .. } = &named.location else { panic!("{named:?}") };
        assert_eq!((host.as_str(), repository.as_str()), ("registry.example:5000", "team/tool"));
        assert_eq!((named.tag.as_deref(), named.digest.as_deref()), (Some("1.2"), None));
        assert_eq!(parse("localhost/x").tag.as_deref(), Some("latest"));
        let pinned = parse(&format!("localhost:5000/x:1@{DIGEST}"));
        assert_eq!(pinned.digest.as_deref(), Some(DIGEST));
        assert_eq!(pinned.pinned(DIGEST), format!("localhost:5000/x@{DIGEST}"));
    }

    #[test]
    fn local_reference_is_an_absolute_path_with_an_optional_tag() {
        let named = parse("oci:/srv/images/a:b/tool:1.2");
        assert_eq!(named.location, ImageLocation::Layout("/srv/images/a:b/tool".into()));
        assert_eq!(named.tag.as_deref(), Some("1.2"));
        let named = parse(&format!("oci-archive:/srv/x.tar@{DIGEST}"));
        assert_eq!(named.location, ImageLocation::Archive("/srv/x.tar".into()));
        assert_eq!((named.tag.as_deref(), named.digest.as_deref()), (None, Some(DIGEST)));
        assert_eq!(parse(&named.pinned(DIGEST)), named);
    }

    #[test]
    fn incomplete_reference_is_refused() {
        let sha512 = format!("h.example/x@sha512:{}", "a".repeat(128));
        let upper = format!("h.example/x@{}", DIGEST.to_uppercase().replace("SHA256", "sha256"));
        for text in [
            "",
            "python",
            "python:3",
            "library/python:3",
            "h.example/UPPER",
            "h.example/../x",
            "oci:relative",
            "oci:/x:",
            "h.example/x\n",
            sha512.as_str(),
            &upper,
        ] {
            assert!(
                matches!(ImageReference::parse(text), Err(ImageError::Reference(_))),
                "{text:?} was accepted"
            );
        }
        let error = ImageReference::parse("python:3").unwrap_err().for_image("python:3").to_string();
        insta::assert_snapshot!(error, @"the sandbox cannot be used: the image 'python:3': the host of its registry is missing; write it as HOST[:PORT]/NAME:TAG, HOST[:PORT]/NAME@sha256:DIGEST, oci:/DIRECTORY[:TAG] or oci-archive:/FILE.tar[:TAG]");
    }
}
