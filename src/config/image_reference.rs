//! The spelling of image references. Asks no registry.

/// The longest reference that engines take, with room for a digest.
const REFERENCE_BYTES_MAX: usize = 512;
const TAG_BYTES_MAX: usize = 128;

/// Whether `text` is an image reference: `[HOST[:PORT]/]NAME[/NAME…][:TAG][@sha256:DIGEST]`, as the
/// OCI distribution specification spells names, tags and digests.
pub fn is_image_reference(text: &str) -> bool {
    if text.len() > REFERENCE_BYTES_MAX {
        return false;
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash begins the tag; an earlier one begins a port.
    let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[name_start..].find(':') {
        Some(colon) => (&rest[..name_start + colon], Some(&rest[name_start + colon + 1..])),
        None => (rest, None),
    };
    digest.is_none_or(is_digest) && tag.is_none_or(is_tag) && is_name(name)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts_well = text.bytes().next().is_some_and(word);
    starts_well && text.len() <= TAG_BYTES_MAX && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_name(text: &str) -> bool {
    let mut parts = text.split('/');
    let Some(first) = parts.next() else { return false };
    let first_is_host = first.contains(['.', ':']) || first == "localhost";
    let starts_well = if first_is_host && text.contains('/') { is_host(first) } else { is_component(first) };
    starts_well && parts.all(is_component)
}

fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let inside = bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
        !label.is_empty() && inside && bytes.first() != Some(&b'-') && bytes.last() != Some(&b'-')
    };
    name.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Lower-case letters and digits, between them single separators: `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let joined = |gap: &str| ["", ".", "_", "__"].contains(&gap) || gap.bytes().all(|b| b == b'-');
    text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().last().is_some_and(alphanumeric)
        && separators.into_iter().all(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_reference_is_distinguished_from_similar_text() {
        let digest = format!("registry.example:5000/a/b-c__d@sha256:{}", "0a".repeat(32));
        for good in
            ["debian", "python:3.12-slim", "registry.example/team/ci:v1", "localhost/x", "a.b", &digest]
        {
            assert!(is_image_reference(good), "{good}");
        }
        let long = "a".repeat(600);
        let bad = [
            "",
            " ",
            "Debian",
            "a b",
            "a:",
            "a:-x",
            "a@sha256:12",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a.-b",
            "https://registry.example/a",
            "${IMAGE}",
            "a\n",
            "--privileged",
            "registry.example:0/a",
            "é",
            &long,
        ];
        for text in bad {
            assert!(!is_image_reference(text), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_checked_without_panic(text in ".{0,80}") {
            let _ = is_image_reference(&text);
        }
    }
}
