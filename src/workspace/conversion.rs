//! What a checkout does to a file's content, and what `git add` does to it on the way back. Source:
//! gitattributes(5), "Checking-out and checking-in", and git's convert.c. Programs that attributes name
//! (`filter=`) are never run.

use std::sync::LazyLock;

use encoding_rs::Encoding;
use git2::Oid;
use regex::bytes::{Captures, Regex};

use super::attributes::{FileAttributes, LineEnds};

/// The content of a file in a work tree, from that in the repository.
pub(super) fn to_work_tree(content: &[u8], id: Oid, attributes: &FileAttributes) -> Vec<u8> {
    let mut bytes = content.to_vec();
    if attributes.is_plain() {
        return bytes;
    }
    if attributes.expands_id {
        bytes = replace_ids(&bytes, &format!("$Id: {id} $"));
    }
    let has_crlf = match attributes.line_ends {
        LineEnds::CrLf => true,
        LineEnds::AutoCrLf => {
            let found = LineStatistics::of(&bytes);
            !found.is_binary() && found.crlf == 0
        }
        LineEnds::Kept | LineEnds::Lf | LineEnds::AutoLf => false,
    };
    if has_crlf {
        bytes = with_crlf(&bytes);
    }
    match attributes.encoding.as_deref().and_then(|encoding| encode(&bytes, encoding)) {
        Some(encoded) => encoded,
        None => bytes,
    }
}

/// The content of a file for the repository, from that in a work tree. `before` is the repository's present
/// content, if there is any: line ends that it has are never changed all at once.
pub(super) fn to_repository(content: &[u8], before: Option<&[u8]>, attributes: &FileAttributes) -> Vec<u8> {
    let decoded = attributes.encoding.as_deref().and_then(|encoding| decode(content, encoding));
    let mut bytes = decoded.unwrap_or_else(|| content.to_vec());
    let found = LineStatistics::of(&bytes);
    let is_text = match attributes.line_ends {
        LineEnds::Kept => false,
        LineEnds::Lf | LineEnds::CrLf => true,
        LineEnds::AutoLf | LineEnds::AutoCrLf => !found.is_binary(),
    };
    let had_crlf = before.is_some_and(|before| LineStatistics::of(before).crlf > 0);
    if is_text && found.crlf > 0 && !had_crlf {
        bytes = with_lf(&bytes);
    }
    if attributes.expands_id {
        bytes = replace_ids(&bytes, "$Id$");
    }
    bytes
}

/// `$Id$` and `$Id: anything $` on one line.
fn replace_ids(bytes: &[u8], with: &str) -> Vec<u8> {
    static ID: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?-u)\$Id(?::[^$\r\n]*)?\$").expect("a pattern of this file, which a test compiles")
    });
    ID.replace_all(bytes, |_: &Captures<'_>| with.as_bytes().to_vec()).into_owned()
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut converted = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    let mut previous = 0;
    for byte in bytes {
        if *byte == b'\n' && previous != b'\r' {
            converted.push(b'\r');
        }
        converted.push(*byte);
        previous = *byte;
    }
    converted
}

fn with_lf(bytes: &[u8]) -> Vec<u8> {
    let is_dropped = |at: usize| bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
    (0..bytes.len()).filter(|at| !is_dropped(*at)).map(|at| bytes[at]).collect()
}

/// What git counts to tell text from other content.
#[derive(Debug, Default)]
struct LineStatistics {
    nul: usize,
    lone_cr: usize,
    crlf: usize,
    printable: usize,
    unprintable: usize,
}

impl LineStatistics {
    /// As git's `gather_stats`.
    fn of(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'\r' if bytes.get(at + 1) == Some(&b'\n') => {
                    found.crlf += 1;
                    at += 1;
                }
                b'\r' => found.lone_cr += 1,
                b'\n' => {}
                0 => {
                    found.nul += 1;
                    found.unprintable += 1;
                }
                b'\x08' | b'\t' | b'\x1b' | b'\x0c' => found.printable += 1,
                127 | 0..32 => found.unprintable += 1,
                _ => found.printable += 1,
            }
            at += 1;
        }
        // An end of file of DOS is no sign.
        if bytes.last() == Some(&0x1a) {
            found.unprintable -= 1;
        }
        found
    }

    fn is_binary(&self) -> bool {
        self.lone_cr > 0 || self.nul > 0 || self.printable >> 7 < self.unprintable
    }
}

