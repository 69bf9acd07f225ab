//! Words of code and of prose in a comparable form: parts of identifiers, in lower case, without endings. A word
//! is stored as a number. Collisions are rare and harmless.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Shortest word that counts.
const WORD_BYTES_MIN: usize = 3;
/// A longer run of characters is data and not a word.
const WORD_BYTES_MAX: usize = 60;
/// Most different words kept of one file.
const WORDS_MAX: usize = 3_000;

/// Words that almost every issue and source file contains.
const EMPTY_WORDS: &[&str] = &[
    "the",
    "and",
    "for",
    "that",
    "this",
    "with",
    "from",
    "have",
    "has",
    "had",
    "not",
    "are",
    "was",
    "were",
    "but",
    "you",
    "your",
    "our",
    "they",
    "them",
    "their",
    "its",
    "can",
    "could",
    "should",
    "would",
    "will",
    "shall",
    "may",
    "might",
    "must",
    "when",
    "where",
    "what",
    "which",
    "who",
    "why",
    "how",
    "then",
    "than",
    "there",
    "here",
    "also",
    "all",
    "any",
    "some",
    "each",
    "more",
    "most",
    "other",
    "such",
    "only",
    "own",
    "same",
    "too",
    "very",
    "just",
    "into",
    "over",
    "under",
    "after",
    "before",
    "while",
    "because",
    "about",
    "been",
    "being",
    "does",
    "did",
    "doing",
    "use",
    "used",
    "using",
    "get",
    "got",
    "one",
    "two",
    "see",
    "like",
    "now",
    "still",
    "however",
    "https",
    "http",
    "www",
    "com",
    "org",
    "github",
    "issue",
    "issues",
    "bug",
    "version",
    "expected",
    "actual",
    "behavior",
    "behaviour",
    "steps",
    "reproduce",
    "reproduction",
    "example",
    "following",
    "please",
    "thanks",
    "thank",
    "hello",
    "instead",
    "currently",
    "seems",
    "without",
    "within",
    "cannot",
    "don",
    "doesn",
    "isn",
    "won",
    "let",
    "var",
    "const",
    "def",
    "self",
    "return",
    "import",
    "true",
    "false",
    "null",
    "none",
    "void",
    "int",
    "string",
    "public",
    "private",
    "static",
    "else",
    "elif",
    "endif",
    "new",
];

/// A hash whose result is the same in every run.
pub fn hash(text: &[u8]) -> u32 {
    // FNV-1a, folded: words are short, and deliberate collisions would have no effect.
    let wide = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (wide ^ (wide >> 32)) as u32
}

/// For keys that are hashes already.
#[derive(Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u32(&mut self, hash: u32) {
        self.0 = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map from hashes.
pub type ByHash<T> = HashMap<u32, T, BuildHasherDefault<Hashed>>;

/// A word and how often it occurs in a file, in four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CountedWord(u32);

impl CountedWord {
    fn new(word: u32, count: u32) -> Self {
        Self((word & !0xff) | count.min(0xff))
    }

    /// The word, as [`key`] gives it.
    pub fn key(self) -> u32 {
        self.0 & !0xff
    }

    pub fn count(self) -> u32 {
        self.0 & 0xff
    }
}

/// A word as a file's words are looked up.
pub fn key(word: &[u8]) -> u32 {
    hash(word) & !0xff
}

/// The words of a file's text, sorted, and how many there are with repetitions.
pub fn counted(text: &[u8]) -> (Box<[CountedWord]>, u32) {
    let mut counts: ByHash<u32> = ByHash::default();
    let mut total = 0_u32;
    let mut buffer = Vec::with_capacity(64);
    each_run(text, |run| {
        each_word(run, &mut buffer, |word| {
            total = total.saturating_add(1);
            let known = counts.len() < WORDS_MAX;
            match counts.get_mut(&key(word)) {
                Some(count) => *count += 1,
                None if known => {
                    counts.insert(key(word), 1);
                }
                None => {}
            }
        });
    });
    let mut words: Vec<CountedWord> =
        counts.iter().map(|(word, count)| CountedWord::new(*word, *count)).collect();
    words.sort_unstable();
    (words.into_boxed_slice(), total)
}

