//! Text that looks like a secret, by the rules of `rules.toml`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};
use serde::Deserialize;

const LIST: &str = include_str!("rules.toml");
/// A match with fewer distinct characters is a placeholder: `ghp_xxxxxxxx…`.
const DISTINCT_MIN: usize = 10;
/// Words that occur in examples and never in secrets.
const PLACEHOLDERS: [&str; 3] = ["EXAMPLE", "example", "placeholder"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    rule: Vec<RuleConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleConfig {
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
    config: RuleConfig,
    regex: Regex,
}

struct Rules {
    rules: Vec<Rule>,
    /// All of them in one search.
    any: RegexSet,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let list: List = toml::from_str(LIST).expect("the list of rules is TOML, as the tests show");
    let patterns: Vec<&String> = list.rule.iter().map(|rule| &rule.pattern).collect();
    let any = RegexSet::new(&patterns).expect("the rules are regular expressions, as the tests show");
    let compiled = |pattern: &str| Regex::new(pattern).expect("the set above has compiled it");
    let rules = list.rule.into_iter().map(|config| Rule { regex: compiled(&config.pattern), config });
    Rules { rules: rules.collect(), any }
});

impl Rule {
    /// The secret in a match; `None` if it is an ordinary word.
    fn secret_in<'t>(&self, found: &Captures<'t>) -> Option<regex::Match<'t>> {
        let secret = found.name("secret").or_else(|| found.get(0))?;
        let is_word = self.config.digits && !secret.as_str().bytes().any(|byte| byte.is_ascii_digit());
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

/// The parts of an added `text` that look like a secret and are not in `before`: described, each with its
/// offset.
pub(super) fn find(text: &[u8], before: &[u8]) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(text);
    // If some bytes are not UTF-8, offsets are a little too large: the line found is the right one or a
    // later one.
    let before = String::from_utf8_lossy(before);
    let mut found = Vec::new();
    for index in RULES.any.matches(&text) {
        let rule = &RULES.rules[index];
        if !rule.config.refused {
            continue;
        }
        let secrets = rule.regex.captures_iter(&text).filter_map(|captures| rule.secret_in(&captures));
        let secrets =
            secrets.filter(|secret| !is_placeholder(secret.as_str()) && !before.contains(secret.as_str()));
        found.extend(secrets.map(|secret| (format!("what looks like {}", rule.config.name), secret.start())));
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
    fn every_rule_matches_and_redacts_its_samples() {
        for rule in &RULES.rules {
            assert!(!rule.config.samples.is_empty(), "{}", rule.config.name);
            for sample in &rule.config.samples {
                let sample = sample.replace('|', "");
                let found = rule.regex.captures(&sample).unwrap_or_else(|| panic!("{sample}"));
                assert_eq!(&found[0], sample, "{}", rule.config.name);
                let text = format!("before {sample} after");
                let redacted = redact(&text, "***");
                let secret = rule.secret_in(&found).unwrap().as_str();
                assert!(redacted.contains("***") && !redacted.contains(secret), "{redacted}");
                let found = find(text.as_bytes(), b"");
                assert_eq!(!found.is_empty(), rule.config.refused, "{}: {found:?}", rule.config.name);
                assert_eq!(find(text.as_bytes(), text.as_bytes()), [], "{}", rule.config.name);
            }
        }
    }

    #[test]
    fn placeholders_and_code_about_secrets_are_not_findings() {
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
    fn key_over_several_lines_is_found_at_its_start() {
        let key = "x\n-----BEGIN RSA |PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq0vKx5nJ2cWm9dYt3LhU8s\n"
            .replace('|', "");
        assert_eq!(find(key.as_bytes(), b""), [("what looks like a private key".to_owned(), 2)]);
    }
}