/// How an encoding of several bytes for each character is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wide {
    /// 2 or 4.
    bytes: usize,
    little: bool,
    /// Whether a byte order mark begins the text.
    mark: bool,
}

/// The encoding with this name, if it is one of UTF-16 and UTF-32. Without a byte order in its name, the text
/// has a mark.
fn wide(name: &str) -> Option<Wide> {
    let name = name.to_uppercase();
    let rest = name.strip_prefix("UTF")?.trim_start_matches('-');
    let (bytes, rest) = match (rest.strip_prefix("16"), rest.strip_prefix("32")) {
        (Some(rest), _) => (2, rest),
        (_, Some(rest)) => (4, rest),
        (None, None) => return None,
    };
    let (little, mark) = match rest.trim_start_matches('-') {
        "" | "LE-BOM" => (true, true),
        "BE-BOM" => (false, true),
        "LE" => (true, false),
        "BE" => (false, false),
        _ => return None,
    };
    Some(Wide { bytes, little, mark })
}

impl Wide {
    fn push(self, unit: u32, into: &mut Vec<u8>) {
        let bytes = unit.to_be_bytes();
        let bytes = &bytes[4 - self.bytes..];
        match self.little {
            true => into.extend(bytes.iter().rev()),
            false => into.extend(bytes),
        }
    }

    fn encode(self, text: &str) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(text.len() * self.bytes);
        if self.mark {
            self.push(0xfeff, &mut encoded);
        }
        for c in text.chars() {
            match self.bytes {
                2 => c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .for_each(|unit| self.push(u32::from(*unit), &mut encoded)),
                _ => self.push(u32::from(c), &mut encoded),
            }
        }
        encoded
    }

    fn decode(self, bytes: &[u8]) -> Option<String> {
        if !bytes.len().is_multiple_of(self.bytes) {
            return None;
        }
        let units = |little: bool| {
            bytes.chunks(self.bytes).map(move |unit| {
                let add = |sum: u32, byte: &u8| sum << 8 | u32::from(*byte);
                match little {
                    true => unit.iter().rev().fold(0, add),
                    false => unit.iter().fold(0, add),
                }
            })
        };
        // The mark of the text counts more than the name.
        let little = match units(self.little).next() {
            Some(0xfffe | 0xfffe_0000) => !self.little,
            _ => self.little,
        };
        let units: Vec<u32> = units(little).collect();
        let units = units.strip_prefix(&[0xfeff]).unwrap_or(&units);
        match self.bytes {
            2 => {
                let units: Vec<u16> =
                    units.iter().map(|unit| u16::try_from(*unit).unwrap_or_default()).collect();
                String::from_utf16(&units).ok()
            }
            _ => units.iter().map(|unit| char::from_u32(*unit)).collect(),
        }
    }
}

/// UTF-8 in another encoding; `None`: that is not possible, and git would leave the content as it is.
fn encode(bytes: &[u8], encoding: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    if let Some(wide) = wide(encoding) {
        return Some(wide.encode(text));
    }
    let (encoded, _, has_errors) = Encoding::for_label(encoding.as_bytes())?.encode(text);
    (!has_errors).then(|| encoded.into_owned())
}

