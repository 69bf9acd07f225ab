//! Which repositories may use the service: the operator's patterns.

use std::fmt;
use std::str::FromStr;

use super::RepositoryName;

/// Longest pattern, in bytes: the longest name there is, twice.
const PATTERN_BYTES_MAX: usize = 400;

/// `owner/name`, in which `*` matches any part of either; `owner` alone means every repository of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPattern {
    owner: String,
    name: String,
}

impl RepositoryPattern {
    /// Whether the pattern matches a repository. As on GitHub, case makes no difference.
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        matches(&self.owner, &repository.owner().to_lowercase())
            && matches(&self.name, &repository.name().to_lowercase())
    }

    /// Whether the pattern can match a repository of the account.
    pub fn matches_account(&self, account: &str) -> bool {
        matches(&self.owner, &account.to_lowercase())
    }
}

/// Whether `pattern` with its `*`s matches `text`: greedily, part after part.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

impl FromStr for RepositoryPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (owner, name) = text.split_once('/').unwrap_or((text, "*"));
        let shaped = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.*".contains(&b))
        };
        if text.len() > PATTERN_BYTES_MAX || !shaped(owner) || !shaped(name) {
            return Err("no pattern of repositories");
        }
        Ok(Self { owner: owner.to_lowercase(), name: name.to_lowercase() })
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// The repositories that are allowed and denied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryFilter {
    /// The allowed ones; empty: all.
    pub allowed: Vec<RepositoryPattern>,
    /// The denied ones, which take precedence.
    pub denied: Vec<RepositoryPattern>,
}

impl RepositoryFilter {
    /// Whether a repository is allowed.
    pub fn allows(&self, repository: &RepositoryName) -> bool {
        let any = |patterns: &[RepositoryPattern]| patterns.iter().any(|one| one.matches(repository));
        (self.allowed.is_empty() || any(&self.allowed)) && !any(&self.denied)
    }

    /// Whether any repository of the account can be allowed.
    pub fn may_allow_account(&self, account: &str) -> bool {
        let all_denied = self.denied.iter().any(|one| one.name == "*" && one.matches_account(account));
        let any = self.allowed.iter().any(|one| one.matches_account(account));
        (self.allowed.is_empty() || any) && !all_denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(allowed: &[&str], denied: &[&str]) -> RepositoryFilter {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        RepositoryFilter { allowed: patterns(allowed), denied: patterns(denied) }
    }

    #[test]
    fn denied_takes_precedence_over_allowed_and_no_pattern_allows_everybody() {
        let rules = served(&["Octo-Org", "*/tools-*-rs"], &["octo-org/secret*", "evil"]);
        for (name, expected) in [
            ("octo-org/example", true),
            ("OCTO-ORG/Example", true),
            ("octo-org/secrets", false),
            ("octo-organisation/example", false),
            ("ada/tools-x-rs", true),
            ("ada/tools-rs", false),
            ("ada/my-tools-x-rs", false),
            ("evil/tools-x-rs", false),
        ] {
            assert_eq!(rules.allows(&name.parse().unwrap()), expected, "{name}");
        }
        assert!(RepositoryFilter::default().allows(&"ada/x".parse().unwrap()));
        assert!(!served(&[], &["ada"]).allows(&"ada/x".parse().unwrap()));
        assert!(!rules.may_allow_account("evil") && rules.may_allow_account("octo-org"));
        assert!(!served(&["octo-org"], &[]).may_allow_account("ada"));
    }

    #[test]
    fn pattern_matches_whole_names_wherever_its_stars_are() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*b*", "abc", true),
            ("a**c", "abc", true),
            ("*ab", "aab", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        for bad in ["", "/", "a/", "/b", "a/b/c", "a b/c", "a/?"] {
            assert!(bad.parse::<RepositoryPattern>().is_err(), "{bad:?}");
        }
    }
}
