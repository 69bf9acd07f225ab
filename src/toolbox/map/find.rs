//! Finds where a name is defined and used. The index has the files; they are read again, so that the lines are
//! current.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::{Duration, Instant};

use tree_sitter::Parser;

use super::index::Index;
use super::outline::places;
use super::words::hash;
use crate::tree::Tree;
use mendwright_protocol::{DefinitionText, FindSymbol, SymbolLocation, SymbolLocations};

/// Most definitions, and most references, of one answer.
const PLACES_MAX: usize = 200;
/// Time to read files again. After it the answer says that there is more.
const READ_MAX: Duration = Duration::from_secs(10);
/// Largest file that is parsed.
const FILE_BYTES_MAX: u64 = 1 << 20;
const LINE_CHARS_MAX: usize = 200;
/// Most lines of definitions in one answer.
const BODY_LINES_MAX: u32 = 1_000;
/// Longest line of a definition.
const BODY_LINE_CHARS_MAX: usize = 2_000;
/// Most names that are suggested instead of an unknown one.
const NEAR_MAX: usize = 8;
/// Names below this similarity are not suggested.
const LIKENESS_MIN: f64 = 0.75;
/// Longest name in a request.
const NAME_BYTES_MAX: usize = 200;

/// Finds a symbol.
pub fn find(tree: &Tree, index: &Index, request: &FindSymbol) -> Result<SymbolLocations, String> {
    let asked = request.name.trim().trim_end_matches("()").trim_end_matches('!');
    if asked.is_empty() || asked.len() > NAME_BYTES_MAX {
        return Err(format!("a name of 1 to {NAME_BYTES_MAX} bytes is wanted"));
    }
    let split: Vec<&str> =
        asked.split(['.', ':', '#', '\\', '>']).map(|part| part.trim_end_matches('-')).collect();
    let mut parts = split.into_iter().filter(|part| !part.is_empty()).rev();
    let name = parts.next().unwrap_or(asked);
    let container = parts.next();
    let mut found =
        SymbolLocations { not_looked_at: index.counts.not_looked_at, ..SymbolLocations::default() };
    found.names = known(index, name);
    if found.names.is_empty() {
        found.near = near(index, name);
        return Ok(found);
    }
    let mut search = SymbolSearch {
        tree,
        index,
        parser: Parser::new(),
        places_max: (request.places_max as usize).clamp(1, PLACES_MAX),
        body_lines_left: request.body_lines_max.min(BODY_LINES_MAX) as usize,
        until: Instant::now() + READ_MAX,
        found,
    };
    for name in search.found.names.clone() {
        search.one(&name, container);
    }
    Ok(search.found)
}

struct SymbolSearch<'a> {
    tree: &'a Tree,
    index: &'a Index,
    parser: Parser,
    places_max: usize,
    /// Lines of definitions that may still be added.
    body_lines_left: usize,
    until: Instant,
    found: SymbolLocations,
}

