//! The secret gate: scans what is about to be published and reports what it finds. Decides and changes
//! nothing.

use super::known::{Known, known};
use super::rules;
use crate::domain::{SecretFinding, SecretLocation};

/// The most findings that are reported: one is enough to block.
const FINDINGS_MAX: usize = 20;

/// The text that a change adds to a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddedText {
    /// The file.
    pub path: String,
    /// Whether the base has no file of this name.
    pub is_new_name: bool,
    /// The added lines, each with its number in the new file.
    pub lines: Vec<(u32, Vec<u8>)>,
    /// The same file in the base: what it contains already was not added by the change.
    pub before: Vec<u8>,
}

/// The known secrets in a text that people read. Text that only looks like a secret is not reported: it is
/// redacted before the text is sent.
pub fn scan_text(of: &str, text: &str) -> Vec<SecretFinding> {
    scan_text_with(&known(), of, text)
}

fn scan_text_with(known: &Known, of: &str, text: &str) -> Vec<SecretFinding> {
    let place = || SecretLocation::Text { of: of.to_owned() };
    let found = known.find(text.as_bytes()).into_iter();
    deduplicated(found.map(|hit| SecretFinding { what: hit.description, place: place() }).collect())
}

/// The secrets in a change: in its added lines and in the names of its files.
pub fn scan_additions(added: &[AddedText]) -> Vec<SecretFinding> {
    scan_additions_with(&known(), added)
}

fn scan_additions_with(known: &Known, added: &[AddedText]) -> Vec<SecretFinding> {
    let mut found = Vec::new();
    for file in added {
        let in_name = match file.is_new_name {
            true => find_in_text(known, file.path.as_bytes(), &[]),
            false => Vec::new(),
        };
        let path = in_name.is_empty().then(|| file.path.clone());
        found.extend(
            in_name.into_iter().map(|(what, _)| SecretFinding { what, place: SecretLocation::FileName }),
        );
        // Joined, so that a secret over several lines is found.
        let mut text = Vec::new();
        let mut line_starts = Vec::with_capacity(file.lines.len());
        for (number, line) in &file.lines {
            line_starts.push((text.len(), *number));
            text.extend_from_slice(line);
            if !text.ends_with(b"\n") {
                text.push(b'\n');
            }
        }
        let line_at = |offset: usize| match line_starts.partition_point(|(begin, _)| *begin <= offset) {
            0 => 0,
            after => line_starts[after - 1].1,
        };
        found.extend(find_in_text(known, &text, &file.before).into_iter().map(|(what, offset)| {
            SecretFinding { what, place: SecretLocation::Line { path: path.clone(), line: line_at(offset) } }
        }));
    }
    deduplicated(found)
}

/// The secrets in `text`, described, each with its offset.
fn find_in_text(known: &Known, text: &[u8], before: &[u8]) -> Vec<(String, usize)> {
    let known = known.find(text).into_iter().map(|hit| (hit.description, hit.offset));
    known.chain(rules::find(text, before)).collect()
}

