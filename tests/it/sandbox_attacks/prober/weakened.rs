//! A fake `bwrap` that starts the real one with changed arguments, to show that a missing defence is noticed. Reads `rules` in its own directory, one a line:
//! `WORDS => WORDS`, in which `*` stands for any one word, and `NAME*` for one that begins so.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

pub fn stand_in_for_bwrap(own_path: &str) -> ExitCode {
    let directory = Path::new(own_path).parent().unwrap_or(Path::new("/"));
    let rules = std::fs::read_to_string(directory.join("rules")).expect("the rules beside the program");
    let mut lines = rules.lines();
    let real = lines.next().expect("the first rule is the path of the real bwrap");
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut command = Command::new(real);
    for rule in lines {
        if let Some(variable) = rule.strip_prefix("environment ") {
            let (name, value) = variable.split_once('=').expect("a name and a value");
            command.env(name, value);
            continue;
        }
        let (from, to) = rule.split_once("=>").expect("a rule has two sides");
        let from: Vec<&str> = from.split_whitespace().collect();
        let to: Vec<&str> = to.split_whitespace().collect();
        let replaced = replace(&mut words, &from, &to);
        // A rule that changes nothing would prove nothing.
        if replaced == 0 && words.iter().any(|word| word == "init") {
            let _ = writeln!(std::io::stderr(), "weakened: nothing is like '{rule}' in: {}", words.join(" "));
            return ExitCode::FAILURE;
        }
    }
    let error = command.args(words).exec();
    let _ = writeln!(std::io::stderr(), "weakened: {real} cannot be run: {error}");
    ExitCode::FAILURE
}

fn replace(words: &mut Vec<String>, from: &[&str], to: &[&str]) -> usize {
    let mut replaced = 0;
    let mut at = 0;
    while at + from.len() <= words.len() {
        let alike = from.iter().zip(&words[at..]).all(|(pattern, word)| is_like(pattern, word));
        if alike {
            let matched: Vec<String> = words[at..at + from.len()].to_vec();
            // A `*` on the right is what the `*` on the left stood for, in order.
            let mut stars = from.iter().zip(&matched).filter(|(p, _)| p.ends_with('*')).map(|(_, word)| word);
            let new = to.iter().map(|word| match *word {
                "*" => stars.next().expect("as many stars on the left").clone(),
                word => word.to_owned(),
            });
            let new: Vec<String> = new.collect();
            at += new.len();
            let start = at - new.len();
            words.splice(start..start + from.len(), new);
            replaced += 1;
        } else {
            at += 1;
        }
    }
    replaced
}

fn is_like(pattern: &str, word: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == word, |beginning| word.starts_with(beginning))
}
