//! README, guide and module docs: links lead somewhere, the files that they name exist, and the lists of how to add
//! something are short.

use crate::assert_none;
use crate::sources::{files, root, sources};

/// Directories whose files a page names by their path from the root, and a file there.
const NAMED: &[&str] = &["src/", "tests/", "fixtures/", ".ci/", ".config/", ".cargo/", "Cargo.toml"];

const HOW_TO: &str = "src/guide/develop/how-to.md";
const WHERE: &str = "src/guide/develop/where.md";

/// The pages that people read on GitHub. Of fixtures, only what explains them.
fn pages() -> Vec<(String, String)> {
    let mut pages = files(&["src/guide", ".github"], "md");
    let is_explanation = |path: &str| path.ends_with("/README.md") && path.matches('/').count() == 2;
    pages.extend(files(&["fixtures"], "md").into_iter().filter(|(path, _)| is_explanation(path)));
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    pages.push(("README.md".to_owned(), readme));
    pages
}

/// The line number and text of each line outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            return None;
        }
        (!in_code).then_some((index + 1, line))
    })
}

/// The name that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in pages() {
        let directory = root().join(&path).parent().unwrap().to_owned();
        for (number, line) in prose(&text) {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
                if link.contains("://") || link.starts_with("mailto:") || link.is_empty() {
                    continue;
                }
                let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { root().join(&path) } else { directory.join(file) };
                let has_anchor = || {
                    let page = std::fs::read_to_string(&target).unwrap_or_default();
                    prose(&page).any(|(_, line)| line.starts_with('#') && anchor(line) == fragment)
                };
                if !target.exists() || (!fragment.is_empty() && !has_anchor()) {
                    broken.push(format!("{path}:{number}: {link}"));
                }
            }
        }
    }
    assert_none(&broken, "a link of a page leads somewhere");
}

#[test]
fn files_that_a_page_names_exist() {
    let mut broken = Vec::new();
    for (path, text) in pages().into_iter().filter(|(path, _)| !path.ends_with("CHANGELOG.md")) {
        for (number, line) in prose(&text) {
            for code in line.split('`').skip(1).step_by(2) {
                if let Some(word) = named_path(code).filter(|word| !root().join(word).exists()) {
                    broken.push(format!("{path}:{number}: {word}"));
                }
            }
        }
    }
    assert_none(&broken, "a file that a page names exists");
}

/// The path from the root that a code span begins with, unless it is a pattern.
fn named_path(code: &str) -> Option<&str> {
    let word = code.split([' ', ':']).next().unwrap_or_default().trim_end_matches('/');
    let is_path = NAMED.iter().any(|directory| word.starts_with(directory));
    let is_pattern = word.contains(['*', '{', '<', '…']) || word.contains("NAME");
    (is_path && !is_pattern).then_some(word)
}

/// Module docs name files from the root, from `src`, or from a directory above them.
#[test]
fn files_that_module_docs_name_exist() {
    let (mut broken, mut named) = (Vec::new(), 0);
    for source in sources() {
        let directory = root().join(&source.path);
        for (index, line) in source.text.lines().enumerate().filter(|(_, line)| line.starts_with("//!")) {
            for code in line.split('`').skip(1).step_by(2) {
                let is_rust_file =
                    code.ends_with(".rs") && code.contains('/') && !code.contains(['*', '{', ' ']);
                let Some(path) = named_path(code).or(is_rust_file.then_some(code)) else { continue };
                named += 1;
                let above = directory.ancestors().skip(1).take_while(|above| above.starts_with(root()));
                if !above.chain([root().join("src").as_path()]).any(|above| above.join(path).exists()) {
                    broken.push(format!("{}:{}: {path}", source.path, index + 1));
                }
            }
        }
    }
    assert!(named > 10, "only {named} files are named in module docs");
    assert_none(&broken, "a file that module docs name exists");
}

/// Each section of the how-to page with the entries of its list.
fn how_to_lists() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(root().join(HOW_TO)).unwrap();
    let sections = page.split("\n## ").skip(1);
    let is_entry =
        |line: &&str| line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
    sections
        .map(|section| {
            let title = section.lines().next().unwrap_or_default().to_owned();
            (title, section.lines().filter(is_entry).map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn lists_of_how_to_add_something_are_short_and_name_files() {
    const ENTRIES_MAX: usize = 4;
    let lists = how_to_lists();
    assert!(lists.len() >= 8, "only {} lists in {HOW_TO}", lists.len());
    let mut broken = Vec::new();
    for (title, entries) in lists {
        if entries.is_empty() || entries.len() > ENTRIES_MAX {
            broken.push(format!("{title}: {} entries, at most {ENTRIES_MAX}", entries.len()));
        }
        let names_no_file =
            |entry: &&String| !entry.split('`').skip(1).step_by(2).any(|code| named_path(code).is_some());
        let vague =
            entries.iter().filter(names_no_file).filter(|entry| !entry.contains("the file that uses it"));
        broken.extend(vague.map(|entry| format!("{title}: no file is named in {entry:?}")));
    }
    assert_none(
        &broken,
        &format!("each list of {HOW_TO} has at most {ENTRIES_MAX} entries, and each names a file"),
    );
}

#[test]
fn every_row_of_the_index_names_one_file() {
    let page = std::fs::read_to_string(root().join(WHERE)).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 40, "only {} rows in {WHERE}", rows.len());
    let is_file = |row: &&str| {
        let cell = row.trim_end_matches([' ', '|']).rsplit("| ").next().unwrap_or_default();
        named_path(cell.trim_matches('`')).is_some_and(|path| root().join(path).is_file())
    };
    let broken: Vec<String> = rows.iter().filter(|row| !is_file(row)).map(|row| (*row).to_owned()).collect();
    assert_none(&broken, &format!("each row of {WHERE} ends with one file"));
}

#[test]
fn headings_have_github_s_anchors() {
    assert_eq!(anchor("## Exit codes, and `--json`"), "exit-codes-and---json");
}
