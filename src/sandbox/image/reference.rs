//! What an image is called: in a registry, in a local image layout, or in an archive. Opens nothing.

use std::path::PathBuf;

use oci_spec::distribution::Reference;

use super::fault::{Fault, shown};

const LAYOUT: &str = "oci:";
const ARCHIVE: &str = "oci-archive:";
/// Far above any real one.
const REFERENCE_BYTES_MAX: usize = 4096;

/// An image's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageReference {
    pub place: Place,
    /// At least one of the two for a registry; the digest decides.
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Registry {
        /// As it was named.
        host: String,
        /// Where its API answers: host and port.
        address: String,
        repository: String,
    },
    /// A directory in the OCI image layout.
    Layout(PathBuf),
    /// A tar file of such a directory, or what `docker save` writes.
    Archive(PathBuf),
}

/// Whether a reference names a file or directory of this machine. Only an operator may write such a
/// one: a repository that did could look at the host's files.
pub fn names_a_host_path(reference: &str) -> bool {
    reference.starts_with(LAYOUT) || reference.starts_with(ARCHIVE)
}

impl ImageReference {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > REFERENCE_BYTES_MAX || text.chars().any(char::is_control) {
            return refuse("that is no image's name");
        }
        if let Some(rest) = text.strip_prefix(ARCHIVE) {
            return Self::local(rest, Place::Archive);
        }
        if let Some(rest) = text.strip_prefix(LAYOUT) {
            return Self::local(rest, Place::Layout);
        }
        // The reference library would go to a public registry of its own choice.
        let host = text.split_once('/').map_or("", |(first, _)| first);
        if !(host.contains(['.', ':']) || host == "localhost") {
            return refuse("the name of its registry's host is missing");
        }
        let reference: Reference =
            text.parse().map_err(|why| Fault::Reference(format!("that is no image's name: {why}")))?;
        let digest = reference.digest().map(checked_digest).transpose()?;
        Ok(Self {
            place: Place::Registry {
                host: reference.registry().to_owned(),
                address: reference.resolve_registry().to_owned(),
                repository: reference.repository().to_owned(),
            },
            tag: reference.tag().map(str::to_owned),
            digest,
        })
    }

    fn local(rest: &str, place: impl FnOnce(PathBuf) -> Place) -> Result<Self, Fault> {
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((rest, digest)) if digest.starts_with("sha256:") => (rest, Some(checked_digest(digest)?)),
            Some(_) | None => (rest, None),
        };
        // A tag has no '/', so a ':' in a directory's name is none.
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
        Ok(Self { place: place(path.into()), tag, digest })
    }

    /// The reference to exactly the image with this digest.
    pub(super) fn pinned(&self, digest: &str) -> String {
        match &self.place {
            Place::Registry { host, repository, .. } => format!("{host}/{repository}@{digest}"),
            Place::Layout(path) => format!("{LAYOUT}{}@{digest}", path.display()),
            Place::Archive(path) => format!("{ARCHIVE}{}@{digest}", path.display()),
        }
    }
}

/// A digest that may be part of a path: `sha256:` and 64 lower-case hexadecimal digits.
pub(super) fn checked_digest(digest: &str) -> Result<String, Fault> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if hex.len() != 64 || !is_hex {
        return refuse(&format!("'{}' is not sha256: and 64 lower-case hexadecimal digits", shown(digest)));
    }
    Ok(digest.to_owned())
}

fn refuse<T>(why: &str) -> Result<T, Fault> {
    Err(Fault::Reference(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(text: &str) -> ImageReference {
        ImageReference::parse(text).unwrap()
    }

    #[test]
    fn a_registrys_image_has_a_host_and_a_tag_or_digest() {
        let named = parse("registry.example:5000/team/tool:1.2");
        let Place::Registry { host, repository, .. } = &named.place else { panic!("{named:?}") };
        assert_eq!((host.as_str(), repository.as_str()), ("registry.example:5000", "team/tool"));
        assert_eq!((named.tag.as_deref(), named.digest.as_deref()), (Some("1.2"), None));
        assert_eq!(parse("localhost/x").tag.as_deref(), Some("latest"));
        let pinned = parse(&format!("localhost:5000/x:1@{DIGEST}"));
        assert_eq!(pinned.digest.as_deref(), Some(DIGEST));
        assert_eq!(pinned.pinned(DIGEST), format!("localhost:5000/x@{DIGEST}"));
    }

    #[test]
    fn a_local_image_is_an_absolute_path_with_an_optional_tag() {
        let named = parse("oci:/srv/images/a:b/tool:1.2");
        assert_eq!(named.place, Place::Layout("/srv/images/a:b/tool".into()));
        assert_eq!(named.tag.as_deref(), Some("1.2"));
        let named = parse(&format!("oci-archive:/srv/x.tar@{DIGEST}"));
        assert_eq!(named.place, Place::Archive("/srv/x.tar".into()));
        assert_eq!((named.tag.as_deref(), named.digest.as_deref()), (None, Some(DIGEST)));
        assert_eq!(parse(&named.pinned(DIGEST)), named);
        assert!(names_a_host_path("oci:/x") && names_a_host_path("oci-archive:/x"));
        assert!(!names_a_host_path("localhost:5000/oci:x"));
    }

    #[test]
    fn what_is_no_full_name_is_refused() {
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
            assert!(matches!(ImageReference::parse(text), Err(Fault::Reference(_))), "{text:?} was accepted");
        }
        let error = ImageReference::parse("python:3").unwrap_err().of("python:3").to_string();
        insta::assert_snapshot!(error, @"the bubblewrap sandbox cannot be used: the image 'python:3': the name of its registry's host is missing; name it HOST[:PORT]/NAME:TAG, HOST[:PORT]/NAME@sha256:DIGEST, oci:/DIRECTORY[:TAG] or oci-archive:/FILE.tar[:TAG]");
    }
}
