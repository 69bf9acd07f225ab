//! The grammar of image references, as the OCI distribution specification defines names, tags and digests.
//! Contacts no registry.

use oci_spec::distribution::Reference;

/// The longest reference that engines accept, with a digest.
const REFERENCE_BYTES_MAX: usize = 512;

/// Parses a reference: `[HOST[:PORT]/]NAME[/NAME…][:TAG][@sha256:DIGEST]`.
///
/// # Errors
/// The text is not a reference; the error is a text that says why.
pub fn parse_image_reference(text: &str) -> Result<Reference, String> {
    if text.len() > REFERENCE_BYTES_MAX {
        return Err(format!("it is longer than {REFERENCE_BYTES_MAX} bytes"));
    }
    if !text.is_ascii() {
        return Err("it has characters that are not ASCII".to_owned());
    }
    let reference: Reference = text.parse().map_err(|error| format!("{error}"))?;
    match reference.digest() {
        Some(digest) if !is_sha256_digest(digest) => {
            Err("its digest is not sha256: and 64 lower-case hexadecimal digits".to_owned())
        }
        Some(_) | None => Ok(reference),
    }
}

/// Whether a text is an image reference.
pub fn is_image_reference(text: &str) -> bool {
    parse_image_reference(text).is_ok()
}

/// Whether a text is `sha256:` and 64 lower-case hexadecimal digits. Such a digest may be part of a path.
pub fn is_sha256_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_references_are_accepted() {
        let digest = format!("registry.example:5000/a/b-c__d@sha256:{}", "0a".repeat(32));
        for valid in
            ["debian", "python:3.12-slim", "registry.example/team/ci:v1", "localhost/x", "a.b", &digest]
        {
            assert!(is_image_reference(valid), "{valid}");
        }
        let long = "a".repeat(600);
        let upper = format!("a@sha256:{}", "0A".repeat(32));
        let sha512 = format!("a@sha512:{}", "0a".repeat(64));
        let invalid = [
            "",
            " ",
            "Debian",
            "a b",
            "a:",
            "a:-x",
            "a:é",
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
            "é",
            &long,
            &upper,
            &sha512,
        ];
        for text in invalid {
            assert!(!is_image_reference(text), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = is_image_reference(&text);
        }
    }
}