/// Runs of letters, digits and `_`.
pub fn each_run<'a>(text: &'a [u8], mut take: impl FnMut(&'a [u8])) {
    let of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    for run in text.split(|byte| !of_word(byte)) {
        if (WORD_BYTES_MIN..=WORD_BYTES_MAX).contains(&run.len()) {
            take(run);
        }
    }
}

/// The words of one run: its parts, and the whole run if it has several.
pub fn each_word(run: &[u8], buffer: &mut Vec<u8>, mut take: impl FnMut(&[u8])) {
    let mut parts = 0;
    each_part(run, |part| {
        parts += 1;
        if part.len() < WORD_BYTES_MIN || part.iter().all(u8::is_ascii_digit) {
            return;
        }
        buffer.clear();
        buffer.extend(part.iter().map(u8::to_ascii_lowercase));
        take(stem(buffer));
    });
    if parts > 1 {
        buffer.clear();
        buffer.extend(run.iter().filter(|byte| **byte != b'_').map(u8::to_ascii_lowercase));
        take(buffer);
    }
}

/// `HTTPServer_name2` is `HTTP`, `Server`, `name2`.
pub fn each_part<'a>(run: &'a [u8], mut take: impl FnMut(&'a [u8])) {
    for piece in run.split(|byte| *byte == b'_').filter(|piece| !piece.is_empty()) {
        let mut from = 0;
        for at in 1..piece.len() {
            let [before, this] = [piece[at - 1], piece[at]];
            let next_is_lower = piece.get(at + 1).is_some_and(u8::is_ascii_lowercase);
            let begins = this.is_ascii_uppercase()
                && (before.is_ascii_lowercase() || before.is_ascii_digit() || next_is_lower);
            if begins {
                take(&piece[from..at]);
                from = at;
            }
        }
        take(&piece[from..]);
    }
}

/// The word without its inflectional ending.
pub fn stem(word: &[u8]) -> &[u8] {
    let cut = |word: &'_ [u8], ending: &[u8], left_min: usize| {
        word.strip_suffix(ending).is_some_and(|left| left.len() >= left_min)
    };
    let mut word = word;
    if cut(word, b"s", 3) && !word.ends_with(b"ss") && !word.ends_with(b"us") && !word.ends_with(b"is") {
        word = &word[..word.len() - 1];
    }
    if cut(word, b"ing", 4) {
        word = &word[..word.len() - 3];
    } else if cut(word, b"ed", 4) {
        word = &word[..word.len() - 2];
    }
    if cut(word, b"e", 3) {
        word = &word[..word.len() - 1];
    }
    word
}

/// Whether a word (lower case) says nothing about what an issue is about.
pub fn is_empty_word(word: &str) -> bool {
    EMPTY_WORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(run: &str) -> Vec<String> {
        let mut found = Vec::new();
        each_word(run.as_bytes(), &mut Vec::new(), |word| {
            found.push(String::from_utf8_lossy(word).into_owned());
        });
        found
    }

    #[test]
    fn identifiers_fall_into_words_whatever_their_style() {
        assert_eq!(words("HTTPServerName"), ["http", "server", "nam", "httpservername"]);
        assert_eq!(words("escape_quotes2"), ["escap", "quotes2", "escapequotes2"]);
        assert_eq!(words("word"), ["word"]);
        assert_eq!(words("a_b"), ["ab"]);
    }

    #[test]
    fn forms_of_one_word_are_one() {
        for form in ["escape", "escapes", "escaped", "escaping"] {
            assert_eq!(stem(form.as_bytes()), b"escap", "{form}");
        }
        for kept in ["class", "status", "this", "sing", "bed", "the"] {
            assert!(stem(kept.as_bytes()).len() >= 2, "{kept}");
        }
        assert_eq!(stem(b"class"), b"class");
        assert_eq!(stem(b"redirects"), stem(b"redirect"));
    }

    #[test]
    fn counts_are_kept_with_their_word() {
        let (counted, total) = counted(b"alpha beta_alpha; alpha");
        assert_eq!(total, 5);
        let count = |word: &[u8]| counted.iter().find(|w| w.key() == key(word)).map(|w| w.count());
        assert_eq!((count(b"alpha"), count(b"beta"), count(b"gamma")), (Some(3), Some(1), None));
    }
}
