//! The vocabulary of the code: the glossary binds, and a name has one meaning.

use std::collections::BTreeMap;
use std::fs;

use crate::assert_none;
use crate::sources::{root, sources};

const GLOSSARY: &str = "src/guide/develop/glossary.md";

/// Names of types that are defined more than once. The number may only become smaller.
const REPEATED_TYPES_MAX: usize = 64;

/// How often words of the left column are still there. A number may only become smaller.
const REMAINING: &[(&str, usize)] = &[("said", 12), ("told", 16)];

/// The words of the glossary's left column.
fn forbidden() -> Vec<String> {
    let text = fs::read_to_string(root().join(GLOSSARY)).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1).map(str::to_owned));
    let words: Vec<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(words.len() > 30, "only {} words in the left column of {GLOSSARY}", words.len());
    words
}

/// The words of an identifier, in lower case and each followed by `_`.
fn words(identifier: &str) -> String {
    let mut words = String::from("_");
    let mut before_is_lower = false;
    for c in identifier.chars() {
        if c.is_uppercase() && before_is_lower {
            words.push('_');
        }
        before_is_lower = c.is_lowercase() || c.is_ascii_digit();
        words.extend(c.to_lowercase());
    }
    words.push('_');
    words
}

#[test]
fn words_that_the_glossary_replaces_are_no_identifiers() {
    let forbidden: Vec<(String, String)> = forbidden().into_iter().map(|word| (words(&word), word)).collect();
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let sources = sources();
    for source in &sources {
        for token in source.all_tokens().into_iter().filter(|token| token.is_identifier()) {
            let own = words(token.text);
            for (_, word) in forbidden.iter().filter(|(pattern, _)| own.contains(pattern.as_str())) {
                let at = format!("{}:{}: {}", source.path, token.line, token.text);
                places.entry(word).or_default().push(at);
            }
        }
    }
    let mut broken = Vec::new();
    for (word, places) in &places {
        let most = REMAINING.iter().find(|(remaining, _)| remaining == word).map_or(0, |(_, most)| *most);
        if places.len() > most {
            broken.push(format!(
                "`{word}`, {} times, at most {most}:\n    {}",
                places.len(),
                places.join("\n    ")
            ));
        }
    }
    assert_none(&broken, &format!("words of the left column of {GLOSSARY} are no identifiers"));
    for (word, most) in REMAINING {
        let count = places.get(word).map_or(0, Vec::len);
        assert!(
            count + 15 > *most && count > 0,
            "`{word}` is there {count} times: write that into REMAINING, or take it out"
        );
    }
}

#[test]
fn identifiers_are_split_into_words() {
    assert_eq!(words("JobClerk2"), "_job_clerk2_");
    assert_eq!(words("LET_GO"), "_let_go_");
    assert!(words("let_go_of").contains(&words("let_go")));
    assert!(!words("handshake").contains(&words("hands")));
}

#[test]
fn a_name_of_a_type_has_one_meaning() {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        let tokens = source.code_tokens();
        for pair in tokens.windows(2) {
            if matches!(pair[0].text, "struct" | "enum" | "trait" | "union") && pair[1].is_identifier() {
                types.entry(pair[1].text.to_owned()).or_default().push(source.path.clone());
            }
        }
    }
    let repeated: Vec<String> = types
        .iter()
        .filter(|(_, paths)| paths.len() > 1)
        .map(|(name, paths)| format!("{name}: {}", paths.join(", ")))
        .collect();
    println!("{} types, {} names defined more than once", types.len(), repeated.len());
    assert!(
        repeated.len() <= REPEATED_TYPES_MAX,
        "{} names of types are defined more than once, at most {REPEATED_TYPES_MAX} may be:\n  {}",
        repeated.len(),
        repeated.join("\n  ")
    );
    assert!(
        repeated.len() + 5 > REPEATED_TYPES_MAX,
        "lower REPEATED_TYPES_MAX to {}: fewer names are repeated now",
        repeated.len()
    );
}
