//! Paths of GitHub's REST API.

use url::Url;

use crate::domain::{RepositoryId, RepositoryRef};

/// The path of a repository.
pub(super) fn repository_path(repository: &RepositoryRef) -> String {
    let name = &repository.name;
    format!("/repos/{}/{}", encode_segment(name.owner()), encode_segment(name.name()))
}

/// The id in `…/repositories/{id}/…`, which is where GitHub redirects to. A renamed repository has
/// the same id as before; for a transferred issue it is the id of another repository.
pub(super) fn repository_id_in(url: &Url) -> Option<RepositoryId> {
    let mut segments = url.path_segments()?;
    segments.find(|segment| *segment == "repositories")?;
    segments.next()?.parse().ok().map(RepositoryId)
}

/// Percent-encodes one path segment: everything except unreserved characters (RFC 3986).
pub(super) fn encode_segment(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Percent-encodes the name of a ref and keeps its slashes.
pub(super) fn encode_ref(name: &str) -> String {
    name.split('/').map(encode_segment).collect::<Vec<_>>().join("/")
}
