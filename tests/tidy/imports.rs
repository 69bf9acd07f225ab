//! What a file imports from its own crate.

use std::collections::BTreeMap;

use crate::sources::{Source, Token};

/// Paths from the crate's root.
#[derive(Default)]
pub struct Imports {
    /// Every path that begins with `crate` or `super`, with its line.
    pub paths: Vec<(usize, Vec<String>)>,
    /// What is exported again: under which name, and where it comes from.
    pub exports: BTreeMap<String, Vec<String>>,
}

/// What the product code of `source` imports, whose module is `own`.
pub fn imports(source: &Source, own: &[String]) -> Imports {
    let tokens = source.code_tokens();
    let mut imports = Imports::default();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map_or("", |index| tokens[index].text);
        let line = tokens[at].line;
        if tokens[at].text == "use" {
            let is_public = before == "pub" || before == ")";
            let mut leaves = Vec::new();
            at = tree(&tokens, at + 1, Vec::new(), &mut leaves);
            for (path, name) in leaves {
                let Some(resolved) = resolve(&path, own, is_public) else { continue };
                if is_public {
                    imports.exports.insert(name, resolved.clone());
                }
                if is_from_elsewhere(&path) {
                    imports.paths.push((line, resolved));
                }
            }
        } else if is_from_elsewhere(&[tokens[at].text]) && before != "::" {
            let mut path = vec![tokens[at].text];
            while at + 2 < tokens.len() && tokens[at + 1].text == "::" && tokens[at + 2].is_identifier() {
                path.push(tokens[at + 2].text);
                at += 2;
            }
            // `pub(super)` names no path.
            if path.len() > 1 {
                imports.paths.extend(resolve(&path, own, false).map(|resolved| (line, resolved)));
            }
            at += 1;
        } else {
            at += 1;
        }
    }
    imports
}

fn is_from_elsewhere(path: &[&str]) -> bool {
    matches!(path.first(), Some(&"crate" | &"super"))
}

/// Reads a tree of `use` from `at`. Returns the index after it.
fn tree<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    mut path: Vec<&'a str>,
    leaves: &mut Vec<(Vec<&'a str>, String)>,
) -> usize {
    while at < tokens.len() {
        match tokens[at].text {
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens[at].text != "}" {
                    at = tree(tokens, at, path.clone(), leaves);
                    if tokens[at].text == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => {
                leaves.push((path, tokens[at + 1].text.to_owned()));
                return at + 2;
            }
            word if tokens[at].is_identifier() || word == "*" => {
                path.push(word);
                at += 1;
            }
            _ => break,
        }
    }
    let name = path.last().map_or(String::new(), |last| (*last).to_owned());
    leaves.push((path, name));
    at
}

/// The path from the crate's root.
fn resolve(path: &[&str], own: &[String], is_export: bool) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|word| **word == "super").count();
    let (start, rest) = match *path.first()? {
        "crate" => (&own[..0], &path[1..]),
        "super" => (&own[..own.len().checked_sub(supers)?], &path[supers..]),
        "self" => (own, &path[1..]),
        _ if is_export => (own, path),
        _ => return None,
    };
    Some(start.iter().cloned().chain(rest.iter().map(|word| (*word).to_owned())).collect())
}