/// Content in another encoding as UTF-8; `None`: it is not in that encoding.
fn decode(bytes: &[u8], encoding: &str) -> Option<Vec<u8>> {
    if let Some(wide) = wide(encoding) {
        // A tool wrote UTF-8 over it.
        let is_utf8 = !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
        return if is_utf8 { None } else { wide.decode(bytes).map(String::into_bytes) };
    }
    let encoding = Encoding::for_label(encoding.as_bytes())?;
    encoding
        .decode_without_bom_handling_and_without_replacement(bytes)
        .map(|text| text.into_owned().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(line_ends: LineEnds) -> FileAttributes {
        FileAttributes { line_ends, ..FileAttributes::default() }
    }

    fn encoded(encoding: &str) -> FileAttributes {
        FileAttributes { encoding: Some(encoding.to_owned()), ..FileAttributes::default() }
    }

    fn out(content: &[u8], attributes: &FileAttributes) -> Vec<u8> {
        to_work_tree(content, Oid::ZERO_SHA1, attributes)
    }

    #[test]
    fn line_ends_are_those_of_a_checkout() {
        let crlf = with(LineEnds::CrLf);
        assert_eq!(out(b"a\nb\r\nc", &crlf), b"a\r\nb\r\nc");
        for (content, expected) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..]),
            (b"a\nb\r\n", b"a\nb\r\n"),
            (b"a\nb\rc\n", b"a\nb\rc\n"),
            (b"a\n\0", b"a\n\0"),
        ] {
            assert_eq!(out(content, &with(LineEnds::AutoCrLf)), expected, "{content:?}");
        }
        for unchanged in [LineEnds::Kept, LineEnds::Lf, LineEnds::AutoLf] {
            assert_eq!(out(b"a\nb\r\n", &with(unchanged)), b"a\nb\r\n");
        }
    }

    #[test]
    fn line_ends_come_back_as_they_were() {
        for line_ends in [LineEnds::CrLf, LineEnds::AutoCrLf, LineEnds::Lf, LineEnds::AutoLf] {
            assert_eq!(to_repository(b"a\r\nb\r\n", None, &with(line_ends)), b"a\nb\n");
            assert_eq!(to_repository(b"a\r\nb\r\n", Some(b"a\n"), &with(line_ends)), b"a\nb\n");
            // Otherwise every line of the file would be in the difference.
            assert_eq!(to_repository(b"a\r\nb\r\n", Some(b"a\r\n"), &with(line_ends)), b"a\r\nb\r\n");
        }
        assert_eq!(to_repository(b"a\r\n\0", None, &with(LineEnds::AutoLf)), b"a\r\n\0");
        assert_eq!(to_repository(b"a\r\n", None, &with(LineEnds::Kept)), b"a\r\n");
        assert_eq!(to_repository(b"a\rb\r\r\n", None, &with(LineEnds::Lf)), b"a\rb\r\n");
    }

    #[test]
    fn encodings_are_those_of_a_checkout_and_come_back() {
        let text = "aé\u{1f600}\n".as_bytes();
        let wide: [(&str, &[u8]); 6] = [
            ("UTF-16LE", b"a\0\xe9\0\x3d\xd8\x00\xde\n\0"),
            ("UTF-16BE", b"\0a\0\xe9\xd8\x3d\xde\x00\0\n"),
            ("UTF-16", b"\xff\xfea\0\xe9\0\x3d\xd8\x00\xde\n\0"),
            ("utf-16le-bom", b"\xff\xfea\0\xe9\0\x3d\xd8\x00\xde\n\0"),
            ("UTF-32BE", b"\0\0\0a\0\0\0\xe9\0\x01\xf6\x00\0\0\0\n"),
            ("UTF-32", b"\xff\xfe\0\0a\0\0\0\xe9\0\0\0\x00\xf6\x01\0\n\0\0\0"),
        ];
        for (encoding, expected) in wide {
            let attributes = encoded(encoding);
            assert_eq!(out(text, &attributes), expected, "{encoding}");
            assert_eq!(to_repository(expected, None, &attributes), text, "{encoding}");
        }
        let latin = encoded("ISO-8859-1");
        assert_eq!(out("café".as_bytes(), &latin), b"caf\xe9");
        assert_eq!(to_repository(b"caf\xe9", None, &latin), "café".as_bytes());
        // A mark tells the order, whatever the name says.
        assert_eq!(to_repository(b"\xfe\xff\0a", None, &encoded("UTF-16")), b"a");
        assert_eq!(to_repository(b"written as UTF-8", None, &encoded("UTF-16LE")), b"written as UTF-8");
        // What cannot be converted stays as it is.
        assert_eq!(out("\u{1f600}".as_bytes(), &latin), "\u{1f600}".as_bytes());
        assert_eq!(out(b"\xff", &encoded("UTF-16LE")), b"\xff");
        assert_eq!(out(b"x", &encoded("no-such-encoding")), b"x");
    }

    #[test]
    fn line_ends_are_converted_before_the_encoding() {
        let both = FileAttributes { encoding: Some("UTF-16LE".into()), ..with(LineEnds::CrLf) };
        assert_eq!(out(b"a\n", &both), b"a\0\r\0\n\0");
        assert_eq!(to_repository(b"a\0\r\0\n\0", None, &both), b"a\n");
    }

    #[test]
    fn id_is_expanded_and_taken_back() {
        let attributes = FileAttributes { expands_id: true, ..FileAttributes::default() };
        let expanded = format!("x $Id: {} $ y $Id", Oid::ZERO_SHA1);
        assert_eq!(out(b"x $Id$ y $Id", &attributes), expanded.as_bytes());
        assert_eq!(out(b"x $Id: old $ y $Id", &attributes), expanded.as_bytes());
        assert_eq!(to_repository(expanded.as_bytes(), None, &attributes), b"x $Id$ y $Id");
    }
}
