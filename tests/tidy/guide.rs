//! README and guide: their links lead somewhere, and the files that they name exist.

use crate::assert_none;
use crate::sources::{files, root};

/// Directories whose files a page names by their path from the root.
const NAMED: &[&str] = &["src/", "tests/", "fixtures/", ".ci/", ".config/", ".cargo/"];

/// The pages that people read on GitHub.
fn pages() -> Vec<(String, String)> {
    let mut pages = files(&["src/guide", ".github"], "md");
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
                let word = code.split([' ', ':']).next().unwrap_or_default().trim_end_matches('/');
                let is_path = NAMED.iter().any(|directory| word.starts_with(directory));
                let is_pattern = word.contains(['*', '{', '<', '…']) || word.contains("NAME");
                if is_path && !is_pattern && !root().join(word).exists() {
                    broken.push(format!("{path}:{number}: {word}"));
                }
            }
        }
    }
    assert_none(&broken, "a file that a page names exists");
}

#[test]
fn headings_have_github_s_anchors() {
    assert_eq!(anchor("## Exit codes, and `--json`"), "exit-codes-and---json");
}
