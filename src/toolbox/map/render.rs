//! Prints the ranked files for the model, within a limit: the first files with their most important definitions,
//! the others by name and size.

use std::collections::HashSet;
use std::io::Read;

use super::index::Index;
use super::language::{Kind, SPECS};
use super::outline::{Definition, Outline};
use super::query::Query;
use super::rank::Ranking;
use super::words::{ByHash, each_word, key};
use crate::tree::Tree;
use mendwright_protocol::{MapDefinition, RankedFile, RankedRepoMap};

/// Bytes of a token, on average.
const TOKEN_BYTES: usize = 4;
const TOKENS_MIN: u32 = 200;
const TOKENS_MAX: u32 = 50_000;
/// Most files that are shown with definitions.
const OUTLINED_MAX: usize = 40;
/// Most definitions of one file.
const DEFINITIONS_MAX: usize = 40;
/// Most files that are named at all.
const NAMED_MAX: usize = 2_000;
/// The share that is reserved for names.
const NAMES_SHARE: usize = 5;
/// Longest line of a definition.
const LINE_CHARS_MAX: usize = 110;
/// Largest file that is read for the lines of its definitions.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files that are asked how often they use a name.
const ASKED_MAX: usize = 20_000;

/// Renders a ranking.
pub fn render(
    tree: &Tree,
    index: &Index,
    query: &Query,
    ranking: &Ranking,
    tokens_max: u32,
) -> RankedRepoMap {
    let bytes_max = tokens_max.clamp(TOKENS_MIN, TOKENS_MAX) as usize * TOKEN_BYTES;
    let mut map = RankedRepoMap { counts: index.counts, ..RankedRepoMap::default() };
    let note = not_looked_at(index);
    let mut left = bytes_max.saturating_sub(note.len());
    let worth = Worth { query, ranking, uses: uses(index, ranking) };
    let first: Vec<&(usize, f64)> =
        ranking.files.iter().filter(|(_, rank)| *rank > 0.0).take(OUTLINED_MAX).collect();
    let mut for_outlines = left - left / NAMES_SHARE;
    let shares: f64 = (0..first.len()).map(share).sum();
    let whole = for_outlines as f64;
    let mut unspent = 0;
    for (place, (at, rank)) in first.iter().enumerate() {
        let allotted = (whole * share(place) / shares) as usize + unspent;
        let (text, file) = outlined(tree, index, *at, *rank, allotted.min(for_outlines), &worth);
        if text.len() > for_outlines {
            break;
        }
        for_outlines -= text.len();
        left -= text.len();
        unspent = allotted.saturating_sub(text.len());
        map.text.push_str(&text);
        map.files.push(file);
    }
    let shown = map.files.len();
    let mut others = String::new();
    for (at, rank) in ranking.files.iter().skip(shown).take(NAMED_MAX) {
        let file = &index.files[*at];
        let line = format!("{} ({})\n", file.path, size(file.bytes));
        // Room for the last line, too.
        if others.len() + line.len() + 60 > left {
            break;
        }
        others.push_str(&line);
        map.files.push(ranked(index, *at, *rank, Vec::new()));
    }
    if !others.is_empty() {
        map.text.push_str("other files:\n");
        map.text.push_str(&others);
    }
    let more = index.files.len() - map.files.len();
    if more > 0 {
        map.text.push_str(&format!("… and {more} more files\n"));
    }
    map.text.push_str(&note);
    map
}

fn share(place: usize) -> f64 {
    1.0 / (place + 3) as f64
}

fn not_looked_at(index: &Index) -> String {
    match index.counts.not_looked_at {
        0 => String::new(),
        count => format!("({count} files were not looked at, for want of time or memory.)\n"),
    }
}

fn ranked(index: &Index, at: usize, rank: f64, definitions: Vec<MapDefinition>) -> RankedFile {
    let file = &index.files[at];
    let language = index.outline(at).and_then(|outline| outline.language);
    RankedFile {
        path: file.path.clone(),
        score: (rank * 1e6) as u32,
        bytes: file.bytes,
        language: language.map(|number| SPECS[usize::from(number)].name.to_owned()),
        definitions,
    }
}