impl SymbolSearch<'_> {
    fn one(&mut self, name: &str, container: Option<&str>) {
        let hash = hash(name.as_bytes());
        // Definitions first, then by role and how much it is used.
        let mut files: Vec<(bool, usize, u16)> = Vec::new();
        for at in 0..self.index.files.len() {
            let Some(outline) = self.index.outline(at) else { continue };
            let defines = outline.definitions.iter().any(|d| d.hash == hash && outline.name(d) == name);
            let uses = outline.uses(hash);
            if defines || uses > 0 {
                files.push((!defines, at, uses));
            }
        }
        files.sort_by_key(|(no, at, uses)| (*no, self.index.files[*at].role, std::cmp::Reverse(*uses), *at));
        let in_container = container.is_some_and(|container| {
            files.iter().take_while(|(no, _, _)| !no).any(|(_, at, _)| self.defined_in(*at, hash, container))
        });
        for (_, at, _) in files {
            let full = self.found.references.len() >= self.places_max;
            if full || Instant::now() > self.until {
                self.found.more = true;
                return;
            }
            self.in_file(at, name, container.filter(|_| in_container));
        }
    }

    fn defined_in(&self, at: usize, hash: u32, container: &str) -> bool {
        self.index.outline(at).is_some_and(|outline| {
            outline.definitions.iter().any(|d| d.hash == hash && outline.container(d) == Some(container))
        })
    }

    fn in_file(&mut self, at: usize, name: &str, container: Option<&str>) {
        let path = &self.index.files[at].path;
        let Some(outline) = self.index.outline(at) else { return };
        let Some(language) = outline.language else { return };
        let Ok(open) = self.tree.open_file(path) else { return };
        let mut content = Vec::new();
        if open.file.take(FILE_BYTES_MAX).read_to_end(&mut content).is_err() {
            return;
        }
        let text = String::from_utf8_lossy(&content);
        let lines: Vec<&str> = text.lines().collect();
        for place in places(&mut self.parser, language, &content, name) {
            let definition =
                outline.definitions.iter().find(|d| d.line == place.line && outline.name(d) == name);
            let definition = definition.filter(|_| place.defines);
            let within = definition.and_then(|d| outline.container(d));
            let line = lines.get(place.line as usize - 1).map(|line| line.trim()).unwrap_or_default();
            let is_wanted = place.defines && container.is_none_or(|container| within == Some(container));
            let body = match is_wanted && self.body_lines_left > 0 {
                true => Some(whole_definition(&lines, place.body, self.body_lines_left)),
                false => None,
            };
            let shown = SymbolLocation {
                path: path.clone(),
                line: place.line,
                kind: match (place.defines, definition) {
                    (true, Some(definition)) => definition.kind.word().to_owned(),
                    (true, None) => "definition".to_owned(),
                    (false, _) => "reference".to_owned(),
                },
                container: within.map(str::to_owned),
                text: line.chars().take(LINE_CHARS_MAX).collect(),
                body,
            };
            let other = container.is_some_and(|container| within != Some(container));
            let list = match place.defines {
                true if other => continue,
                true => &mut self.found.definitions,
                false => &mut self.found.references,
            };
            if list.len() < self.places_max {
                let lines = shown.body.as_ref().map_or(0, |body| body.lines.len());
                self.body_lines_left = self.body_lines_left.saturating_sub(lines);
                list.push(shown);
            } else {
                self.found.more = true;
            }
        }
    }
}

/// The lines of a definition, as many as there is room for.
fn whole_definition(lines: &[&str], (first, last): (u32, u32), lines_max: usize) -> DefinitionText {
    let all =
        lines.get(first.saturating_sub(1) as usize..(last as usize).min(lines.len())).unwrap_or_default();
    let shown =
        all.iter().take(lines_max).map(|line| line.chars().take(BODY_LINE_CHARS_MAX).collect()).collect();
    let left_out = u32::try_from(all.len().saturating_sub(lines_max)).unwrap_or(u32::MAX);
    DefinitionText { first_line: first, lines: shown, left_out }
}

/// The name itself, if something defines or uses it; otherwise the names that differ in case only.
fn known(index: &Index, name: &str) -> Vec<String> {
    let hash = hash(name.as_bytes());
    let outlines = || (0..index.files.len()).filter_map(|at| index.outline(at));
    let defined = outlines().any(|o| o.definitions.iter().any(|d| d.hash == hash && o.name(d) == name));
    if defined {
        return vec![name.to_owned()];
    }
    let mut others = BTreeSet::new();
    for outline in outlines() {
        let same = |d: &&super::outline::Definition| outline.name(d).eq_ignore_ascii_case(name);
        others.extend(outline.definitions.iter().filter(same).map(|d| outline.name(d).to_owned()));
    }
    if others.is_empty() && outlines().any(|outline| outline.uses(hash) > 0) {
        return vec![name.to_owned()];
    }
    others.into_iter().take(NEAR_MAX).collect()
}

fn near(index: &Index, name: &str) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut seen = BTreeSet::new();
    for at in 0..index.files.len() {
        let Some(outline) = index.outline(at) else { continue };
        for definition in &outline.definitions {
            let name = outline.name(definition);
            // The cheap check first: a name that is much longer or shorter is not similar.
            if name.len().abs_diff(wanted.len()) <= wanted.len().max(4) && name.len() < NAME_BYTES_MAX {
                seen.insert(name);
            }
        }
    }
    let mut near: Vec<(f64, &str)> = seen
        .into_iter()
        .map(|name| {
            let lower = name.to_lowercase();
            let holds =
                wanted.len() >= 4 && (lower.contains(&wanted) || wanted.contains(&lower) && lower.len() >= 4);
            let likeness = strsim::jaro_winkler(&wanted, &lower);
            (if holds { likeness.max(0.8) } else { likeness - 0.1 }, name)
        })
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.into_iter().take(NEAR_MAX).map(|(_, name)| name.to_owned()).collect()
}
