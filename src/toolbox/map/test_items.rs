//! Tests that stand in source files: finds them by the syntax tree, and puts those of one version of a
//! file into another. `languages` knows what a test item is in each language; here they are moved.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use tree_sitter::{Node, Parser};

use super::language;
use super::outline::parsed_best;
use super::syntax::FILE_BYTES_MAX;
use mendwright_protocol::{TestItems, TestItemsMoved};

mod languages;

/// Most test items of one file.
const ITEMS_MAX: usize = 5_000;
/// Most names in an answer, and characters of a name.
const NAMES_MAX: usize = 50;
const NAME_CHARS_MAX: usize = 200;

/// A test item.
#[derive(Debug)]
struct Item {
    range: Range<usize>,
    /// The place where it is inserted into a version that does not have it.
    place: String,
    /// Whether the range consists of whole lines.
    is_lines: bool,
    /// What stands for it once it is removed.
    blank: &'static str,
    /// The test item that it is a part of.
    within: Option<String>,
    /// Whether its parts are items, too.
    has_parts: bool,
}

/// Where an item can be inserted.
#[derive(Debug)]
struct InsertionPoint {
    at: usize,
    /// What follows an inserted item: the indentation of the next statement.
    after: String,
}

/// What is known of one version of a file.
#[derive(Debug, Default)]
struct VersionItems {
    items: BTreeMap<String, Item>,
    places: HashMap<String, InsertionPoint>,
    /// The whole file is a test.
    is_all_test: bool,
    has_errors: bool,
}

impl VersionItems {
    /// Adds an item, and returns its name. The second one of a name gets a number.
    fn add(&mut self, name: &str, item: Item) -> String {
        let taken = |name: &String| self.items.contains_key(name);
        let numbered = (2..).map(|number| format!("{name} ({number})"));
        let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken(name));
        let name = free.unwrap_or_default();
        if self.items.len() < ITEMS_MAX {
            self.items.insert(name.clone(), item);
        }
        name
    }
}

/// Moves the test items. Without any in either version, the content is the source.
pub fn move_test_items(request: &TestItems) -> TestItemsMoved {
    let (source, tests) = (request.source.as_str(), request.tests.as_str());
    let unchanged = TestItemsMoved { content: source.to_owned(), ..TestItemsMoved::default() };
    let Some(number) = language::of_path(&request.path) else { return unchanged };
    let lost = |what: &str| TestItemsMoved { lost: vec![what.to_owned()], ..unchanged.clone() };
    if source.len().max(tests.len()) > FILE_BYTES_MAX {
        return lost("the file is too large to be parsed");
    }
    let mut parser = Parser::new();
    let (Some(own), Some(other)) =
        (found_in(&mut parser, number, source), found_in(&mut parser, number, tests))
    else {
        return lost("the file cannot be parsed");
    };
    if own.is_all_test || other.is_all_test {
        let changed = (source != tests).then(|| "the whole file".to_owned());
        return TestItemsMoved {
            content: tests.to_owned(),
            changed: changed.into_iter().collect(),
            ..TestItemsMoved::default()
        };
    }
    let mut moved = merged(source, &own, tests, &other);
    if !own.has_errors
        && moved.content != source
        && found_in(&mut parser, number, &moved.content).is_none_or(|found| found.has_errors)
    {
        moved.lost.push("the result cannot be parsed".to_owned());
    }
    for names in [&mut moved.changed, &mut moved.added, &mut moved.lost] {
        names.truncate(NAMES_MAX);
        names.iter_mut().for_each(|name| *name = name.chars().take(NAME_CHARS_MAX).collect());
    }
    moved
}

/// Where the test items of a file are.
pub(super) fn test_ranges(language: &str, content: &str, root: Node<'_>) -> Vec<Range<usize>> {
    let mut found = VersionItems::default();
    languages::find(language, content, root, &mut found);
    if found.is_all_test {
        return std::iter::once(0..content.len()).collect();
    }
    found.items.into_values().map(|item| item.range).collect()
}

fn found_in(parser: &mut Parser, number: u8, content: &str) -> Option<VersionItems> {
    let (number, tree) = parsed_best(parser, number, content.as_bytes())?;
    let mut found = VersionItems { has_errors: tree.root_node().has_error(), ..VersionItems::default() };
    languages::find(language::SPECS[usize::from(number)].name, content, tree.root_node(), &mut found);
    Some(found)
}

fn merged(source: &str, own: &VersionItems, tests: &str, other: &VersionItems) -> TestItemsMoved {
    let text = |item: &Item| &tests[item.range.clone()];
    let names: BTreeSet<&String> = own.items.keys().chain(other.items.keys()).collect();
    let (mut changed, mut added, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    // By position; of one position, in the order of names.
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for name in names {
        let (mine, theirs) = (own.items.get(name), other.items.get(name));
        // A part is moved with the whole if one version does not have the whole.
        let whole = mine.or(theirs).and_then(|item| item.within.as_ref());
        if whole.is_some_and(|whole| !own.items.contains_key(whole) || !other.items.contains_key(whole)) {
            continue;
        }
        match (mine, theirs) {
            (Some(mine), Some(theirs)) => {
                let is_same = source[mine.range.clone()].trim() == text(theirs).trim();
                if is_same || (mine.has_parts && theirs.has_parts) {
                    continue;
                }
                edits.push((
                    mine.range.clone(),
                    fitted(source, mine.range.start, text(theirs), theirs.is_lines),
                ));
            }
            (Some(mine), None) => {
                edits.push((mine.range.clone(), mine.blank.to_owned()));
                added.push(name.clone());
                continue;
            }
            (None, Some(theirs)) => {
                match other.places.get(&theirs.place).and(own.places.get(&theirs.place)) {
                    Some(place) => {
                        let mut text = fitted(source, place.at, text(theirs), theirs.is_lines);
                        text.push_str(&place.after);
                        edits.push((place.at..place.at, text));
                    }
                    None => lost.push(name.clone()),
                }
            }
            (None, None) => {}
        }
        changed.push(name.clone());
    }
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let (mut content, mut from) = (String::with_capacity(source.len()), 0);
    for (range, text) in edits {
        // What lies in an item that was replaced went with it.
        if range.start < from {
            continue;
        }
        content.push_str(&source[from..range.start]);
        content.push_str(&text);
        from = range.end;
    }
    content.push_str(&source[from..]);
    TestItemsMoved { content, changed, added, lost }
}

/// An item's text as it can stand at a position: on lines of its own if it is made of lines.
fn fitted(source: &str, at: usize, text: &str, is_lines: bool) -> String {
    if !is_lines {
        return text.to_owned();
    }
    let is_line_start = at == 0 || source.as_bytes()[at - 1] == b'\n';
    let before = if is_line_start { "" } else { "\n" };
    let after = if text.ends_with('\n') { "" } else { "\n" };
    format!("{before}{text}{after}")
}

/// The range with the rest of its first and last line, if there is nothing but space on them.
fn whole_lines(content: &str, range: Range<usize>) -> Range<usize> {
    let bytes = content.as_bytes();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let line = content[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let start = if bytes[line..range.start].iter().all(is_space) { line } else { range.start };
    if range.end > range.start && bytes[range.end - 1] == b'\n' {
        return start..range.end;
    }
    let rest = content[range.end..].find('\n').map_or(bytes.len(), |at| range.end + at);
    let end = match bytes[range.end..rest].iter().all(is_space) {
        true => (rest + 1).min(bytes.len()),
        false => range.end,
    };
    start..end
}

#[cfg(test)]
mod tests;