/// A file with as many of its definitions as `bytes_max` has room for.
fn outlined(
    tree: &Tree,
    index: &Index,
    at: usize,
    rank: f64,
    bytes_max: usize,
    worth: &Worth<'_>,
) -> (String, RankedFile) {
    let file = &index.files[at];
    let Some(outline) = index.outline(at).filter(|outline| outline.language.is_some()) else {
        return (format!("{} ({})\n", file.path, size(file.bytes)), ranked(index, at, rank, Vec::new()));
    };
    let mut text = format!("{} ({} lines)\n", file.path, outline.lines);
    let content = content(tree, &file.path);
    let lines: Vec<&str> = content.lines().collect();
    let mut wanted: Vec<(f64, &Definition)> =
        outline.definitions.iter().map(|definition| (worth.of(outline, definition), definition)).collect();
    wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.line.cmp(&b.1.line)));
    let mut chosen: Vec<(&Definition, String)> = Vec::new();
    let mut used = text.len();
    let mut seen = HashSet::new();
    for (_, definition) in wanted {
        let line = lines.get(definition.line as usize - 1).map(|line| line.trim()).unwrap_or_default();
        if line.is_empty() || !seen.insert(definition.line) {
            continue;
        }
        let indent = if outline.container(definition).is_some() { "  " } else { "" };
        let cut: String = line.chars().take(LINE_CHARS_MAX).collect();
        let cut = cut.trim_end_matches(['{', ' ']);
        let shown = format!("{:>6}  {indent}{cut}\n", definition.line);
        if used + shown.len() > bytes_max || chosen.len() == DEFINITIONS_MAX {
            break;
        }
        used += shown.len();
        chosen.push((definition, shown));
    }
    chosen.sort_by_key(|(definition, _)| definition.line);
    for (_, shown) in &chosen {
        text.push_str(shown);
    }
    let definitions = chosen.iter().map(|(definition, _)| MapDefinition {
        line: definition.line,
        kind: definition.kind.word().to_owned(),
        name: outline.name(definition).to_owned(),
    });
    (text, ranked(index, at, rank, definitions.collect()))
}

fn content(tree: &Tree, path: &str) -> String {
    let mut content = Vec::new();
    if let Ok(open) = tree.open_file(path) {
        // A file that cannot be read has no lines to show.
        let _ = open.file.take(FILE_BYTES_MAX).read_to_end(&mut content);
    }
    String::from_utf8_lossy(&content).into_owned()
}

/// The importance of a definition.
struct Worth<'a> {
    query: &'a Query,
    ranking: &'a Ranking,
    /// How many files use the names that the first files define.
    uses: ByHash<u32>,
}

impl Worth<'_> {
    fn of(&self, outline: &Outline, definition: &Definition) -> f64 {
        let name = outline.name(definition);
        let mentioned = self.ranking.mentioned.get(&definition.hash).copied().unwrap_or(0.0);
        let mut shared = 0.0;
        each_word(name.as_bytes(), &mut Vec::new(), |word| {
            shared += self.query.words.get(&key(word)).copied().unwrap_or(0.0);
        });
        let uses = f64::from(self.uses.get(&definition.hash).copied().unwrap_or(0));
        let kind = match definition.kind {
            Kind::Class | Kind::Struct | Kind::Interface | Kind::Trait | Kind::Enum | Kind::Union => 1.3,
            Kind::Function | Kind::Method | Kind::Macro | Kind::Type => 1.0,
            Kind::Module | Kind::Declaration => 0.6,
            Kind::Constant | Kind::Field => 0.4,
        };
        let private = if name.starts_with('_') { 0.8 } else { 1.0 };
        kind * private * (1.0 + 6.0 * mentioned + shared + (1.0 + uses).ln())
    }
}

fn uses(index: &Index, ranking: &Ranking) -> ByHash<u32> {
    let mut uses: ByHash<u32> = ByHash::default();
    for (at, _) in ranking.files.iter().take(OUTLINED_MAX) {
        let definitions = index.outline(*at).map(|outline| &outline.definitions[..]).unwrap_or_default();
        uses.extend(definitions.iter().map(|definition| (definition.hash, 0)));
    }
    for at in 0..index.files.len().min(ASKED_MAX) {
        for (hash, _) in index.outline(at).map(|outline| &outline.used[..]).unwrap_or_default() {
            if let Some(count) = uses.get_mut(hash) {
                *count += 1;
            }
        }
    }
    uses
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
