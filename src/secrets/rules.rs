//! What only looks like a secret: the list in `rules.toml`, and what it finds.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};
use serde::Deserialize;

const LIST: &str = include_str!("rules.toml");
/// A match with fewer different characters is a placeholder: `ghp_xxxxxxxx…`.
const DISTINCT_MIN: usize = 10;
/// Words that stand in examples, never in secrets.
const PLACEHOLDERS: [&str; 3] = ["EXAMPLE", "example", "placeholder"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    rule: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    pattern: String,
    #[serde(default)]
    refused: bool,
    #[serde(default)]
    digits: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests read them"))]
    samples: Vec<String>,
}

struct Rule {
    written: Written,
    regex: Regex,
}

struct Rules {
    rules: Vec<Rule>,
    /// Whether any of them matches, in one look.
    any: RegexSet,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let list: List = toml::from_str(LIST).expect("the list of rules is TOML, as the tests show");
    let patterns: Vec<&String> = list.rule.iter().map(|rule| &rule.pattern).collect();
    let any = RegexSet::new(&patterns).expect("the rules are regular expressions, as the tests show");
    let compiled = |pattern: &str| Regex::new(pattern).expect("it was one just now");
    let rules = list.rule.into_iter().map(|written| Rule { regex: compiled(&written.pattern), written });
    Rules { rules: rules.collect(), any }
});

impl Rule {
    /// What is secret in a match; `None` where it is an ordinary word.
    fn secret_in<'t>(&self, found: &Captures<'t>) -> Option<regex::Match<'t>> {
        let secret = found.name("secret").or_else(|| found.get(0))?;
        let is_word = self.written.digits && !secret.as_str().bytes().any(|byte| byte.is_ascii_digit());
        (!is_word).then_some(secret)
    }
}

/// The text with everything that looks like a secret replaced.
pub(super) fn redact<'t>(text: &'t str, replacement: &str) -> Cow<'t, str> {
    let mut redacted = Cow::Borrowed(text);
    for index in RULES.any.matches(text) {
        let rule = &RULES.rules[index];
        let changed = rule.regex.replace_all(&redacted, |found: &Captures<'_>| {
            let whole = found.get(0).map_or("", |whole| whole.as_str());
            match rule.secret_in(found) {
                Some(secret) => whole.replacen(secret.as_str(), replacement, 1),
                None => whole.to_owned(),
            }
        });
        if let Cow::Owned(changed) = changed {
            redacted = Cow::Owned(changed);
        }
    }
    redacted
}

/// What in an added `text` looks like a secret and does not stand in `before`: in words, with the
/// offset at which it begins.
pub(super) fn find(text: &[u8], before: &[u8]) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(text);
    // Where bytes were no text, offsets are a little too large: the line is found all the same,
    // or the last one is named.
    let before = String::from_utf8_lossy(before);
    let mut found = Vec::new();
    for index in RULES.any.matches(&text) {
        let rule = &RULES.rules[index];
        if !rule.written.refused {
            continue;
        }
        let secrets = rule.regex.captures_iter(&text).filter_map(|captures| rule.secret_in(&captures));
        let secrets =
            secrets.filter(|secret| !is_placeholder(secret.as_str()) && !before.contains(secret.as_str()));
        found
            .extend(secrets.map(|secret| (format!("what looks like {}", rule.written.name), secret.start())));
    }
    found
}

fn is_placeholder(text: &str) -> bool {
    let distinct: HashSet<char> = text.chars().collect();
    distinct.len() < DISTINCT_MIN || PLACEHOLDERS.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_matches_its_samples_and_takes_them_out() {
        for rule in &RULES.rules {
            assert!(!rule.written.samples.is_empty(), "{}", rule.written.name);
            for sample in &rule.written.samples {
                let sample = sample.replace('|', "");
                let found = rule.regex.captures(&sample).unwrap_or_else(|| panic!("{sample}"));
                assert_eq!(&found[0], sample, "{}", rule.written.name);
                let text = format!("before {sample} after");
                let redacted = redact(&text, "***");
                let secret = rule.secret_in(&found).unwrap().as_str();
                assert!(redacted.contains("***") && !redacted.contains(secret), "{redacted}");
                let found = find(text.as_bytes(), b"");
                assert_eq!(!found.is_empty(), rule.written.refused, "{}: {found:?}", rule.written.name);
                assert_eq!(find(text.as_bytes(), text.as_bytes()), [], "{}", rule.written.name);
            }
        }
    }

    #[test]
    fn placeholders_and_code_that_only_speaks_of_secrets_pass() {
        let texts = [
            "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx1",
            "AKIAIOSFODNN7EXAMPLE",
            "if text.contains(\"-----BEGIN PRIVATE KEY-----\") { return Err(\"a key\") }",
            "the sk-learn-contrib-and-other-names",
            "https://user:password@host.test/path",
            "npm_config_registry and npm_lifecycle_event",
        ];
        for text in texts {
            assert_eq!(find(text.as_bytes(), b""), [], "{text}");
        }
    }

    #[test]
    fn a_key_over_several_lines_is_found_where_it_begins() {
        let key = "x\n-----BEGIN RSA |PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq0vKx5nJ2cWm9dYt3LhU8s\n"
            .replace('|', "");
        assert_eq!(find(key.as_bytes(), b""), [("what looks like a private key".to_owned(), 2)]);
    }
}
