//! Ranks files by their relation to a text: names that it mentions, words that it shares with them and, through
//! the graph, the files that those use. The same tree and text give the same ranks.

use std::collections::{BTreeSet, HashMap};

use super::graph::{Definers, Graph};
use super::index::Index;
use super::query::Query;
use super::words::{ByHash, each_part, hash, is_empty_word, key, stem};

/// Okapi BM25: how fast repetition stops counting, and how much a file's length reduces its score.
const SATURATION: f64 = 1.2;
const LENGTH_SHARE: f64 = 0.5;
/// The weight of each kind of hint, each between 0 and 1 for a file.
const WORDS_WEIGHT: f64 = 1.0;
const PATH_WORDS_WEIGHT: f64 = 0.6;
const NAMES_WEIGHT: f64 = 0.8;
/// A path that the text mentions, and one that the caller gives.
const MENTIONED_WEIGHT: f64 = 1.2;
const GIVEN_WEIGHT: f64 = 4.0;
/// Seeds are raised to this power, so that a thousand weak ones do not outweigh a strong one.
const SHARPNESS: f64 = 2.0;
/// A mentioned path that matches more files is ignored.
const MEANT_MAX: usize = 8;
/// The factor of an edge for a name that the text mentions.
const MENTIONED_EDGE: f64 = 10.0;

/// The files in their order.
pub struct Ranking {
    /// Files by their place in the index with their share of the whole rank, best first.
    pub files: Vec<(usize, f64)>,
    /// The importance of a definition, by the hash of its name.
    pub mentioned: ByHash<f64>,
}

/// Ranks the files of `index`.
pub fn rank(index: &Index, query: &Query, given: &[String]) -> Ranking {
    let definers = Definers::of(index);
    let hints = Hints { index, query, definers: &definers };
    let parts = [
        (WORDS_WEIGHT, hints.by_words()),
        (PATH_WORDS_WEIGHT, hints.by_path_words()),
        (NAMES_WEIGHT, hints.by_names()),
        (MENTIONED_WEIGHT, hints.by_paths(query.paths.iter().map(|(path, sure)| (path.as_str(), *sure)))),
        (GIVEN_WEIGHT, hints.by_paths(given.iter().map(|path| (path.as_str(), 1.0)))),
    ];
    let mut seeds = vec![0.0; index.files.len()];
    for (weight, hint) in &parts {
        for (seed, hint) in seeds.iter_mut().zip(hint) {
            *seed += weight * hint;
        }
    }
    for (seed, file) in seeds.iter_mut().zip(&index.files) {
        *seed = seed.powf(SHARPNESS) * file.role.weight().sqrt();
    }
    let sum: f64 = seeds.iter().sum();
    if sum > 0.0 {
        seeds.iter_mut().for_each(|seed| *seed /= sum);
    } else {
        // The text mentions nothing of this tree: the most used files come first.
        let share = 1.0 / seeds.len().max(1) as f64;
        seeds.fill(share);
    }
    let mentioned: ByHash<f64> =
        query.names.iter().map(|(name, sure)| (hash(name.as_bytes()), *sure)).collect();
    let counts: ByHash<f64> = mentioned
        .iter()
        .filter(|(_, sure)| **sure >= 0.5)
        .map(|(hash, sure)| (*hash, 1.0 + sure * MENTIONED_EDGE))
        .collect();
    let ranks = Graph::of(index, &definers, &counts).rank(&seeds);
    let is_given = |at: usize| parts[4].1[at] > 0.0;
    let mut files: Vec<(usize, f64)> = ranks
        .into_iter()
        .enumerate()
        .map(|(at, rank)| (at, if is_given(at) { rank } else { rank * index.files[at].role.weight() }))
        .collect();
    let whole: f64 = files.iter().map(|(_, rank)| rank).sum();
    if whole > 0.0 {
        files.iter_mut().for_each(|(_, rank)| *rank /= whole);
    }
    files.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    Ranking { files, mentioned }
}

struct Hints<'a> {
    index: &'a Index,
    query: &'a Query,
    definers: &'a Definers,
}

