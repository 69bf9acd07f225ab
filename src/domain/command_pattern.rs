//! Which commands a repository lets its agent run: patterns over whole arguments, never over text
//! that a shell would take apart.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// A command as a repository allows it: words, of which `*` stands for exactly one argument and a
/// last `**` for any further ones, none included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(with = "String")]
#[serde(try_from = "String", into = "String")]
pub struct CommandPattern {
    words: Vec<Word>,
    any_further: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Exactly(String),
    Any,
}

impl CommandPattern {
    /// Whether a program with its arguments is what the pattern allows.
    pub fn allows(&self, argv: &[String]) -> bool {
        let enough = match self.any_further {
            true => argv.len() >= self.words.len(),
            false => argv.len() == self.words.len(),
        };
        enough
            && self.words.iter().zip(argv).all(|(word, argument)| match word {
                Word::Exactly(exactly) => exactly == argument,
                Word::Any => true,
            })
    }
}

impl FromStr for CommandPattern {
    /// What is wrong with it, and what to write.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("it is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let any_further = words.last() == Some(&"**");
        if any_further {
            words.pop();
        }
        match words.first() {
            Some(&"*") | None if any_further || !words.is_empty() => {
                return Err(
                    "it does not say which program; begin with its name, as in \"cargo check **\"".into()
                );
            }
            None => return Err("it is empty; write a program and its arguments, as in \"make lint\"".into()),
            Some(_) => {}
        }
        let words = words.into_iter().map(word).collect::<Result<_, _>>()?;
        Ok(Self { words, any_further })
    }
}

fn word(text: &str) -> Result<Word, String> {
    if text == "*" {
        return Ok(Word::Any);
    }
    if text == "**" {
        return Err("`**` stands for all further arguments, so it must come last".to_owned());
    }
    if text.contains('*') {
        return Err(format!("in `{text}`, `*` is only a part; it stands for one whole argument, alone"));
    }
    if let Some(sign) = text.chars().find(|c| "|&;<>()$`\\\"'".contains(*c) || c.is_control()) {
        return Err(format!(
            "`{sign}` is for a shell, and none takes part: each word is one argument as it stands; put what needs a \
             shell into a script of the repository and allow that"
        ));
    }
    Ok(Word::Exactly(text.to_owned()))
}

impl fmt::Display for CommandPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.words.iter().map(|word| match word {
            Word::Exactly(exactly) => exactly.as_str(),
            Word::Any => "*",
        });
        let further = self.any_further.then_some("**");
        f.write_str(&words.chain(further).collect::<Vec<_>>().join(" "))
    }
}

impl TryFrom<String> for CommandPattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CommandPattern> for String {
    fn from(pattern: CommandPattern) -> String {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allows(pattern: &str, argv: &[&str]) -> bool {
        let argv: Vec<String> = argv.iter().map(|argument| (*argument).to_owned()).collect();
        pattern.parse::<CommandPattern>().unwrap().allows(&argv)
    }

    #[test]
    fn a_star_is_one_argument_and_two_are_any_further_ones() {
        assert!(allows("make lint", &["make", "lint"]));
        assert!(!allows("make lint", &["make", "lint", "deploy"]) && !allows("make lint", &["make"]));
        assert!(allows("cargo check *", &["cargo", "check", "--tests"]));
        assert!(!allows("cargo check *", &["cargo", "check"]));
        assert!(!allows("cargo check *", &["cargo", "check", "-p", "x"]));
        assert!(allows("python -m mypy **", &["python", "-m", "mypy"]));
        assert!(allows("python -m mypy **", &["python", "-m", "mypy", "a b", "; rm -rf /"]));
        assert!(!allows("python -m mypy **", &["python", "-m", "pip", "install"]));
        assert!(!allows("make lint", &["make lint"]) && !allows("make lint", &[]));
        assert!(!allows("make lint", &["/tmp/make", "lint"]), "the program, too, is compared as it stands");
    }

    #[test]
    fn invalid_pattern_is_an_error_that_says_what_to_write() {
        let texts: Vec<String> = [
            "",
            "**",
            "* x",
            "make ** x",
            "pytest tests/*.py",
            "make lint && make test",
            "echo \"a b\"",
            "a > b",
        ]
        .iter()
        .map(|text| text.parse::<CommandPattern>().unwrap_err())
        .collect();
        insta::assert_snapshot!(texts.join("\n"), @r#"
        it is empty; write a program and its arguments, as in "make lint"
        it does not say which program; begin with its name, as in "cargo check **"
        it does not say which program; begin with its name, as in "cargo check **"
        `**` stands for all further arguments, so it must come last
        in `tests/*.py`, `*` is only a part; it stands for one whole argument, alone
        `&` is for a shell, and none takes part: each word is one argument as it stands; put what needs a shell into a script of the repository and allow that
        `"` is for a shell, and none takes part: each word is one argument as it stands; put what needs a shell into a script of the repository and allow that
        `>` is for a shell, and none takes part: each word is one argument as it stands; put what needs a shell into a script of the repository and allow that
        "#);
    }

    proptest! {
        #[test]
        fn a_pattern_without_stars_allows_exactly_itself(words in prop::collection::vec("[a-z/.=-]{1,8}", 1..5)) {
            let pattern: CommandPattern = words.join(" ").parse().unwrap();
            prop_assert!(pattern.allows(&words));
            prop_assert!(!pattern.allows(&words[1..]));
            prop_assert_eq!(pattern.to_string().parse::<CommandPattern>().unwrap(), pattern);
        }
    }
}
