//! Characters that a page shows nothing for: hidden text can be written in them.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Whether a character has no glyph: zero-width and bidirectional controls, tags, variation selectors
/// other than those of text and emoji, and control characters other than line ends and tabs.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

/// The text without invisible characters, and how many there were.
pub fn without_invisible_characters(text: &str) -> (String, usize) {
    let mut count = 0;
    let kept = text.chars().filter(|c| {
        let invisible = is_invisible(*c);
        count += usize::from(invisible);
        !invisible
    });
    (kept.collect(), count)
}

/// The text of raw HTML without character references to invisible characters, and how many there were.
pub(super) fn without_invisible_references(html: &str) -> (String, usize) {
    static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"&(?:#(?P<decimal>[0-9]{1,9})|#[xX](?P<hexadecimal>[0-9a-fA-F]{1,8})|(?:shy|ZeroWidthSpace|zwnj|zwj|lrm|rlm|NoBreak|InvisibleTimes|InvisibleComma|ApplyFunction|NegativeThinSpace|NegativeThickSpace|NegativeMediumSpace|NegativeVeryThinSpace|it|ic|af)\b);?",
        )
        .expect("a valid expression")
    });
    let mut count = 0;
    let kept = REFERENCE.replace_all(html, |reference: &Captures<'_>| {
        let number = |group: &str, radix| {
            reference.name(group).and_then(|digits| u32::from_str_radix(digits.as_str(), radix).ok())
        };
        let is_numeric = reference.name("decimal").or(reference.name("hexadecimal")).is_some();
        let named = number("decimal", 10).or_else(|| number("hexadecimal", 16)).and_then(char::from_u32);
        match is_numeric && !named.is_some_and(is_invisible) {
            true => reference[0].to_owned(),
            false => {
                count += 1;
                String::new()
            }
        }
    });
    (kept.into_owned(), count)
}
