//! JSON with comments and trailing commas, as in devcontainer files and some manifests. Turns it into JSON and
//! reads nothing itself.
//!
//! The text comes from any repository, so `serde_json`, which limits the depth of nesting, parses the result. A
//! JSONC parser that recurses without a limit could overflow the stack.

/// The same text as JSON: comments and commas before a closing bracket are spaces, so that places
/// in it stay where they were. Text that is neither is left for the JSON parser to refuse.
pub(super) fn to_json(text: &str) -> String {
    let mut bytes = text.trim_start_matches('\u{feff}').as_bytes().to_vec();
    let mut at = 0;
    let mut comma = None;
    while let Some(&byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b'"', _) => {
                at = string_end(&bytes, at);
                comma = None;
                continue;
            }
            (b'/', Some(b'/')) => {
                let end = bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n);
                bytes[at..end].fill(b' ');
                at = end;
                continue;
            }
            (b'/', Some(b'*')) => {
                let inside = at + 2;
                let closing = bytes[inside..].windows(2).position(|pair| pair == b"*/");
                let end = closing.map_or(bytes.len(), |n| inside + n + 2);
                for byte in &mut bytes[at..end] {
                    if *byte != b'\n' {
                        *byte = b' ';
                    }
                }
                at = end;
                continue;
            }
            (b',', _) => comma = Some(at),
            (b']' | b'}', _) => {
                if let Some(comma) = comma.take() {
                    bytes[comma] = b' ';
                }
            }
            (byte, _) if byte.is_ascii_whitespace() => {}
            _ => comma = None,
        }
        at += 1;
    }
    // Only whole comments were overwritten, so this is still UTF-8.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The place behind the string that opens at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Reads it.
pub(super) fn parse(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(&to_json(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_go_and_strings_stay() {
        let text = "// head\n{ /* a\n b */ \"url\": \"http://x/*y*/\", // end\n \"l\": [1, 2, /* z */ ],\n \"q\": \"a\\\"//b\",\n}\n";
        let value = parse(text).unwrap();
        assert_eq!(value, serde_json::json!({"url": "http://x/*y*/", "l": [1, 2], "q": "a\"//b"}));
        assert_eq!(to_json(text).lines().count(), text.lines().count());
        for broken in ["{", "{,}x", "\"\\", "/*", "[1,,]", "/"] {
            assert_eq!(parse(broken), None, "{broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[\\[\\]{}\",/*\\\\:a1é \n]{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn json_means_the_same(value in "[a-z/*,\\]}\"\\\\é]{0,20}") {
            let json = serde_json::json!({"k": [value]});
            proptest::prop_assert_eq!(parse(&json.to_string()), Some(json));
        }
    }
}