impl Hints<'_> {
    /// By the words that text and file share.
    fn by_words(&self) -> Vec<f64> {
        let files = &self.index.files;
        let words: Vec<(u32, f64)> = self.query.words.iter().map(|(word, weight)| (*word, *weight)).collect();
        let mut found = vec![0_u32; words.len()];
        let (mut length, mut known) = (0.0, 0_u32);
        let mut counts: Vec<Vec<(usize, u32)>> = vec![Vec::new(); files.len()];
        for (at, counts) in counts.iter_mut().enumerate() {
            let Some(outline) = self.index.outline(at).filter(|outline| !outline.words.is_empty()) else {
                continue;
            };
            known += 1;
            length += f64::from(outline.words_total);
            for (number, (word, _)) in words.iter().enumerate() {
                if let Ok(there) = outline.words.binary_search_by_key(word, |counted| counted.key()) {
                    counts.push((number, outline.words[there].count()));
                    found[number] += 1;
                }
            }
        }
        let average = (length / f64::from(known.max(1))).max(1.0);
        let rarity = |found: u32| {
            let (found, known) = (f64::from(found), f64::from(known));
            (1.0 + (known - found + 0.5) / (found + 0.5)).ln()
        };
        let scores = counts.iter().enumerate().map(|(at, counts)| {
            let length =
                self.index.outline(at).map_or(0.0, |outline| f64::from(outline.words_total)) / average;
            let norm = SATURATION * (1.0 - LENGTH_SHARE + LENGTH_SHARE * length);
            let score = |(number, count): &(usize, u32)| {
                let count = f64::from(*count);
                words[*number].1 * rarity(found[*number]) * count * (SATURATION + 1.0) / (count + norm)
            };
            counts.iter().map(score).sum()
        });
        normalised(scores.collect())
    }

    /// By the words of the path: those of the file's own name above all.
    fn by_path_words(&self) -> Vec<f64> {
        let words_of = |text: &str| {
            let mut words = BTreeSet::new();
            for run in text.split(|c: char| !c.is_ascii_alphanumeric()) {
                each_part(run.as_bytes(), |part| {
                    let part = part.to_ascii_lowercase();
                    if part.len() > 2 && !is_empty_word(&String::from_utf8_lossy(&part)) {
                        words.insert(key(stem(&part)));
                    }
                });
            }
            words
        };
        let split: Vec<(BTreeSet<u32>, BTreeSet<u32>)> = self
            .index
            .files
            .iter()
            .map(|file| {
                let (directory, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
                (words_of(directory), words_of(name.split('.').next().unwrap_or(name)))
            })
            .collect();
        let mut found: ByHash<u32> = ByHash::default();
        for (directory, name) in &split {
            for word in directory.union(name) {
                *found.entry(*word).or_insert(0) += 1;
            }
        }
        let all = split.len() as f64;
        let worth = |word: &u32| {
            let weight = self.query.words.get(word)?;
            Some(weight * (all / f64::from(*found.get(word)?)).ln().max(0.0))
        };
        let scores = split.iter().map(|(directory, name)| {
            let sum = |words: &BTreeSet<u32>| words.iter().filter_map(worth).sum::<f64>();
            // A name of many words that shares one of them is meant less than one that is that word.
            let share = name.iter().filter(|word| self.query.words.contains_key(word)).count() as f64
                / name.len().max(1) as f64;
            sum(name) * (0.5 + 0.5 * share) + 0.3 * sum(directory)
        });
        normalised(scores.collect())
    }

    /// By the names that the text mentions and the file defines.
    fn by_names(&self) -> Vec<f64> {
        let mut scores = vec![0.0; self.index.files.len()];
        let all = self.index.files.len() as f64;
        for (name, sure) in &self.query.names {
            let files = self.definers.files(hash(name.as_bytes()));
            let many = files.len() as f64;
            for file in files {
                scores[file] += sure * (1.0 + all / many).ln() / many.sqrt();
            }
        }
        normalised(scores)
    }

    /// By paths that are mentioned: the longest end of one that is in the tree, or a directory.
    fn by_paths<'p>(&self, paths: impl Iterator<Item = (&'p str, f64)>) -> Vec<f64> {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, file) in self.index.files.iter().enumerate() {
            let name = file.path.rsplit('/').next().unwrap_or(&file.path);
            by_name.entry(name).or_default().push(at);
            if let Some((stem, _)) = name.rsplit_once('.') {
                by_name.entry(stem).or_default().push(at);
            }
        }
        let mut scores = vec![0.0_f64; self.index.files.len()];
        for (path, sure) in paths {
            for (file, share) in self.meant(path, &by_name) {
                scores[file] = scores[file].max(sure.min(1.0) * share);
            }
        }
        scores
    }

    fn meant(&self, path: &str, by_name: &HashMap<&str, Vec<usize>>) -> Vec<(usize, f64)> {
        let parts: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty() && *part != "." && *part != "..").collect();
        let has_ending = parts.last().is_some_and(|name| name.contains('.'));
        let without_ending =
            |path: &'_ str| path.rsplit_once('.').map_or(path.to_owned(), |(stem, _)| stem.to_owned());
        // Of a module's path the last parts may be names in it, and the first may lie above the tree.
        let ends = if has_ending { parts.len()..=parts.len() } else { 1..=parts.len() };
        for end in ends.rev() {
            let Some(name) = end.checked_sub(1).and_then(|at| parts.get(at)) else { continue };
            let Some(candidates) = by_name.get(name) else { continue };
            for from in 0..end {
                let wanted = parts[from..end].join("/");
                if end - from == 1 && parts.len() > 1 && !has_ending {
                    break;
                }
                let fits = |at: &&usize| {
                    let path = &self.index.files[**at].path;
                    let path = if has_ending { path.clone() } else { without_ending(path) };
                    path == wanted || path.ends_with(&format!("/{wanted}"))
                };
                let found: Vec<usize> = candidates.iter().filter(fits).copied().collect();
                if !found.is_empty() {
                    return if found.len() <= MEANT_MAX {
                        let share = 1.0 / (found.len() as f64).sqrt();
                        found.into_iter().map(|at| (at, share)).collect()
                    } else {
                        Vec::new()
                    };
                }
            }
        }
        let directory = format!("{}/", parts.join("/"));
        let below = |at: &usize| self.index.files[*at].path.starts_with(&directory);
        let found: Vec<usize> = (0..self.index.files.len()).filter(below).collect();
        let share = 0.5 / (found.len().max(1) as f64).sqrt();
        found.into_iter().map(|at| (at, share)).collect()
    }
}

/// The best is 1.
fn normalised(mut scores: Vec<f64>) -> Vec<f64> {
    let best = scores.iter().copied().fold(0.0, f64::max);
    if best > 0.0 {
        scores.iter_mut().for_each(|score| *score /= best);
    }
    scores
}