fn deduplicated(found: Vec<SecretFinding>) -> Vec<SecretFinding> {
    let mut deduplicated: Vec<SecretFinding> = Vec::new();
    for one in found {
        if deduplicated.len() < FINDINGS_MAX && !deduplicated.contains(&one) {
            deduplicated.push(one);
        }
    }
    deduplicated
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::super::known::SecretKind;
    use super::*;

    const KEY: &str = "k3y/of+the?model~2f9c1d7e";

    fn known() -> Known {
        Known::of(&[
            (SecretKind::ModelKey, KEY),
            (SecretKind::Canary, "mwt_0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
        ])
    }

    fn added(path: &str, lines: &[&str], before: &str) -> AddedText {
        let lines = lines.iter().zip(7..).map(|(line, number)| (number, line.as_bytes().to_vec())).collect();
        AddedText { path: path.to_owned(), is_new_name: true, lines, before: before.as_bytes().to_vec() }
    }

    fn descriptions(found: Vec<SecretFinding>) -> String {
        let words: Vec<String> = found.iter().map(SecretFinding::to_string).collect();
        let words = words.join("\n");
        assert!(!words.contains("k3y") && !words.contains("0f1e2d3c"), "the value is shown: {words}");
        words
    }

    #[test]
    fn known_secret_is_found_in_every_encoding_and_location() {
        let reversed: String = KEY.chars().rev().collect();
        let in_base64 = |before: &str| STANDARD.encode(format!("{before}{KEY} and more"));
        let percent: String = KEY.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let escaped: String = KEY.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        let wrapped = in_base64("padding").chars().collect::<Vec<_>>();
        let wrapped: Vec<String> = wrapped.chunks(9).map(|part| part.iter().collect()).collect();
        let forms = [
            ("plain", KEY.to_owned()),
            ("in the middle", format!("x{KEY}x")),
            ("in pieces", format!("\"{}\" +\n  \"{}\"", &KEY[..9], &KEY[9..])),
            ("base64", in_base64("")),
            ("base64, one further", in_base64("a")),
            ("base64, two further", in_base64("ab")),
            ("base64 for addresses", URL_SAFE_NO_PAD.encode(format!("abc{KEY}"))),
            ("base64 over lines", wrapped.join("\n")),
            ("hexadecimal", hex::encode(KEY)),
            ("hexadecimal, capital", hex::encode_upper(KEY)),
            (
                "hexadecimal with colons",
                hex::encode(KEY)
                    .as_bytes()
                    .chunks(2)
                    .map(|two| String::from_utf8_lossy(two).into_owned())
                    .collect::<Vec<_>>()
                    .join(":"),
            ),
            ("URL-encoded", "k3y%2Fof%2Bthe%3Fmodel~2f9c1d7e".to_owned()),
            ("wholly URL-encoded", percent),
            ("escaped", escaped),
            ("reversed", reversed),
            ("base64, reversed", in_base64("a").chars().rev().collect()),
        ];
        for (name, text) in &forms {
            let found = descriptions(scan_text_with(&known(), "the title", text));
            assert!(
                found.contains("the model provider's key") && found.contains("the title"),
                "{name}: {found}"
            );
            let lines: Vec<&str> = text.lines().collect();
            let found = descriptions(scan_additions_with(&known(), &[added("src/a.rs", &lines, text)]));
            assert!(found.contains("src/a.rs:"), "{name}, although the base has it: {found}");
            let found = descriptions(scan_additions_with(
                &known(),
                &[added(&format!("src/{}", text.replace('\n', "")), &[], "")],
            ));
            assert!(found.contains("the name of a file"), "{name}: {found}");
        }
    }

    #[test]
    fn finding_names_the_line_and_never_the_value() {
        let lines = ["fn main() {", "    let key = \"k3y/of+the?model~2f9c1d7e\";", "}"];
        let canary = added("docs/mwt_0f1e2d3c4b5a69788796a5b4c3d2e1f0.md", &["x", KEY], "");
        let found = scan_additions_with(&known(), &[added("src/main.rs", &lines, ""), canary]);
        insta::assert_snapshot!(descriptions(found), @r"
        the model provider's key in src/main.rs:8
        a canary (a value planted where only a break-out finds it) in the name of a file
        the model provider's key in line 8 of a file whose name is not shown
        ");
    }

    #[test]
    fn secret_lookalike_is_reported_only_if_the_change_adds_it() {
        let token = ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat();
        let line = format!("let token = \"{token}\";");
        let found = scan_additions_with(&known(), &[added("tests/a.rs", &[&line], "")]);
        insta::assert_snapshot!(descriptions(found), @"what looks like a GitHub token in tests/a.rs:7");
        let moved = added("tests/a.rs", &[&line], &format!("// {token}\n"));
        assert_eq!(scan_additions_with(&known(), &[moved]), []);
        assert_eq!(scan_text_with(&known(), "a comment", &line), [], "texts are redacted instead");
    }

    #[test]
    fn ordinary_change_has_no_findings() {
        let lines = [
            "the key of the model, and more words",
            "0123456789abcdef0123456789abcdef01234567",
            "%2F%2F \\x41 %zz \\x",
            "aGVsbG8gd29ybGQsIHRoaXMgaXMgYmFzZTY0IG9mIG5vdGhpbmcgc2VjcmV0",
        ];
        assert_eq!(scan_additions_with(&known(), &[added("src/main.rs", &lines, "")]), []);
        assert_eq!(scan_text_with(&known(), "x", ""), []);
    }
}
